"""Data: sources, splits and their manifests, streams, views. Imports torch; knows nothing of models."""

from semivae.data.dataset import Dataset
from semivae.data.images import as_images, read_images
from semivae.data.seeds import seed_for
from semivae.data.sources import data_root, load_source
from semivae.data.splits import Split, load_split, make_split, pin_splits, save_split
from semivae.data.streams import Stream, make_streams
from semivae.data.views import View
from semivae.game.variables import Sample

__all__ = [
    "Dataset",
    "Sample",
    "Split",
    "Stream",
    "View",
    "as_images",
    "data_root",
    "load_source",
    "load_split",
    "make_split",
    "make_streams",
    "pin_splits",
    "read_images",
    "save_split",
    "seed_for",
]
