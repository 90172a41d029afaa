"""The rules for warnings: exact cases on both sides of every edge."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from semivae.monitoring.failures import (
    COLLAPSED_BITS,
    Gate,
    Setting,
    alarms,
    clearly_above,
    halfway,
    new_alarms,
    other_meaning,
    worse_than_twin,
)

SETTING = Setting(
    steps=1000,
    label="y",
    capacity={"h": 16.0, "bit": 1.0, "real": math.inf},
    gates=(Gate("unlabelled", 0.95, "streams.unlabelled.views.threshold"),),
    judged=200,
    labelled_judged=True,
    expected=(0.5, 0.5),
    classes=("cat", "dog"),
    chance=0.5,
    samples=512,
)


def row(step: int = 1000, share: float | None = 0.5, **found: Any) -> dict[str, Any]:
    return {"step": step, "phase": "model", "losses": {} if share is None else {"share.unlabelled": share}, **found}


def told(rows: list[dict[str, Any]], setting: Setting = SETTING) -> list[tuple[str, str]]:
    return [(alarm.kind, alarm.about) for alarm in alarms(rows, setting)]


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
    assert told([row(bits={code: bits})]) == ([("collapsed code", code)] if warned else [])


def test_code_that_can_carry_nothing_is_not_called_collapsed() -> None:
    assert told([row(bits={"h": 0.0})], replace(SETTING, capacity={"h": 0.0})) == []


def test_nothing_needs_to_work_before_training_has_settled() -> None:
    early = {"bits": {"h": 0.0}, "read_as_intended": 0.1, "class_shares": (1.0, 0.0), "predicted_shares": (1.0, 0.0)}
    assert told([row(299, share=0.0, **early)]) == []
    assert len(told([row(300, share=0.0, **early)])) == 5
    late = replace(SETTING, begins=0.5)  # a lesson that starts half way: 0.3 of what is left
    assert told([row(649, share=0.0, **early)], late) == []
    assert len(told([row(650, share=0.0, **early)], late)) == 5


def test_advice_names_what_the_recipe_has_not_done_yet() -> None:
    noisy, mean = (
        alarms([row(bits={"h": 0.0})], replace(SETTING, image="picture", noisy_image=noisy))[0]
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
    assert told(rows) == ([("drifting label", "y")] if warned else [])


def test_drift_tells_figures_and_which_stream_to_silence() -> None:
    rows = [row(100 * step, validation_error=error) for step, error in enumerate([0.02, 0.3, 0.4])]
    (alarm,) = alarms(rows, replace(SETTING, label_teachers=("labels",)))
    assert (
        alarm.seen == "validation error of y is 40.0% at step 200, clearly above its best, 2.0% at step 0 (200 images)"
    )
    assert "streams.labels.loss_weights: {y: 0}" in alarm.advice
    assert "streams.unlabelled.views.threshold" in alarm.advice
    (bare,) = alarms(rows, replace(SETTING, gates=()))
    assert "pair of views" in bare.advice and "teach" not in bare.advice


def test_errors_of_images_without_labels_raise_nothing() -> None:
    rows = [row(100 * step, validation_error=error) for step, error in enumerate([0.02, 0.3, 0.4])]
    assert told(rows, replace(SETTING, labelled_judged=False)) == []


@pytest.mark.parametrize(("model", "twin", "warned"), [(0.09, 0.02, True), (0.085, 0.02, False), (0.02, 0.09, False)])
def test_worse_than_twin(model: float, twin: float, warned: bool) -> None:
    rows, twins = [row(validation_error=model)], [row(validation_error=twin)]
    assert bool(list(worse_than_twin(rows, twins, SETTING))) == warned


def test_unfinished_twin_is_not_compared() -> None:
    rows, twins = [row(validation_error=0.5)], [row(900, validation_error=0.0)]
    assert not list(worse_than_twin(rows, twins, SETTING))
    assert not list(worse_than_twin(rows, [], SETTING))
    assert not list(worse_than_twin([row(validation_error=None)], [row(validation_error=0.0)], SETTING))


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
    assert told([row(read_as_intended=read)], replace(SETTING, chance=chance)) == (
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
    assert told([row(share=share)]) == ([("idle views", "unlabelled")] if warned else [])


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
    assert told(rows) == ([("overconfident views", "unlabelled")] if warned else [])


def test_soft_labels_claim_nothing() -> None:
    soft = replace(SETTING, gates=(replace(SETTING.gates[0], soft=True),))
    rows = [row(100, share=1.0, confident=1.0, confident_error=0.2)]
    assert told(rows) == [("overconfident views", "unlabelled")]
    assert told(rows, soft) == []


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
    found = alarms([row(class_shares=shares)], SETTING)
    assert [alarm.seen.split()[1] for alarm in found] == ([name] if name else [])


@pytest.mark.parametrize(("judged", "warned"), [(10, True), (9, False)])  # 2^-10 < 0.001 < 2^-9
def test_missing_class(judged: int, warned: bool) -> None:
    rows = [row(predicted_shares=(1.0, 0.0))]
    assert told(rows, replace(SETTING, judged=judged)) == ([("missing classes", "y")] if warned else [])


def test_many_missing_classes_are_one_warning() -> None:
    many = replace(SETTING, classes=tuple(map(str, range(10))), expected=(0.1,) * 10)
    (alarm,) = alarms([row(predicted_shares=(0.5, *[0.0] * 8, 0.5))], many)
    assert "class 1 (10.0% should be), 2" in alarm.seen and "and 3 more at step" in alarm.seen
    assert alarm.means == "the classifier has lost 8 of 10 classes"


def test_class_that_is_not_there_is_not_missed() -> None:
    assert told([row(predicted_shares=(1.0, 0.0))], replace(SETTING, expected=(1.0, 0.0))) == []
    assert told([row(predicted_shares=(1.0, 0.0))], replace(SETTING, expected=())) == []


# All together


def test_rows_of_an_older_run_raise_nothing() -> None:
    assert told([{"step": 1000, "phase": "model", "validation_error": None, "bits": {}, "losses": {}}]) == []
    assert alarms([], SETTING) == []


def test_each_thing_is_said_once() -> None:
    rows = [row(1000, bits={"h": 0.0}), row(1000, bits={"h": 0.0, "bit": 0.0})]
    first = new_alarms(alarms(rows[:1], SETTING), [])
    rows[0]["warnings"] = [alarm.as_row() for alarm in first]
    second = new_alarms(alarms(rows, SETTING), rows[:1])
    assert [alarm.about for alarm in first] == ["h"]
    assert [alarm.about for alarm in second] == ["bit"]


def test_clearly_above_needs_examples() -> None:
    assert not clearly_above(1.0, 0.0, 0)
    assert not clearly_above(1.0, 0.0, 5)  # 5 of 5 (47.8% at least) and none of 5 (52.2% at most) still fit one rate
    assert clearly_above(1.0, 0.0, 6)
    assert halfway(0.1) == pytest.approx(0.55)
