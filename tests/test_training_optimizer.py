"""One player's optimiser: every entry of the recipe's section changes something, by as much as it says."""

from __future__ import annotations

import math

import pytest
import torch

from tests.game_steps import optimised, rate_at

STEPS: dict[str, object] = {"steps": 100, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1 / 5), (1, 0.1 * 2 / 5), (3, 0.1 * 4 / 5), (4, 0.1), (5, 0.1), (99, 0.1)],
)
def test_the_rate_warms_up_evenly_and_then_stays(step: int, rate: float) -> None:
    assert rate_at(step, STEPS | {"schedule": "constant", "warmup": 4}) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1), (25, 0.05 * (1 + math.sqrt(0.5))), (50, 0.05), (75, 0.05 * (1 - math.sqrt(0.5))), (100, 0.0)],
)
def test_the_rate_falls_by_a_half_cosine(step: int, rate: float) -> None:
    assert rate_at(step, STEPS | {"schedule": "cosine"}) == pytest.approx(rate)


def test_warm_up_and_cosine_multiply() -> None:
    fall = 0.5 * (1 + math.cos(math.pi * 3 / 100))
    assert rate_at(3, STEPS | {"schedule": "cosine", "warmup": 9}) == pytest.approx(0.1 * 0.4 * fall)


def test_players_have_rates_of_their_own() -> None:
    own = {"steps": 100, "schedule": "constant", "learning_rate": {"decoder": 0.3, "encoder": 0.2}}
    assert rate_at(0, own, "decoder") == 0.3 and rate_at(0, own, "encoder") == 0.2


@pytest.mark.parametrize("algorithm", ["adam", "adamw"])
def test_the_first_step_moves_every_weight_by_the_rate_of_step_0(algorithm: str) -> None:
    weights, gradient = torch.tensor([1.0, 2.0]), torch.tensor([5.0, -0.01])
    (moved,) = optimised([weights], [[gradient]], optimizer=algorithm, learning_rate=0.1, warmup=3)
    torch.testing.assert_close(moved, weights - 0.1 / 4 * gradient.sign(), rtol=1e-5, atol=1e-6)


