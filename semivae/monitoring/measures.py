"""What is measured while training: the label on held-out images, what the encoder reads in the decoder's samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from semivae.data.inputs.pixels import as_model_values
from semivae.game.conditionals import Conditional
from semivae.game.plan import Plan
from semivae.game.players import Player
from semivae.monitoring.failures import Gate, Setting
from semivae.recipe import Recipe
from semivae.recipe.schema import LossWeight, PairOfViews, StreamSpec
from semivae.scenario.plan import Roles
from semivae.tasks.task import Examined
from semivae.variables import Sample

SAMPLES = 512  # of the decoder's, at every validation: a share of them is known to 4 points, in the time of one batch


@dataclass(frozen=True)
class LabelFindings:
    """What the label's posterior does on held-out images; shares are fractions, None where it cannot be measured.

    Args:
        validation_error: share of the labels that are not the most likely class.
        confident: share of the images (of a map: of its places) labelled with at least the views' threshold.
        confident_error: error among those.
        class_shares: mean posterior, by class.
        predicted_shares: share of the images for which a class is the most likely one.
    """

    validation_error: float | None = None
    confident: float | None = None
    confident_error: float | None = None
    class_shares: tuple[float, ...] = ()
    predicted_shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class SampleFindings:
    """What the encoder finds in the decoder's samples: bits in use by code, share of labels read as intended."""

    bits: Mapping[str, float] = field(default_factory=dict)
    read_as_intended: float | None = None


@contextmanager
def evaluating(*players: Player) -> Iterator[None]:
    """Inside, the players are in evaluation mode and need no gradients: nothing is dropped out of a network."""
    modes = [player.training for player in players]
    for player in players:
        player.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for player, mode in zip(players, modes, strict=True):
            player.train(mode)


