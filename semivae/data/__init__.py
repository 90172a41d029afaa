"""Data: formats, readers, inputs, splits, streams, views. Imports torch; knows nothing of models."""
