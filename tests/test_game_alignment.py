"""Alignment: labels as frequent as the prior says, at the cost of the least certain ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical

from semivae.game.teaching.alignment import aligned


def given_after(posterior: Categorical, prior: Tensor, steps: int = 4000) -> Tensor:
    shares, offsets = prior.clone(), torch.zeros_like(prior)
    for _ in range(steps):
        moved = aligned(posterior, prior, shares, offsets)
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
    moved = aligned(posterior, prior, prior.clone(), offsets)
    assert torch.equal(moved.logits.argmax(1), torch.tensor([0, 1])) and torch.equal(offsets, torch.zeros(2))
