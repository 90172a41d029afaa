"""The mutual information of a label between two views: exact small cases."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from semivae.game.conditionals import Prior
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.game.teaching.class_teacher import ClassTeacher
from semivae.game.teaching.mutual_information import information_loss
from tests.game_steps import PAIR, Y, batches, players


def test_information_of_certain_equal_labels_is_the_entropy_of_the_classes() -> None:
    certain = torch.eye(4).repeat(3, 1)
    assert information_loss(certain, certain).item() == pytest.approx(-math.log(4), abs=1e-4)


def test_information_of_independent_labels_is_none() -> None:
    first, second = torch.eye(2).repeat(2, 1), torch.eye(2).repeat_interleave(2, dim=0)
    assert information_loss(first, second).item() == pytest.approx(0.0, abs=1e-4)


def test_a_label_that_never_changes_tells_nothing() -> None:
    constant = torch.tensor([[1.0, 0.0]]).repeat(8, 1)
    assert information_loss(constant, constant).item() == pytest.approx(0.0, abs=1e-4)


def test_a_prior_moves_the_best_shares_from_uniform_to_its_own() -> None:
    def loss(share: float, prior: torch.Tensor | None) -> float:
        count = round(100 * share)
        certain = torch.eye(2)[torch.tensor([0] * count + [1] * (100 - count))]
        return information_loss(certain, certain, prior).item()

    shares = [0.1, 0.3, 0.5, 0.7, 0.9]
    assert min(shares, key=lambda share: loss(share, None)) == 0.5
    assert min(shares, key=lambda share: loss(share, torch.tensor([0.9, 0.1]))) == 0.9
    prior = torch.tensor([0.7, 0.3])
    entropy = -(prior * prior.log()).sum().item()
    assert loss(0.7, prior) == pytest.approx(-entropy, abs=1e-4), "at the prior it is minus the information"


def test_a_table_of_two_classes_by_hand() -> None:
    """Means of products [[0.5, 0.3], [0.1, 0.1]], made symmetric: [[0.5, 0.2], [0.2, 0.1]], marginals 0.7 and 0.3."""
    first = torch.tensor([[1.0, 0.0], [0.6, 0.4]])
    second = torch.tensor([[0.7, 0.3], [0.5, 0.5]])
    cells, shares = [0.5, 0.2, 0.2, 0.1], [0.7, 0.3]
    torch.testing.assert_close(first.T @ second / 2, torch.tensor([[0.5, 0.3], [0.1, 0.1]]))
    of_cells, of_shares = (-sum(p * math.log(p) for p in table) for table in (cells, shares))
    assert information_loss(first, second).item() == pytest.approx(of_cells - 2 * of_shares, abs=1e-6)
    prior = [0.4, 0.6]
    of_prior = -sum(p * math.log(p) for p in prior)
    distance = sum(m * math.log(m / p) for m, p in zip(shares, prior, strict=True))
    found = information_loss(first, second, torch.tensor(prior)).item()
    assert found == pytest.approx(of_cells - 2 * (of_prior - distance), abs=1e-6)


def test_a_class_without_a_chance_leaves_the_loss_finite() -> None:
    certain, prior = torch.eye(2)[[0, 0]], torch.tensor([1.0, 0.0])
    assert information_loss(certain, certain, prior).item() == pytest.approx(0.0, abs=1e-5)
    other = torch.eye(2)[[1, 1]]  # where the prior allows none: as if it were 1e-8, twice
    assert information_loss(other, other, prior).item() == pytest.approx(-2 * math.log(1e-8), rel=1e-4)


def test_the_prior_learns_nothing_from_the_encoders_labels() -> None:
    """It says how frequent classes should be. If it moved with them, any frequencies would do."""
    decoder = Player([Prior(Y, torch.tensor([1.0, 0.0, -1.0]), learnable=True)])
    encoder = players()[1]
    views = replace(PAIR, mutual_information=Weight(1.0), distribution_alignment=True)
    loss, parts = ClassTeacher("y", views, decoder, encoder).loss(
        encoder, batches()["unlabelled"]["x"], torch.Generator(), 0.5
    )
    loss.backward()
    assert "information" in parts
    assert all(parameter.grad is None for parameter in decoder.parameters())
    assert any(parameter.grad is not None for parameter in encoder.parameters())


def test_information_is_as_exact_within_autocast() -> None:
    first, second = torch.randn(2, 64, 10, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    with torch.autocast("cpu", torch.bfloat16):
        found = information_loss(first, second)
    assert torch.equal(found, information_loss(first, second))


def test_information_of_bfloat16_posteriors_is_summed_in_float32() -> None:
    first, second = torch.randn(2, 500, 3, generator=torch.Generator().manual_seed(0)).softmax(dim=-1).bfloat16()
    found = information_loss(first, second)
    assert found.dtype == torch.float32
    assert torch.equal(found, information_loss(first.float(), second.float()))
