"""q(map | image): class probabilities of every place, and the most likely classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification.posterior import batches, label_factor
from semivae.runs.model import TrainedModel
from semivae.scenario.plan import map_of


def is_segmentation(run: TrainedModel) -> bool:
    """Whether the run's label is a map."""
    return map_of(run.recipe) is not None


@torch.no_grad()
def place_probabilities(
    run: TrainedModel, images: Tensor, batch: int = 64, temperature: float = 1.0
) -> Iterator[Tensor]:
    """q(map | image) in batches, float32 [n, classes, height, width] on the CPU.

    Args:
        run: a run whose label is a map.
        images: [n, channels, height, width], bytes or floats in [0, 1].
        batch: images at a time.
        temperature: divides the logits (`semivae.classification.calibration`).

    Raises:
        DataError: the images' shape is not the run's.
        RunError: the map depends on more than the image.
    """
    factor = label_factor(run)
    for chunk in batches(run, images, batch):
        yield (factor.parameters_of({run.image: chunk}).float() / temperature).softmax(dim=1).cpu()


def predict_maps(run: TrainedModel, images: Tensor, batch: int = 64) -> NDArray[np.int64]:
    """The most likely class of every place, [n, height, width]."""
    return np.concatenate([part.argmax(dim=1).numpy() for part in place_probabilities(run, images, batch)])
