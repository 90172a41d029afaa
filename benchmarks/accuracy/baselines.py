"""Classifiers of scikit-learn on the same split: pixels in [0, 1] as vectors, library defaults, nothing tuned.

The validation part is left out, as it is for the networks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.errors import DataError

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

MANY = 20_000  # training images from which on principal components stand for pixels: minutes instead of hours
COMPONENTS = 50
SUBSAMPLE = 5_000  # unlabelled images for self-training, which fits many support vector machines to them
FOLDS = 5
FEATURES = f"from {MANY:,} training images on, on their {COMPONENTS} principal components"


@dataclass(frozen=True)
class Examples:
    """Vectors (n, features) of one split, and the class numbers (n,) of the labelled ones."""

    labelled: Floats
    labels: Integers
    unlabelled: Floats
    test: Floats


@dataclass(frozen=True)
class Predictions:
    """Class numbers (n,) of the test images and, where the method gives them, probabilities (n, classes)."""

    classes: Integers
    probabilities: NDArray[np.float64] | None
    note: str = ""


@dataclass(frozen=True)
class Baseline:
    """A method and, in words that identify it, its settings."""

    settings: str
    predict: Callable[[Examples, int], Predictions]


def examples(dataset: Dataset, split: Split) -> Examples:
    """The vectors of a split; rows of a table are standardised by their training part, labels unseen."""
    train, test = _vectors(dataset.train["x"]), _vectors(dataset.test["x"])
    more = _vectors(dataset.unlabelled["x"]) if dataset.unlabelled else train[:0]
    if len(dataset.shape) == 1:
        scaler = StandardScaler().fit(np.concatenate([train, more]))
        train, test = scaler.transform(train), scaler.transform(test)
        more = scaler.transform(more) if len(more) else more
    labelled = split.labelled.numpy()
    unlabelled = np.concatenate([train[split.unlabelled.numpy()], more])
    return Examples(train[labelled], dataset.train["y"].numpy()[labelled], unlabelled, test)


def svm(data: Examples, seed: int) -> Predictions:
    return Predictions(SVC().fit(data.labelled, data.labels).predict(data.test), None)


def label_spreading(data: Examples, seed: int) -> Predictions:
    data = _fewer_features(data, seed)
    # The default tolerance stops before the labels have reached every image, and leaves the rest to class 0.
    model = LabelSpreading(kernel="knn", max_iter=100, tol=0.0)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # 0 / 0 where no neighbour was reached
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*_with_unknown_labels(data, data.unlabelled))
        probabilities = model.predict_proba(data.test)
    unreached = np.isnan(probabilities).any(axis=1)
    probabilities[unreached] = 1.0 / probabilities.shape[1]
    return Predictions(probabilities.argmax(axis=1), probabilities)


def self_training(data: Examples, seed: int) -> Predictions:
    if tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8):
        raise DataError(f"self_training needs scikit-learn 1.8 or newer, here is {sklearn.__version__}; leave it out")
    folds = min(FOLDS, int(np.bincount(data.labels).min()))
    if folds < 2:
        raise DataError(
            "self_training calibrates by cross-validation, on two labels of every class or more; leave it out"
        )
    data = _fewer_features(data, seed)
    chosen = np.random.default_rng(seed).permutation(len(data.unlabelled))[:SUBSAMPLE]
    # Platt's sigmoid, the default, never exceeded the threshold 0.75 with few labels, and increased the error.
    calibrated = CalibratedClassifierCV(SVC(), method="temperature", ensemble=False, cv=folds)
    model = SelfTrainingClassifier(calibrated)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # there may be no unlabelled image
        model.fit(*_with_unknown_labels(data, data.unlabelled[np.sort(chosen)]))
    probabilities = model.predict_proba(data.test)
    labelled = int((model.labeled_iter_ > 0).sum())
    note = f"self_training came to label {labelled:,} of {len(chosen):,} images"
    return Predictions(probabilities.argmax(axis=1), probabilities, note)


BASELINES: dict[str, Baseline] = {
    "svm": Baseline(
        "SVC(), that is an rbf kernel, C = 1, gamma = scale, on the labelled images; no probabilities", svm
    ),
    "label_spreading": Baseline(
        "LabelSpreading(kernel='knn', max_iter=100, tol=0), 7 neighbours, alpha 0.2, on all training images; "
        + FEATURES,
        label_spreading,
    ),
    "self_training": Baseline(
        f"SelfTrainingClassifier(CalibratedClassifierCV(SVC(), method='temperature', ensemble=False)), threshold 0.75, "
        f"10 rounds, at most {FOLDS} folds, at most {SUBSAMPLE:,} unlabelled images; {FEATURES}",
        self_training,
    ),
}


def _vectors(images: Tensor) -> Floats:
    flat = images.flatten(1).numpy()
    scale = 255 if flat.dtype == np.uint8 else 1
    return np.asarray(flat, dtype=np.float32) / np.float32(scale)


def _fewer_features(data: Examples, seed: int) -> Examples:
    """Principal components of all training images, where these are many."""
    if len(data.labelled) + len(data.unlabelled) < MANY:
        return data
    everything = np.concatenate([data.labelled, data.unlabelled])
    model = PCA(min(COMPONENTS, everything.shape[1]), random_state=seed).fit(everything)
    parts = {name: model.transform(getattr(data, name)) for name in ("labelled", "unlabelled", "test")}
    return replace(data, **parts)


def _with_unknown_labels(data: Examples, unlabelled: Floats) -> tuple[Floats, Integers]:
    """Vectors and classes as scikit-learn takes them: -1 where the label is hidden."""
    unknown = np.full(len(unlabelled), -1, dtype=np.int64)
    return np.concatenate([data.labelled, unlabelled]), np.concatenate([data.labels, unknown])
