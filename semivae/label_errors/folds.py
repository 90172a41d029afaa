"""Posteriors of labelled examples by models that have not learnt their labels: out of fold.

A run's own posterior of what it was trained on says little about wrong labels, because it has learnt them. Here the
labelled examples are dealt into folds, and those of each fold are judged by what learnt from the others: a logistic
regression on the run's features, or a training of its own, in which the images of the fold stay, without labels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification.posterior import encoder_log_posterior
from semivae.data.hashing import ranked
from semivae.data.splits import Split, save_split
from semivae.recipe import Recipe
from semivae.runs.model import TrainedModel
from semivae.training import train as training
from semivae.training.progress import Report

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
ITERATIONS, INVERSE_PENALTY = 1000, 0.01  # of the logistic regression; the latter was chosen on digits


def dealt(labels: Numbers, folds: int) -> Numbers:
    """The fold of each example, [n], in 0..folds-1: dealt in turn, class by class, in the order of hashes.

    So folds are of equal size but for one, and what is left of a class with two examples or more is never empty.
    """
    order = ranked(range(len(labels)), lambda row: f"semivae-fold:{row}")
    in_turn = sorted(order, key=lambda row: int(labels[row]))  # stable
    found = np.empty(len(labels), dtype=np.int64)
    found[in_turn] = np.arange(len(labels)) % folds
    return found


def by_features(features: NDArray[np.float32], labels: Numbers, folds: Numbers, classes: int) -> Floats:
    """log p(y | features), [n, classes], of each fold by a logistic regression on the others; nats.

    Args:
        features: [n, D].
        labels: class numbers, [n].
        folds: of the examples, [n].
        classes: K. What the other folds have no example of has a probability of zero.
    """
    found = np.full((len(labels), classes), -np.inf)
    for fold in np.unique(folds).tolist():
        asked = folds == fold
        found[asked] = by_all_features(features[~asked], labels[~asked], features[asked], classes)
    return found


def by_all_features(features: NDArray[np.float32], labels: Numbers, asked: NDArray[np.float32], classes: int) -> Floats:
    """log p(y | features), [m, classes], of other examples [m, D] by a regression on labelled ones; nats."""
    found = np.full((len(asked), classes), -np.inf)
    fitted = regression().fit(features, labels)
    found[:, fitted.classes_] = fitted.predict_log_proba(asked)
    return found


def regression() -> LogisticRegression:
    """Logistic regression on standardised features; with so large a penalty few examples are not fitted one by one."""
    from sklearn.linear_model import LogisticRegression  # importing scikit-learn takes a second
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS))


def by_retraining(
    run: TrainedModel, rows: Tensor, folds: Numbers, steps: int, report: Report | Callable[..., None] | None = None
) -> Floats:
    """log q(y | x), [n, classes], of each fold by a training in which only the other folds show their labels; nats.

    Args:
        run: whose recipe and data are trained on.
        rows: the labelled examples, of its `dataset().train`, int64 [n].
        folds: of the examples, [n].
        steps: of each training.
        report: called as `semivae.train` calls its `progress`.

    Raises:
        DataError, TrainingError: as training says.
    """
    dataset, split = run.dataset(), run.split()
    found = np.full((len(rows), len(run.classes)), -np.inf)
    hidden = set(rows.tolist())
    others = torch.tensor([row for row in split.labelled.tolist() if row not in hidden], dtype=torch.int64)
    with tempfile.TemporaryDirectory(prefix="semivae-doubts-") as scratch:
        for fold in np.unique(folds).tolist():
            asked = torch.from_numpy(folds == fold)
            shown = torch.cat([rows[~asked], others]).sort().values
            manifest = Path(scratch) / f"fold{fold}.json"
            save_split(_showing(split, shown, len(dataset.train[run.image])), manifest)
            model = training.train(
                shortened(run.recipe, steps),
                dataset=dataset,
                split=manifest,
                out=Path(scratch) / f"fold{fold}",
                data_root=run.data_root,
                device=str(run.device),
                twin=False,
                progress=report or _unheard,
            )
            found[asked.numpy()] = encoder_log_posterior(model, run.examples(dataset.train)[rows[asked]])
    return found


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with as many steps, and no validation before the last."""
    changed = recipe.training.model_copy(update={"steps": steps, "validate_every": steps, "checkpoint_every": steps})
    return recipe.model_copy(update={"training": changed})


def _showing(split: Split, shown: Tensor, count: int) -> Split:
    """The split in which these examples alone show their labels; the validation part stays."""
    free = torch.ones(count, dtype=torch.bool)
    free[torch.cat([shown, split.validation])] = False
    spec = split.spec.model_copy(update={"labelled": len(shown)})
    return replace(split, labelled=shown, unlabelled=free.nonzero().flatten(), spec=spec)


def _unheard(_: object) -> None:
    """Says nothing; without it, training warns again of what was said when the run was trained."""
