"""On a GPU no turn waits for the device: whether all is finite is asked later, and the first fault is named then."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from semivae.errors import TrainingError
from semivae.game.losses import Losses, Term
from semivae.recipe import read_recipe
from semivae.recipe.schema import TrainingSpec
from semivae.training.optimizer import Optimizers, PlayerOptimizer
from semivae.training.read_ahead import ReadAhead
from tests.phases import phase_of


def optimizers(algorithm: str, wait: bool, device: torch.device | None = None) -> tuple[torch.nn.Parameter, Optimizers]:
    weight = torch.nn.Parameter(torch.ones(2, 3, device=device))
    spec = TrainingSpec(steps=10, learning_rate=0.1, optimizer=algorithm, clip=1.0)
    return weight, Optimizers({"encoder": PlayerOptimizer([weight], spec, "encoder")}, wait)


def test_a_turn_asks_for_no_number() -> None:
    """Tensors without values cannot answer: a question in a turn is an error. Fused Adam takes no such tensors."""
    for wait in (False, True):
        weight, both = optimizers("muon", wait, torch.device("meta"))
        for step in range(2):  # the first one sets up
            with pytest.raises((RuntimeError, NotImplementedError)) if wait else nullcontext():
                both.step(("encoder",), Losses(weight.square().sum()), step)


def test_turns_without_waits_are_those_with_them() -> None:
    (one, waiting), (other, going) = optimizers("muon", True), optimizers("muon", False)
    for step in range(3):
        waiting.step(("encoder",), Losses(one.square().sum()), step)
        going.step(("encoder",), Losses(other.square().sum()), step)
    going.check()
    assert torch.equal(one, other)


def test_the_first_fault_is_named_when_somebody_asks() -> None:
    weight, going = optimizers("adam", False)
    going.step(("encoder",), Losses(weight.sum()), 3)
    bad = (weight * float("inf")).sum()
    going.step(("encoder",), Losses(bad, {Term("encoder", "labels", "h"): bad.detach()}), 4)
    going.step(("encoder",), Losses(weight.sum() * float("nan")), 5)
    with pytest.raises(
        TrainingError, match=r"step 4: the loss of the encoder is not finite \(encoder\.labels\.h = inf"
    ):
        going.check()
    going.check()  # asked and answered


def test_nothing_is_kept_of_a_turn_that_nobody_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []
    phase = phase_of(read_recipe("digits_50labels"), tmp_path)
    phase.optimizers.wait = False
    monkeypatch.setattr(phase.records, "write", lambda *given: kept.append(given))
    weight = next(phase.game.encoder.parameters())
    phase.optimizers.step(("encoder",), Losses(weight.sum() * float("nan")), 3)
    with pytest.raises(TrainingError, match="step 3: the loss of the encoder is not finite"):
        phase.run(resume=False)  # which begins with a checkpoint
    assert not kept


def test_reading_ahead_gives_what_belongs_to_the_step() -> None:
    read: list[int] = []

    def square(step: int) -> int:
        read.append(step)
        return step * step

    ahead = ReadAhead(square)
    assert [ahead.at(step) for step in (0, 1, 2, 7, 8, 0)] == [0, 1, 4, 49, 64, 0]
    assert read.count(1) == read.count(2) == read.count(8) == 1
