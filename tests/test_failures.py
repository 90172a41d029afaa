"""The rules for warnings: exact cases on both sides of every edge."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

import semivae.monitoring.failures as failures
from semivae.monitoring.context import ConfidenceThreshold, Context
from semivae.monitoring.failures import (
    COLLAPSED_BITS,
    find_failures,
    new_failures,
    other_meaning,
    worse_than_twin,
)
from semivae.monitoring.fractions import clearly_above, halfway, interval, standard_error

CONTEXT = Context(
    steps=1000,
    label="y",
    capacity={"h": 16.0, "bit": 1.0, "real": math.inf},
    thresholds=(ConfidenceThreshold("unlabelled", 0.95, "streams.unlabelled.views.threshold"),),
    n_images=200,
    n_values=200,
    has_labels=True,
    expected=(0.5, 0.5),
    classes=("cat", "dog"),
    chance=0.5,
    n_samples=512,
)


def row(step: int = 1000, share: float | None = 0.5, **found: Any) -> dict[str, Any]:
    return {"step": step, "phase": "model", "losses": {} if share is None else {"share.unlabelled": share}, **found}


def found(rows: list[dict[str, Any]], context: Context = CONTEXT) -> list[tuple[str, str]]:
    return [(failure.kind, failure.about) for failure in find_failures(rows, context)]


# Codes


@pytest.mark.parametrize(
    ("code", "bits", "warned"),
    [
        ("h", COLLAPSED_BITS - 0.01, True),
        ("h", COLLAPSED_BITS, False),
        ("h", -0.3, True),  # a lower bound may be negative
        ("bit", 0.049, True),  # one bit can carry one bit: a twentieth of it is the edge
        ("bit", 0.05, False),
        ("real", 0.49, True),
        ("real", 0.51, False),
    ],
)
def test_collapsed_code(code: str, bits: float, warned: bool) -> None:
    assert found([row(bits={code: bits})]) == ([("collapsed code", code)] if warned else [])


def test_code_that_can_carry_nothing_is_not_called_collapsed() -> None:
    assert found([row(bits={"h": 0.0})], replace(CONTEXT, capacity={"h": 0.0})) == []


def test_nothing_needs_to_work_before_training_has_settled() -> None:
    early = {"bits": {"h": 0.0}, "read_as_intended": 0.1, "class_shares": (1.0, 0.0), "predicted_shares": (1.0, 0.0)}
    assert found([row(299, share=0.0, **early)]) == []
    assert len(found([row(300, share=0.0, **early)])) == 5
    late = replace(CONTEXT, last_start=0.5)  # a lesson that starts half way: 0.3 of what is left
    assert found([row(649, share=0.0, **early)], late) == []
    assert len(found([row(650, share=0.0, **early)], late)) == 5


def test_advice_names_what_the_recipe_has_not_done_yet() -> None:
    noisy, mean = (
        find_failures([row(bits={"h": 0.0})], replace(CONTEXT, image="picture", draws_image=noisy))[0]
        for noisy in (True, False)
    )
    assert "variables.picture.complete_with: mean" in noisy.text
    assert "complete_with" not in mean.text
    assert "code h has 0.00 bits in use of at most 16 at step 1,000" in noisy.text


# The label


@pytest.mark.parametrize(
    ("errors", "warned"),
    [
        # 4 wrong of 200: 95% interval 0.55% to 5.04%; 18: 5.42% to 13.86%; 17: 5.03% to 13.26%
        ([0.02, 0.09, 0.09], True),
        ([0.02, 0.085, 0.09], False),
        ([0.02, 0.09, 0.085], False),  # it must last
        ([0.02, 0.09], False),
        ([0.09, 0.02, 0.02], False),
        ([0.02, 0.02, 0.02], False),
        ([None, None, None, None], False),
    ],
)
def test_drifting_label(errors: list[float | None], warned: bool) -> None:
    rows = [row(100 * step, validation_error=error) for step, error in enumerate(errors)]
    assert found(rows) == ([("drifting label", "y")] if warned else [])


def test_drift_tells_figures_and_which_stream_to_silence() -> None:
    rows = [row(100 * step, validation_error=error) for step, error in enumerate([0.02, 0.3, 0.4])]
    (failure,) = find_failures(rows, replace(CONTEXT, sample_streams=("labels",)))
    assert failure.seen == (
        "the validation error of y is 40.0% at step 200, clearly above its minimum, 2.0% at step 0 (200 images)"
    )
    assert "streams.labels.loss_weights: {y: 0}" in failure.advice
    assert "streams.unlabelled.views.threshold" in failure.advice
    (bare,) = find_failures(rows, replace(CONTEXT, thresholds=()))
    assert "pair of views" in bare.advice and "teach" not in bare.advice


def test_errors_of_images_without_labels_raise_nothing() -> None:
    rows = [row(100 * step, validation_error=error) for step, error in enumerate([0.02, 0.3, 0.4])]
    assert found(rows, replace(CONTEXT, has_labels=False)) == []


@pytest.mark.parametrize(
    ("model", "twin", "kinds"),
    [
        (0.09, 0.02, ["worse than the twin"]),
        (0.085, 0.02, ["twin ahead"]),  # the intervals overlap
        (0.04, 0.02, ["twin ahead"]),  # by 2 points, and the standard error of the difference is 1.7
        (0.035, 0.02, []),  # by 1.5 points of 1.63
        (0.02, 0.09, []),
    ],
)
def test_worse_than_twin(model: float, twin: float, kinds: list[str]) -> None:
    rows, twins = [row(validation_error=model)], [row(validation_error=twin)]
    assert [failure.kind for failure in worse_than_twin(rows, twins, CONTEXT)] == kinds


def test_a_twin_that_is_ahead_on_few_masks_is_named_without_a_claim() -> None:
    """Four images prove nothing, but their 65,536 pixels agree on 1.4 points."""
    masks = replace(CONTEXT, label="s", counted="the pixels of {images}", n_images=4, n_values=65536)
    (failure,) = worse_than_twin([row(validation_error=0.134)], [row(validation_error=0.12)], masks)
    assert failure.seen == "the validation error of s is 13.4%, that of its supervised twin 12.0% (4 images)"
    assert "4 images are too few to be sure" in failure.means
    assert "split.validation" in failure.advice


def test_unfinished_twin_is_not_compared() -> None:
    rows, twins = [row(validation_error=0.5)], [row(900, validation_error=0.0)]
    assert not list(worse_than_twin(rows, twins, CONTEXT))
    assert not list(worse_than_twin(rows, [], CONTEXT))
    assert not list(worse_than_twin([row(validation_error=None)], [row(validation_error=0.0)], CONTEXT))


@pytest.mark.parametrize(
    ("read", "chance", "warned"),
    [
        (364 / 512, 0.5, True),  # at most 74.99%, and half way from guessing to all is 75%
        (365 / 512, 0.5, False),  # 75.2%
        (258 / 512, 0.1, True),  # 54.8%, and half way is 55%
        (260 / 512, 0.1, False),  # 55.2%
        (1.0, 0.5, False),
    ],
)
def test_unread_samples(read: float, chance: float, warned: bool) -> None:
    assert found([row(read_as_intended=read)], replace(CONTEXT, chance=chance)) == (
        [("unread samples", "y")] if warned else []
    )


@pytest.mark.parametrize(
    ("read", "by_other", "error", "warned"),
    [
        (0.99, 0.3, 0.05, True),
        (0.99, 0.3, None, True),
        (0.99, 0.3, 0.5, False),  # the reader is that bad on real images too
        (0.99, 0.7, 0.05, False),  # blurred samples explain so much
        (0.3, 0.3, 0.0, False),  # the run's own encoder does not read them either: another warning's business
    ],
)
def test_other_meaning(read: float, by_other: float, error: float | None, warned: bool) -> None:
    assert bool(list(other_meaning(read, by_other, error, 1000, "its twin", "y"))) == warned


# Confidence


@pytest.mark.parametrize(("share", "warned"), [(0.049, True), (0.05, False), (None, False)])
def test_idle_views(share: float | None, warned: bool) -> None:
    assert found([row(share=share)]) == ([("idle views", "unlabelled")] if warned else [])


@pytest.mark.parametrize(
    ("share", "sure", "wrong", "warned"),
    [
        (0.95, 1.0, 18 / 200, True),  # 5.42% at least
        (0.95, 1.0, 17 / 200, True),  # 5.03% at least
        (0.95, 1.0, 16 / 200, False),  # 4.64%
        (0.949, 1.0, 0.5, False),  # the threshold holds something back
        (0.95, 0.0, None, False),
        (0.95, None, None, False),
        (0.95, 0.05, 0.1, False),  # one wrong of ten may be chance
    ],
)
def test_overconfident_views(share: float, sure: float | None, wrong: float | None, warned: bool) -> None:
    rows = [row(100, share=share, confident=sure, confident_error=wrong)]  # at any time: wrong labels teach at once
    assert found(rows) == ([("overconfident views", "unlabelled")] if warned else [])


def test_soft_labels_claim_nothing() -> None:
    soft = replace(CONTEXT, thresholds=(replace(CONTEXT.thresholds[0], soft=True),))
    rows = [row(100, share=1.0, confident=1.0, confident_error=0.2)]
    assert found(rows) == [("overconfident views", "unlabelled")]
    assert found(rows, soft) == []


# Classes


@pytest.mark.parametrize(
    ("shares", "name"),
    [
        ((0.63, 0.37), "cat"),  # 126 of 200: 55.9% at least, and the edge is 55%
        ((0.62, 0.38), None),  # 54.9%
        ((0.37, 0.63), "dog"),
        ((0.5, 0.5), None),
        ((), None),
    ],
)
def test_one_class_takes_over(shares: tuple[float, ...], name: str | None) -> None:
    found = find_failures([row(class_shares=shares)], CONTEXT)
    assert [failure.seen.split()[1] for failure in found] == ([name] if name else [])


def test_of_a_thousand_classes_few_intervals_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval takes milliseconds: all of them would take longer than the validation."""
    computed = []

    def counted(share: float, count: int) -> tuple[float, float]:
        computed.append(share)
        return interval(share, count)

    monkeypatch.setattr(failures, "interval", counted)
    many = replace(CONTEXT, classes=tuple(map(str, range(1000))), expected=(0.001,) * 1000)
    (failure,) = find_failures([row(class_shares=(0.3, 0.2, *[0.5 / 998] * 998))], many)
    assert failure.seen.startswith("class 0 has a mean posterior of 30.0%") and computed == [0.3, 0.2]


