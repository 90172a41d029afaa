"""Pictures that are nearly equal: by what is left of them at 8x8 pixels, and of those that agree there, at 16x16.

Of every picture the nearest one is found, by the correlation of their grey levels; a change of brightness or contrast,
of size or of format leaves it near 1. Pairs of equal pixels are not counted: they are duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semivae.inspection.pictures import SIDE, Look

ALIKE = 0.995  # correlation of the small pictures from which on they count as nearly equal
FLAT = 4.0  # levels of deviation below which a picture shows too little to be compared
AT_ONCE = 2**22  # pairs compared at once, for which about 20 MB are taken, however many pictures there are
CHUNK = 4096  # pictures that are made ready at once
MOST = 50_000  # pictures of one side of the comparison; beyond, the first so many
Vectors = NDArray[np.float32]
Partner = tuple[int, int]  # rows of two pictures


class Likeness:
    """The small pictures of a data set, ready to be compared.

    Args:
        looks: of its pictures.
    """

    def __init__(self, looks: Sequence[Look]) -> None:
        small = np.empty((len(looks), SIDE, SIDE), np.uint8)
        for row, look in enumerate(looks):
            small[row] = look.small
        self.keys = np.array([look.key for look in looks], np.int64)
        self.shown = np.zeros(len(small), np.bool_)
        self._fine = small
        self._coarse = np.zeros((len(small), (SIDE // 2) ** 2), np.float32)
        for start in range(0, len(small), CHUNK):
            some = small[start : start + CHUNK]
            self.shown[start : start + CHUNK] = some.std(axis=(1, 2)) >= FLAT
            coarse = some.reshape(len(some), SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4), dtype=np.float32)
            self._coarse[start : start + CHUNK] = _standardised(coarse)

    def partners(
        self, rows: NDArray[np.intp], others: NDArray[np.intp], groups: NDArray[np.int64] | None = None
    ) -> list[Partner]:
        """Returns for each of `rows` the nearest of `others`, where both are nearly equal.

        Args:
            rows: pictures.
            others: those to compare with.
            groups: [n] of all pictures; if given, only pictures of different groups are compared.
        """
        rows, others = (part[self.shown[part]][:MOST] for part in (rows, others))
        found: list[Partner] = []
        if not len(others):
            return found
        at_once, compared = max(1, AT_ONCE // len(others)), self._coarse[others].T
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            likeness = self._coarse[some] @ compared
            likeness[self.keys[some][:, None] == self.keys[others]] = -1
            if groups is not None:
                likeness[groups[some][:, None] == groups[others]] = -1
            best = likeness.argmax(axis=1)
            near = np.flatnonzero(likeness[np.arange(len(some)), best] >= ALIKE)
            found += [(int(some[row]), int(others[best[row]])) for row in near]
        return [pair for pair in found if self._alike(*pair)]

    def _alike(self, row: int, other: int) -> bool:
        one, two = _standardised(self._fine[[row, other]].astype(np.float32))
        return float(one @ two) >= ALIKE


def _standardised(small: NDArray[np.float32]) -> Vectors:
    """Pictures [n, side, side] as vectors of mean 0 and length 1, [n, side * side]."""
    vectors = small.reshape(len(small), small.shape[1] * small.shape[2])
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    standardised: Vectors = (vectors / np.maximum(lengths, 1e-6)).astype(np.float32)
    return standardised
