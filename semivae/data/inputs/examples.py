"""Examples of several inputs, row by row together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from semivae.errors import DataError


@final
class Examples:
    """A batch of several inputs, as data sets keep them.

    Where the encoder starts from one input alone, a batch is a tensor; this is its counterpart for several, and is
    indexed and split like a tensor.

    Args:
        parts: by input, bytes or floats [n, *shape].

    Raises:
        DataError: the inputs have different numbers of rows.
    """

    def __init__(self, parts: Mapping[str, Tensor]) -> None:
        self.parts = dict(parts)
        lengths = {name: len(part) for name, part in self.parts.items()}
        if len(set(lengths.values())) != 1:
            rows = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
            raise DataError(f"all inputs need the same number of examples, but {rows}")

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, rows: Tensor | slice) -> Examples:
        return Examples({name: part[rows] for name, part in self.parts.items()})


def split_rows(examples: Tensor | Examples, size: int) -> list[Tensor] | list[Examples]:
    """Returns the rows in parts of at most `size`."""
    if isinstance(examples, Tensor):
        return list(torch.split(examples, size))
    return [examples[start : start + size] for start in range(0, len(examples), size)]
