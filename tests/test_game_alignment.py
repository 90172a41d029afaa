"""Alignment: labels as frequent as the prior says, at the cost of the least certain ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical

from semivae.game.conditionals import NetworkConditional
from semivae.game.players import Player
from semivae.game.teaching.alignment import align_distribution
from semivae.game.teaching.class_teacher import ClassTeacher
from semivae.nets import Mlp
from tests.game_steps import PAIR, H, Y, players


def given_after(posterior: Categorical, prior: Tensor, steps: int = 1200) -> Tensor:
    shares, offsets = prior.clone(), torch.zeros_like(prior)
    for _ in range(steps):
        moved = align_distribution(posterior, prior, shares, offsets)
    return moved.logits.argmax(dim=-1)


def test_the_least_certain_of_an_overfull_class_leave_it() -> None:
    """Class 0 holds 7 of 10 by margins of 1 to 7; the prior leaves it 5, so the two smallest margins go."""
    margins = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -4.0, -5.0, -6.0])
    posterior = Categorical(logits=torch.stack([margins, torch.zeros(10)], dim=1))
    label = given_after(posterior, torch.tensor([0.5, 0.5]))
    assert label.tolist() == [1, 1, 0, 0, 0, 0, 0, 1, 1, 1]


def test_a_teacher_that_leans_gives_labels_as_the_prior_says() -> None:
    torch.manual_seed(0)
    posterior = Categorical(logits=torch.randn(2000, 3) + torch.tensor([3.0, 0.0, 0.0]))
    prior = torch.tensor([0.2, 0.3, 0.5])
    shares = torch.bincount(given_after(posterior, prior), minlength=3) / 2000
    assert (shares - prior).abs().max() < 0.01


def test_labels_that_agree_with_the_prior_stay() -> None:
    posterior = Categorical(logits=torch.tensor([[0.1, 0.0], [0.0, 0.1]]))
    prior, offsets = torch.tensor([0.5, 0.5]), torch.zeros(2)
    moved = align_distribution(posterior, prior, prior.clone(), offsets)
    assert torch.equal(moved.logits.argmax(1), torch.tensor([0, 1])) and torch.equal(offsets, torch.zeros(2))


def test_one_call_by_hand() -> None:
    """All four labels of 0.6 against 0.4 go to class 0: a fiftieth of the running shares, and 0.3 of the log-ratio."""
    posterior = Categorical(probs=torch.tensor([[0.6, 0.4]] * 4))
    prior, shares, offsets = torch.tensor([0.7, 0.3]), torch.tensor([0.5, 0.5]), torch.tensor([0.1, -0.1])
    moved = align_distribution(posterior, prior, shares, offsets)
    odds = 0.6 / 0.4 * math.exp(0.2)
    torch.testing.assert_close(moved.probs[0], torch.tensor([odds / (1 + odds), 1 / (1 + odds)]))
    torch.testing.assert_close(shares, torch.tensor([0.98 * 0.5 + 0.02, 0.98 * 0.5]))
    change = [0.1 + 0.3 * math.log(0.7 / 0.51), -0.1 + 0.3 * math.log(0.3 / 0.49)]
    mean = sum(change) / 2
    torch.testing.assert_close(offsets, torch.tensor([change[0] - mean, change[1] - mean]))


def test_labels_are_counted_as_they_are_given_with_their_offsets() -> None:
    posterior = Categorical(probs=torch.tensor([[0.6, 0.4]]))
    shares = torch.tensor([0.5, 0.5])
    align_distribution(posterior, torch.tensor([0.5, 0.5]), shares, torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(shares, torch.tensor([0.49, 0.51]))


def test_a_class_that_is_never_given_is_not_thrown_far() -> None:
    """A share of 0 counts as a thousandth, in the prior and among the labels alike."""
    posterior, shares = Categorical(probs=torch.tensor([[0.99, 0.01]])), torch.tensor([1.0, 0.0])
    for prior, gain in ((torch.tensor([0.5, 0.5]), math.log(500)), (torch.tensor([1.0, 0.0]), 0.0)):
        offsets = torch.zeros(2)
        align_distribution(posterior, prior, shares.clone(), offsets)
        other = math.log(prior[0].item())
        torch.testing.assert_close(offsets[1] - offsets[0], torch.tensor(0.3 * (gain - other)))


@pytest.mark.parametrize("decoder", [Player([]), Player([NetworkConditional(Y, (H,), Mlp(None, 2, (3,), ()))])])
def test_without_a_prior_of_the_label_alignment_is_refused(decoder: Player) -> None:
    with pytest.raises(ValueError, match="distribution alignment needs a prior of y in the decoder, which has none"):
        ClassTeacher("y", replace(PAIR, distribution_alignment=True), decoder, players()[1])
