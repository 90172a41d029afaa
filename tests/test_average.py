"""The moving average finds what it moves once; copies, other modules and devices that are not asked change nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from semivae.game.average import MovingAverage


def moved(module: nn.Linear, by: float) -> nn.Linear:
    with torch.no_grad():
        module.weight.add_(by)
    return module


def weight(average: MovingAverage) -> Tensor:
    found: Tensor = average.state_dict()["module.weight"]
    return found.clone()


def test_a_copy_has_weights_of_its_own_and_not_the_module() -> None:
    module = nn.Linear(2, 2)
    average = MovingAverage(module, decay=0.5)
    average.follow(module)
    before, copied = weight(average), copy.deepcopy(average)
    assert copied._pairs is None
    copied.follow(moved(module, 1.0))
    assert torch.equal(weight(average), before) and not torch.equal(weight(copied), before)


def test_another_module_is_followed_where_it_is_given() -> None:
    module, other = nn.Linear(2, 2), nn.Linear(2, 2)
    average = MovingAverage(module, decay=0.0)
    average.follow(module)
    average.follow(other)
    assert torch.equal(weight(average), other.weight)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.995])
def test_a_device_that_is_not_asked_computes_the_same_weights(decay: float) -> None:
    average = MovingAverage(nn.Linear(2, 2), decay)
    for count in (0, 1, 2, 7, 8, 9, 100, 1_790, 1_800, 10**6):
        average.n_averaged.fill_(count)
        assert average._latest_weight_on_device().item() == pytest.approx(average._latest_weight(), rel=1e-5)


def test_averages_agree_with_and_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def followed() -> Tensor:
        torch.manual_seed(0)
        module = nn.Linear(2, 2)
        average = MovingAverage(module, decay=0.9)
        for step in range(30):
            average.follow(moved(module, 0.1 * step))
        return weight(average)

    asked = followed()
    monkeypatch.setattr("semivae.game.average.answers_at_once", lambda values: False)
    torch.testing.assert_close(followed(), asked)