def test_each_step_has_its_rate() -> None:
    """An even gradient moves a weight by the rate of every step: 0.1 (1 + 2 + 3 + 3) / 3 in a warm-up of two."""
    (moved,) = optimised([torch.zeros(1)], [[torch.ones(1)]] * 4, warmup=2)
    torch.testing.assert_close(moved, torch.tensor([-0.3]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("algorithm", ["adam", "adamw", "muon"])
def test_a_large_gradient_is_clipped_to_the_norm_asked_for(algorithm: str) -> None:
    """(3, 4) in two tensors has norm 5, so a clip at 1 makes it (0.6, 0.8); a short one, (0.3, 0.4), stays."""
    weights = [torch.zeros(1, 1), torch.zeros(1)]
    large, short = [torch.full((1, 1), 3.0), torch.full((1,), 4.0)], [torch.full((1, 1), 0.3), torch.full((1,), 0.4)]
    clipped = [torch.full((1, 1), 0.6), torch.full((1,), 0.8)]
    found = optimised(weights, [short, large, short], optimizer=algorithm, clip=1.0)
    by_hand = optimised(weights, [short, clipped, short], optimizer=algorithm)
    unclipped = optimised(weights, [short, large, short], optimizer=algorithm)
    for one, expected in zip(found, by_hand, strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-6)
    assert (found[1] - unclipped[1]).abs() > 0.01


@pytest.mark.parametrize("algorithm", ["adamw", "muon"])
def test_weight_decay_shrinks_weights_beside_their_gradient(algorithm: str) -> None:
    """Decoupled (Loshchilov and Hutter 2019): by rate times decay, whatever the gradient."""
    weights = [torch.tensor([[2.0, -1.0], [0.5, 4.0]]), torch.tensor([3.0])]
    nothing = [torch.zeros(2, 2), torch.zeros(1)]
    for found, weight in zip(
        optimised(weights, [nothing], optimizer=algorithm, weight_decay=0.5), weights, strict=True
    ):
        torch.testing.assert_close(found, weight * (1 - 0.1 * 0.5))
    gradients = [torch.tensor([[1.0, 2.0], [-3.0, 0.5]]), torch.ones(1)]
    with_decay, without = (
        optimised(weights, [gradients], optimizer=algorithm, weight_decay=decay) for decay in (0.5, 0.0)
    )
    for one, other, weight in zip(with_decay, without, weights, strict=True):
        torch.testing.assert_close(one, other - 0.1 * 0.5 * weight)


def test_weight_decay_of_adam_is_part_of_the_gradient() -> None:
    weights = torch.tensor([2.0, -1.0])
    (found,) = optimised([weights], [[torch.zeros(2)]], optimizer="adam", weight_decay=0.5)
    torch.testing.assert_close(found, weights - 0.1 * weights.sign())


def test_without_weight_decay_what_has_no_gradient_stays() -> None:
    for algorithm in ("adam", "adamw", "muon"):
        weights = [torch.tensor([[2.0, -1.0]]), torch.ones(1)]
        found = optimised(weights, [[torch.zeros(1, 2), torch.zeros(1)]], optimizer=algorithm)
        assert all(torch.equal(one, other) for one, other in zip(found, weights, strict=True))


def test_muon_moves_matrices_along_one_direction_where_adamw_moves_every_entry() -> None:
    """Of the gradient diag(3, 1) AdamW moves both entries by the rate; of ones Muon moves by ones / 2, its nearest
    partial isometry. Both have the same size on average: 0.2 sqrt(2) of the rate times that matrix."""
    size = 0.1 * 0.2 * math.sqrt(2)
    ones, start = torch.ones(2, 2), [torch.zeros(2, 2)]
    by_adamw, by_muon = (optimised(start, [[ones]], optimizer=name)[0] for name in ("adamw", "muon"))
    torch.testing.assert_close(by_adamw, -0.1 * ones)
    assert torch.allclose(by_muon, by_muon[0, 0].expand(2, 2)) and 0.6 < -by_muon[0, 0] / (size / 2) < 1.3
    uneven = torch.diag(torch.tensor([3.0, 1.0]))
    moved = optimised(start, [[uneven]], optimizer="muon")[0] / -size
    assert moved[0, 1].abs() < 1e-3 and moved[1, 0].abs() < 1e-3
    assert 0.6 < moved[0, 0] < 1.3 and 0.6 < moved[1, 1] < 1.3  # what five Newton-Schulz steps promise


def test_muon_leaves_vectors_to_adamw() -> None:
    gradients = [[torch.tensor([5.0, -2.0])], [torch.tensor([1.0, 7.0])]]
    by_adamw, by_muon = (optimised([torch.zeros(2)], gradients, optimizer=name)[0] for name in ("adamw", "muon"))
    assert torch.equal(by_adamw, by_muon) and by_adamw.abs().min() > 0


def test_players_have_algorithms_of_their_own() -> None:
    start, ones = [torch.zeros(2, 2)], [[torch.ones(2, 2)]]
    both = {"optimizer": {"decoder": "adamw", "encoder": "muon"}}
    assert torch.equal(optimised(start, ones, "decoder", **both)[0], optimised(start, ones, optimizer="adamw")[0])
    assert torch.equal(optimised(start, ones, "encoder", **both)[0], optimised(start, ones, optimizer="muon")[0])


def test_muon_iterates_large_squares_in_the_precision_of_the_training() -> None:
    square = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    plain, same, rough = (
        optimised([torch.zeros(256, 256)], [[square]], optimizer="muon", learning_rate=0.1, precision=precision)[0]
        for precision in ("float32", "float32", "bfloat16")
    )
    assert torch.equal(plain, same) and not torch.equal(plain, rough)
    assert torch.nn.functional.cosine_similarity(plain.flatten(), rough.flatten(), dim=0) > 0.97
