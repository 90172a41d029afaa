"""Numbers that change from step to step, such as the learning rate, in a step that is recorded once and then replayed.

A recorded step would repeat every number of Python that it met. So it gets expressions in place of such numbers: where
one meets a tensor, it is a tensor itself, which is filled before each replay. What the step asks of one by comparing it
(has the vote begun?) is answered for the step that is recorded, and remembered: where the answer changes, the step has
to be recorded again. Steps that are not recorded get plain numbers, and pay nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from semivae.data.streams import moved

MOST = 256  # numbers in a step

Binary = Callable[[Any, Any], Any]


class StepNumber:
    """A number that follows from the step: an expression, which is a tensor of float32 where it meets tensors.

    Arithmetic with numbers gives such numbers, arithmetic with tensors tensors. `float` and the like give the value of
    the step that is taken, which no replay could change: the owner notes it as a fault.
    """

    __hash__ = None  # type: ignore[assignment]  # it compares by value

    def __init__(self, value: Callable[[], float], owner: StepNumbers) -> None:
        self.value, self.owner = value, owner
        self._tensor: Tensor | None = None

    def tensor(self) -> Tensor:
        """Returns the tensor that holds its value, []."""
        if self._tensor is None:
            self._tensor = self.owner.tensor_of(self.value)
        return self._tensor

    def map(self, function: Callable[[Any], float]) -> StepNumber:
        """Returns a function of it."""
        return StepNumber(lambda: function(self.value()), self.owner)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map_only(StepNumber, StepNumber.tensor, (args, kwargs or {}))
        return func(*args, **kwargs)

    def _with(self, other: Any, operation: Binary) -> Any:
        if isinstance(other, Tensor):
            return operation(self.tensor(), other)
        if isinstance(other, StepNumber):
            return StepNumber(lambda: operation(self.value(), other.value()), self.owner)
        if isinstance(other, int | float):
            return self.map(lambda value: operation(value, other))
        return NotImplemented

    def _asked(self, other: Any, question: Binary) -> bool:
        if isinstance(other, StepNumber):
            return self.owner.answer(lambda: bool(question(self.value(), other.value())))
        return self.owner.answer(lambda: bool(question(self.value(), other)))

    def __add__(self, other: Any) -> Any:
        return self._with(other, operator.add)

    def __radd__(self, other: Any) -> Any:
        return self._with(other, lambda own, left: left + own)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda own, left: left - own)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, operator.mul)

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, lambda own, left: left * own)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, operator.truediv)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, lambda own, left: left / own)

    def __pow__(self, other: Any) -> Any:
        return self._with(other, operator.pow)

    def __neg__(self) -> StepNumber:
        return self.map(operator.neg)

    def __lt__(self, other: Any) -> bool:
        return self._asked(other, operator.lt)

    def __le__(self, other: Any) -> bool:
        return self._asked(other, operator.le)

    def __gt__(self, other: Any) -> bool:
        return self._asked(other, operator.gt)

    def __ge__(self, other: Any) -> bool:
        return self._asked(other, operator.ge)

    def __eq__(self, other: object) -> bool:
        return self._asked(other, operator.eq)

    def __ne__(self, other: object) -> bool:
        return self._asked(other, operator.ne)

    def __bool__(self) -> bool:
        return self.owner.answer(lambda: bool(self.value()))

    def __float__(self) -> float:
        self.owner.faults.append("a number that changes from step to step is read as a plain number")
        return float(self.value())

    def __int__(self) -> int:
        return int(float(self))


class StepNumbers:
    """The numbers of a step that is recorded: their tensors, and what was asked of them.

    Args:
        device: of the tensors.

    Attributes:
        is_captured: whether the step is recorded now, and not taken.
        faults: what was done with a number that no replay could do again.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_captured = False
        self._all = torch.zeros(MOST, device=device)
        self._tensors = self._all.unbind()
        self._values: list[Callable[[], float]] = []
        self._taken = 0
        self._answers: list[tuple[Callable[[], bool], bool]] = []
        self.faults: list[str] = []

    def number(self, value: Callable[[], float]) -> StepNumber:
        """Returns a number of the step; `value` says what it is at the step that is taken now."""
        return StepNumber(value, self)

    def begin(self, is_captured: bool = False) -> None:
        """Fills the tensors that are known, and forgets what was asked: the step is about to be played anew."""
        self.fill()
        self.is_captured = is_captured
        self._taken, self._answers, self.faults = 0, [], []

    def fill(self) -> None:
        """Fills the tensors with the values of the step that is taken now."""
        if self._values:
            values = torch.tensor([float(value()) for value in self._values])
            self._all[: len(values)].copy_(moved(values, self.device), non_blocking=True)

    def tensor_of(self, value: Callable[[], float]) -> Tensor:
        """Returns the next tensor, []. The step asks for as many, in the same order, whenever it is played.

        Raises:
            RuntimeError: there are too many of them.
        """
        number, self._taken = self._taken, self._taken + 1
        if number == MOST:
            raise RuntimeError(f"more than {MOST} numbers change from step to step")
        if number < len(self._values):
            self._values[number] = value
        else:  # the first time
            self._values.append(value)
            self.faults.append("a number that changes from step to step is new")
            if not self.is_captured:
                self._tensors[number].data.fill_(float(value()))  # `data`: gradients may need the others
        return self._tensors[number]

    def answer(self, question: Callable[[], bool]) -> bool:
        """Answers a question about the step that is taken now, and remembers it."""
        found = question()
        self._answers.append((question, found))
        return found

    def unchanged(self) -> bool:
        """Returns whether all that was asked since `begin` has the same answers at the step that is taken now."""
        return all(question() == found for question, found in self._answers)


def of_step(function: Callable[[int], float], step: int | StepNumber) -> float | StepNumber:
    """Returns a function of the step's number; of a step that is recorded, a number that changes with it."""
    return step.map(function) if isinstance(step, StepNumber) else function(step)


def taken_now(step: int | StepNumber) -> int:
    """Returns the number of the step that is taken now."""
    return int(step.value()) if isinstance(step, StepNumber) else step
