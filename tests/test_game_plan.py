"""The plan: the table of docs/method.md, section 2 row by row, and scenarios that cannot teach."""

from __future__ import annotations

import pytest

from semivae.errors import RecipeError
from semivae.game.graphs import Factor, StreamGraph
from semivae.game.plan import Lesson, derive_plan
from semivae.scenario.plan_rows import plan_rows

DECODER = (Factor("y", learnable=False), Factor("h", learnable=False), Factor("x", ("y", "h")))
ENCODER = (Factor("y", ("x",)), Factor("h", ("x", "y")))
LABELLED = StreamGraph("labelled", ("x", "y"))
UNLABELLED = StreamGraph("unlabelled", ("x",))
LABELS = StreamGraph("labels", ("y",))


def test_three_streams_give_the_table_of_the_method() -> None:
    plan = derive_plan(DECODER, ENCODER, [LABELLED, UNLABELLED, LABELS])
    assert plan.lessons == (
        Lesson("labelled", "decoder", draws=("h",), scores=("x",)),
        Lesson("labelled", "encoder", draws=(), scores=("y",)),
        Lesson("unlabelled", "decoder", draws=("y", "h"), scores=("x",)),
        Lesson("labels", "encoder", draws=("h", "x"), scores=("y", "h")),
    )


def test_a_decoder_without_the_image_draws_no_labels_for_it() -> None:
    """Its p(y) knows nothing of x: labels drawn from it would be noise to q(y given x)."""
    plan = derive_plan((Factor("y", learnable=False),), ENCODER[:1], [LABELLED, StreamGraph("unlabelled", ("x",), "y")])
    assert [lesson for lesson in plan.lessons if lesson.stream == "unlabelled"] == [
        Lesson("unlabelled", "encoder", ("y",), ("y",), self_training=True)
    ]


def test_prior_stream_teaches_the_encoder_all_its_factors() -> None:
    plan = derive_plan(DECODER, ENCODER, [UNLABELLED, StreamGraph("prior", ())])
    assert plan.lessons[-1] == Lesson("prior", "encoder", draws=("y", "h", "x"), scores=("y", "h"))
    assert [lesson.learner for lesson in plan.lessons if lesson.stream == "prior"] == ["encoder"]


def test_complete_stream_teaches_both_players_with_nothing_drawn() -> None:
    plan = derive_plan(DECODER, ENCODER, [StreamGraph("complete", ("x", "y", "h"))])
    assert plan.lessons == (
        Lesson("complete", "decoder", draws=(), scores=("x",)),
        Lesson("complete", "encoder", draws=(), scores=("y", "h")),
    )


def test_learnable_prior_learns_from_labels_alone() -> None:
    decoder = (Factor("y"), *DECODER[1:])
    plan = derive_plan(decoder, ENCODER, [UNLABELLED, LABELS])
    assert Lesson("labels", "decoder", draws=(), scores=("y",)) in plan.lessons


def test_ladder_with_the_label_on_top() -> None:
    decoder = (Factor("y", learnable=False), Factor("z", ("y",)), Factor("x", ("z",)))
    encoder = (Factor("y", ("x",)), Factor("z", ("y", "x")))
    plan = derive_plan(decoder, encoder, [LABELLED, UNLABELLED, LABELS])
    assert plan.lessons == (
        Lesson("labelled", "decoder", draws=("z",), scores=("z", "x")),
        Lesson("labelled", "encoder", draws=(), scores=("y",)),
        Lesson("unlabelled", "decoder", draws=("y", "z"), scores=("z", "x")),
        Lesson("labels", "encoder", draws=("z", "x"), scores=("y", "z")),
    )


def test_wake_sleep_order_without_labels() -> None:
    decoder = (Factor("z0", learnable=False), Factor("z1", ("z0",)), Factor("x", ("z1",)))
    encoder = (Factor("z1", ("x",)), Factor("z0", ("z1",)))
    plan = derive_plan(decoder, encoder, [UNLABELLED, StreamGraph("prior", ())])
    assert plan.lessons == (
        Lesson("unlabelled", "decoder", draws=("z1", "z0"), scores=("z1", "x")),
        Lesson("prior", "encoder", draws=("z0", "z1", "x"), scores=("z1", "z0")),
    )


