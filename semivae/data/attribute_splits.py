"""Splits by attributes: iterative stratification, so that labelled and validation examples have all of them.

Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data" (ECML PKDD).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.data.dataset import Dataset
from semivae.data.hashing import ranked
from semivae.data.splits import Split, plain_split
from semivae.recipe.schema import SplitSpec


def iterative_split(dataset: Dataset, spec: SplitSpec) -> Split:
    """Chooses labelled and validation examples with about the frequencies of all attributes, the rarest first.

    `balanced` asks for one labelled positive of each attribute at least; `proportional` for as many as its frequency
    gives. Examples are ranked by hash, as in all splits.

    Raises:
        DataError: more labels or validation examples are asked for than there are, or validation examples of data that
            bring their own.
    """
    plain = plain_split(dataset, spec)  # as many, but chosen without a look at the attributes
    own = torch.zeros(0, dtype=torch.int64) if dataset.validation is None else dataset.validation
    chosen = plain.validation[~torch.isin(plain.validation, own)]
    free = torch.cat([plain.labelled, plain.unlabelled, chosen]).tolist()
    order = torch.tensor(ranked(free, lambda index: f"semivae-split:{spec.seed}:{index}"))
    has = (dataset.train[dataset.label][order] == 1).numpy()
    sizes = (len(plain.labelled), len(chosen), len(plain.unlabelled))
    part = torch.from_numpy(stratified(has, sizes, at_least=int(spec.balance == "balanced")))
    labelled, validation, unlabelled = (order[part == number].sort().values for number in range(3))
    return replace(
        plain, labelled=labelled, unlabelled=unlabelled, validation=torch.cat([validation, own]).sort().values
    )


def stratified(has: NDArray[np.bool_], sizes: Sequence[int], at_least: int = 0) -> NDArray[np.int64]:
    """Returns which part each example belongs to, int64 [n].

    The attribute with the fewest examples left is next. Each of its examples goes to the part that lacks most examples
    of it, of several to the one that lacks most examples, of several to the first.

    Args:
        has: attributes, [n, K], in the order in which examples are taken.
        sizes: of the parts, with sum n.
        at_least: the number of positives of each attribute that the first part asks for, where there are so many.
    """
    count = len(has)
    room = np.array(sizes, dtype=np.int64)
    totals = has.sum(axis=0)
    wanted = np.outer(room, totals) / max(1, count)
    wanted[0] = np.maximum(wanted[0], np.minimum(at_least, totals))
    part = np.full(count, -1, dtype=np.int64)
    left = totals.copy()

    def give(row: int, candidates: NDArray[np.float64]) -> None:
        where = max(np.flatnonzero(room > 0).tolist(), key=lambda number: (candidates[number], room[number]))
        part[row] = where
        room[where] -= 1
        wanted[where] -= has[row]
        left[has[row]] -= 1

    while (left > 0).any():
        rarest = min(np.flatnonzero(left > 0).tolist(), key=lambda number: left[number])
        for row in np.flatnonzero(has[:, rarest] & (part < 0)).tolist():
            give(row, wanted[:, rarest])
    for row in np.flatnonzero(part < 0).tolist():
        give(row, room.astype(np.float64))
    return part