@pytest.mark.parametrize(("count", "warned"), [(10, True), (9, False)])  # 2^-10 < 0.001 < 2^-9
def test_missing_class(count: int, warned: bool) -> None:
    rows = [row(predicted_shares=(1.0, 0.0))]
    assert found(rows, replace(CONTEXT, n_images=count, n_values=count)) == (
        [("missing classes", "y")] if warned else []
    )


def test_many_missing_classes_are_one_warning() -> None:
    many = replace(CONTEXT, classes=tuple(map(str, range(10))), expected=(0.1,) * 10)
    (failure,) = find_failures([row(predicted_shares=(0.5, *[0.0] * 8, 0.5))], many)
    assert "classified as 1 (10.0% expected), 2" in failure.seen and "and 3 more at step" in failure.seen
    assert failure.means == "the classifier has lost 8 of 10 classes"


def test_missing_classes_of_masks_are_counted_by_pixels() -> None:
    """A class with 0.1% of the pixels of four labelled masks is there; in unlabelled images it may not be."""
    masks = replace(
        CONTEXT, label="s", counted="the pixels of {images}", n_images=4, n_values=65536, expected=(0.999, 0.001)
    )
    rows = [row(predicted_shares=(1.0, 0.0))]
    (failure,) = find_failures(rows, masks)
    assert (
        failure.seen == "none of the pixels of 4 validation images is classified as dog (0.1% expected) at step 1,000"
    )
    assert found(rows, replace(masks, n_values=6900)) == []  # 0.999^6,900 = 0.001004
    assert found(rows, replace(masks, has_labels=False)) == []


