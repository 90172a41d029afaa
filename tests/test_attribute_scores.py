"""Scores of attributes, thresholds, and what is measured of their posterior."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor

from semivae.game.families import FAMILIES
from semivae.tasks import attribute_scores
from semivae.tasks.attribute_scores import (
    average_precision,
    best_threshold,
    choose_thresholds,
    f1,
    mean_average_precision,
    mean_interval,
    scores_of,
)
from semivae.tasks.kinds import ATTRIBUTES
from semivae.variables import VOID, Variable

NAMES = ("smiling", "hat", "glasses")


def rounded(seed: int, count: int = 60, attributes: int = 4) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities with many ties, and attributes of which a fifth is unknown."""
    generator = np.random.default_rng(seed)
    p = generator.random((count, attributes)).round(1)
    y = (generator.random((count, attributes)) < p).astype(np.int64)
    y[generator.random(y.shape) < 0.2] = VOID
    return p, y


# Scores --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_scikit_learn(seed: int) -> None:
    p, y = rounded(seed)
    for k in range(p.shape[1]):
        known = y[:, k] >= 0
        expected = average_precision_score(y[known, k], p[known, k])
        assert average_precision(p[:, k], y[:, k]) == pytest.approx(expected)


def test_weights_count_examples_several_times() -> None:
    p, y = rounded(7)
    weights = np.random.default_rng(0).integers(0, 3, (3, len(p)))
    found = mean_average_precision(p, y, weights)
    for row, counts in enumerate(weights):
        repeated = mean_average_precision(np.repeat(p, counts, axis=0), np.repeat(y, counts, axis=0))
        assert found[:, row] == pytest.approx(repeated)


def test_an_attribute_that_does_not_occur_has_no_score_and_does_not_count() -> None:
    p = torch.tensor([[0.9, 0.2, 0.5], [0.1, 0.7, 0.5]])
    y = torch.tensor([[1, 0, VOID], [0, 0, VOID]])
    found = scores_of([(p, y)], NAMES, None)
    assert found["per_class"] == {"smiling": 1.0, "hat": None, "glasses": None}
    assert found["mean_average_precision"] == 1.0 and found["macro_f1"] == 1.0
    assert found["micro_f1"] == pytest.approx(2 / 3), "the wrong hat counts there"
    assert found["error"] == 0.25 and found["mean_average_precision_interval"] is None
    assert found["per_attribute"]["glasses"] == {
        "positives": 0, "known": 0, "average_precision": None, "threshold": 0.5, "f1": None, "nll": None, "ece": None,
    }  # fmt: skip


def test_scores_are_over_known_entries_alone() -> None:
    """Against scikit-learn and by hand, and equal in one part and in several."""
    p, y = rounded(3)
    chosen = {"thresholds": [0.3, 0.5, 0.7, 0.5], "count": 60}
    tensors = (torch.from_numpy(p), torch.from_numpy(y))
    names = [str(k) for k in range(4)]
    found = scores_of([tensors], names, chosen)
    halves = [tuple(part[rows] for part in tensors) for rows in (slice(0, 25), slice(25, None))]
    assert scores_of(halves, names, chosen) == found  # type: ignore[arg-type]
    known = y >= 0
    answers = p > np.array(chosen["thresholds"])
    each = [f1_score(y[known[:, k], k], answers[known[:, k], k]) for k in range(4)]
    assert [row["f1"] for row in found["per_attribute"].values()] == pytest.approx(each)
    assert found["macro_f1"] == pytest.approx(np.mean(each))
    assert found["micro_f1"] == pytest.approx(f1_score(y[known], answers[known]))
    assert found["error"] == pytest.approx((answers != y)[known].mean())
    assert found["nll"] == pytest.approx(-np.log(np.where(y == 1, p, 1 - p).clip(1e-12))[known].mean())
    assert found["brier"] == pytest.approx(((p - y) ** 2)[known].mean())
    assert found["thresholds_chosen_on"] == 60 and sum(row["count"] for row in found["reliability"]) == known.sum()


