"""What makes it possible to capture a step as one graph of a GPU, seen on a CPU: it never looks at a value.

A captured step is replayed: it cannot ask the device for a number, make tensors whose shapes follow from values, take
another branch for another batch, or copy new numbers of Python to the device. All of that passes PyTorch's dispatcher,
where these tests stand. Questions that only CPUs are asked (`answers_at_once`) are left out, as on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch

from benchmarks.made_data import lay_out_data
from semivae.recipe import read_recipe
from semivae.training.capturable import Watch
from semivae.training.phase import Phase
from semivae.training.step_numbers import StepNumbers
from tests.graphs import ONLY_ON_CPUS, as_on_a_gpu
from tests.phases import phase_of
from tests.test_game_ladder import DIGITS_LADDER


def rehearsed(phase: Phase, share: float, monkeypatch: pytest.MonkeyPatch) -> list[Watch]:
    """Two steps at a share of the training, as they are rehearsed; their batches are read outside, and differ."""
    as_on_a_gpu(monkeypatch)
    phase.optimizers.wait = False
    watched = []
    numbers = StepNumbers(phase.device)
    step = numbers.number(lambda: phase.step)
    for number in range(4):
        phase.step = int(share * phase.length.total) + number
        batches = {0: {name: stream.batch(phase.step) for name, stream in phase.streams.items()}}
        phase._seed()
        numbers.begin()
        with Watch() as watch:
            phase._play(batches, step, cast(float, step.map(phase.length.progress)))
        watched.append(watch)
    phase.optimizers.check()  # what was not asked: all of it was finite
    assert not numbers.faults
    return watched[2:]  # the first ones make moments, and constants that are kept


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "ladder.yaml").write_text(DIGITS_LADDER, encoding="utf-8")
    (folder / "nothing").mkdir()
    lay_out_data(folder / "made", folder / "nothing")
    return folder


CASES: dict[str, tuple[str, dict[str, object]]] = {
    "classes": ("digits_50labels", {}),
    "attributes": ("digit_pairs", {"source.of": "digits", "split.validation": 50}),
    "a ladder": ("ladder.yaml", {}),
    "a bound": ("ladder.yaml", {"training.objective": "elbo"}),
    "a bound of several draws": ("ladder.yaml", {"training.objective": "elbo", "training.estimator": "leave_one_out"}),
    "a table": ("table", {}),
    "Muon": ("digits_50labels", {"training.optimizer": "muon", "training.clip": 1.0}),
    "strangers": (
        "digits_50labels",
        {
            "variables.y": {"family": "categorical", "strangers": {"share": 0.2, "classes": [8, 9]}},
            "streams.unlabelled.views.align": True,
        },
    ),
    "photographs": ("cifar10_4000labels_cpu", {"split.labelled": 100, "split.validation": 50}),
}
SLOW = ("photographs",)


@pytest.mark.filterwarnings("ignore:.* is not the official file:semivae.errors.DataWarning")
@pytest.mark.parametrize("what", [pytest.param(what, marks=[pytest.mark.slow] * (what in SLOW)) for what in CASES])
def test_a_step_looks_at_no_value(what: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start of the training and later, with other lessons; steps with other batches do the same operations."""
    name, changes = CASES[what]
    path = data / name if name.endswith(".yaml") else name
    small = {f"streams.{stream}.batch": 10 for stream in read_recipe(path).streams}
    recipe = read_recipe(path, {**small, "training.precision": "float32", **changes})
    monkeypatch.chdir(data / "made")
    phase = phase_of(recipe, data / "made")
    for share in (0.0, 0.6):
        one, other = rehearsed(phase, share, monkeypatch)
        assert [fault for watch in (one, other) for fault in watch.faults if ONLY_ON_CPUS[0] not in fault] == []
        assert len(one.operations) > 100 and one.operations == other.operations


def test_whoever_looks_is_seen() -> None:
    x = torch.arange(3.0)
    looks: list[Callable[[], object]] = [
        lambda: x[0].item(),
        lambda: bool(x[0] > 0),
        lambda: x.nonzero(),
        lambda: x[x > 0],
        lambda: x.masked_select(x > 0),
        lambda: x.unique(),
        lambda: x.repeat_interleave(torch.tensor([1, 2, 1])),
        lambda: torch.tensor([1.0]),
    ]
    for look in looks:
        with Watch() as watch:
            look()
        assert watch.faults
    with Watch(torch.device("meta")) as watch:
        torch.rand(2)  # a draw on the CPU, in a step of another device
    assert watch.faults
    with Watch(torch.device("cpu")) as watch:
        torch.rand(2)
        torch.where(x > 0, x, 0.0).cumsum(0)[1:].repeat_interleave(2)
    assert not watch.faults and watch.operations
