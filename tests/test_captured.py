"""Steps that are recorded once and replayed, on a CPU: they end where steps end that are taken one by one.

`tests.graphs` does what a graph of a GPU does. Numbers of Python stay those of the recording there, so every one that
changes from step to step (a rate, a ramp, a count) and is not filled in before a replay ends in other weights.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from semivae.errors import TrainingError
from semivae.game.game import Game, Step
from semivae.game.graphs import PlayerName
from semivae.game.losses import Losses
from semivae.recipe import read_recipe
from semivae.recipe.schema import Recipe
from semivae.training import captured as captured_module
from semivae.training.captured import CapturedStep
from semivae.training.phase import Phase
from semivae.training.step_numbers import StepNumber
from tests.graphs import RecordedGraph, as_on_a_gpu
from tests.phases import painter_phase_of, phase_of
from tests.test_capture import CASES, data
from tests.test_painter import GAME, PAINTER

STEPS = 14
REHEARSED = 3  # steps, before one is recorded
FULL: dict[str, object] = {  # all that a stream may ask for that changes from step to step
    "variables.y": {"family": "categorical", "classes": 10},
    "decoder.y": "learned",
    "streams.unlabelled.views": {
        "weak": "weak",
        "strong": "strong",
        "threshold": 0.1,
        "weight": {"weight": 1.0, "start": 0.1, "full": 0.9},
        "information": {"weight": 0.5, "start": 0.0, "full": 0.8},
        "ramp": 0.9,
        "align": True,
        "temperature": 0.7,
    },
    "streams.unlabelled.vote": {"strength": 0.1, "start": 0.5},
    "streams.labelled.mixup": 0.75,
    "training.warmup": 5,
    "training.ema_decay": 0.5,
    "training.learning_rate": {"encoder": 2e-3, "decoder": 1e-3},
    "training.optimizer": {"encoder": "adamw", "decoder": "muon"},
    "training.weight_decay": 0.05,
}
REPLAYED: dict[str, tuple[str, dict[str, object]]] = CASES | {
    "all at once": ("digits_50labels", FULL),
    "numbers": ("table_numbers", {"source.path": "ages.csv", "streams.unlabelled.views.ramp": 0.9}),
    "boxes": ("digits_50labels", {"streams.unlabelled.views.cutmix": 0.5, "streams.unlabelled.views.temperature": 0.7}),
    "grades": ("table_grades", {"variables.y.order": ["kind0", "kind1", "kind2"]}),
    "bfloat16": ("digits_50labels", {"training.precision": "bfloat16"}),
    "a painter": ("painted.yaml", {}),
}
SLOW = {"photographs", "classes", "Muon", "bfloat16", "boxes", "strangers", "attributes", "a bound of several draws"}
__all__ = ["data"]  # the fixture


@pytest.fixture(autouse=True)
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)


def recipe_of(what: str, data: Path, steps: int = STEPS) -> Recipe:
    name, changes = REPLAYED[what]
    (data / "painted.yaml").write_text(GAME + PAINTER, encoding="utf-8")
    rows = [f"{row % 7},{row % 5 + row / 50},{row % 11 if row % 3 == 0 else ''}" for row in range(90)]
    (data / "made" / "ages.csv").write_text("\n".join(["one,two,label", *rows]) + "\n", encoding="utf-8")
    path = data / name if name.endswith(".yaml") else name
    small = {f"streams.{stream}.batch": 10 for stream in read_recipe(path).streams}
    if what == "a painter":
        changes = {"painter.steps": steps}
    return read_recipe(path, {**small, "training.precision": "float32", "training.steps": steps, **changes})


def new_phase(what: str, data: Path, steps: int = STEPS) -> Phase:
    os.chdir(data / "made")
    make = painter_phase_of if what == "a painter" else phase_of
    return make(recipe_of(what, data, steps), data / "made")


def capturing(phase: Phase, graph: Callable[[Phase], RecordedGraph] | None = None) -> list[str]:
    """Lets a phase capture its steps; returns where it will say why it does not."""
    said: list[str] = []
    make = graph or (lambda phase: RecordedGraph(list(phase.generators.values())))
    phase.captured = CapturedStep(
        phase._play, phase.length.progress, phase.game, phase.optimizers, lambda: make(phase), phase.device, said.append
    )
    return said


def played(phase: Phase, steps: int = STEPS) -> dict[str, Tensor]:
    """Takes steps; returns all that they leave."""
    while phase.step < steps:
        phase._take_step()
    phase.optimizers.check()
    sums = {f"sum.{name}": total for name, (total, _) in phase.sums.items()}
    left = {**phase.game.state_dict(), **phase.optimizers.tensors(), **sums}
    return {name: value.clone() for name, value in left.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Of the weights that both hold, as one vector."""
    return math.sqrt(sum(float((one[name].double() - other[name].double()).square().sum()) for name in one))


