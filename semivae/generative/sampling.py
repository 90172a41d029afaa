"""Samples from the decoder, and pictures of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from semivae.devices import free_memory
from semivae.errors import RunError
from semivae.generative.prior_samples import prior_samples
from semivae.recipe.section import LARGEST_SEED
from semivae.runs.given import given_values
from semivae.seeds import seeded
from semivae.text import in_gigabytes
from semivae.variables import Sample

if TYPE_CHECKING:
    from semivae.runs.model import TrainedModel

COPIES = 2  # of what is drawn, at the least, while it is drawn


def draw(
    run: TrainedModel, count: int, given: Mapping[str, Any], *, noise: bool = False, seed: int | None = None
) -> dict[str, Tensor]:
    """Draw `count` samples of all variables from the decoder, on the CPU.

    `given` fixes variables: `y=3`, `y="cat"`, or a list whose length divides `count` (each value is then used for
    count/length samples in a row); numbers or arrays for the others, of the variable's shape or with one row a sample.
    What is not given is drawn in the decoder's order; where it has no prior of a variable, rows of the recipe's streams
    without images are drawn (`semivae.generative.prior_samples`). The image is the decoder's mean, or what a painter
    paints over it; `noise=True` draws its pixels. With a `seed` the draw is repeatable and leaves torch's global
    generator alone.

    Raises:
        RunError: an unknown variable or class, a value of the wrong shape, a count or seed that is none, more samples
            than fit into memory, or a variable that cannot be fixed because the decoder draws others before it (an
            image, for example).
    """
    run.require_picture_factor()
    if not isinstance(count, int | np.integer) or count < 1:
        raise RunError(f"cannot draw {count!r} samples; ask for 1 or more")
    _refuse_beyond_memory(run, int(count))
    if seed is not None and not 0 <= seed <= LARGEST_SEED:
        raise RunError(f"seed {seed}: seeds lie in 0 to {LARGEST_SEED}")
    fixed = {name: given_values(run, name, value, count).to(run.device) for name, value in given.items()}
    refuse_given_descendants(run, fixed)
    fixed |= prior_samples(run, count, fixed, seed)
    with torch.no_grad(), seeded(seed, run.device):
        drawn = run.decoder.complete(fixed, batch=count)
        if run.image != run.shown and run.image in run.decoder and run.image not in fixed:
            features = run.decoder[run.image]
            drawn[run.image] = features(drawn).sample() if noise else features.picture(drawn)
        if run.shown not in fixed:
            drawn[run.shown] = _noisy(run, drawn) if noise else run.picture(drawn)
    return {name: value.cpu() for name, value in drawn.items()}


def _refuse_beyond_memory(run: TrainedModel, count: int) -> None:
    """Raises RunError for samples that do not fit into memory as floats, with what the network makes of each."""
    needed, memory = COPIES * 4 * count * math.prod(run.recipe.variables[run.shown].shape or ()), free_memory()
    if needed > memory:
        raise RunError(
            f"{count:,} samples take {in_gigabytes(needed)} of memory or more, but {in_gigabytes(memory)} are free; "
            "draw fewer at a time"
        )


def _noisy(run: TrainedModel, sample: Sample) -> Tensor:
    distribution = run.decoder[run.shown](sample) if run.painter is None else run.painter.distribution(sample)
    return distribution.sample()


def refuse_given_descendants(run: TrainedModel, fixed: dict[str, Tensor]) -> None:
    """Raises `RunError` if a fixed variable has an ancestor that is drawn: the draw would ignore the fixed value."""
    parents = {name: [given.name for given in run.decoder[name].given] for name in run.decoder.names}
    for name in fixed:
        waiting = list(parents.get(name, []))
        while waiting:
            ancestor = waiting.pop()
            if ancestor not in fixed:
                raise RunError(
                    f"{name} cannot be given without {ancestor}: the decoder draws {ancestor} first and {name} after "
                    f"it; give {ancestor} too, or leave {name} out"
                )
            waiting.extend(parents.get(ancestor, []))