def test_advice_for_classes_can_be_followed() -> None:
    """Masks have no balance and no alignment; nor does a recipe that has both already."""
    rows = [row(predicted_shares=(1.0, 0.0))]
    (plain,) = find_failures(rows, CONTEXT)
    assert plain.advice == "use more labels of such classes (split.labelled)"
    (more,) = find_failures(rows, replace(CONTEXT, unbalanced=True, unaligned=("streams.unlabelled.views.align",)))
    assert more.advice == (
        "use more labels of such classes (split.labelled), or balance them (split.balance: balanced), or align the "
        "pseudo-labels to the decoder's prior, if that is right (streams.unlabelled.views.align: true)"
    )


def test_what_is_counted_is_named() -> None:
    masks = replace(CONTEXT, counted="the pixels of {images}", n_images=4)
    (idle,) = find_failures([row(share=0.01)], masks)
    assert idle.seen.startswith("1.0% of the pixels of stream unlabelled's images have a label of confidence 0.95 or")
    (images,) = find_failures([row(share=1.0, confident=0.5, confident_error=0.2)], CONTEXT)
    assert images.seen.endswith("of 200 validation images 50% are as confident, and 20.0% of those get a wrong label")
    (pixels,) = find_failures([row(share=1.0, confident=1.0, confident_error=0.2)], replace(masks, n_images=200))
    assert "of the pixels of 200 validation images 100% are as confident" in pixels.seen


