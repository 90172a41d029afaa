"""The decoder's vote on a model small enough to sum over; its bound on labels and its lesson are tested elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical

from semivae.game.teaching.vote import combined


def test_combination_adds_in_the_log_and_normalises() -> None:
    posterior = Categorical(probs=torch.tensor([[0.5, 0.3, 0.2]]))
    vote = torch.tensor([[-100.0, -98.0, -200.0]])
    expected = torch.tensor([[0.5, 0.3 * 2.718281828, 0.2 * 0.0]])
    mixed = combined(posterior, vote, 0.5).probs
    assert mixed[0, 1] / mixed[0, 0] == pytest.approx((expected[0, 1] / expected[0, 0]).item(), rel=1e-5)
    assert mixed.sum().item() == pytest.approx(1.0)


def test_no_strength_leaves_the_encoder_alone() -> None:
    posterior = Categorical(logits=torch.randn(4, 3))
    torch.testing.assert_close(combined(posterior, torch.randn(4, 3) * 1e3, 0.0).probs, posterior.probs)
