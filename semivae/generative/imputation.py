"""Filling in what is missing of an image, and of its label: the players alternate, what is known stays as it is.

z ~ q(z | x, known label), x ~ p(x | z), and the known pixels are put back, as are the known places of a label that is a
map; after some rounds the missing ones are draws of what the model holds possible (Rezende et al. 2014 for one player
and its inverse; here both are the game's).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semivae.errors import DataError, RunError
from semivae.generative.chain import refuse_unread
from semivae.generative.features import BATCH, pictures
from semivae.runs.given import given_values
from semivae.runs.model import TrainedModel
from semivae.seeds import seeded
from semivae.text import count_of
from semivae.variables import VOID, Around, Sample


@dataclass(frozen=True)
class Imputed:
    """Images with their missing values filled in.

    Args:
        draws: float32 [n, draws, ...]: known values as given, missing ones as the decoder's mean for that draw's codes.
        mean, spread: over the draws, [n, ...]; the spread is their standard deviation, 0 where a value is known.
        labels: the draws' labels, int64 (numbers: float32) [n, draws, *shape], or None where the run has none.
    """

    draws: Tensor
    mean: Tensor
    spread: Tensor
    labels: Tensor | None

    def label_shares(self, classes: int) -> Tensor:
        """Returns the class frequencies among the draws, float32 [n, *shape, classes]."""
        assert self.labels is not None
        return torch.nn.functional.one_hot(self.labels, classes).float().mean(dim=1)


def missing_of(run: TrainedModel, masks: Tensor, count: int, given: bool = False) -> Tensor:
    """A user's masks, [1 or n, 1 or channels, height, width] in [0, 1] (tables: [.., columns]), as booleans [n, ...].

    White, above 1/2, is missing.

    Args:
        run: whose images they are for.
        masks: the masks.
        count: how many images.
        given: whether more than pixels is known: then all of them may be missing, or none.

    Raises:
        DataError: another number of masks than one or one per image, or another size; nothing or everything missing.
    """
    shape = run.canvas.shape
    missing = masks > 0.5
    if len(masks) not in (1, count):
        masks_given = count_of(len(masks), "mask", "masks")
        raise DataError(f"{masks_given} for {count_of(count, *run.nouns)}; give one for all, or one for each")
    try:
        missing = missing.expand(count, *shape)
    except RuntimeError:
        raise DataError(f"a mask has shape {list(masks.shape[1:])}, the run's {run.nouns[1]} {list(shape)}") from None
    if not given and (not missing.any() or missing.all()):
        what = "nothing" if not missing.any() else "everything"
        raise DataError(f"the mask marks {what} as missing; white is missing, black is known")
    return missing


@torch.no_grad()
def impute(
    run: TrainedModel,
    images: Tensor,
    missing: Tensor,
    given: Mapping[str, Any] | None = None,
    *,
    draws: int = 8,
    rounds: int = 50,
    seed: int = 0,
) -> Imputed:
    """Fills in the missing values, `draws` times for every image, after `rounds` rounds each.

    Args:
        run: the run.
        images: float [n, ...] as `Run.canvas` gives them: as the encoder sees them, or the network of its features.
        missing: booleans of the same shape (`missing_of`).
        given: other variables that are known: `{"y": 3}`, or one value for each image; maps may be known in part
            (`VOID` elsewhere).
        draws, rounds, seed: as said.

    Raises:
        RunError: a twin; a value that does not fit; or one that the encoder draws other variables before.
        DataError: `missing` has another shape than the images.
    """
    run.require_picture_factor()
    if missing.shape != images.shape:
        raise DataError(
            f"missing has the shape {tuple(missing.shape)} and the {run.nouns[1]} {tuple(images.shape)}; give a "
            f"boolean for every value of every {run.nouns[0]}"
        )
    refuse_unread(run)
    known = {name: given_values(run, name, value, len(images)) for name, value in (given or {}).items()}
    refuse_late(run, known)
    filled, labels = [], []
    with seeded(seed, run.device):
        for start in range(0, len(images), max(1, BATCH // draws)):
            rows = slice(start, start + max(1, BATCH // draws))
            part = {name: value[rows].repeat_interleave(draws, dim=0).to(run.device) for name, value in known.items()}
            repeated, holes = (each[rows].repeat_interleave(draws, dim=0).to(run.device) for each in (images, missing))
            final, codes = _rounds(run, repeated, holes, part, rounds)
            filled.append(final.cpu().view(-1, draws, *images.shape[1:]))
            if (label := run.roles.label_in(codes)) is not None:
                labels.append(label.cpu().view(-1, draws, *label.shape[1:]))
    all_draws = torch.cat(filled)
    spread = all_draws.std(dim=1) if draws > 1 else torch.zeros_like(all_draws[:, 0])
    return Imputed(all_draws, all_draws.mean(dim=1), spread, torch.cat(labels) if labels else None)


def _rounds(run: TrainedModel, images: Tensor, missing: Tensor, known: Sample, rounds: int) -> tuple[Tensor, Sample]:
    """After the rounds: the images with the decoder's means in the missing places, and the last codes."""
    small, holes = _as_painted(run, images, missing)
    current = torch.where(missing, _as_seen(torch.rand_like(small), images), images)
    codes: Sample = {}
    for _ in range(rounds):
        sample = _encoded(run, {run.image: run.of_pictures(current), **known})
        # features of the picture, which it may be given, stay; an image that is filled in itself is drawn
        codes = {name: value for name, value in sample.items() if name != run.image or run.shown != run.image}
        current = torch.where(missing, _as_seen(run.decoder.complete(codes)[run.shown], images), images)
    return torch.where(missing, _as_seen(pictures(run, codes, (small, holes)), images), images), codes


