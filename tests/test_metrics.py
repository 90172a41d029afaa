"""Metrics against values worked out by hand, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss

from semivae import metrics

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
LABELS = np.array([0, 1, 2, 2])


def random_case(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.dirichlet(np.ones(classes), size=count), generator.integers(classes, size=count)


def test_values_worked_out_by_hand() -> None:
    nll = -(math.log(0.7) + math.log(0.8) + math.log(0.2) + math.log(0.6)) / 4
    assert metrics.negative_log_likelihood(PROBABILITIES, LABELS) == pytest.approx(nll)
    brier = (0.3**2 + 0.2**2 + 0.1**2) + (0.1**2 + 0.2**2 + 0.1**2) + (0.5**2 + 0.3**2 + 0.8**2) + 2 * 0.2**2 + 0.4**2
    assert metrics.brier_score(PROBABILITIES, LABELS) == pytest.approx(brier / 4)
    # four confidences in four bins of 1/15: gaps 0.3, 0.2, 0.5, 0.4
    assert metrics.calibration_error(PROBABILITIES, LABELS) == pytest.approx((0.3 + 0.2 + 0.5 + 0.4) / 4)
    assert metrics.confusion_matrix(PROBABILITIES, LABELS).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]


def test_agrees_with_scikit_learn() -> None:
    probabilities, labels = random_case(500, 5)
    classes = np.arange(5)
    assert metrics.negative_log_likelihood(probabilities, labels) == pytest.approx(
        log_loss(labels, probabilities, labels=classes)
    )
    assert metrics.brier_score(probabilities, labels) == pytest.approx(
        brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False)
    )
    expected = confusion_matrix(labels, probabilities.argmax(axis=1), labels=classes)
    assert np.array_equal(metrics.confusion_matrix(probabilities, labels), expected)


def test_calibrated_predictions_have_a_small_calibration_error() -> None:
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.ones(4), size=20_000)
    labels = np.array([generator.choice(4, p=row) for row in probabilities])
    assert metrics.calibration_error(probabilities, labels) < 0.02
    overconfident = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    assert metrics.calibration_error(overconfident, labels) > 0.15


def test_confidence_on_the_edge_of_a_bin_is_counted_once() -> None:
    certain = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert metrics.calibration_error(certain, np.array([0, 0, 1])) == 0.0
    assert metrics.calibration_error(certain, np.array([1, 0, 1])) == pytest.approx(1 / 3)


def test_reliability_says_how_often_the_sure_are_right() -> None:
    probabilities = np.array([[0.95, 0.05], [0.97, 0.03], [0.4, 0.6], [1.0, 0.0]])
    found = metrics.reliability(probabilities, np.array([0, 1, 1, 0]), bins=10)
    assert [row["count"] for row in found] == [1, 3]
    assert found[0] == {"confidence": 0.6, "right": 1.0, "count": 1}
    assert found[1] == pytest.approx({"confidence": (0.95 + 0.97 + 1.0) / 3, "right": 2 / 3, "count": 3})


def test_a_certain_mistake_costs_a_finite_amount() -> None:
    assert metrics.negative_log_likelihood([[1.0, 0.0]], [1]) == pytest.approx(-math.log(1e-12))


def test_error_interval_holds_the_rate_and_stays_in_range() -> None:
    low, high = metrics.error_interval(30, 1000)
    assert low < 0.03 < high and high - low < 0.03
    assert metrics.error_interval(0, 500) == pytest.approx((0.0, 1 - 0.025 ** (1 / 500)))
    assert metrics.error_interval(500, 500)[1] == 1.0
    with pytest.raises(ValueError, match="make no rate"):
        metrics.error_interval(0, 0)


def test_error_interval_covers_the_true_rate() -> None:
    # exact intervals cover at least 95%; 300 draws fall below 91% with probability < 0.2%, and the seed is fixed
    wrong = np.random.default_rng(2).binomial(200, 0.05, size=300)
    interval = {count: metrics.error_interval(count, 200) for count in set(wrong.tolist())}
    assert np.mean([interval[count][0] <= 0.05 <= interval[count][1] for count in wrong.tolist()]) > 0.91


def test_class_errors_name_a_class_without_examples() -> None:
    assert metrics.class_errors([[3, 1, 0], [0, 0, 0], [0, 1, 1]]) == [0.25, None, 0.5]


def test_tensors_and_arrays_agree() -> None:
    tensors = torch.from_numpy(PROBABILITIES), torch.from_numpy(LABELS)
    assert metrics.brier_score(*tensors) == metrics.brier_score(PROBABILITIES, LABELS)


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        (PROBABILITIES, LABELS[:3]),
        (PROBABILITIES, np.array([0, 1, 2, 3])),
        (PROBABILITIES * 2, LABELS),
        (np.full((4, 3), np.nan), LABELS),
        (np.zeros((0, 3)), np.zeros(0)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(probabilities: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"need probabilities|labels must lie|sum to one"):
        metrics.brier_score(probabilities, labels)
