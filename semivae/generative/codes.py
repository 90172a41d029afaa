"""The codes that a run's encoder infers from images; another run can take them as a prior known by samples only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.classification.posterior import batches
from semivae.data.formats.label_files import class_number
from semivae.data.inputs.pieces import AnyExamples
from semivae.generative.features import BATCH
from semivae.runs.model import TrainedModel
from semivae.seeds import seeded


@torch.no_grad()
def draw_codes(run: TrainedModel, images: AnyExamples, seed: int) -> dict[str, NDArray[Any]]:
    """One draw from q(all latents | image) for every image: arrays [n, ...] by variable; bits and classes as integers.

    Labels are written as the classes' names where a number could be taken for another class: called 1, 2, 3.

    Raises:
        RunError: a twin, whose codes nobody taught.
        DataError: the images do not fit.
    """
    run.require_decoder()
    with seeded(seed, run.device):
        parts = [run.encoder.complete(chunk, sampled=True) for chunk in batches(run, images, BATCH)]
    codes = {name: torch.cat([part[name].cpu() for part in parts]) for name in run.encoder.names}
    bits = {name for name in codes if run.recipe.variables[name].family == "bernoulli"}
    arrays = {name: (value.to(torch.uint8) if name in bits else value).numpy() for name, value in codes.items()}
    label = run.roles.label
    if label in arrays and any(class_number(str(place), run.classes) != place for place in range(len(run.classes))):
        arrays[label] = np.asarray(run.classes)[arrays[label]]
    return arrays
