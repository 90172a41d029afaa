"""How far images lie from those of training in the encoder's features, and how little the classifier's logits say.

The distance is that to the tenth nearest training image, between features scaled to length one (Sun et al.,
"Out-of-distribution detection with deep nearest neighbors", ICML 2022). The energy is -log sum exp of the logits (Liu
et al., "Energy-based out-of-distribution detection", NeurIPS 2020). Both need a classifier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.classification.conformal import p_values_of
from semivae.classification.more_validation import more_validation
from semivae.classification.posterior import embed, label_parameters, refuse_by_kind
from semivae.data.hashing import random_subset
from semivae.data.inputs.pieces import AnyExamples
from semivae.errors import RunError
from semivae.runs.model import TrainedModel
from semivae.text import count_of

Floats = NDArray[np.float64]
NEIGHBOUR = 10  # whose distance counts; the paper's share, one in a thousand, of the most references
REFERENCES = 10_000  # training images, at most
FEWEST = 20  # validation images; with fewer, no p-value could get below 0.05


@dataclass(frozen=True)
class Distances:
    """How far images lie from those of training.

    Attributes:
        scores: distance to the tenth nearest training image, in 0..2, [n]; higher is more novel.
        p_values: share of validation images at least as far, the image itself counted in, [n].
        count: validation images.
    """

    scores: Floats
    p_values: Floats
    count: int


def distances(run: TrainedModel, images: AnyExamples) -> Distances:
    """Distances of images [n, ...] in features, beside those of the run's validation images, labelled or not.

    Raises:
        RunError: no classifier, several inputs, or fewer than 20 validation images.
        DataError: the data are gone, or the images do not fit.
    """
    refuse_by_kind(run, doubt=True)
    run.require_one_input("novelty")
    data, rows, (one, many) = run.dataset(), run.split().validation, run.nouns
    if len(rows) < FEWEST:
        raise RunError(
            f"{run.path}: {count_of(len(rows), f'{one} is', f'{many} are', before='validation')} too few to compare "
            f"with; {FEWEST} are needed: "
            + more_validation(run, FEWEST, instead=f"use `semivae novelty`, which compares with test {many}")
        )
    references = reference_features(run)
    found, familiar = (
        neighbour_distances(embed(run, part), references) for part in (images, data.train[run.image][rows])
    )
    return Distances(found, p_values_of(found, familiar), len(rows))


def reference_features(run: TrainedModel, seed: int = 0) -> NDArray[np.float32]:
    """Features of up to 10,000 images that the run was trained on, [m, features]; none is a validation image."""
    data, split = run.dataset(), run.split()
    seen = data.train[run.image][torch.cat([split.labelled, split.unlabelled])]
    more = data.unlabelled.get(run.image, seen[:0])
    count = len(seen) + len(more)
    rows = random_subset(torch.arange(count), REFERENCES, seed)
    parts = [seen[rows[rows < len(seen)]], more[rows[rows >= len(seen)] - len(seen)]]
    return np.concatenate([embed(run, part) for part in parts if len(part)])


def neighbour_distances(features: NDArray[np.float32], references: NDArray[np.float32], k: int = NEIGHBOUR) -> Floats:
    """Euclidean distance of features [n, D] to the k-th nearest of the references [m, D], all scaled to length one.

    With fewer than k references, the farthest one counts.
    """
    from sklearn.neighbors import NearestNeighbors  # importing scikit-learn takes a second

    search = NearestNeighbors(n_neighbors=min(k, len(references)), algorithm="brute").fit(_unit(references))
    return np.asarray(search.kneighbors(_unit(features))[0][:, -1], dtype=np.float64)


def energy(run: TrainedModel, images: AnyExamples) -> Floats:
    """-log sum exp of the logits of q(label | image), nats, [n]; higher is more novel."""
    return np.concatenate([-parameters.logsumexp(1).numpy() for parameters in label_parameters(run, images)])


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    values = np.nan_to_num(np.asarray(features, dtype=np.float64))  # squares of float32 overflow
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-12), dtype=np.float32)
