"""Experiment trackers: what training measures, written to TensorBoard, MLflow, trackio and Weights & Biases."""
