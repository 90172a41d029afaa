"""Choosing examples by hash, and sharing out a number over classes. Both are exact and the same on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from semivae.errors import DataError
from semivae.text import join_names, shortened

Item = TypeVar("Item")


def ranked(items: Iterable[Item], key: Callable[[Item], str]) -> list[Item]:
    """Sorts `items` by the SHA-256 of their keys: a shuffle that no library's generator can change."""
    return sorted(items, key=lambda item: hashlib.sha256(key(item).encode("utf-8", "surrogateescape")).digest())


def apportion(total: int, weights: Sequence[int], capacity: Sequence[int]) -> list[int]:
    """Divides `total` in proportion to `weights`, nobody above its `capacity`, by largest remainder.

    Args:
        total: what is shared out, at most the sum of `capacity`.
        weights: one integer above 0 for each share.
        capacity: the largest value of each share.

    Returns:
        Integers that sum to `total`; equal remainders go to the first.
    """
    shares = [0] * len(weights)
    open_ = list(range(len(weights)))
    while open_:
        left = total - sum(shares)
        weight = sum(weights[k] for k in open_)
        over = [k for k in open_ if left * weights[k] > capacity[k] * weight]
        if not over:
            break
        for k in over:
            shares[k] = capacity[k]
            open_.remove(k)
    if open_:
        for k in open_:
            shares[k] = left * weights[k] // weight
        most = sorted(open_, key=lambda k: (-(left * weights[k] % weight), k))
        for k in most[: total - sum(shares)]:
            shares[k] += 1
    return shares


def long_tail(classes: int, ratio: float) -> list[int]:
    """Integer weights that fall geometrically from class 0 to the last one, whose weight is the first's over `ratio`.

    weight(k) is proportional to ratio ** (-k / (classes - 1)), the usual long-tailed sets (Cui et al., CVPR 2019).
    A ratio below 1 turns the order round.
    """
    return [max(1, round(1e9 * ratio ** (-k / max(1, classes - 1)))) for k in range(classes)]


def hold_out(labels: Tensor, keys: Sequence[str], share: float, classes: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
    """Split examples into a part to train on and a part to test on, class by class, by the hash of their keys.

    Args:
        labels: int64 [n], the class of each example.
        keys: n strings that name the examples (a file's name, a row's number).
        share: the part to test on, in (0, 1), of every class; every class keeps at least one example to train on.
        classes: their names, for the message; () where the label has none.

    Returns:
        int64 indices (train, test), sorted, disjoint, together all examples.

    Raises:
        DataError: no class has a second example, so there is nothing to test on.
    """
    test: list[int] = []
    for number in torch.unique(labels).tolist():
        members = torch.nonzero(labels == number).flatten().tolist()
        count = min(len(members) - 1, max(1, round(len(members) * share)))
        test += ranked(members, lambda index: f"semivae-test:{keys[index]}")[:count]
    if len(labels) == 1:
        raise DataError("no example can be set aside to test on: only one has a label; label more, or give a test part")
    if not test:
        what = "every class has only one"
        if classes:
            what += f", such as {join_names([shortened(name, 30) for name in classes], 3)}"
        numbers = all(re.fullmatch(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", name, re.IGNORECASE) for name in classes)
        hint = ". If they are numbers that measure something, write source.kinds: {y: numbers}"
        raise DataError(
            f"no example can be set aside to test on: {what}; add examples, or give a test part"
            f"{hint if numbers else ', or choose another label'}"
        )
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[test] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()


def random_subset(values: Tensor, most: int | None, seed: int) -> Tensor:
    """Returns at most `most` of `values` [n, ...] (all if None), shuffled by `seed`: files are sorted by class."""
    return values[torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))[:most]]
