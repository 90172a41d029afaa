"""How many of the unlabelled examples are strangers: as a recipe says, or estimated from its data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.hashing import random_subset
from semivae.data.mixture import rest_share
from semivae.data.splits import Split
from semivae.data.values import known_weights, with_strangers
from semivae.errors import DataError
from semivae.recipe.schema import Factor, ProbabilitiesSpec, Recipe, VariableSpec
from semivae.scenario.plan import roles_of
from semivae.seeds import seeded

LEAST, MOST = 0.01, 0.9  # of an estimated share: a class that is never aligned to is never found
EXAMPLES = 4000  # unlabelled ones, at most, by which a share is estimated
NUMBERS = 50_000_000  # at a time, of all these examples
COMPONENTS = 256  # of the examples, at most
UNKNOWN = 0.1  # share that stands in where only shapes matter


def with_shares(recipe: Recipe, dataset: Dataset, split: Split | None, data_root: Path | None) -> Recipe:
    """Returns a resolved recipe in which the shares of strangers are numbers, and priors of known classes hold them.

    Args:
        recipe: the recipe.
        dataset: its data, prepared by the kinds of its labels.
        split: their split; None: nothing is estimated, because only shapes matter.
        data_root: where relative paths of `values` files start; None is the usual data root.

    Raises:
        DataError: no example is unlabelled, or the streams know no frequencies of the classes.
    """
    variables, decoder = dict(recipe.variables), dict(recipe.decoder)
    for name, spec in recipe.variables.items():
        if spec.strangers is None:
            continue
        share = spec.strangers.share
        if share == "estimate":
            share = UNKNOWN if split is None else estimated_share(recipe, name, dataset, split, data_root)
        variables[name] = spec.model_copy(update={"strangers": spec.strangers.model_copy(update={"share": share})})
        if name in decoder:
            decoder[name] = _opened(decoder[name], variables[name])
    return recipe.model_copy(update={"variables": variables, "decoder": decoder})


def share_lines(asked: Recipe, resolved: Recipe) -> list[str]:
    """Returns what was estimated of strangers, in lines."""
    return [
        f"strangers: an estimated {spec.strangers.share:.1%} of the unlabelled examples are of no class of {name}"
        for name, spec in resolved.variables.items()
        if spec.strangers is not None and asked.variables[name].strangers != spec.strangers
    ]


def _opened(factor: Factor, variable: VariableSpec) -> Factor:
    """A prior of known classes with the share of strangers after them; one that learns it elsewhere as it is."""
    known = (variable.classes or 0) - 1
    if factor == "uniform":
        weights = torch.ones(known, dtype=torch.float64)
    elif isinstance(factor, ProbabilitiesSpec) and len(factor.probabilities) == known:
        weights = torch.tensor(factor.probabilities, dtype=torch.float64)
    else:
        return factor
    return ProbabilitiesSpec(probabilities=tuple(round(each, 9) for each in with_strangers(weights, variable).tolist()))


def estimated_share(recipe: Recipe, label: str, dataset: Dataset, split: Split, data_root: Path | None) -> float:
    """Returns the estimated share of strangers among the unlabelled examples, to three digits.

    Logistic regression ranks examples by how much they look like labelled ones; the labelled examples are weighed by
    how frequent their classes are (`semivae.data.mixture`).

    Raises:
        DataError: no example is unlabelled.
    """
    image = roles_of(recipe).image
    beside = dataset.unlabelled.get(image, dataset.train[image][:0])
    rows = torch.cat([dataset.train[image][split.unlabelled], beside])
    if not len(rows):
        raise DataError(
            f"variables.{label}.strangers: {dataset.name} has no unlabelled examples among which strangers could be; "
            "remove strangers"
        )
    most = max(2, min(EXAMPLES, NUMBERS // rows[0].numel()))
    unlabelled = random_subset(rows, most, split.spec.seed)
    labels = dataset.train[label][split.labelled]
    frequencies = class_frequencies(recipe, label, dataset, split, data_root)
    counts = labels.bincount(minlength=len(frequencies)).double()
    weights = (frequencies / counts.clamp_min(1.0))[labels].numpy()
    features = standardised(dataset.train[image][split.labelled], unlabelled)
    used = weights > 0
    part, mixture = features[: len(labels)][used], features[len(labels) :]
    if len(part) < 2 or len(mixture) < 2:
        return LEAST
    return round(min(MOST, max(LEAST, rest_share(part, mixture, weights[used], split.spec.seed))), 3)


def class_frequencies(recipe: Recipe, label: str, dataset: Dataset, split: Split, data_root: Path | None) -> Tensor:
    """Returns the frequencies of the known classes, [K]: of the stream that shows them alone, or of the prior."""
    factor = recipe.decoder.get(label)
    known = len(dataset.labels[label].classes) - 1
    if isinstance(factor, ProbabilitiesSpec):
        weights = torch.tensor(factor.probabilities[:known], dtype=torch.float64)
        return weights / weights.sum()
    for name, stream in recipe.streams.items():
        if stream.observe == (label,) and factor != "uniform":
            where = f"streams.{name}.values"
            weights = known_weights(where, stream, label, recipe, dataset, split, data_root)
            return weights / weights.sum()
    return torch.full((known,), 1.0 / known, dtype=torch.float64)


def standardised(labelled: Tensor, unlabelled: Tensor) -> NDArray[np.float64]:
    """Returns the first principal components of examples [n + m, ...], at most 256, whose mean variance is one."""
    rows = torch.cat([labelled, unlabelled]).float().flatten(1).nan_to_num()
    rows = rows - rows.mean(dim=0)
    if rows.shape[1] > COMPONENTS:
        with seeded(0, rows.device):
            _, _, axes = torch.svd_lowrank(rows, q=min(COMPONENTS, *rows.shape), niter=2)
        rows = rows @ axes
    deviation = math.sqrt(float(rows.square().mean())) or 1.0
    return np.asarray(rows / deviation, dtype=np.float64)