def test_prior_known_only_by_samples_is_drawn_by_nobody() -> None:
    decoder = (Factor("h", learnable=False), Factor("x", ("y", "h")))
    plan = derive_plan(decoder, ENCODER, [LABELLED, UNLABELLED, LABELS])
    assert plan.lessons[-1] == Lesson("labels", "encoder", draws=("h", "x"), scores=("y", "h"))
    with pytest.raises(RecipeError, match=r"stream prior \(observes nothing\) teaches nobody"):
        derive_plan(decoder, ENCODER, [LABELLED, UNLABELLED, LABELS, StreamGraph("prior", ())])


def test_a_vote_teaches_by_a_lesson_of_its_own() -> None:
    plan = derive_plan(DECODER, ENCODER, [StreamGraph("unlabelled", ("x",), pseudo_label="y", vote=True), LABELS])
    assert plan.lessons[1] == Lesson("unlabelled", "encoder", ("y",), ("y",), self_training=True, vote=True)
    assert plan.of("encoder") == plan.lessons[1:]


def test_nothing_is_drawn_for_factors_that_do_not_need_it() -> None:
    decoder = (Factor("y"), *DECODER[1:])
    pairs = StreamGraph("labelled", ("x", "y"), without=frozenset({("decoder", "x")}))
    plan = derive_plan(decoder, ENCODER, [pairs, UNLABELLED, LABELS])
    assert plan.lessons[0] == Lesson("labelled", "decoder", draws=(), scores=("y",))


def test_pair_of_views_adds_one_lesson() -> None:
    plan = derive_plan(DECODER, ENCODER, [StreamGraph("unlabelled", ("x",), pseudo_label="y"), LABELS])
    assert plan.lessons[1] == Lesson("unlabelled", "encoder", draws=("y",), scores=("y",), self_training=True)


def test_switched_off_factor_is_not_scored() -> None:
    labels = StreamGraph("labels", ("y",), without=frozenset({("encoder", "y"), ("decoder", "y")}))
    plan = derive_plan(DECODER, ENCODER, [LABELLED, UNLABELLED, labels])
    assert plan.lessons[-1] == Lesson("labels", "encoder", draws=("h", "x"), scores=("h",))


def test_factor_is_switched_off_for_one_player_alone() -> None:
    decoder = (Factor("y"), *DECODER[1:])
    labels = StreamGraph("labels", ("y",), without=frozenset({("encoder", "y")}))
    plan = derive_plan(decoder, ENCODER, [LABELLED, UNLABELLED, labels])
    assert [lesson.scores for lesson in plan.lessons if lesson.stream == "labels"] == [("y",), ("h",)]


def test_table_reads_as_words() -> None:
    plan = derive_plan(DECODER, ENCODER, [StreamGraph("unlabelled", ("x",), pseudo_label="y"), LABELS])
    assert plan_rows(plan) == [
        ("unlabelled", "decoder", "encoder draws y, h", "p(x | y, h)"),
        ("unlabelled", "encoder", "the encoder's EMA labels y on the weak view", "q(y | x) on the strong view"),
        ("labels", "encoder", "decoder draws h, x", "q(y | x), q(h | x, y)"),
    ]


def test_stream_that_teaches_nobody_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"stream codes \(observes h, w\) teaches nobody"):
        derive_plan(DECODER[:2], ENCODER, [LABELLED, StreamGraph("codes", ("h", "w"))])


def test_learnable_factor_without_a_stream_is_refused_with_advice() -> None:
    with pytest.raises(
        RecipeError,
        match=r"encoder factor q\(h \| x, y\) is learnable, but no stream teaches it; add a stream that observes only "
        r"labels, or nothing, so that the decoder can draw the rest, or make the factor fixed",
    ):
        derive_plan(DECODER, ENCODER, [LABELLED, UNLABELLED])
    with pytest.raises(
        RecipeError, match=r"p\(y\) is learnable, but no stream .*the encoder's inputs \(usually x\), or make"
    ):
        derive_plan((Factor("y"),), ENCODER[:1], [StreamGraph("labels", ("h",))])


def test_code_before_an_observed_label_is_refused() -> None:
    encoder = (Factor("h", ("x",)), Factor("y", ("x", "h")))
    with pytest.raises(
        RecipeError, match=r"stream labelled observes y, but the encoder draws h before it.*put y first"
    ):
        derive_plan(DECODER, encoder, [LABELLED, UNLABELLED, LABELS])


def test_all_faults_come_in_one_message() -> None:
    with pytest.raises(RecipeError) as caught:
        derive_plan((*DECODER, Factor("w", ("v",))), ENCODER, [LABELLED])
    assert "p(w | v)" in str(caught.value)
    assert "q(h | x, y)" in str(caught.value)
