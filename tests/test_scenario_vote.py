"""The vote in a recipe: the plan that it makes, and where it is refused."""

from __future__ import annotations

import pytest
import torch

from semivae.data.sources import data_root, load_source
from semivae.errors import RecipeError
from semivae.game.plan import Lesson
from semivae.recipe import read_recipe
from semivae.scenario.build import build_game, resolve
from semivae.scenario.plan import plan_of
from semivae.scenario.plan_rows import plan_rows

VOTE = "streams.unlabelled.vote.strength=0.1"


def test_the_vote_joins_the_pair_of_views() -> None:
    plan = plan_of(read_recipe("digits_50labels", [VOTE]))
    assert Lesson("unlabelled", "encoder", ("y",), ("y",), self_training=True, vote=True) in plan.lessons
    assert any("EMA and the decoder's vote label y" in row[2] for row in plan_rows(plan))


@pytest.mark.parametrize("views", ["null", "weak"])
def test_the_vote_alone_is_a_lesson(views: str) -> None:
    plan = plan_of(read_recipe("digits_50labels", [VOTE, f"streams.unlabelled.views={views}"]))
    assert Lesson("unlabelled", "encoder", ("y",), ("y",), self_training=True, vote=True) in plan.lessons


def test_codes_that_complete_with_their_mean_are_drawn_for_the_vote() -> None:
    assert any(
        lesson.vote
        for lesson in plan_of(read_recipe("digits_50labels", [VOTE, "variables.h.complete_with=mean"])).lessons
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["streams.labelled.vote.strength=0.1"], "streams.labelled.vote: the decoder votes on images without a label"),
        (["streams.labels.vote.strength=0.1"], "streams.labels.vote: the decoder votes on images without a label"),
        (
            [VOTE, "decoder.h=samples"],
            "the vote needs p\\(h\\), but the decoder's prior of it is known by samples only",
        ),
    ],
)
def test_where_the_decoder_cannot_vote(changes: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_of(read_recipe("digits_50labels", changes))


def test_streams_may_be_called_what_modules_call_their_own() -> None:
    """torch refuses submodules called `train` or `values`."""
    recipe = read_recipe("digits_50labels", [VOTE])
    renamed = recipe.model_copy(update={"streams": {"train": recipe.streams["unlabelled"], **recipe.streams}})
    resolved = resolve(renamed, load_source(recipe.source, data_root(None)))
    assert "stream_train" in build_game(resolved, plan_of(resolved), torch.device("cpu")).teachers
