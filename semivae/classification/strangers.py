"""Strangers among a user's images, which belong to none of a run's classes, and the groups that they form.

The groups are offered as new classes: k-means of the classifier's features, scaled to length one, as in `semivae
suggest`. How many there are is not known. The silhouette (Rousseeuw 1987) says how well a number of groups fits; it is
highest for few large groups, so that the largest number counts which is still nearly as good as the best one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.classification.posterior import embed, encoder_log_posterior
from semivae.classification.suggesting import Floats, clustered
from semivae.data.inputs.pieces import AnyExamples
from semivae.errors import DataError, RunError
from semivae.runs.model import TrainedModel
from semivae.text import count_of, either

MOST_GROUPS = 10
FEWEST = 5  # strangers in a group, on average
NEARLY = 0.8  # of the best silhouette: so good is a number of groups that is no worse
APART = 0.05  # a silhouette below which there are no groups
COMPARED = 2000  # strangers, at most, by which a silhouette is measured


@dataclass(frozen=True)
class Strangers:
    """Examples that are most likely strangers: group by group, the largest first, and in each the likeliest first.

    Attributes:
        rows: of the examples given, [n].
        names: of their files, relative to the folder, or numbers from 0.
        probabilities: of being a stranger, [n].
        groups: the number of the group of each, [n], from 0.
        everyone: the probability of being a stranger of every example given.
    """

    rows: NDArray[np.int64]
    names: tuple[str, ...]
    probabilities: Floats
    groups: NDArray[np.int64]
    everyone: Floats

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Strangers in each group."""
        return np.bincount(self.groups)


def refuse_without_strangers(run: TrainedModel) -> None:
    """Raises RunError where a run's label has no strangers."""
    if run.recipe.variables[run.label].strangers is None:
        raise RunError(
            f"{run.path}: this run knows no strangers, so every {run.nouns[0]} belongs to one of its classes; train "
            f"with --set variables.{run.label}.strangers.share=estimate, or ask `semivae novelty`"
        )


def strangers(
    run: TrainedModel, images: AnyExamples, names: Sequence[str], groups: int | None = None, seed: int = 0
) -> Strangers:
    """Examples that are more likely strangers than of any class, in groups that may be new classes.

    Args:
        run: the run.
        images: as `TrainedModel.read_all` gives them, n of them, or in pieces that are kept.
        names: of the images, n; of pieces, what becomes their names.
        groups: how many groups; None: as many as there seem to be.
        seed: of k-means.

    Raises:
        RunError: the run knows no strangers.
        DataError: the images do not fit, or fewer strangers than groups.
    """
    from sklearn.preprocessing import normalize  # importing scikit-learn takes a second

    refuse_without_strangers(run)
    log_posterior = encoder_log_posterior(run, images)
    everyone = np.exp(log_posterior[:, -1])
    rows = np.flatnonzero(log_posterior.argmax(axis=1) == log_posterior.shape[1] - 1)
    if groups is not None and groups > len(rows):
        raise DataError(
            f"{count_of(groups, 'group is', 'groups are')} asked for, but {len(rows):,} of {len(everyone):,} examples "
            f"{either(len(rows), 'is probably a stranger', 'are probably strangers')}; ask for fewer"
        )
    if not len(rows):
        return Strangers(rows, (), everyone[:0], rows, everyone)
    features = normalize(np.nan_to_num(embed(run, images[torch.from_numpy(rows)]).astype(np.float64)))
    found = grouped(features, groups, seed)
    order = np.lexsort((-everyone[rows], found))
    chosen = rows[order]
    return Strangers(chosen, tuple(names[row] for row in chosen), everyone[chosen], found[order], everyone)


def grouped(features: Floats, groups: int | None, seed: int) -> NDArray[np.int64]:
    """Returns the group of each row [n, D], [n], the largest group first.

    Args:
        features: finite.
        groups: how many; None: the most groups whose silhouette is nearly the best.
        seed: of k-means.

    Raises:
        DataError: fewer rows differ than there are groups.
    """
    found = _as_many_as_seem(features, seed) if groups is None else _means(features, groups, seed)
    sizes = np.bincount(found)
    numbers = np.empty(len(sizes), dtype=np.int64)
    numbers[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return numbers[found]


def _means(features: Floats, count: int, seed: int) -> NDArray[np.int64]:
    return clustered(features, np.ones(len(features)), count, seed, "groups")[0]


def _as_many_as_seem(features: Floats, seed: int) -> NDArray[np.int64]:
    from sklearn.metrics import silhouette_score

    most = min(MOST_GROUPS, len(features) // FEWEST, len(np.unique(features, axis=0)) - 1)
    found = {count: _means(features, count, seed) for count in range(2, most + 1)}
    size = min(COMPARED, len(features))
    fits = {
        count: float(silhouette_score(features, groups, sample_size=size, random_state=seed))
        for count, groups in found.items()
    }
    best = max(fits.values(), default=0.0)
    if best < APART:
        return np.zeros(len(features), dtype=np.int64)
    return found[max(count for count, fit in fits.items() if fit >= NEARLY * best)]