def _as_painted(run: TrainedModel, images: Tensor, missing: Tensor) -> Around:
    """Returns images and what is missing of them at the size that the decoder draws."""
    shape = run.recipe.variables[run.shown].shape or ()
    if images.shape[1:] == torch.Size(shape):
        return images, missing
    small = torch.nn.functional.interpolate(images, shape[1:], mode="area")
    return small, torch.nn.functional.interpolate(missing.float(), shape[1:], mode="area") > 0  # a part is enough


def _as_seen(pictures: Tensor, images: Tensor) -> Tensor:
    """Returns the decoder's pictures at the size of the images that are given, which a feature network sees."""
    if pictures.shape == images.shape:
        return pictures
    return torch.nn.functional.interpolate(pictures, images.shape[2:], mode="bilinear").clamp(0.0, 1.0)


def _encoded(run: TrainedModel, known: Sample) -> Sample:
    """Returns all variables, with the encoder's draws for unknown ones; the known part of a map stays."""
    partial = {name: value for name, value in known.items() if not value.is_floating_point() and (value == VOID).any()}
    if not partial:
        return run.encoder.complete(known)
    drawn = run.encoder.complete({name: value for name, value in known.items() if name not in partial})
    # once more, since what is drawn after a map has to heed its known places
    whole = {name: torch.where(value == VOID, drawn[name], value) for name, value in partial.items()}
    return run.encoder.complete({**known, **whole})


def refuse_late(run: TrainedModel, known: Mapping[str, Tensor]) -> None:
    """Raise `RunError` for a known variable that the encoder draws others before: they could not heed it."""
    if taken := {run.image, run.shown} & set(known):
        known_part = f"give its known part as the {run.nouns[1]}"
        raise RunError(f"{min(taken)} cannot be given here: it is what is imputed; {known_part}")
    for name in known:
        if name not in run.encoder:
            raise RunError(f"the encoder has no factor for {name}, so it cannot be held fixed; leave it out")
        before = [given.name for given in run.encoder[name].given if given.name not in (run.image, *known)]
        if before:
            raise RunError(f"{name} cannot be given without {before[0]}, which the encoder draws before it")
