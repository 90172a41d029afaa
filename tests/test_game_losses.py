"""Losses: how turns add up, and the names that metrics have for their terms."""

from __future__ import annotations

import torch

from semivae.game.losses import Losses, Term, mask_rates_of, terms_of

X, Y, VIEWS = Term("decoder", "labelled", "x"), Term("encoder", "labels", "y"), Term("views", "unlabelled", "y")


def losses() -> Losses:
    one = Losses(torch.tensor(1.5), {X: torch.tensor(1.0)})
    other = Losses(
        torch.tensor(2.0), {Y: torch.tensor(3.0), VIEWS: torch.tensor(0.5)}, {"unlabelled": torch.tensor(0.25)}
    )
    return Losses.sum([one, other], torch.device("cpu"))


def test_losses_add_up_term_by_term() -> None:
    found = losses()
    assert found.total.item() == 3.5
    assert {term: value.item() for term, value in found.terms.items()} == {X: 1.0, Y: 3.0, VIEWS: 0.5}
    assert {stream: rate.item() for stream, rate in found.mask_rate.items()} == {"unlabelled": 0.25}


def test_nobodys_loss_is_zero_and_carries_no_gradient() -> None:
    nothing = Losses.sum([], torch.device("cpu"))
    assert nothing.total.item() == 0.0 and not nothing.total.requires_grad
    assert nothing.by_name() == {}


def test_metrics_name_terms_and_mask_rates_and_read_them_back() -> None:
    named = {name: value.item() for name, value in losses().by_name().items()}
    assert named == {
        "decoder.labelled.x": 1.0,
        "encoder.labels.y": 3.0,
        "views.unlabelled.y": 0.5,
        "share.unlabelled": 0.25,
    }
    assert terms_of(named) == {X: 1.0, Y: 3.0, VIEWS: 0.5}
    assert mask_rates_of(named) == {"unlabelled": 0.25}