@pytest.mark.filterwarnings("ignore:.* is not the official file:semivae.errors.DataWarning")
@pytest.mark.parametrize("what", [pytest.param(what, marks=[pytest.mark.slow] * (what in SLOW)) for what in REPLAYED])
def test_replayed_steps_are_those_that_are_taken(
    what: str, data: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Bit for bit, as steps with the same tensors in the place of numbers; and to rounding as steps with numbers."""
    phase = new_phase(what, data)
    start = {name: value.clone() for name, value in phase.game.state_dict().items()}
    plain = played(phase)
    phase = new_phase(what, data)
    said = capturing(phase)
    replayed = played(phase)
    assert phase.captured is not None
    assert not said and phase.captured.captures >= 1
    monkeypatch.setattr(captured_module, "REHEARSALS", STEPS)
    phase = new_phase(what, data)
    capturing(phase)
    assert same(replayed, played(phase))
    moved = distance(start, plain)
    assert moved > 0.05 and distance({name: plain[name] for name in start}, replayed) < 0.02 * moved


FREEZING: dict[str, tuple[str, object]] = {
    "the learning rate": (
        "semivae.training.optimizer.of_step",
        lambda function, step: float(function(int(step.value() if isinstance(step, StepNumber) else step))),
    ),
    "a loss weight": (
        "semivae.game.schedules.Weight.at",
        lambda own, progress: own.weight * progress.value() if isinstance(progress, StepNumber) else own.weight,
    ),
    "the average's count": (
        "semivae.game.average.MovingAverage._latest_weight_on_device",
        lambda own: torch.full((), 9.0 / (10.0 + own.n_averaged.numpy())),
    ),
}


@pytest.mark.parametrize("what", FREEZING)
def test_a_number_that_is_not_filled_in_is_found(what: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is plain, and changes, is seen in rehearsals: no step is captured then, and the run says so."""
    monkeypatch.setattr(*FREEZING[what])
    phase = new_phase("numbers", data)
    said = capturing(phase)
    played(phase)
    (text,) = said  # at the first step that cannot be
    assert "steps cannot be captured as a graph (one step did " in text
    assert phase.captured is not None and phase.captured.captures == 0


@pytest.mark.parametrize("what", FREEZING)
def test_a_number_that_is_recorded_as_it_is_ends_in_other_weights(
    what: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the comparison of replayed steps sees it, too, where nobody looks at rehearsals."""
    monkeypatch.setattr(*FREEZING[what])
    monkeypatch.setattr(captured_module, "why_not", lambda rehearsals: None)
    phase = new_phase("numbers", data)
    capturing(phase)
    replayed = played(phase)
    assert phase.captured is not None and phase.captured.captures
    monkeypatch.setattr(captured_module, "REHEARSALS", STEPS)
    phase = new_phase("numbers", data)
    capturing(phase)
    assert not same(replayed, played(phase))


def test_a_step_is_recorded_again_where_another_lesson_begins(data: Path) -> None:
    """The vote begins at step 7 of 14; the mean teacher of a table has its full weight from there on, too."""
    for what in ("all at once", "numbers"):
        phase = new_phase(what, data)
        capturing(phase)
        assert phase.captured is not None
        recorded = []
        while phase.step < STEPS:
            before = phase.captured.captures
            phase._take_step()
            recorded += [phase.step - 1] * (phase.captured.captures - before)
        assert 7 + REHEARSED in recorded and recorded[0] <= 2 + REHEARSED


def test_batches_of_another_size_are_recorded_anew(data: Path) -> None:
    def short(phase: Phase) -> Phase:
        read = phase._read

        def fewer(shard: object, step: int) -> dict[str, dict[str, Tensor]]:
            count = 10 if step < 6 or step == 13 else 7
            phase.sizes = dict.fromkeys(phase.sizes, count)
            return {
                name: {key: value[:count] for key, value in sample.items()}
                for name, sample in read(phase.cut.own[0], step).items()
            }

        phase._read = fewer  # type: ignore[method-assign]
        return phase

    plain = played(short(new_phase("numbers", data)))
    phase = short(new_phase("numbers", data))
    capturing(phase)
    replayed = played(phase)
    assert phase.captured is not None and phase.captured.captures == 2
    assert distance(plain, replayed) < 1e-3


def test_what_cannot_be_recorded_is_said_and_taken_as_always(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A game of a user's own may look at values, or fail with numbers that are none: nothing is lost."""
    plain = played(new_phase("classes", data))

    def asks(game: Game, *args: object) -> None:
        assert float(next(game.parameters()).detach().sum()) < 1e9
        follow(game)

    follow = Game.update_average
    monkeypatch.setattr(Game, "update_average", asks)
    phase = new_phase("classes", data)
    said = capturing(phase)
    assert distance(plain, played(phase)) < 1e-3
    assert len(said) == 1 and "test_captured.py" in said[0] and "the training goes on without" in said[0]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_rehearsal_that_fails_is_undone(at: int, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first player has moved already: the step is taken as if nothing had been tried, bit for bit."""
    loss, phase = Game.loss, new_phase("classes", data)

    def fails(game: Game, learners: Sequence[PlayerName], step: Step) -> Losses:
        progress: object = step.progress
        if "encoder" in learners and isinstance(progress, StepNumber) and phase.step == at:
            raise TypeError("no number")
        return loss(game, learners, step)

    other = new_phase("classes", data)
    capturing(other)
    played(other, at)
    other.captured = None
    plain = played(other, 4)
    monkeypatch.setattr(Game, "loss", fails)
    said = capturing(phase)
    after = played(phase, 4)
    assert said[0].startswith(f"step {at}: steps cannot be captured as a graph (TypeError: no number); ")
    assert all(torch.equal(plain[name], after[name]) for name in phase.game.state_dict())


def test_a_capture_that_fails_takes_nothing(data: Path) -> None:
    class Failing(RecordedGraph):
        def capture(self, work: Callable[[], None]) -> None:
            super().capture(work)
            raise RuntimeError("CUDA error: operation failed\nmore")

    phase = new_phase("classes", data)
    said = capturing(phase, lambda phase: Failing(list(phase.generators.values())))
    failed = played(phase)
    assert said == [
        "step 3: steps cannot be captured as a graph (RuntimeError: CUDA error: operation failed); "
        "the training goes on without"
    ]
    phase = new_phase("classes", data)
    capturing(phase)
    played(phase, REHEARSED)
    phase.captured = None
    assert same(failed, played(phase))


def test_replays_that_are_not_finite_are_found_by_their_step(data: Path) -> None:
    phase = new_phase("classes", data)
    capturing(phase)
    read = phase._read

    def spoilt(shard: object, step: int) -> dict[str, dict[str, Tensor]]:
        found = read(phase.cut.own[0], step)
        return {
            name: {key: value * float("nan") if step == 10 and key == "x" else value for key, value in sample.items()}
            for name, sample in found.items()
        }

    phase._read = spoilt  # type: ignore[method-assign]
    for _ in range(10):
        phase._take_step()
    phase.optimizers.check()
    with pytest.raises(TrainingError, match=r"step 10: the loss of the decoder is not finite \(decoder"):
        played(phase, 13)