def test_the_interval_resamples_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one example, or of one attribute, make nothing surer; ten times as many examples do."""
    p, y = rounded(1, count=40)
    low, high = mean_interval(p, y) or [0.0, 0.0]
    assert low < mean_average_precision(p, y).mean() < high
    doubled = mean_interval(np.repeat(p, 2, axis=1), np.repeat(y, 2, axis=1))
    assert doubled == pytest.approx([low, high])
    more = mean_interval(*rounded(1, count=400)) or [0.0, 1.0]
    assert more[1] - more[0] < 0.5 * (high - low)
    monkeypatch.setattr(attribute_scores, "LARGEST_PART", 1)
    assert mean_interval(p, y) == pytest.approx([low, high], abs=0.05), "one resample at a time"


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_have_the_best_f1(seed: int) -> None:
    p, y = rounded(seed)
    chosen = choose_thresholds([(torch.from_numpy(p), torch.from_numpy(y))])
    for k, threshold in enumerate(chosen["thresholds"]):
        every = [f1((p[:, k : k + 1] > t), y[:, k : k + 1]) for t in np.linspace(-0.05, 1.05, 23)]
        assert f1(p[:, k : k + 1] > threshold, y[:, k : k + 1]) == pytest.approx(np.nanmax(every))


@pytest.mark.parametrize("y", [[0, 0, VOID], [1, 1, VOID], [VOID, VOID, VOID]])
def test_a_threshold_stays_where_nothing_can_choose_it(y: list[int]) -> None:
    assert best_threshold(np.array([0.1, 0.2, 0.9]), np.array(y)) == 0.5


def test_a_threshold_lies_between_two_probabilities() -> None:
    assert best_threshold(np.array([0.2, 0.8, 0.4]), np.array([0, 1, 1])) == pytest.approx(0.3)
    assert best_threshold(np.array([0.2, 0.8]), np.array([1, 0])) == pytest.approx(0.1)


# The task ------------------------------------------------------------------------------------------------------------


def posterior(probabilities: Tensor) -> Any:
    variable = Variable("y", "bernoulli", (probabilities.shape[1],))
    return FAMILIES["bernoulli"].distribution(variable, probabilities.logit())


def test_measurements_leave_out_what_is_unknown() -> None:
    p = torch.tensor([[0.9, 0.2], [0.6, 0.7], [0.2, 0.4]])
    y = torch.tensor([[1, VOID], [0, 1], [1, 0]], dtype=torch.int8)
    found = ATTRIBUTES.measure(posterior(p), y)
    assert found.errors is not None and found.errors.tolist() == [0, 1, 0, 1, 0]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.6, 0.7, 0.8, 0.6])
    parts = [ATTRIBUTES.measure(posterior(p[rows]), y[rows]) for rows in (slice(0, 1), slice(1, 3))]
    shares, predicted = ATTRIBUTES.shares_of(parts)
    assert shares == pytest.approx((1.7 / 3, 0.55)) and predicted == pytest.approx((2 / 3, 0.5))
    error, deviation = ATTRIBUTES.headline_of([found])
    assert error == pytest.approx(1 - (5 / 6 + 1) / 2) and deviation is not None and deviation > 0
    alone = ATTRIBUTES.measure(posterior(p), None)
    assert alone.errors is None and len(alone.confidence) == 6 and ATTRIBUTES.headline_of([alone]) == (None, None)
    assert ATTRIBUTES.shares_of([alone])[1] == pytest.approx((2 / 3, 1 / 3))
    assert ATTRIBUTES.label_frequencies(y, 2) == pytest.approx((2 / 3, 0.5))
    assert (ATTRIBUTES.count_values(y), ATTRIBUTES.class_counts(y, 2)) == (3, [2, 1])
    assert ATTRIBUTES.count_values(torch.full((2, 2), VOID)) == 0


def test_three_numbers_of_each_example() -> None:
    p = torch.tensor([[0.9, 0.2], [0.6, 0.7], [0.6, 0.3]])
    likely, wrong, sure = ATTRIBUTES.by_example(p, torch.tensor([[1, VOID], [0, 1], [VOID, VOID]]))
    assert likely.tolist()[:2] == pytest.approx([0.9, 0.55]) and wrong.tolist()[:2] == [0.0, 0.5]
    assert likely[2].isnan() and wrong[2].isnan() and sure.tolist() == pytest.approx([0.85, 0.65, 0.65])


def test_agreement_of_samples_is_compared_with_chance() -> None:
    p = torch.tensor([[0.9, 0.2], [0.6, 0.7]])
    assert ATTRIBUTES.consistency(posterior(p), torch.tensor([[1.0, 1.0], [1.0, 1.0]])).tolist() == [0.5, 1.0]
    assert ATTRIBUTES.chance((0.1, 0.6)) == pytest.approx(0.75) and ATTRIBUTES.chance(()) == 0.0


def test_outputs_are_alike_in_all_forms() -> None:
    parameters = torch.tensor([[2.0, -1.0, 0.0], [0.5, 3.0, -4.0]])
    outputs = ATTRIBUTES.outputs(Variable("y", "bernoulli", (3,)), parameters, 2.0)
    assert outputs[0, 0].item() == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert torch.allclose(ATTRIBUTES.outputs_of(posterior(parameters.sigmoid()), 2.0), outputs)
    log_posterior = ATTRIBUTES.log_posterior(parameters / 2.0)
    assert log_posterior.shape == (2, 2, 3) and torch.allclose(log_posterior.exp().sum(dim=1), torch.ones(2, 3))
    assert torch.allclose(ATTRIBUTES.outputs_from(log_posterior), outputs)


def test_answers_lie_above_their_thresholds() -> None:
    outputs = torch.tensor([[0.6, 0.2], [0.4, 0.4]])
    assert ATTRIBUTES.predict(outputs).tolist() == [[1, 0], [0, 0]]
    assert ATTRIBUTES.predict(outputs, {"thresholds": [0.7, 0.3], "count": 5}).tolist() == [[0, 0], [0, 1]]
