"""A run's posterior of the label: the encoder's log q(y | x), and the decoder's vote.

A class is a map without places: arrays are [n, K] or [n, K, height, width] alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from semivae.data.ahead import is_slow, one_ahead
from semivae.data.inputs.pieces import AnyExamples, Pieces, in_batches
from semivae.errors import DataError, RunError
from semivae.game.conditionals import NetworkConditional
from semivae.game.players import Player
from semivae.game.teaching.vote import decoder_vote
from semivae.runs.given import given_values
from semivae.runs.model import TrainedModel
from semivae.seeds import seeded
from semivae.tasks.task import reason
from semivae.text import join_names
from semivae.variables import Sample

Floats = NDArray[np.float64]

ROWS = 8192  # of codes and images that the decoder's vote holds at a time
IMAGES = 512  # at a time through the encoder
PROBABILITIES = 5_000_000  # at a time, of all classes at all places


def label_factor(run: TrainedModel) -> NetworkConditional:
    """q(label | image), the classifier of a run.

    Raises:
        RunError: the run is unsupervised, or its label depends on more than the image.
    """
    factor = run.encoder[run.label]
    given = [variable.name for variable in factor.given]
    if not set(given) <= set(run.roles.inputs) or not isinstance(factor, NetworkConditional):
        needed = " and ".join(run.roles.inputs)
        raise RunError(
            f"{run.path}: the encoder's {run.label} is given {', '.join(given)}; a classifier needs {needed} alone"
        )
    return factor


def batches(run: TrainedModel, images: AnyExamples, batch: int | None = None) -> Iterator[Sample]:
    """Inputs as the model takes them, in parts: by input, float32 on its device.

    What is not in memory is read one part ahead: pieces of many files, and arrays on a disk or another device.

    Args:
        run: the run.
        images: as `TrainedModel.read` gives them, or in pieces.
        batch: rows of a part; None: `IMAGES`.

    Raises:
        DataError: an input is missing or has another shape than the run's, or there are none; or pieces that cannot
            be read.
    """
    chunks = in_batches(images, batch or IMAGES)
    if isinstance(images, Pieces):
        yield from map(run.values, chunks)
        return
    parts = {run.image: images} if isinstance(images, Tensor) else images.parts
    if lacking := [name for name in run.roles.inputs if name not in parts]:
        raise DataError(f"{run.path} starts from {' and '.join(run.roles.inputs)}; give {join_names(lacking)} too")
    for name in run.roles.inputs:
        shape = run.recipe.variables[name].shape
        if tuple(parts[name].shape[1:]) != shape or not len(parts[name]):
            raise DataError(
                f"{run.path} expects {name} of shape (n, {', '.join(map(str, shape or ()))}); given "
                f"{tuple(parts[name].shape)}"
            )
    slow = any(is_slow(part, run.device) for part in parts.values())
    yield from one_ahead(run.values, chunks) if slow else map(run.values, chunks)


def beside(parts: Iterable[Tensor], labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields each part of answers [n, ...] with its labels, of all labels in order."""
    start = 0
    for part in parts:
        yield part, labels[start : start + len(part)]
        start += len(part)


def refuse_by_kind(run: TrainedModel, **options: Any) -> None:
    """Raise `RunError` if an option is asked for that the kind of the run's label refuses."""
    for name, value in options.items():
        asked = value is not None and value is not False
        if asked and (why := reason(run.task, name, run.roles.label)):
            raise RunError(f"{run.path}: {why}; leave it out")


