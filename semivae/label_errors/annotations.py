"""Whose label is wrong: what annotators wrote down, against the posterior of the true label given all that is known.

With q(y | x) of the run, and p(a_k | y) of each annotator as the decoder has learnt it, the true label of an example is
y with probability q(y | x, a), proportional to q(y | x) prod_k p(a_k | y) over the annotators who saw it. A label a_k
is wrong with probability 1 - q(y = a_k | x, a): Dawid and Skene (1979) with x in it, as in Raykar et al. (2010).
"""

from __future__ import annotations

import numpy as np

from semivae.classification.evidence import annotators, with_evidence
from semivae.errors import RunError
from semivae.label_errors.doubts import Doubts
from semivae.runs.model import TrainedModel


def annotation_doubts(run: TrainedModel) -> Doubts:
    """Judges what annotators wrote down, by the run's posterior of the true label given all of it.

    Returns:
        Of each label of each annotator: the example, whose label it is (`parts`), and its doubt. Examples that show
        their true label are left out. Rows count the data's unlabelled examples after those to train on.

    Raises:
        RunError: the recipe has no annotators.
        DataError: the data cannot be read, or have changed.
    """
    names = annotators(run)
    if not names:
        raise RunError(f"{run.path}: the recipe has no annotators, whose labels are classes of {run.label}")
    found = with_evidence(run)
    posterior = found.given_evidence()
    rows, whose, given, proposed, doubt = [], [], [], [], []
    for name in names:
        chosen = np.flatnonzero(found.shown[name] & (found.label < 0))
        written = np.asarray(found.values[name], dtype=np.int64)[chosen]
        of = posterior[chosen]
        rows.append(found.rows[chosen])
        whose += [name] * len(chosen)
        given.append(written)
        doubt.append(1.0 - of[np.arange(len(chosen)), written])
        others = of.copy()
        others[np.arange(len(chosen)), written] = -1.0
        proposed.append(others.argmax(axis=1))
    doubts = np.concatenate(doubt).clip(0.0, 1.0)
    if not len(doubts):
        raise RunError(f"{run.path}: no example without its true label shows what {' or '.join(names)} wrote down")
    order = np.argsort(-doubts, kind="stable")
    chosen, classes, dataset = np.concatenate(rows)[order], run.classes, run.dataset()
    count = len(dataset.train[run.label])
    named = [
        (dataset.names[row] if dataset.names else str(row)) if row < count else f"unlabelled {row - count}"
        for row in chosen.tolist()
    ]
    return Doubts(
        rows=chosen,
        names=tuple(named),
        parts=tuple(whose[place] for place in order.tolist()),
        given=tuple(classes[number] for number in np.concatenate(given)[order].tolist()),
        proposed=tuple(classes[number] for number in np.concatenate(proposed)[order].tolist()),
        doubt=doubts[order],
        rate=float(doubts.mean()),
        not_judged=0,
        how="annotators",
        folds=0,
    )
