"""How much a stream teaches a factor, where the players differ: the plan and its weights, and what is refused."""

from __future__ import annotations

import pytest
import torch

from semivae.errors import RecipeError
from semivae.recipe import read_recipe
from semivae.scenario.build import build_game
from semivae.scenario.plan import plan_of

LEARNED = [
    "decoder.y=learned",
    "streams.labels.loss_weights.y={encoder: 0}",
    "streams.labelled.loss_weights.y={decoder: 0}",
]
PAIRLESS = ["streams.unlabelled.views=null", "streams.unlabelled.vote=null"]


def test_only_the_label_only_stream_teaches_the_prior() -> None:
    plan = plan_of(read_recipe("digits_50labels", [*LEARNED, "streams.unlabelled.loss_weights.y={decoder: 0}"]))
    teaching = [lesson.stream for lesson in plan.lessons if lesson.learner == "decoder" and "y" in lesson.scores]
    assert teaching == ["labels"]
    assert [lesson.stream for lesson in plan.lessons if lesson.learner == "encoder" and "y" in lesson.scores] == [
        "labelled",
        "unlabelled",
    ]


def test_players_have_their_own_weights() -> None:
    changes = [*LEARNED[:1], "streams.labels.loss_weights.y={encoder: {weight: 0.2, start: 0.5}, decoder: 3}"]
    recipe = read_recipe("digits_50labels", changes)
    weights = build_game(recipe, plan_of(recipe), torch.device("cpu")).weights
    assert weights["decoder", "labels", "y"].at(0.0) == 3.0
    assert [weights["encoder", "labels", "y"].at(share) for share in (0.4, 0.6)] == [0.0, 0.2]


def test_a_weight_for_what_is_not_taught_is_refused_and_a_zero_is_not() -> None:
    plan_of(read_recipe("digits_50labels", [*PAIRLESS, "streams.unlabelled.loss_weights.y={decoder: 0}"]))
    with pytest.raises(RecipeError, match=r"streams.unlabelled.loss_weights.y: this stream does not teach y, only x"):
        plan_of(read_recipe("digits_50labels", [*PAIRLESS, "streams.unlabelled.loss_weights.y={encoder: 0.5}"]))