def at_a_time(shape: Sequence[int]) -> int:
    """How many images [*shape] are examined at once: 512 up to 32x32, fewer of larger ones, whose grids take memory."""
    places = math.prod(shape[1:]) if len(shape) == 3 else 1
    return max(8, min(SAMPLES, SAMPLES * 32 * 32 // max(places, 1)))


def examine_label(
    encoder: Player, roles: Roles, part: Mapping[str, Tensor], threshold: float | None, batch: int | None = None
) -> LabelFindings:
    """The primary label's posterior on images, and against their labels where `part` has them.

    Args:
        encoder: with a factor of the label given inputs alone.
        roles: of its variables.
        part: images [n, *shape] as bytes or in [0, 1], labels [n, *shape]; places of a map labelled below 0 are void.
        threshold: of the views; None: confidence is not measured.
        batch: images at a time; None: as `at_a_time` says.
    """
    images, known, (label, *_) = part[roles.image], roles.label_in(part), roles.labels
    inputs = [name for name in roles.inputs if name in part]
    batch = batch or at_a_time(images.shape[1:])
    found: list[Examined] = []
    with evaluating(encoder):
        for start in range(0, len(images), batch):
            rows = slice(start, start + batch)
            posterior = encoder[label]({name: as_model_values(part[name][rows]) for name in inputs})
            found.append(roles.task.examine(posterior, None if known is None else known[rows]))
    if not (count := sum(len(each.confidence) for each in found)):
        return LabelFindings()
    confident = torch.cat([each.confidence for each in found]) >= (math.inf if threshold is None else threshold)
    errors = [each.errors for each in found if each.errors is not None]
    wrong = torch.cat(errors) if errors else None
    return LabelFindings(
        None if wrong is None else share_of(wrong),
        share_of(confident) if threshold is not None else None,
        share_of(wrong[confident]) if wrong is not None and bool(confident.any()) else None,
        tuple((torch.stack([each.mass for each in found]).sum(dim=0) / count).tolist()),
        tuple((torch.stack([each.counts for each in found]).sum(dim=0) / count).tolist()),
    )


def share_of(flags: Tensor) -> float:
    return flags.cpu().double().mean().item()  # mps has no float64


# The decoder's samples -----------------------------------------------------------------------------------------------


def draw_samples(decoder: Player, roles: Roles, count: int, seed: int, known: Sample | None = None) -> Sample:
    """`count` samples of all that the decoder can draw; labels come from its prior.

    Args:
        decoder: the player that draws.
        roles: of its variables.
        count: how many.
        seed: of the draws; torch's global generator is left seeded by it.
        known: examples whose labels [n, *shape] are drawn where the decoder has no prior of them.
    """
    torch.manual_seed(seed)
    lacking = {name: known[name] for name in roles.labels if known and name in known and name not in decoder}
    given: Sample = {}
    if examples := max(map(len, lacking.values()), default=0):
        rows = torch.randint(examples, (count,))
        given = {name: values[rows.to(values.device)].long() for name, values in lacking.items()}
    size = at_a_time(decoder[roles.image].target.shape) if roles.image in decoder else count
    with evaluating(decoder):
        parts = [
            decoder.complete(
                {name: value[start : start + size] for name, value in given.items()}, min(size, count - start)
            )
            for start in range(0, count, size)
        ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def examine_samples(decoder: Player, encoder: Player, roles: Roles, sample: Sample) -> SampleFindings:
    """What the encoder finds in samples that the decoder drew (`draw_samples`)."""
    count = len(next(iter(sample.values())))
    size = at_a_time(sample[roles.image].shape[1:]) if roles.image in sample else count
    bits: dict[str, float] = {}
    read: list[Tensor] = []
    with evaluating(decoder, encoder):
        for start in range(0, count, size):
            part = {name: value[start : start + size] for name, value in sample.items()}
            of_part = bits_in_use(decoder, encoder, roles.codes, part)
            bits = {
                name: bits.get(name, 0.0) + value * min(size, count - start) / count for name, value in of_part.items()
            }
            images = mean_images(decoder, roles, part)
            if images is not None and roles.read in part:
                read.append(read_as_intended(encoder, roles, images, part[roles.read]))
    return SampleFindings(bits, share_of(torch.cat(read)) if read else None)


def mean_images(decoder: Player, roles: Roles, sample: Sample) -> Tensor | None:
    """The decoder's mean image of each sample, [n, *shape]; None where it could not draw label and image."""
    if roles.image not in sample or roles.label not in sample:
        return None
    with evaluating(decoder):
        images: Tensor = decoder[roles.image](sample).mean
    return images


def read_as_intended(encoder: Player, roles: Roles, images: Tensor, intended: Tensor) -> Tensor:
    """How right the label is read off each image (or place), [n] from 0 to 1; void places are left out."""
    label, *_ = roles.labels
    with evaluating(encoder):
        errors = roles.task.examine(encoder[label]({roles.image: images}), intended).errors
    assert errors is not None
    return 1.0 - errors.double()


def bits_in_use(decoder: Player, encoder: Player, codes: Iterable[str], sample: Sample) -> dict[str, float]:
    """Information that the encoder recovers of each code, in bits per sample.

    E[log2 q(code | ...) - log2 p(code | ...)] over samples that the decoder drew: a lower bound on the mutual
    information of the code and what the encoder sees (Barber and Agakov 2003). 0 means a collapsed code. Codes that the
    decoder cannot draw with all that depends on them, because a prior is known only by samples, are left out.
    """
    bits = {}
    for name in codes:
        both = name in encoder and name in decoder
        if not both or not {name, *(given.name for given in encoder[name].given)} <= set(sample):
            continue
        gain = encoder.log_prob(sample, [name])[name] - decoder.log_prob(sample, [name])[name]
        bits[name] = gain.mean().item() / math.log(2.0)
    return bits


# What the warnings must know -----------------------------------------------------------------------------------------


def setting_of(
    recipe: Recipe,
    roles: Roles,
    plan: Plan,
    decoder: Player,
    part: Mapping[str, Tensor],
    classes: Sequence[str],
) -> Setting:
    """A resolved recipe, as the rules for warnings see it.

    Args:
        recipe: resolved.
        roles: of its variables.
        plan: who learns what.
        decoder: as it is now; a learned prior says which class shares to expect.
        part: the images that the label's posterior is measured on; their labels, where there are any, say so better.
        classes: names of the label's classes.
    """
    streams = recipe.streams
    starts = [
        weight.start
        for stream in streams.values()
        for weight in stream.loss_weights.values()
        if isinstance(weight, LossWeight)
    ]
    prior, labels = prior_shares(decoder, roles), roles.label_in(part)
    labelled = labels is not None and len(labels) > 0
    shares = roles.task.label_shares(labels, len(classes)) if labels is not None and labelled else prior
    image = recipe.variables[roles.image]
    return Setting(
        steps=recipe.training.steps,
        begins=max(starts, default=0.0),
        image=roles.image,
        label=roles.label,
        capacity={name: capacity(decoder[name]) for name in roles.codes if name in decoder},
        noisy_image=image.complete_with == "sample" and image.family != "categorical",
        gates=gates_in(recipe),
        label_teachers=tuple(
            lesson.stream
            for lesson in plan.of("encoder")
            if lesson.draws and not lesson.self_training and roles.label in lesson.scores
        ),
        judged=len(part[roles.image]) if roles.image in part else 0,
        labelled_judged=labelled,
        expected=shares,
        classes=tuple(classes),
        chance=max(prior or shares, default=0.0),
        samples=SAMPLES,
    )


def gates_in(recipe: Recipe) -> tuple[Gate, ...]:
    """What holds back labels of all unlabelled streams."""
    return tuple(gate for name, stream in recipe.streams.items() for gate in gates_of(name, stream))


def gates_of(name: str, stream: StreamSpec) -> Iterator[Gate]:
    """What holds back labels of an unlabelled stream: its pair of views, else the vote that makes its own lesson."""
    if isinstance(stream.views, PairOfViews):
        soft = stream.views.temperature is not None
        yield Gate(name, stream.views.threshold, f"streams.{name}.views.threshold", soft)
    elif stream.vote is not None:
        yield Gate(name, stream.vote.threshold, f"streams.{name}.vote.threshold")


def prior_shares(decoder: Player, roles: Roles) -> tuple[float, ...]:
    """The decoder's p(label), [classes], mean over a map's places; empty where it has no such prior."""
    label = roles.label
    if label not in decoder.names or decoder[label].given:
        return ()
    return roles.task.prior_shares(decoder[label]({}))


def capacity(prior: Conditional) -> float:
    """The most bits that a code can carry: the entropy of its prior, or of fair values where it is given others."""
    if prior.target.family not in ("bernoulli", "categorical"):
        return math.inf
    if not prior.given:
        entropy: float = prior({}).entropy().sum().item()
        return entropy / math.log(2.0)
    return math.prod(prior.target.shape) * math.log2(prior.target.classes or 2)
