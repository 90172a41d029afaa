"""Logit adjustment: pairs of other class shares teach the posterior under p(y), exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributions import Categorical

import semivae
from semivae.api import Run
from semivae.classification.priors import trained_prior
from semivae.errors import RecipeError
from semivae.game.distributions import categorical_of
from semivae.game.teaching.logit_adjustment import adjust_logits
from semivae.recipe import read_recipe
from semivae.scenario.plan import plan_of
from tests import narrow
from tests.game_steps import STILL, batches, certain_players, make_game, play

FEW = narrow.DIGITS | {"training.steps": 4, "training.validate_every": 4, "split.balance": {"ratio": 5}}
P_X_GIVEN_Y = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.4, 0.5]], dtype=torch.float64)
PRIOR = torch.tensor([0.8, 0.2], dtype=torch.float64)  # not uniform: a constant added to all logits changes nothing
SHARES = torch.tensor([0.3, 0.7], dtype=torch.float64)


def posterior(prior: torch.Tensor) -> torch.Tensor:
    joint = prior[:, None] * P_X_GIVEN_Y
    return (joint / joint.sum(0)).T


def test_the_adjusted_posterior_is_the_one_under_the_pairs_shares() -> None:
    found = adjust_logits(Categorical(probs=posterior(PRIOR)), SHARES, PRIOR)
    torch.testing.assert_close(found.probs, posterior(SHARES))


def test_an_adjusted_logit_gains_the_log_ratio_of_the_shares() -> None:
    """By hand: 0.3/0.8 and 0.7/0.2 turn a fair posterior into 3/31 and 28/31."""
    found = adjust_logits(
        Categorical(probs=torch.tensor([[0.5, 0.5]])), torch.tensor([0.3, 0.7]), torch.tensor([0.8, 0.2])
    )
    torch.testing.assert_close(found.probs, torch.tensor([[3 / 31, 28 / 31]]))


def test_the_encoder_learns_its_pairs_under_their_shares_and_the_decoders_prior() -> None:
    prior, shares = torch.tensor([0.8, 0.15, 0.05]), torch.tensor([0.2, 0.3, 0.5])
    game = make_game(certain_players(prior.log()), frequencies=shares)
    pairs = batches()["labelled"]
    log_q = categorical_of(game.encoder["y"](pairs)).logits.detach()
    under_shares = (log_q + (shares / prior).log()).log_softmax(-1)
    losses = play(game, rates=STILL).losses
    torch.testing.assert_close(losses["encoder.labelled.y"], -under_shares[torch.arange(4), pairs["y"]].mean())
    labels = batches()["labels"]
    unchanged = -game.encoder.log_prob({**labels, **game.decoder.complete(labels)}, ["y"])["y"].mean().detach()
    torch.testing.assert_close(losses["encoder.labels.y"], unchanged)  # these have the prior's shares


def test_class_shares_go_where_the_game_goes_but_into_no_checkpoint() -> None:
    game = make_game(certain_players(), frequencies=torch.tensor([0.2, 0.3, 0.5]))
    assert not any("frequencies" in name for name in game.state_dict()), "the split gives them again"
    assert [buffer.dtype for name, buffer in game.double().named_buffers() if "frequencies" in name] == [torch.float64]


@pytest.mark.parametrize("adjust", [True, False])
def test_what_pairs_of_other_shares_teach(adjust: bool) -> None:
    """The expected gradient over the pairs is zero at the posterior under p(y) if adjusted, and only then."""
    logits = posterior(PRIOR).log().requires_grad_()
    learner = Categorical(logits=logits)
    if adjust:
        learner = adjust_logits(learner, SHARES, PRIOR)
    pairs = SHARES[:, None] * P_X_GIVEN_Y
    torch.stack([pairs[y] * learner.log_prob(torch.tensor(y)) for y in range(2)]).sum().backward()
    assert logits.grad is not None
    assert (logits.grad.abs().max().item() < 1e-12) == adjust


def test_a_class_that_never_comes_keeps_its_logit() -> None:
    nothing = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = adjust_logits(Categorical(probs=torch.tensor([[0.5, 0.5]], dtype=torch.float64)), SHARES, nothing)
    torch.testing.assert_close(
        found.probs, torch.tensor([[3 / 13, 10 / 13]], dtype=torch.float64)
    )  # 0.3 and 1, normalised


@pytest.fixture(scope="module")
def long_tailed_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    changes = FEW | {"streams.labelled.adjust": True}
    return semivae.train("digits_50labels", set=changes, out=tmp_path_factory.mktemp("runs") / "tail", device="cpu")


def test_a_run_knows_which_prior_it_was_trained_under(long_tailed_run: Run) -> None:
    assert trained_prior(long_tailed_run).tolist() == pytest.approx([0.1] * 10)
    twin = trained_prior(long_tailed_run.at("twin"))
    assert twin.sum() == pytest.approx(1) and twin[0] == pytest.approx(5 * twin[9], rel=0.35)


def test_adjusting_changes_what_pairs_teach(long_tailed_run: Run, tmp_path: Path) -> None:
    plain = semivae.train("digits_50labels", set=FEW, out=tmp_path / "plain", device="cpu")
    images = plain.dataset().test["x"][:20]
    usual, adapted = (categorical_of(run.posterior("y", x=images)).probs for run in (plain, long_tailed_run))
    assert not torch.equal(usual, adapted)
    assert adapted[:, 0].mean() < usual[:, 0].mean()  # the frequent class is no longer preferred
    one, other = (categorical_of(run.at("twin").posterior("y", x=images)).probs for run in (plain, long_tailed_run))
    assert torch.equal(one, other)  # the twin knows of no p(y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["streams.unlabelled.adjust=true"], "streams.unlabelled.adjust: only pairs of x and a label can be adjusted"),
        (["streams.labels.adjust=true"], "streams.labels.adjust: only pairs"),
        (["streams.labelled.adjust=true", "decoder.y=samples"], "the decoder has no prior of y to adjust to; make it"),
    ],
)
def test_streams_that_cannot_be_adjusted_are_refused(changes: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_of(read_recipe("digits_50labels", changes))
