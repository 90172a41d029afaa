"""Who is compared, and how: everybody takes turns in one process, so that all meet the machine in the same state."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch


class Contestant(Protocol):
    """A training that stands still between two turns."""

    def turn(self, steps: int) -> int:
        """Trains for some steps; returns how many images, labelled and unlabelled, they read."""
        ...


class Learner(Contestant, Protocol):
    """A training of a classifier."""

    def error(self) -> float:
        """Returns the validation error of what is learnt so far, in [0, 1]."""
        ...


class OwnDraws:
    """The random state of one contestant: nobody else's draws, or seeds, change what it draws."""

    def __init__(self, seed: int) -> None:
        self.state: tuple[Any, ...] | None = None
        self.seed = seed

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside, the global generators of torch, numpy and Python are this contestant's."""
        if self.state is None:
            torch.manual_seed(self.seed)
            np.random.seed(self.seed)
            random.seed(self.seed)
        else:
            torch.set_rng_state(self.state[0])
            np.random.set_state(self.state[1])
            random.setstate(self.state[2])
        yield
        self.state = torch.get_rng_state(), np.random.get_state(), random.getstate()


class Watch:
    """A contestant's processor time and wall-clock time, in seconds, over its turns alone."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant, self.draws = contestant, OwnDraws(seed=0)
        self.processor = self.wall = 0.0

    def turn(self, steps: int) -> dict[str, float]:
        """Lets the contestant take a turn; returns what an image cost, in seconds."""
        with self.draws.used():
            processor, wall = time.process_time(), time.perf_counter()
            images = self.contestant.turn(steps)
            processor, wall = time.process_time() - processor, time.perf_counter() - wall
        self.processor, self.wall = self.processor + processor, self.wall + wall
        return {"processor": processor / images, "wall": wall / images}


def alternate(contestants: Mapping[str, Contestant], rounds: int, steps: int) -> dict[str, list[dict[str, float]]]:
    """Lets everybody take a turn in each round, after one that is not timed; returns seconds an image by name."""
    watches = {name: Watch(contestant) for name, contestant in contestants.items()}
    for watch in watches.values():
        watch.turn(1)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in watches}
    for number in range(rounds):
        # every second round goes backwards: nobody always comes after the same one
        for name in list(watches)[:: -1 if number % 2 else 1]:
            found[name].append(watches[name].turn(steps))
    return found


def ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict[str, float]:
    """Returns our processor time over theirs, round by round: the median and the ends."""
    ratios = [own["processor"] / other["processor"] for own, other in zip(ours, theirs, strict=True)]
    return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}
