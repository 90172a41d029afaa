"""q(map | image): class probabilities of every place, and the most likely classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification.posterior import batches, label_factor
from semivae.data.seeds import seed_for
from semivae.data.streams import make_streams
from semivae.errors import RunError
from semivae.graphs import map_of
from semivae.run import Run


def is_segmentation(run: Run) -> bool:
    """Whether the run's label is a map."""
    return map_of(run.recipe) is not None


def refuse_for_maps(run: Run, **options: Any) -> None:
    """Raise `RunError` if options that speak of one class an image are asked for where the label is a map."""
    asked = [name for name, value in options.items() if value]
    if asked:
        names = ", ".join(asked)
        raise RunError(f"{run.path}: {names} speaks of one class an image, {run.label} is a map; leave it out")


@torch.no_grad()
def place_probabilities(run: Run, images: Tensor, batch: int = 64) -> Iterator[Tensor]:
    """q(map | image) in batches, float32 [n, classes, height, width] on the CPU.

    Args:
        run: a run whose label is a map.
        images: [n, channels, height, width], bytes or floats in [0, 1].
        batch: images at a time.

    Raises:
        DataError: the images' shape is not the run's.
        RunError: the map depends on more than the image.
    """
    factor = label_factor(run)
    for chunk in batches(run, images, batch):
        yield factor.parameters_of({run.image: chunk}).float().softmax(dim=1).cpu()


def predict_maps(run: Run, images: Tensor, batch: int = 64) -> NDArray[np.int64]:
    """The most likely class of every place, [n, height, width]."""
    return np.concatenate([part.argmax(dim=1).numpy() for part in place_probabilities(run, images, batch)])


def prior_maps(run: Run, count: int, seed: int | None = None) -> Tensor:
    """`count` maps, int64 [count, height, width], from where training took its maps without images.

    Raises:
        RunError: no stream of the recipe shows maps alone, so nobody knows what maps look like.
        DataError: the data are gone.
    """
    label = run.label
    found = [(name, spec) for name, spec in run.recipe.streams.items() if spec.observe == (label,)]
    if not found:
        raise RunError(f"{run.path}: no stream shows {label} alone, so there are none to draw; give {label}=MASK.png")
    name, spec = found[0]
    drawing = run.recipe.model_copy(update={"streams": {name: spec.model_copy(update={"batch": count})}})
    chosen = int(torch.randint(2**31, ()).item()) if seed is None else seed
    streams = make_streams(
        drawing, run.dataset(), run.split(), torch.device("cpu"), seed_for(chosen, "maps"), run.data_root
    )
    return streams[name].batch(0)[label]
