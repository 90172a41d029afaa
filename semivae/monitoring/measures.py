"""Measurements while training: the label on held-out images, and what the encoder infers from the decoder's samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from semivae.data.inputs.pixels import as_model_values
from semivae.game.conditionals import Conditional, Prior
from semivae.game.players import Player
from semivae.scenario.plan import Roles
from semivae.tasks.task import LabelStatistics
from semivae.variables import Sample

SAMPLES = 512  # of the decoder, at every validation: enough to measure a fraction to 4 points, in the time of a batch


@dataclass(frozen=True)
class LabelMetrics:
    """Metrics of the label's posterior on held-out images; None if they cannot be measured.

    The names of the fields are keys of metrics.jsonl. Of a map, all fractions are fractions of the known pixels.

    Args:
        validation_error: the headline figure of the kind of label (`Headline`), such as the error rate of the most
            likely class: the lower, the better.
        validation_deviation: its standard error, if it is no fraction of wrong answers.
        confident: the fraction of images with a confidence of at least the views' threshold.
        confident_error: the error rate among those, if the headline figure is one.
        class_shares: the mean posterior, by class.
        predicted_shares: the fraction of images for which a class is the most likely one, by class.
    """

    validation_error: float | None = None
    validation_deviation: float | None = None
    confident: float | None = None
    confident_error: float | None = None
    class_shares: tuple[float, ...] = ()
    predicted_shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class SampleMetrics:
    """Metrics of the decoder's samples. The names of the fields are keys of metrics.jsonl.

    Args:
        bits: by code, a lower bound of its mutual information with what the encoder sees, in bits per sample.
        read_as_intended: the class consistency, the fraction of samples that the encoder classifies as the class that
            they were drawn for; None if it cannot be measured.
    """

    bits: Mapping[str, float] = field(default_factory=dict)
    read_as_intended: float | None = None


@contextmanager
def eval_mode(*players: Player) -> Iterator[None]:
    """Puts the players into evaluation mode, without gradients, inside the `with` block."""
    modes = [player.training for player in players]
    for player in players:
        player.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for player, mode in zip(players, modes, strict=True):
            player.train(mode)


def batch_size_for(shape: Sequence[int]) -> int:
    """Returns the batch size for measuring images [*shape]: 512 up to 32x32, smaller for larger images."""
    pixels = math.prod(shape[1:]) if len(shape) == 3 else 1
    return max(8, min(SAMPLES, SAMPLES * 32 * 32 // max(pixels, 1)))


def measure_label(
    encoder: Player, roles: Roles, part: Mapping[str, Tensor], threshold: float | None, batch: int | None = None
) -> LabelMetrics:
    """Returns metrics of the primary label's posterior on images, against their labels if `part` has them.

    Args:
        encoder: a player with a factor of the label given inputs alone.
        roles: of its variables.
        part: images [n, *shape] as bytes or in [0, 1], labels [n, *shape]; pixels labelled below 0 are void.
        threshold: the confidence threshold; None to measure no confidence.
        batch: the batch size; None for `batch_size_for`.
    """
    images, labels, (label, *_) = part[roles.image], roles.label_in(part), roles.labels
    inputs = [name for name in roles.inputs if name in part]
    batch = batch or batch_size_for(images.shape[1:])
    statistics: list[LabelStatistics] = []
    with eval_mode(encoder):
        for start in range(0, len(images), batch):
            rows = slice(start, start + batch)
            posterior = encoder[label]({name: as_model_values(part[name][rows]) for name in inputs})
            statistics.append(roles.task.measure(posterior, None if labels is None else labels[rows]))
    if not sum(len(each.confidence) for each in statistics):
        return LabelMetrics()
    confident = torch.cat([each.confidence for each in statistics]) >= (math.inf if threshold is None else threshold)
    errors, fraction = [each.errors for each in statistics if each.errors is not None], roles.task.headline.fraction
    wrong = torch.cat(errors) if errors else None
    return LabelMetrics(
        *roles.task.headline_of(statistics),
        mean_of(confident) if threshold is not None else None,
        mean_of(wrong[confident]) if wrong is not None and fraction and bool(confident.any()) else None,
        *roles.task.shares_of(statistics),
    )


def mean_of(flags: Tensor) -> float:
    """Returns the mean of values, of flags the fraction that is true, in float64."""
    return flags.cpu().double().mean().item()  # mps has no float64


# The decoder's samples -----------------------------------------------------------------------------------------------


def draw_samples(decoder: Player, roles: Roles, count: int, seed: int, known: Sample | None = None) -> Sample:
    """Draws `count` samples of all variables that the decoder can draw; labels come from its prior.

    Args:
        decoder: the player that draws.
        roles: of its variables.
        count: the number of samples.
        seed: of the draws; torch's global generator stays seeded by it.
        known: examples, whose labels [n, *shape] are drawn if the decoder has no prior of them.
    """
    torch.manual_seed(seed)
    labels = {name: known[name] for name in roles.labels if known and name in known and name not in decoder}
    given: Sample = {}
    if examples := max(map(len, labels.values()), default=0):
        rows = torch.randint(examples, (count,))
        given = {name: as_model_values(values[rows.to(values.device)]) for name, values in labels.items()}
    size = batch_size_for(decoder[roles.shown].target.shape) if roles.shown in decoder else count
    with eval_mode(decoder):
        parts = [
            decoder.complete(
                {name: value[start : start + size] for name, value in given.items()}, min(size, count - start)
            )
            for start in range(0, count, size)
        ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def measure_samples(decoder: Player, encoder: Player, roles: Roles, sample: Sample) -> SampleMetrics:
    """Returns metrics of samples that the decoder drew (`draw_samples`)."""
    count = len(next(iter(sample.values())))
    size = batch_size_for(sample[roles.image].shape[1:]) if roles.image in sample else count
    bits: dict[str, float] = {}
    consistency: list[Tensor] = []
    with eval_mode(decoder, encoder):
        for start in range(0, count, size):
            part = {name: value[start : start + size] for name, value in sample.items()}
            of_part = information_bits(decoder, encoder, roles.codes, part)
            bits = {
                name: bits.get(name, 0.0) + value * min(size, count - start) / count for name, value in of_part.items()
            }
            images = mean_images(decoder, roles, part)
            if images is not None and roles.image_label in part:
                consistency.append(class_consistency(encoder, roles, images, part[roles.image_label]))
    return SampleMetrics(bits, mean_of(torch.cat(consistency)) if consistency else None)


def mean_images(decoder: Player, roles: Roles, sample: Sample) -> Tensor | None:
    """Returns the decoder's picture of each sample, [n, *shape]; None if it could not draw label and image."""
    if roles.image not in sample or roles.label not in sample:
        return None
    with eval_mode(decoder):
        return decoder[roles.image].picture(sample)


