"""What a CUDA graph does, on a CPU: operations are recorded without being done, and done again in the same memory.

As on a GPU, nothing of Python runs again: numbers of Python stay those of the recording; what is created gets its place
once, where each replay puts its new values; views keep looking at the same memory; random numbers go on from where the
generators are. A recording undoes what it did, leaves the generators as they were, and fails where a capture would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from semivae.training.capturable import Watch, is_refused, own_line
from semivae.training.captured import Rehearsal

ONLY_ON_CPUS = (".quantile(",)  # torch checks its argument there alone
WRITTEN_UNSAID = {"running_mean", "running_var"}  # by operations whose schema does not say it
UNWRITTEN = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets no question about values be asked that only a CPU answers at once."""
    for module in ("game.finite", "game.players", "game.average", "training.optimizer"):
        monkeypatch.setattr(f"semivae.{module}.answers_at_once", lambda values: False)


@dataclass(frozen=True)
class Operation:
    """One operation, with the very tensors that it read and wrote.

    Args:
        function, args, kwargs: the call.
        created: what it returned in memory of its own, which a replay writes.
        places: the numbers of these among all that it returned.
    """

    function: Any
    args: Any
    kwargs: Any
    created: list[Tensor]
    places: list[int]

    def again(self) -> None:
        """Does it again, in the same memory."""
        found = tree_leaves(self.function(*self.args, **self.kwargs))
        for place, own in zip(self.places, self.created, strict=True):
            assert own.shape == found[place].shape
            own.copy_(found[place])


class Recording(TorchDispatchMode):
    """Notes the operations of a block, and what is in memory that they write to and did not create."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.generators = generators
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._own: dict[int, torch.UntypedStorage] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        refuse(name, args, kwargs, self.generators)
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        written = list(_written(func, args, kwargs))
        for tensor in written:
            self._keep(tensor.untyped_storage())
        found = func(*args, **kwargs)
        known = {_key(each.untyped_storage()) for each in given}
        leaves = tree_leaves(found)
        places = [
            place
            for place, each in enumerate(leaves)
            if isinstance(each, Tensor) and _key(each.untyped_storage()) not in known
        ]
        for place in places:
            storage = leaves[place].untyped_storage()
            self._own[_key(storage)] = storage  # kept, so that no other memory gets its address
        if torch.Tag.inplace_view not in func.tags and ((places and name not in UNWRITTEN) or written):
            created = [leaves[place] for place in places]
            args, kwargs, created = _seen((args, kwargs, created))
            self.operations.append(Operation(func, args, kwargs, created, places))
        return found

    def undo(self) -> None:
        """Gives the memory that was there before back what it held."""
        for storage, before in self._before.values():
            storage.copy_(before)

    def _keep(self, storage: torch.UntypedStorage) -> None:
        if _key(storage) not in self._own and _key(storage) not in self._before:
            self._before[_key(storage)] = storage, storage.clone()


class RecordedGraph:
    """The same for a CPU as `semivae.training.cuda_graph.CudaGraph`; arguments as there."""

    def __init__(self, generators: Sequence[torch.Generator] = ()) -> None:
        self.generators = [torch.default_generator, *generators]
        self.operations: list[Operation] = []

    def rehearse(self, work: Callable[[], None]) -> Rehearsal:
        with Watch(torch.device("cpu")) as watch:
            work()
        faults = [fault for fault in watch.faults if not any(allowed in fault for allowed in ONLY_ON_CPUS)]
        return Rehearsal(watch.operations, faults)

    def capture(self, work: Callable[[], None]) -> None:
        states = [generator.get_state() for generator in self.generators]
        recording = Recording(self.generators)
        try:
            with recording:
                work()
        finally:
            recording.undo()
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)
        self.operations = recording.operations

    def replay(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():
            for operation in self.operations:
                operation.again()


def refuse(name: str, args: Any, kwargs: Any, generators: Sequence[torch.Generator]) -> None:
    """Raises RuntimeError where the capture of a GPU would fail."""
    place, line = own_line(__file__)
    if is_refused(name, args) and not any(allowed in line for allowed in ONLY_ON_CPUS):
        raise RuntimeError(f"operation not permitted when stream is capturing: {name} at {place}: {line}")
    for given in tree_leaves((args, kwargs)):
        if isinstance(given, torch.Generator) and _address(given) not in map(_address, generators):
            raise RuntimeError(f"a generator that the graph does not know draws at {place}: {line}")


def _key(storage: torch.UntypedStorage) -> int:
    return _address(storage)


def _address(of_torch: Any) -> int:
    """Returns what is the same for two objects of Python that stand for one of C++."""
    return int(of_torch._cdata)


def _seen(tensors: Any) -> Any:
    """Returns tensors as they lie in memory now; operations such as `squeeze_` may change their shapes later."""
    return tree_map_only(Tensor, torch.ops.aten.alias.default, tensors)


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """Returns the tensors that an operation writes to, by its schema."""
    found = []
    for number, argument in enumerate(func._schema.arguments):
        said = argument.alias_info is not None and argument.alias_info.is_write
        if not said and argument.name not in WRITTEN_UNSAID:
            continue
        given = args[number] if number < len(args) else kwargs.get(argument.name)
        found += [each for each in tree_leaves(given) if isinstance(each, Tensor)]
    return found
