"""Segmentation runs beside their supervised twins: `python -m benchmarks.segmentation RUN...`."""
