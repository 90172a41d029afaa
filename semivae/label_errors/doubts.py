"""Labels of a run's own examples that are probably wrong, most doubtful first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification.posterior import embed, encoder_log_posterior, refuse_by_kind
from semivae.errors import RunError
from semivae.label_errors.doubting import LabelDoubts, doubts_of
from semivae.label_errors.folds import by_all_features, by_features, by_retraining, dealt
from semivae.runs.model import TrainedModel
from semivae.training.progress import Report

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
FOLDS = 5
FEWEST_BESIDE = 30  # validation examples, by which the others' share of wrong labels is estimated
SURELY = 0.5  # what is listed, if nobody says otherwise: labels that are rather wrong than right


@dataclass(frozen=True)
class Doubts:
    """Examples by how doubtful their labels are, the most doubtful first.

    Attributes:
        rows: of the data set's examples to train on (`TrainedModel.dataset().train`), [n].
        names: of their files, or numbers of rows of a table or an array.
        parts: of each, "labelled" or "validation"; of annotators' labels, whose label it is.
        given: the label of each, by name.
        proposed: the most likely class beside it, by name.
        doubt: the probability that the given label is wrong, [n], from 0 to 1.
        rate: the estimated share of wrong labels.
        not_judged: labelled examples that are the only one of their class, about which nothing can be said.
        how: which models judged: "features" or "retrained"; or "annotators", where the run itself judges their labels.
        folds: into how many parts the labelled examples were dealt; 0 where the run itself judges.
    """

    rows: Numbers
    names: tuple[str, ...]
    parts: tuple[str, ...]
    given: tuple[str, ...]
    proposed: tuple[str, ...]
    doubt: Floats
    rate: float
    not_judged: int
    how: str
    folds: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def expected_wrong(self) -> float:
        """The expected number of wrong labels among all that were judged: the sum of the doubts."""
        return float(self.doubt.sum())

    def above(self, doubt: float) -> Doubts:
        """Returns those that are at least as doubtful; `rate`, `not_judged` and the rest stay those of all."""
        return self.first(int((self.doubt >= doubt).sum()))

    def first(self, count: int) -> Doubts:
        """Returns the most doubtful ones."""
        columns = {name: getattr(self, name)[:count] for name in PER_EXAMPLE}
        return Doubts(**columns, rate=self.rate, not_judged=self.not_judged, how=self.how, folds=self.folds)


PER_EXAMPLE = ("rows", "names", "parts", "given", "proposed", "doubt")


def doubts(
    run: TrainedModel,
    *,
    folds: int = FOLDS,
    retrain: bool = False,
    steps: int | None = None,
    report: Report | Callable[..., None] | None = None,
) -> Doubts:
    """Judges the labels of a run's labelled and validation examples by models that have not learnt them.

    Labelled examples are judged out of fold (`semivae.label_errors.folds`), validation examples by what learnt from all
    labelled ones. How doubt follows from that, see `semivae.label_errors.doubting`. The run's features have seen the
    labels, so where there are 30 validation examples, the share of wrong labels is not taken for smaller than theirs.

    Args:
        run: the run.
        folds: into how many parts the labelled examples are dealt, 2 or more.
        retrain: train anew for each fold, instead of a logistic regression on the run's features, which have seen the
            labels; for runs that have learnt their labels by heart.
        steps: of each such training; None: half of the run's.
        report: called as `semivae.train` calls its `progress`, where there is such a training.

    Raises:
        RunError: the kind of the label has no doubts, fewer than two folds, steps without retraining, or no class with
            two labelled examples.
        DataError: the data cannot be read, or have changed.
    """
    refuse_by_kind(run, doubts=True)
    run.label  # noqa: B018  raises where the run is unsupervised
    if folds < 2:
        raise RunError(f"folds is {folds}, but labels can be judged by the other folds only; give 2 or more")
    if steps is not None and (not retrain or steps < 1):
        raise RunError("steps are those of a training for each fold, 1 or more; leave them out, or retrain")
    dataset, split = run.dataset(), run.split()
    labels = dataset.train[run.label]
    rows, not_judged = judged(split.labelled, labels)
    if not len(rows):
        raise RunError(
            f"{run.path}: no class has two labelled examples, so no label can be judged by others of its class"
        )
    validation = split.validation[labels[split.validation] >= 0]
    known = _numbers(labels[rows])
    fold_of = dealt(known, min(folds, len(rows)))
    examples, checked = run.examples({name: part[rows] for name, part in dataset.train.items()}), None
    if len(validation):
        checked = run.examples({name: part[validation] for name, part in dataset.train.items()})
    if retrain:
        posterior = by_retraining(run, rows, fold_of, steps or max(1, run.recipe.training.steps // 2), report)
        beside = None if checked is None else encoder_log_posterior(run, checked)
    else:
        features = embed(run, examples)
        posterior = by_features(features, known, fold_of, len(run.classes))
        beside = None if checked is None else by_all_features(features, known, embed(run, checked), len(run.classes))
    everything = torch.cat([rows, validation])
    given = _numbers(labels[everything])
    found = _together(posterior, beside, given, learnt=not retrain)
    order = np.argsort(-found.doubt, kind="stable")
    chosen = _numbers(everything)[order]
    part_of = np.repeat(["labelled", "validation"], [len(rows), len(validation)])[order]
    classes = run.classes
    return Doubts(
        rows=chosen,
        names=tuple(dataset.names[row] if dataset.names else str(row) for row in chosen.tolist()),
        parts=tuple(part_of.tolist()),
        given=tuple(classes[number] for number in given[order].tolist()),
        proposed=tuple(classes[number] for number in found.proposed[order].tolist()),
        doubt=found.doubt[order],
        rate=found.rate,
        not_judged=not_judged,
        how="retrained" if retrain else "features",
        folds=min(folds, len(rows)),
    )


def _together(posterior: Floats, beside: Floats | None, given: Numbers, learnt: bool) -> LabelDoubts:
    """The doubts of labelled examples, then of validation examples.

    Args:
        posterior: of the labelled examples, [n, K].
        beside: of the validation examples, [m, K]; None where there are none.
        given: the labels of both, [n + m].
        learnt: whether `posterior` may have learnt something of its labels.
    """
    if beside is None:
        return doubts_of(posterior, given)
    if not learnt or len(beside) < FEWEST_BESIDE:
        return doubts_of(np.concatenate([posterior, beside]), given)
    checked = doubts_of(beside, given[len(posterior) :])
    found = doubts_of(posterior, given[: len(posterior)], like=checked)
    doubt = np.concatenate([found.doubt, checked.doubt])
    proposed = np.concatenate([found.proposed, checked.proposed])
    return LabelDoubts(doubt, proposed, found.rate, found.temperature)


def judged(labelled: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """The labelled rows whose class has another labelled example, and the number of the others.

    Args:
        labelled: rows, int64 [n].
        labels: the classes of all examples, below 0 where they are not known.
    """
    shown = labelled[labels[labelled] >= 0]
    counts = torch.bincount(labels[shown])
    kept = shown[counts[labels[shown]] > 1]
    return kept, len(shown) - len(kept)


def _numbers(values: Tensor) -> Numbers:
    return np.asarray(values, dtype=np.int64)
