"""Prediction sets and withheld answers: small cases by hand, and promises kept on synthetic examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import binom

from semivae.classification.abstaining import (
    area_under_risk,
    choose_threshold,
    fewest_answered,
    first_tested,
    least_error,
    least_promise,
    log_odds,
    risk_coverage,
    upper_bound,
)
from semivae.classification.conformal import (
    PENALTIES,
    Penalty,
    adaptive_scores,
    choose_penalty,
    coverage_interval,
    fewest,
    rank_of,
    threshold_of,
    uniform_of,
)


def test_scores_by_hand() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    found = adaptive_scores(probabilities, np.array([0.5, 0.0]))
    np.testing.assert_allclose(found, [[0.9, 0.25, 0.65], [0.0, 0.8, 0.4]])  # of equal ones the first comes first


def test_the_threshold_is_the_finite_sample_quantile() -> None:
    scores = np.arange(1, 20) / 100  # n = 19: ceil(20 * 0.95) = 19, the largest
    assert threshold_of(scores[::-1], 0.95) == 0.19
    assert threshold_of(np.arange(1, 40) / 100, 0.95) == 0.38  # ceil(40 * 0.95) = 38 of 39
    assert threshold_of(scores, 0.5) == 0.10
    with pytest.raises(ValueError, match=r"18 scores promise no coverage of 0\.95"):
        threshold_of(scores[:18], 0.95)
    assert [fewest(share) for share in (0.5, 0.9, 0.95, 0.99, 0.999)] == [1, 9, 19, 99, 999]
    for share in (0.5, 0.8, 0.9, 0.95, 0.97, 0.99, 0.999):
        assert rank_of(fewest(share), share) <= fewest(share) and rank_of(fewest(share) - 1, share) > fewest(share) - 1


def test_sets_cover_as_stated_whatever_the_model() -> None:
    """Mean coverage over 400 draws of 50 + 200 examples lies within 5 standard errors: fails once in a million runs.

    The model is useless in one case, far too sure in the other; coverage is k / (n + 1) for scores without ties.
    """
    generator = np.random.default_rng(0)
    for sharpness in (0.0, 5.0):
        covered = []
        for _ in range(400):
            logits = generator.normal(0, 2, (250, 5))
            chances = softmax(logits, axis=1)
            labels = (generator.random((250, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=4)
            wrong_model = softmax(sharpness * logits + generator.normal(0, 1, (250, 5)), axis=1)
            scores = adaptive_scores(wrong_model, generator.random(250))
            threshold = threshold_of(scores[np.arange(50), labels[:50]], 0.9)
            covered.append((scores[np.arange(50, 250), labels[50:]] <= threshold).mean())
        expected = rank_of(50, 0.9) / 51
        assert abs(np.mean(covered) - expected) < 5 * np.std(covered) / math.sqrt(len(covered))


def test_a_penalty_by_hand() -> None:
    """Ranks beyond the first: 0.5 for the second, 1.0 for the third class."""
    probabilities = np.array([[0.2, 0.5, 0.3]])
    found = adaptive_scores(probabilities, np.array([0.5]), Penalty(0.5, 1))
    np.testing.assert_allclose(found, [[0.9 + 1.0, 0.25, 0.65 + 0.5]])


def test_regularised_sets_cover_as_stated_and_are_smaller_among_many_classes() -> None:
    """As above, with 100 classes among which the model strews 30% of its probability: smaller by 4 standard errors."""
    generator = np.random.default_rng(1)
    covered, sizes = [], []
    for _ in range(100):
        logits = generator.normal(0, 8, (700, 100))
        chances = softmax(logits, axis=1)
        labels = (generator.random((700, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=99)
        wrong_model = 0.7 * chances + 0.3 * generator.dirichlet(np.ones(100), 700)
        u = generator.random(700)
        penalty = choose_penalty(wrong_model[:100], u[:100], labels[:100], 0.9)
        assert penalty == Penalty() or (penalty.weight in PENALTIES and 1 <= penalty.free <= 100)
        for scores in (adaptive_scores(wrong_model, u), adaptive_scores(wrong_model, u, penalty)):
            sets = scores <= threshold_of(scores[np.arange(100, 300), labels[100:300]], 0.9)
            covered.append(sets[np.arange(300, 700), labels[300:]].mean())
            sizes.append(sets[300:].sum(axis=1).mean())
    plain, regularised = np.array(covered).reshape(-1, 2).T
    expected = rank_of(200, 0.9) / 201
    for share in (plain, regularised):
        assert abs(share.mean() - expected) < 5 * share.std() / math.sqrt(len(share))
    fewer = -np.diff(np.array(sizes).reshape(-1, 2), axis=1)
    assert fewer.mean() > 4 * fewer.std() / math.sqrt(len(fewer))
    even = np.full((50, 4), 0.25)  # where no penalty helps, there is none
    assert choose_penalty(even, np.linspace(0, 0.9, 50), np.arange(50) % 4, 0.9) == Penalty()


def test_coverage_measured_on_a_test_set_is_spread_further() -> None:
    """Of 4,000 draws of 100 and 200 examples 95% fall inside; below 93.5% once in ten thousand runs and less."""
    generator = np.random.default_rng(0)
    scores = np.sort(generator.random((4000, 100)), axis=1)
    measured = (generator.random((4000, 200)) <= scores[:, [rank_of(100, 0.9) - 1]]).mean(axis=1)
    low, high = coverage_interval(100, 0.9, examples=200)
    assert 0.935 < ((measured >= low) & (measured <= high)).mean() < 0.98  # a share has steps
    promised = coverage_interval(100, 0.9)
    assert low < promised[0] and high >= promised[1]


def test_coverage_of_one_draw_lies_in_its_interval() -> None:
    """Of 4,000 draws 95% fall inside; below 93% or above 97% once in a million runs and less."""
    generator = np.random.default_rng(0)
    scores = np.sort(generator.random((4000, 100)), axis=1)
    low, high = coverage_interval(100, 0.9)
    covered = scores[:, rank_of(100, 0.9) - 1]  # of uniform scores, the threshold is the coverage
    assert 0.93 < ((covered > low) & (covered < high)).mean() < 0.97


def test_numbers_of_examples_are_uniform_and_their_own() -> None:
    values = np.random.default_rng(0).random((2000, 3), dtype=np.float32)
    found = uniform_of(values)
    assert np.array_equal(uniform_of(values[[7]]), found[[7]]) and len(set(found)) == 2000
    counts = np.histogram(found, 10, (0, 1))[0]
    assert ((counts - 200) ** 2 / 200).sum() < 50  # chi2 of 9 degrees: above once in ten million


def test_log_odds_do_not_saturate() -> None:
    sure = log_softmax(np.array([[40.0, 0.0], [80.0, 0.0], [0.0, 0.0]]), axis=1)
    np.testing.assert_allclose(log_odds(sure), [40.0, 80.0, 0.0], atol=1e-12)
    by_hand = np.log(np.array([[0.7, 0.2, 0.1]]))
    assert log_odds(by_hand) == pytest.approx([math.log(0.7 / 0.3)])


def test_upper_bounds_are_exact() -> None:
    assert upper_bound(0, 299) == pytest.approx(1 - 0.05 ** (1 / 299)) and upper_bound(0, 299) <= 0.01
    assert fewest_answered(0.01) == 299 and fewest_answered(0.05) == 59
    assert least_error(59) <= 0.05 < least_error(58)
    assert upper_bound(4, 4) == 1.0
    for wrong, count in ((1, 10), (5, 200)):
        assert binom.cdf(wrong, count, upper_bound(wrong, count)) == pytest.approx(0.05)


def test_the_sequence_ends_at_the_first_share_that_fails() -> None:
    odds, right = np.arange(100.0)[::-1], np.ones(100, dtype=bool)
    assert choose_threshold(odds, right, 0.04) is not None
    whole = choose_threshold(odds, right, 0.04)
    assert whole is not None and (whole.answered, whole.threshold) == (100, -math.inf)
    assert choose_threshold(odds, right, 0.02) is None  # 149 would be needed
    right[80] = False  # 80 pass, 85 with a mistake do not; 100 with one would not be looked at
    found = choose_threshold(odds, right, 0.05)
    assert found is not None and (found.answered, found.wrong) == (80, 0)
    assert found.threshold == odds[80] and (odds > found.threshold).sum() == 80
    assert upper_bound(1, 95) < 0.05 < upper_bound(1, 85)
    assert least_promise(odds, right) == pytest.approx(0.037)
    assert choose_threshold(odds, ~right, 0.5) is None and least_promise(odds, np.zeros(100, dtype=bool)) is None


def test_the_first_share_can_bear_mistakes_where_there_are_examples_enough() -> None:
    assert [first_tested(count, 0.05) for count in (59, 200, 400)] == [59, 93, 124]
    for spare, count in enumerate((59, 93, 124)):
        assert upper_bound(spare, count) <= 0.05 < upper_bound(spare, count - 1)
    odds, right = np.arange(400.0)[::-1], np.ones(400, dtype=bool)
    right[[0, 1]] = False
    found = choose_threshold(odds, right, 0.05)
    assert found is not None and (found.answered, found.wrong) == (400, 2)


def test_shares_end_before_equals() -> None:
    odds = np.array([3.0] * 60 + [1.0] * 40)
    right = np.array([True] * 60 + [False] * 40)
    found = choose_threshold(odds, right, 0.05)
    assert found is not None and (found.answered, found.threshold) == (60, 1.0)


def test_promised_errors_are_kept() -> None:
    """In at least 95% of draws; of 3,000 more than 6.5% fail once in ten thousand runs if 5% were the truth.

    The chance of an error falls with confidence from 30% to nearly none; that above a threshold t is known exactly.
    """
    generator = np.random.default_rng(0)

    def chance(place: np.ndarray) -> np.ndarray:
        return np.asarray(0.3 * (1 - place) ** 3)

    failed, answered = 0, []
    for _ in range(3000):
        odds = generator.random(300)
        right = generator.random(300) > chance(odds)
        found = choose_threshold(odds, right, 0.05)
        if found is None:
            continue
        start = max(0.0, found.threshold)
        true_error = 0.3 * (1 - start) ** 3 / 4  # the mean of `chance` over (start, 1)
        failed += true_error > 0.05
        answered.append(1 - start)
    assert failed / 3000 < 0.065
    assert np.mean(answered) > 0.5  # and it answers: 87% could be


def test_risk_and_its_area_by_hand() -> None:
    odds, right = np.array([1.0, 4.0, 3.0, 2.0]), np.array([False, True, True, False])
    assert risk_coverage(odds, right, (1.0, 0.5)) == [{"answered": 1.0, "error": 0.5}, {"answered": 0.5, "error": 0.0}]
    assert area_under_risk(odds, right) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