def at_a_time(run: TrainedModel) -> int:
    """Returns the batch size, which is smaller if a label has many pixels."""
    numbers = math.prod(run.encoder[run.label].target.parameter_shape)
    return max(1, min(IMAGES, PROBABILITIES // numbers))


@torch.no_grad()
def label_parameters(run: TrainedModel, images: AnyExamples, batch: int | None = None) -> Iterator[Tensor]:
    """Parameters of q(label | image) of images (n, C, H, W) in parts, float64 [n, *parameter_shape] on the CPU.

    Args:
        run: the run.
        images: bytes or floats in [0, 1].
        batch: images in a part; None: as `at_a_time` says.

    Raises:
        DataError: the images' shape is not the run's.
        RunError: the label depends on more than the image.
    """
    factor = label_factor(run)
    for chunk in batches(run, images, batch or at_a_time(run)):
        yield factor.parameters_of(chunk).cpu().double()


def encoder_log_posterior(run: TrainedModel, images: AnyExamples, batch: int | None = None) -> Floats:
    """log q(label | image) of images (n, C, H, W), float64 (n, K, ...), nats, as `Task.log_posterior` lays it out."""
    parts = [run.task.log_posterior(parameters) for parameters in label_parameters(run, images, batch)]
    return np.asarray(torch.cat(parts), dtype=np.float64)


def vote_of_decoder(run: TrainedModel, images: AnyExamples, draws: int) -> Floats:
    """Returns the decoder's vote on images (n, C, H, W): log p(x | y) up to a constant per image, float64 (n, K), nats.

    Repeatable: the codes are drawn from a fixed seed, and torch's global generator is left alone.

    Raises:
        RunError: the run has no decoder, its decoder cannot score the image and the codes, or the vote is not finite.
    """
    refuse_without_vote(run)
    classes = len(run.classes)
    parts = []
    with seeded(0, run.device):
        for chunk in batches(run, images, max(1, ROWS // (classes * draws))):
            vote = decoder_vote(run.decoder, run.encoder, chunk, run.label, classes, draws).cpu().double()
            parts.append(vote - vote.amax(1, keepdim=True))  # the image's own constant plays no part
    votes = np.asarray(torch.cat(parts), dtype=np.float64)
    if not np.isfinite(votes).all():
        raise RunError(f"{run.path}: the decoder's vote is not finite for some {run.nouns[1]}; classify without it")
    return votes


def refuse_without_vote(run: TrainedModel) -> None:
    """Raise `RunError` if the run's decoder cannot vote on the label of an image."""
    run.require_decoder()
    run.require_one_input("the vote")
    missing = [name for name in (run.image, *run.codes) if name not in run.decoder]
    if missing:
        raise RunError(
            f"{run.path}: the decoder has no probability of {', '.join(missing)} (known by samples only), so it cannot "
            "vote; classify without its vote"
        )
    order = list(run.encoder.names)
    if early := [name for name in order[: order.index(run.label)] if name in run.codes]:
        raise RunError(f"{run.path}: the encoder draws {', '.join(early)} before {run.label}, so no vote can be taken")


@torch.no_grad()
def any_posterior(run: TrainedModel, name: str, observed: Mapping[str, Any]) -> Distribution:
    """q(name | observed) of any variable, as a torch distribution with one batch entry per sample.

    Args:
        run: the trained model.
        name: a variable that the encoder has a factor for.
        observed: its parents' values, for example x=images, y=3; absent ones are drawn. Beside the images, values are
            given as for `sample`.

    Raises:
        RunError: no such factor, a value that does not fit its variable, or no images.
    """
    if name not in run.encoder:
        raise RunError(f"the encoder has no factor for {name}; it has {', '.join(run.encoder.names)}")
    if lacking := [key for key in run.roles.inputs if key not in observed]:
        raise RunError(f"posterior of {name}: give {lacking[0]}=..., the encoder starts from it")
    inputs = observed[run.image] if not run.roles.further else {key: observed[key] for key in run.roles.inputs}
    sample = run.values(run.read_all(inputs)[0])
    count = len(sample[run.image])
    sample |= {
        key: given_values(run, key, value, count).to(run.device)
        for key, value in observed.items()
        if key not in run.roles.inputs
    }
    # only the parents are drawn: what comes after `name` plays no part
    order = list(run.encoder.names)
    parents = Player([run.encoder[parent] for parent in order[: order.index(name)]])
    distribution: Distribution = run.encoder[name](parents.complete(sample))
    return distribution


@torch.no_grad()
def embed(run: TrainedModel, images: AnyExamples, batch: int | None = None) -> NDArray[np.float32]:
    """Returns the features below the classifier's last layer, float32 (n, D), as the part `features` of an export.

    Images are (n, C, H, W), bytes or floats in [0, 1], or in pieces.

    Raises:
        RunError: the label depends on more than the image.
        DataError: the images' shape is not the run's.
    """
    factor = label_factor(run)
    parts = [factor.features(chunk).cpu() for chunk in batches(run, images, batch)]
    return np.asarray(torch.cat(parts), dtype=np.float32)
