"""What makes it possible to capture a step as one graph of a GPU, seen on a CPU: it never looks at a value.

A captured step is replayed: it cannot ask the device for a number, make tensors whose shapes follow from values, take
another branch for another batch, or copy new numbers of Python to the device. All of that passes PyTorch's dispatcher,
where these tests stand. Questions that only CPUs are asked (`answers_at_once`) are left out, as on a GPU.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import semivae
from benchmarks.made_data import lay_out_data
from semivae.recipe import read_recipe
from semivae.training.phase import Phase
from tests.phases import phase_of
from tests.test_game_ladder import DIGITS_LADDER

PACKAGE = str(Path(semivae.__file__).parent)
ASK = {"_local_scalar_dense", "is_nonzero", "equal", "allclose"}
SHAPED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "histc"}
FROM_PYTHON = {"lift_fresh"}  # `torch.tensor` of numbers, which a GPU has to be sent
ONLY_ON_CPUS = (".quantile(",)  # torch checks its argument there alone


class Watched(TorchDispatchMode):
    """What a block dispatches: all operations with the shapes of their tensors, and what no captured step may do."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []
        self.refused: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        shapes = [list(each.shape) for each in args if isinstance(each, Tensor)]
        self.operations.append(f"{name} {shapes}")
        if name in ASK | SHAPED_BY_VALUES | FROM_PYTHON or _picks_by_mask(name, args):
            place, line = _own_line()
            if not any(allowed in line for allowed in ONLY_ON_CPUS):
                self.refused.append(f"{name} at {place}: {line}")
        return func(*args, **(kwargs or {}))


def _picks_by_mask(name: str, args: Any) -> bool:
    """Whether as many rows are picked as a mask has ones, or each is repeated as often as a tensor says."""
    if name == "repeat_interleave":
        return len(args) == 1
    if name not in ("index", "index_put", "index_put_"):
        return False
    return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])


def _own_line() -> tuple[str, str]:
    """The innermost line of the package, and where it is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "torch", ""
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{file.removeprefix(PACKAGE)}:{number}", linecache.getline(file, number).strip()


def captured(phase: Phase, share: float, monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """Two steps at a share of the training, as a GPU takes them; their batches are read outside, and differ."""
    for module in ("finite", "players"):
        monkeypatch.setattr(f"semivae.game.{module}.answers_at_once", lambda values: False)
    phase.optimizers.wait = False
    watched = []
    for number in range(4):
        phase.step = int(share * phase.length.total) + number
        batches = {name: stream.batch(phase.step) for name, stream in phase.streams.items()}
        monkeypatch.setattr(phase, "_read", lambda shard, step, read=batches: read)
        with Watched() as watch:
            phase._take_step()
        watched.append(watch)
    phase.optimizers.check()  # what was not asked: all of it was finite
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
        one, other = captured(phase, share, monkeypatch)
        assert one.refused == other.refused == []
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
        with Watched() as watch:
            look()
        assert watch.refused
    with Watched() as watch:
        torch.where(x > 0, x, 0.0).cumsum(0)[1:].repeat_interleave(2)
    assert not watch.refused and watch.operations
