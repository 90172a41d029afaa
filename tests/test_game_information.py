"""The mutual information of a label between two views: exact small cases."""

from __future__ import annotations

import math

import pytest
import torch

from semivae.game.teaching.mutual_information import information_loss


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


def test_information_is_as_exact_within_autocast() -> None:
    first, second = torch.randn(2, 64, 10, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    with torch.autocast("cpu", torch.bfloat16):
        found = information_loss(first, second)
    assert torch.equal(found, information_loss(first, second))