def test_class_that_is_not_there_is_not_missed() -> None:
    assert found([row(predicted_shares=(1.0, 0.0))], replace(CONTEXT, expected=(1.0, 0.0))) == []
    assert found([row(predicted_shares=(1.0, 0.0))], replace(CONTEXT, expected=())) == []


# All together


def test_rows_of_an_older_run_raise_nothing() -> None:
    assert found([{"step": 1000, "phase": "model", "validation_error": None, "bits": {}, "losses": {}}]) == []
    assert find_failures([], CONTEXT) == []


def test_each_thing_is_said_once() -> None:
    rows = [row(1000, bits={"h": 0.0}), row(1000, bits={"h": 0.0, "bit": 0.0})]
    first = new_failures(find_failures(rows[:1], CONTEXT), [])
    rows[0]["warnings"] = [failure.as_row() for failure in first]
    second = new_failures(find_failures(rows, CONTEXT), rows[:1])
    assert [failure.about for failure in first] == ["h"]
    assert [failure.about for failure in second] == ["bit"]


def test_clearly_above_needs_examples() -> None:
    assert not clearly_above(1.0, 0.0, 0)
    assert not clearly_above(1.0, 0.0, 5)  # 5 of 5 (47.8% at least) and none of 5 (52.2% at most) still fit one rate
    assert clearly_above(1.0, 0.0, 6)
    assert halfway(0.1) == pytest.approx(0.55)


def test_fractions() -> None:
    assert interval(0.5, 10) == pytest.approx((0.187, 0.813), abs=1e-3)
    assert standard_error(0.04, 0.02, 200) == pytest.approx(math.sqrt((0.04 * 0.96 + 0.02 * 0.98) / 200))
    assert standard_error(0.04, 0.02, 0) == math.inf
