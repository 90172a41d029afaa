"""Calibration: a temperature, and a weight of the decoder's vote, by least NLL on a run's validation images.

    log p(y | x) = log q(y | x) / temperature + strength * vote(y) + constant

Temperature scaling is Guo et al., ICML 2017. In (1 / temperature, strength) the NLL is convex, so there is one answer.
Where the label has places, one temperature serves all of them, and each counts as an example.
The numbers are kept in the run's folder, with the checksum of the checkpoint that they belong to, so that the data are
needed once only. Validation images choose, test images never do.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from semivae.classification.more_validation import more_validation
from semivae.classification.posterior import Floats, encoder_log_posterior, vote_of_decoder
from semivae.data.splits import recorded_counts
from semivae.errors import DataError, RunError
from semivae.runs.folder import SPLIT_FILE, read_calibrations, write_calibrations
from semivae.runs.model import TrainedModel
from semivae.text import count_of

LARGEST_PART = 20_000_000  # probabilities of places that are looked at; that many settle one number
LEAST_WEIGHT = 0.01  # of the encoder: a temperature of at most 100


@dataclass(frozen=True)
class Calibration:
    """A temperature and the strength of the decoder's vote, and how they were chosen.

    Attributes:
        temperature: above 1 if the encoder was overconfident.
        strength: weight of the decoder's vote, 0 or more.
        draws: codes drawn for each image and class in the vote; 0 without a vote.
        count: validation images that it was chosen on; 0 if nothing was chosen.
        nll_before, nll: on those images, nats per image (of maps: per pixel), before and after the
            calibration.
    """

    temperature: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0  # bounds: of what a folder holds
    strength: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    draws: Annotated[int, Field(ge=0)] = 0
    count: Annotated[int, Field(ge=0)] = 0
    nll_before: Annotated[float, Field(allow_inf_nan=False)] | None = None
    nll: Annotated[float, Field(allow_inf_nan=False)] | None = None

    def apply(self, terms: Sequence[Floats]) -> Floats:
        """Returns log p(y | x), (n, K) or (n, K, H, W), from log q(y | x) and, if `draws` is positive, the vote."""
        weights = (1.0 / self.temperature, self.strength)[: len(terms)]
        scores = np.asarray(weighted(terms, weights), dtype=np.float64)
        return torch.from_numpy(scores).log_softmax(1).numpy()


def calibration_of(run: TrainedModel, draws: int = 0) -> Calibration:
    """Returns the calibration of a run's checkpoint: the one stored in its folder, or else a new one, then stored.

    Args:
        run: the run, at the checkpoint in question.
        draws: codes drawn for each image and class in the decoder's vote; 0 for the temperature alone.

    Raises:
        RunError: fewer than 50 validation images (8 with maps), or no vote can be taken.
        DataError: nothing is kept, and the data set to choose on cannot be read.
    """
    digest = checkpoint_digest(run)
    kept = read_calibrations(run.path)
    for entry in kept:
        if entry.get("checkpoint_sha256") == digest and entry.get("draws") == draws:
            with contextlib.suppress(ValidationError):  # a damaged entry is chosen again
                return TypeAdapter(Calibration).validate_python(entry)
    chosen = choose_calibration(run, draws)
    entry = {"checkpoint": run.checkpoint, "checkpoint_sha256": digest, **asdict(chosen)}
    write_calibrations(run.path, [*(old for old in kept if not _is_replaced(old, entry)), entry])
    return chosen


def _is_replaced(old: dict[str, Any], entry: dict[str, Any]) -> bool:
    """Returns whether a new entry replaces an old one: the checkpoint has changed, or both calibrate the same.

    Entries without draws are no calibrations, but what `Classifier.chosen` keeps.
    """
    same = old.get("checkpoint_sha256") == entry["checkpoint_sha256"]
    return old.get("checkpoint") == entry["checkpoint"] and (not same or old.get("draws") == entry["draws"])


def choose_calibration(run: TrainedModel, draws: int = 0) -> Calibration:
    """Returns a calibration as `calibration_of` does, but always chosen anew, and not kept."""
    if (counts := recorded_counts(run.path / SPLIT_FILE)) is not None:
        refuse_few_validation_images(run, counts)  # before the data are read, which may take minutes
    try:
        dataset = run.dataset()
        split = run.split()
    except DataError as error:
        raise DataError(
            f"{run.path}: no calibration is kept for this checkpoint, and the data set to choose it on cannot be read; "
            f"run `semivae evaluate {run.path} --calibrate` once where the data are:\n{error}"
        ) from error
    rows = split.validation
    refuse_few_validation_images(run, (len(split.labelled), len(split.unlabelled), len(rows)))
    least = run.task.fewest_to_calibrate
    places = math.prod(run.recipe.variables[run.label].shape or ())
    most = max(least, LARGEST_PART // (places * len(run.classes)))
    rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), most)).round().long()]
    images, labels = run.examples(dataset.train)[rows], np.asarray(dataset.train[run.label][rows])
    terms = [encoder_log_posterior(run, images)]
    if draws:
        terms.append(vote_of_decoder(run, images, draws))
    terms, labels = known_places(terms, labels)
    if not len(labels):
        raise RunError(
            f"{run.path}: {run.label} is void everywhere on the validation {run.nouns[1]}; nothing can be calibrated"
        )
    weights = least_nll(terms, labels)
    return Calibration(
        temperature=1.0 / weights[0],
        strength=weights[1] if draws else 0.0,
        draws=draws,
        count=len(rows),
        nll_before=nll_of(terms[0], labels),
        nll=nll_of(weighted(terms, weights), labels),
    )


def refuse_few_validation_images(run: TrainedModel, counts: tuple[int, int, int]) -> None:
    """Raises RunError if a run has too few validation images for a calibration, with advice that its data allow.

    Args:
        run: the run.
        counts: of labelled, unlabelled and validation examples; the labels of all three are known.
    """
    least = run.task.fewest_to_calibrate
    if counts[2] < least:
        advice = more_validation(run, least, 4 * least, "go without calibration and vote", counts)
        raise RunError(
            f"{run.path}: the split keeps {count_of(counts[2], *run.nouns)} for validation, and a calibration needs "
            f"{least} or more; {advice}"
        )


def known_places(terms: Sequence[Floats], labels: NDArray[np.int64]) -> tuple[list[Floats], NDArray[np.int64]]:
    """Terms (n, K, ...) of labels (n, ...) as (places, K) and (places,), without void places."""
    known = labels >= 0
    return [np.moveaxis(term, 1, -1)[known] for term in terms], labels[known]


def least_nll(terms: Sequence[Floats], labels: NDArray[np.int64]) -> list[float]:
    """Weights of `terms`, each (n, K) in nats, for which softmax(sum of weight * term) has the least NLL on `labels`.

    The first weight is at least 0.01, the others are not negative. A penalty of half the squared distance from weights
    that change nothing, as much as a Gaussian prior, is added to the sum over the images: next to 50 of them it says
    nothing, but a part without a mistake would else make the answer infinitely sure.
    """
    from scipy.optimize import minimize  # importing it takes a while
    from scipy.special import logsumexp, softmax

    labels = np.asarray(labels, dtype=np.int64)
    scales = np.array([1.0, *(spread(term) for term in terms[1:])])
    neutral = np.array([1.0, *(0.0 for _ in terms[1:])])
    stack = np.stack([term / scale for term, scale in zip(terms, scales, strict=True)])
    right = np.take_along_axis(stack, labels[None, :, None], axis=2)[..., 0].sum(axis=1)

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = np.tensordot(weights, stack, axes=1)
        value = logsumexp(scores, axis=1).sum() - weights @ right
        gradient = (stack * softmax(scores, axis=1)).sum(axis=(1, 2)) - right
        distance = weights - neutral
        return float(value + 0.5 * distance @ distance) / len(labels), (gradient + distance) / len(labels)

    bounds = [(LEAST_WEIGHT, None), *((0.0, None) for _ in terms[1:])]
    found = minimize(loss, neutral, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-8})
    return [float(weight / scale) for weight, scale in zip(found.x, scales, strict=True)]


def spread(term: Floats) -> float:
    """Standard deviation over the classes, so that weights of votes on small and large images are alike; never 0."""
    return float((term - term.mean(axis=1, keepdims=True)).std()) or 1.0


def weighted(terms: Sequence[Floats], weights: Sequence[float]) -> Floats:
    return sum((weight * term for weight, term in zip(weights, terms, strict=True)), start=np.zeros_like(terms[0]))


def nll_of(scores: Floats, labels: NDArray[np.int64]) -> float:
    """Mean of -log softmax(scores)[label], nats per image."""
    from scipy.special import log_softmax  # importing it takes a while

    return float(-log_softmax(scores, axis=1)[np.arange(len(labels)), labels].mean())


def checkpoint_digest(run: TrainedModel) -> str:
    """SHA-256 (hex) of the checkpoint's file."""
    with (run.path / f"{run.checkpoint}.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
