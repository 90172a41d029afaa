"""The limiting chain: z ~ q(z | x), x ~ p(x | z), again and again (docs/method.md, "Hierarchies").

If encoder and decoder agree, the chain leaves the model's distribution of images as it is; what it drifts to shows how
far they do not. Many chains run side by side, as one batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from semivae.data.hashing import random_subset
from semivae.errors import RunError
from semivae.generative.features import BATCH, FeatureSpace, pictures
from semivae.generative.prior_samples import prior_samples
from semivae.generative.scores import Features, frechet_distance
from semivae.runs.model import TrainedModel
from semivae.seeds import seeded
from semivae.variables import Sample

Start = Literal["random", "data", "model"]
STARTS: tuple[Start, ...] = get_args(Start)


@dataclass(frozen=True)
class Round:
    """The state of all chains after some number of rounds.

    Args:
        number: the number of rounds; 0 is the start.
        images: pictures, float32 [chains, ...] on the CPU.
        bits: mean of log2 q(code | ...) - log2 p(code | ...) by code, bits; empty at the start.
        counts: chains by the class that the encoder drew; empty at the start, or if a chain has no single class.
    """

    number: int
    images: Tensor
    bits: dict[str, float]
    counts: list[int]


def usual_rounds(last: int) -> tuple[int, ...]:
    """0, 1, 2, 5, 10, 20, 50, ... up to `last`, and `last`."""
    found = [0, *(step * 10**power for power in range(len(str(last))) for step in (1, 2, 5))]
    return tuple(sorted({number for number in found if number < last} | {last}))


@torch.no_grad()
def run_chains(run: TrainedModel, start: Start, count: int, look_at: Sequence[int], seed: int) -> Iterator[Round]:
    """Runs `count` chains, and yields them after each of the rounds in `look_at`, in order.

    Raises:
        RunError: a twin, a decoder without images, a code that the encoder cannot draw, or a start from the model that
            has no prior to draw from.
    """
    run.require_image_factor()
    run.require_picture_factor()
    refuse_unread(run)
    last = max(look_at)
    with seeded(seed, run.device):
        images, shown = start_of(run, start, count, seed)
        if 0 in look_at:
            yield Round(0, shown.cpu(), {}, [])
        for number in range(1, last + 1):
            looks = number in look_at
            parts = [one_round(run, chunk, looks) for chunk in torch.split(images, BATCH)]
            images = torch.cat([drawn for drawn, _ in parts])
            if looks:
                yield _joined(number, [found for _, found in parts if found is not None])


def one_round(run: TrainedModel, images: Tensor, looks: bool) -> tuple[Tensor, Round | None]:
    """Returns the next images of the chains (draws or means, as in training), and, if `looks`, their measurements."""
    sample = run.encoder.complete({run.image: images})
    codes = {name: value for name, value in sample.items() if name != run.image}
    drawn = run.decoder.complete(codes)[run.image]
    if not looks:
        return drawn, None
    labels = run.roles.label_in(codes)
    counts = [] if labels is None else run.task.class_counts(labels.cpu(), len(run.classes))
    shown = pictures(run, {**codes, run.image: drawn})  # the picture may be given its features
    return drawn, Round(0, shown.cpu(), _bits(run, sample), counts)


def _bits(run: TrainedModel, sample: Sample) -> dict[str, float]:
    names = [name for name in run.codes if name in run.encoder and name in run.decoder and name in sample]
    ours, theirs = run.encoder.log_prob(sample, names), run.decoder.log_prob(sample, names)
    return {name: float((ours[name] - theirs[name]).sum()) / math.log(2.0) for name in names}


def _joined(number: int, parts: Sequence[Round]) -> Round:
    count = sum(len(part.images) for part in parts)
    bits = {name: sum(part.bits[name] for part in parts) / count for name in parts[0].bits}
    counts = [sum(column) for column in zip(*(part.counts for part in parts), strict=True)]
    return Round(number, torch.cat([part.images for part in parts]), bits, counts)


def start_of(run: TrainedModel, start: Start, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Returns the first images, on the run's device and as pictures: noise, test images or samples of the decoder."""
    if start == "data":
        test = random_subset(run.dataset().test[run.image], count, seed)
        rows = torch.arange(count) % len(test)  # more chains than images: some start alike
        images = run.inputs.values(test[rows].to(run.device))
        if run.shown == run.image:
            return images, images
        beside = random_subset(run.dataset().test[run.shown], count, seed)  # of the same rows
        return images, run.shown_inputs.values(beside[rows])
    if start == "model":
        drawn = run.decoder.complete(prior_samples(run, count, {}), count)
        return drawn[run.image], pictures(run, drawn)
    shape = run.recipe.variables[run.image].shape or ()
    noise = torch.rand((count, *shape), device=run.device)
    family = run.recipe.variables[run.image].family
    images = {"bernoulli": noise.round(), "gaussian": torch.randn_like(noise)}.get(family, noise)
    if run.shown == run.image:
        return images, run.inputs.as_shown(images)
    return images, pictures(run, run.encoder.complete({run.image: images}))


def refuse_unread(run: TrainedModel) -> None:
    """Raises `RunError` if the encoder has several inputs, or does not draw a variable that the decoder needs."""
    run.require_one_input("a round of encoder and decoder")
    needed = {given.name for name in run.decoder.names for given in run.decoder[name].given}
    unread = sorted(name for name in needed if name not in run.encoder and name != run.image)
    if unread:
        raise RunError(f"{run.path}: the encoder has no factor for {', '.join(unread)}, so no chain can run")


def drift(
    run: TrainedModel,
    start: Start,
    rounds: Sequence[Round],
    space: FeatureSpace | None = None,
    reference: Features | None = None,
) -> dict[str, Any]:
    """A chain's curve as plain numbers: per look the bits, the shares of the labels, the distance to the reference.

    Labels are those that `space` reads off the pictures, or that the encoder drew where there are no features.
    """
    curve = []
    for state in rounds:
        row: dict[str, Any] = {"round": state.number, "bits": state.bits}
        counts = state.counts
        if space is not None and reference is not None:
            row["frechet"] = frechet_distance(reference, space(state.images))
            counts = space.class_counts(state.images)
        if counts:
            row["labels"] = (torch.tensor(counts) / sum(counts)).tolist()
        curve.append(row)
    return {"start": start, "curve": curve}