def class_consistency(encoder: Player, roles: Roles, images: Tensor, intended: Tensor) -> Tensor:
    """Returns for each image (or known pixel) how well its label agrees with the intended one, [n] from 0 to 1."""
    label, *_ = roles.labels
    with eval_mode(encoder):
        return roles.task.consistency(encoder[label]({roles.image: images}), intended)


def information_bits(decoder: Player, encoder: Player, codes: Iterable[str], sample: Sample) -> dict[str, float]:
    """Returns the information that the encoder recovers of each code, in bits per sample.

    It is E[log2 q(code | ...) - log2 p(code | ...)] over samples of the decoder, a lower bound of the mutual
    information between the code and what the encoder sees (Barber and Agakov 2003). 0 means a collapsed code. Codes
    without a prior in the decoder, and those whose dependants it cannot draw, are left out.
    """
    bits = {}
    for name in codes:
        both = name in encoder and name in decoder
        if not both or not encoder[name].parents.union({name}).issubset(sample):
            continue
        gain = encoder.log_prob(sample, [name])[name] - decoder.log_prob(sample, [name])[name]
        bits[name] = gain.mean().item() / math.log(2.0)
    return bits


# Priors --------------------------------------------------------------------------------------------------------------


def prior_frequencies(decoder: Player, roles: Roles) -> tuple[float, ...]:
    """Returns the decoder's p(label) by class, of a map its mean over the pixels; empty without such a prior."""
    label = roles.label
    if label not in decoder.names or decoder[label].given:
        return ()
    return roles.task.prior_frequencies(decoder[label]({}))


def capacity(prior: Conditional) -> float:
    """Returns the largest number of bits that a code can carry: the entropy of its prior, or of uniform values if the
    prior depends on other variables.
    """
    if prior.target.family != "bernoulli" and not prior.target.has_classes:
        return math.inf
    if isinstance(prior, Prior):
        entropy: float = prior({}).entropy().sum().item()
        return entropy / math.log(2.0)
    return math.prod(prior.target.shape) * math.log2(prior.target.classes or 2)
