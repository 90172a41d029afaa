"""Distances between two sets of feature vectors. Plain functions of float64 arrays [n, features]."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Features = NDArray[np.float64]

ROWS = 1024  # of a distance matrix that are held at a time


def frechet_distance(one: Features, other: Features) -> float:
    """Squared Frechet distance of the Gaussians with the sets' means and covariances (Heusel et al. 2017, "FID").

    Its value depends on the features and, upwards, on a small number of samples: compare equal numbers only.

    Raises:
        ValueError: fewer than two vectors in a set, or sets of different width.
    """
    _check(one, other)
    first, second = np.cov(one, rowvar=False, ddof=1), np.cov(other, rowvar=False, ddof=1)
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    root = _root(first)
    # the eigenvalues of A B are those of the symmetric A^1/2 B A^1/2
    overlap = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0.0, None)).sum()
    shift = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    return max(0.0, float(shift + np.trace(first) + np.trace(second) - 2.0 * overlap))


def precision_recall(real: Features, generated: Features, neighbours: int = 3) -> tuple[float, float]:
    """Share of generated vectors among the real ones, and of real vectors among the generated ones, in 0..1.

    A vector is among a set if it lies in the ball of one of its vectors that reaches to that one's `neighbours`-th
    nearest neighbour (Kynkaanniemi et al. 2019).

    Raises:
        ValueError: not more vectors in a set than neighbours, or sets of different width.
    """
    _check(real, generated, neighbours + 1)
    one, other = torch.from_numpy(real), torch.from_numpy(generated)
    return _covered(other, one, neighbours), _covered(one, other, neighbours)


def _covered(points: Tensor, centres: Tensor, neighbours: int) -> float:
    # the nearest one is the centre itself
    radii = torch.cat(
        [_distances(rows, centres).kthvalue(neighbours + 1).values for rows in torch.split(centres, ROWS)]
    )
    inside = torch.cat([(_distances(rows, centres) <= radii).any(dim=1) for rows in torch.split(points, ROWS)])
    return float(inside.double().mean())


def _distances(one: Tensor, other: Tensor) -> Tensor:
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


def _root(matrix: Features) -> Features:
    values, vectors = np.linalg.eigh(matrix)
    root: Features = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    return root


def _check(one: NDArray[Any], other: NDArray[Any], least: int = 2) -> None:
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or min(len(one), len(other)) < least:
        raise ValueError(f"need two sets of {least} or more vectors of one width, got {one.shape} and {other.shape}")
