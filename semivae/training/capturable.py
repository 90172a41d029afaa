"""What a step may not do that is to be captured as a graph of a GPU, seen at PyTorch's dispatcher.

A captured step is replayed: it cannot ask the device for a number, make tensors whose shapes follow from values, copy
new numbers of Python to the device, or do other operations, or with other numbers, than at the step that was captured.
"""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ASK = {"_local_scalar_dense", "is_nonzero", "equal", "allclose"}
SHAPED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "histc"}
FROM_PYTHON = {"lift_fresh"}  # `torch.tensor` of numbers, which a GPU has to be sent
NOT_OURS = (str(Path(torch.__file__).parent), str(Path(sys.modules[__name__].__file__ or "").absolute()))


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what a block dispatches.

    Args:
        device: on which it computes; None for wherever.

    Attributes:
        operations: each with the shapes of its tensors, and its numbers.
        faults: what no captured step may do, with the line that did it.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.operations: list[str] = []
        self.faults: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        self.operations.append(f"{name}({', '.join(map(_described, tree_leaves((args, kwargs))))})")
        found = func(*args, **kwargs)
        if is_refused(name, args) or self._is_elsewhere(func, found):
            place, line = own_line()
            self.faults.append(f"{name} at {place}: {line}")
        return found

    def _is_elsewhere(self, func: Any, found: object) -> bool:
        """Whether random numbers are drawn where no graph draws them again."""
        if self.device is None or torch.Tag.nondeterministic_seeded not in func.tags:
            return False
        return any(each.device.type != self.device.type for each in tree_leaves(found) if isinstance(each, Tensor))


def is_refused(name: str, args: Any) -> bool:
    """Returns whether no captured step may do an operation."""
    return name in ASK | SHAPED_BY_VALUES | FROM_PYTHON or _picks_by_mask(name, args)


def _picks_by_mask(name: str, args: Any) -> bool:
    """Whether as many rows are picked as a mask has ones, or each is repeated as often as a tensor says."""
    if name == "repeat_interleave":
        return len(args) == 1
    if name not in ("index", "index_put", "index_put_"):
        return False
    return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return str(list(value.shape))
    said = value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device)
    return repr(value) if said else type(value).__name__


def own_line(*others: str) -> tuple[str, str]:
    """Returns where the innermost line is that is neither torch's nor of other files, and the line."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((*NOT_OURS, *others)):
        frame = frame.f_back
    if frame is None:
        return "torch", ""
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{Path(file).parent.name}/{Path(file).name}:{number}", linecache.getline(file, number).strip()
