"""Which unlabelled examples of a user to label next, by a run's features and doubts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.classification.posterior import batches, embed, encoder_log_posterior, refuse_by_kind
from semivae.classification.suggesting import Floats, entropy, pick
from semivae.data.inputs.pieces import AnyExamples
from semivae.errors import RunError
from semivae.game.conditionals import NetworkConditional
from semivae.runs.model import TrainedModel
from semivae.tasks.task import takes

COUNT = 20  # suggestions, if nobody says otherwise


@dataclass(frozen=True)
class Suggestions:
    """Examples to label next, one of each group, the group with the largest uncertainty in all first.

    Attributes:
        rows: of the examples given, [n].
        names: of their files, relative to the folder, or numbers from 0.
        labels: the most likely class of each, by name; empty texts where the run has learnt no label.
        probabilities: of these classes, [n]; NaN without a label.
        uncertainty: entropy of q(label | image), nats, [n]; NaN without a label.
        groups: of every example given, the number of its group; that of rows[i] is i.
    """

    rows: NDArray[np.int64]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: Floats
    uncertainty: Floats
    groups: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Examples in the group of each suggestion, [n]."""
        return np.bincount(self.groups, minlength=len(self.rows))


def suggest(
    run: TrainedModel, images: AnyExamples, names: Sequence[str], count: int = COUNT, seed: int = 0
) -> Suggestions:
    """Examples to label next, by the rule of `semivae.classification.suggesting`, in features scaled to length one.

    A run without labels has no uncertainty: its features alone choose typical examples.

    Args:
        run: the run.
        images: as `TrainedModel.read_all` gives them, n of them, or in pieces that are kept.
        names: of the images, n; of pieces, what becomes their names.
        count: how many to suggest.
        seed: of k-means.

    Raises:
        RunError: a label that is a map, or a run whose encoder gives no features of the images alone.
        DataError: the images do not fit, or fewer than `count` of them differ.
    """
    from sklearn.preprocessing import normalize  # importing scikit-learn takes a second

    refuse_by_kind(run, suggest=True)
    features = normalize(np.nan_to_num(features_of(run, images).astype(np.float64)))
    if not takes(run.task, "doubt"):  # there is no label
        unknown = np.full(count, np.nan)
        picks = pick(features, np.zeros(len(features)), count, seed)
        chosen = tuple(names[row] for row in picks.rows)
        return Suggestions(picks.rows, chosen, ("",) * count, unknown, unknown, picks.groups)
    log_posterior = encoder_log_posterior(run, images)
    uncertainty = entropy(log_posterior)
    picks = pick(features, uncertainty, count, seed)
    likely = log_posterior[picks.rows]
    return Suggestions(
        picks.rows,
        tuple(names[row] for row in picks.rows),
        tuple(run.classes[number] for number in likely.argmax(axis=1)),
        np.exp(likely.max(axis=1)),
        uncertainty[picks.rows],
        picks.groups,
    )


@torch.no_grad()
def features_of(run: TrainedModel, images: AnyExamples) -> NDArray[np.float32]:
    """Features of images as `embed` gives them; without a label, those below the first code that needs images alone.

    Raises:
        RunError: the label, or every code, depends on more than the images.
        DataError: the images do not fit.
    """
    if takes(run.task, "doubt"):
        return embed(run, images)
    for name in run.encoder.names:
        factor = run.encoder[name]
        if isinstance(factor, NetworkConditional) and factor.parents.issubset(run.roles.inputs):
            parts = [factor.features(chunk).cpu() for chunk in batches(run, images)]
            return np.asarray(torch.cat(parts), dtype=np.float32)
    raise RunError(f"{run.path}: no code of the encoder is given {' and '.join(run.roles.inputs)} alone")
