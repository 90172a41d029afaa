"""The processor time until a validation error is reached: same network, labels and cores, validated off the clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from benchmarks.speed.turns import Learner, Watch

Curve = list[dict[str, float]]


def time_to_error(
    learners: Mapping[str, Learner],
    target: float,
    steps: int,
    every: int,
    tell: Callable[[dict[str, Curve]], None] = lambda curves: None,
    patience: float = math.inf,
) -> dict[str, Curve]:
    """Lets learners train in turn until each has reached an error, or has taken all its steps.

    Args:
        learners: by name.
        target: the validation error at which a learner stops, in [0, 1].
        steps: the most that each takes.
        every: steps between two validations.
        tell: called with all curves after every round.
        patience: a learner gives up after so many times the processor time of the first that reached the error.

    Returns:
        By name, a row for each validation: steps, seconds of a processor and by the clock, error.
    """
    watches = {name: Watch(learner) for name, learner in learners.items()}
    curves: dict[str, Curve] = {name: [] for name in learners}

    def is_going(name: str) -> bool:
        curve = curves[name]
        times = [row["processor"] for each in curves.values() if (row := reached(each, target))]
        late = bool(times) and bool(curve) and curve[-1]["processor"] > patience * min(times)
        return not (late or _ended(curve, target, steps))

    while going := [name for name in watches if is_going(name)]:
        for name in going:
            watch, done = watches[name], int(curves[name][-1]["steps"]) if curves[name] else 0
            taken = min(every, steps - done)
            watch.turn(taken)
            row = {"steps": done + taken, "processor": watch.processor, "wall": watch.wall}
            curves[name].append({**row, "error": learners[name].error()})
        tell(curves)
    return curves


def reached(curve: Curve, target: float) -> dict[str, float] | None:
    """Returns the first row at or below an error; None where there is none."""
    return next((row for row in curve if row["error"] <= target), None)


def _ended(curve: Curve, target: float, steps: int) -> bool:
    return bool(curve) and (curve[-1]["error"] <= target or curve[-1]["steps"] >= steps)
