"""Steps that are captured once as a graph, and replayed: a GPU then starts all kernels of a step at one word.

A graph does again what it was recorded with: the same operations, in the same memory. So batches are copied to one
place, what changes from step to step is filled in before each replay (`semivae.training.step_numbers`), and seeds are
set outside, in generators that the graph knows. Some steps are rehearsed first: they are taken as always, and watched
for what no graph can do. Where a step is to be another (a lesson begins, a batch is smaller), all this is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from semivae.game.game import Game
from semivae.game.losses import Losses
from semivae.training.optimizer import Optimizers, Turn
from semivae.training.step_numbers import StepNumber, StepNumbers
from semivae.variables import Sample

REHEARSALS = 3  # the first makes moments, the second constants; the third is to be as the second

Batches = Mapping[int, Mapping[str, Sample]]
"""What is read for a step, by shard and stream."""

Play = Callable[[Batches, int | StepNumber, float], list[Losses]]
"""Plays a step of batches, its number and the fraction of the training that is done; returns its turns' losses."""


@dataclass(frozen=True)
class Rehearsal:
    """What was seen of a step.

    Args:
        operations: what it dispatched, in order (`semivae.training.capturable`).
        faults: what no graph can do.
    """

    operations: Sequence[str]
    faults: Sequence[str]


class Graph(Protocol):
    """Records work once, then does it again."""

    def rehearse(self, work: Callable[[], None]) -> Rehearsal:
        """Does the work, and watches it."""

    def capture(self, work: Callable[[], None]) -> None:
        """Records the work, of which nothing is done; raises RuntimeError if it cannot be recorded."""

    def replay(self) -> None:
        """Does what was recorded, in the same memory."""


@dataclass(frozen=True)
class Recorded:
    """A step that was recorded.

    Args:
        graph: replays it.
        batches: what it reads; the next batches are copied there.
        losses, turns: what each replay leaves there.
    """

    graph: Graph
    batches: Batches
    losses: list[Losses]
    turns: list[Turn]


class CapturedStep:
    """Takes the steps of a training by a graph, as far as that is possible.

    Args:
        play: plays a step as it is.
        progress: the fraction of the training that is done at a step.
        game, optimizers: what steps change.
        new_graph: makes a graph.
        device: of the game.
        say: hears once why steps are not captured, where they cannot be.
    """

    def __init__(
        self,
        play: Play,
        progress: Callable[[int], float],
        game: Game,
        optimizers: Optimizers,
        new_graph: Callable[[], Graph],
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self.play, self.progress, self.game, self.optimizers = play, progress, game, optimizers
        self.new_graph, self.device, self.say = new_graph, device, say
        self.given_up = False
        self.captures = 0
        """How often a step was recorded."""
        self._step = 0
        self._start_over()

    def _start_over(self) -> None:
        self._numbers = StepNumbers(self.device)
        self._graph: Graph | None = None
        self._rehearsals: list[Rehearsal] = []
        self._recorded: Recorded | None = None
        self._shapes: object = None

    def take(self, batches: Batches, step: int) -> list[Losses] | None:
        """Takes a step, whose seeds are set.

        Returns:
            The losses of its turns, which the next replay overwrites; None if the step cannot be captured. Then it was
            not taken, and no later one is to be.
        """
        self._step = step
        if self.given_up:
            return None
        if self._shapes != (shapes := shapes_of(batches)) or not self._numbers.unchanged():
            self._start_over()
            self._shapes = shapes
        try:
            if len(self._rehearsals) < REHEARSALS:
                return self._rehearse(batches)
            if self._recorded is None:
                self._recorded = self._capture(batches)
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            self._give_up(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}")
            return None
        if self._recorded is None:
            return None
        return self._replay(self._recorded, batches)

    def _rehearse(self, batches: Batches) -> list[Losses]:
        """Takes a step as it is, with numbers as a graph will read them; undoes it if that fails."""
        undo = snapshot(self.game, self.optimizers)
        self._graph = self._graph or self.new_graph()
        losses: list[Losses] = []
        self._numbers.begin()
        try:
            found = self._graph.rehearse(lambda: losses.extend(self._played(batches)))
        except Exception:
            undo()
            raise
        self._rehearsals.append(Rehearsal(found.operations, [*found.faults, *self._numbers.faults]))
        return losses

    def _capture(self, batches: Batches) -> Recorded | None:
        """Records the step, without taking it; returns None if it showed that it cannot be replayed."""
        if reason := why_not(self._rehearsals):
            self._give_up(reason)
            return None
        assert self._graph is not None
        static, losses = cloned(batches), list[Losses]()
        earlier = self.optimizers.withdraw()
        self._numbers.begin(is_captured=True)
        try:
            self._graph.capture(lambda: losses.extend(self._played(static)))
        finally:
            turns = self.optimizers.withdraw()
            self.optimizers.add(earlier)
        if self._numbers.faults:
            self._give_up(self._numbers.faults[0])
            return None
        self.captures += 1
        return Recorded(self._graph, static, losses, turns)

    def _replay(self, recorded: Recorded, batches: Batches) -> list[Losses]:
        for static, new in zip(tensors_of(recorded.batches), tensors_of(batches), strict=True):
            static.copy_(new, non_blocking=True)
        self._numbers.fill()
        recorded.graph.replay()
        self.optimizers.add([turn.copied(self._step) for turn in recorded.turns])
        return recorded.losses

    def _played(self, batches: Batches) -> list[Losses]:
        step = self._numbers.number(lambda: self._step)
        progress = step.map(self.progress)
        return self.play(batches, step, cast(float, progress))  # it does what a number does

    def _give_up(self, reason: str) -> None:
        self._start_over()
        self.given_up = True
        self.say(f"step {self._step}: steps cannot be captured as a graph ({reason}); the training goes on without")


def why_not(rehearsals: Sequence[Rehearsal]) -> str | None:
    """Returns what speaks against recording a step that was rehearsed; None if nothing does."""
    *_, before, last = rehearsals
    if last.faults:
        return last.faults[0]
    for one, other in zip(before.operations, last.operations, strict=False):
        if one != other:
            return f"one step did {one}, the next {other}"
    if len(before.operations) != len(last.operations):
        return f"one step did {len(before.operations)} operations, the next {len(last.operations)}"
    return None


def snapshot(game: Game, optimizers: Optimizers) -> Callable[[], None]:
    """Returns what gives a game and its optimizers back what they have now."""
    weights = {name: value.clone() for name, value in game.state_dict().items()}
    moments = {name: value.clone() for name, value in optimizers.tensors().items()}
    earlier = optimizers.withdraw()
    optimizers.add(earlier)

    def undo() -> None:
        game.load_state_dict(weights)
        optimizers.load(moments)
        optimizers.withdraw()
        optimizers.add(earlier)

    return undo


def shapes_of(batches: Batches) -> object:
    """Returns the names, shapes and types of what is read."""
    return {
        (shard, stream, name): (value.shape, value.dtype)
        for shard, streams in batches.items()
        for stream, sample in streams.items()
        for name, value in sample.items()
    }


def tensors_of(batches: Batches) -> list[Tensor]:
    """Returns what is read, in an order of its own."""
    return [value for streams in batches.values() for sample in streams.values() for value in sample.values()]


def cloned(batches: Batches) -> Batches:
    """Returns copies of what is read."""
    return {
        shard: {stream: {name: value.clone() for name, value in sample.items()} for stream, sample in streams.items()}
        for shard, streams in batches.items()
    }
