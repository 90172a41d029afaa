"""Temperature and the vote's weight: recovered where they are known, and finite where the images do not say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import chi2

from semivae.classification.calibration import Calibration, least_nll, nll_of, weighted


def terms_and_labels(weights: list[float], count: int = 3000) -> tuple[list[np.ndarray], np.ndarray]:
    """Two independent pieces of evidence, and labels drawn from the softmax of their weighted sum."""
    generator = np.random.default_rng(0)
    terms = [log_softmax(generator.normal(0, scale, (count, 5)), axis=1) for scale in (3.0, 40.0)][: len(weights)]
    chances = softmax(weighted(terms, weights), axis=1)
    labels = np.array([generator.choice(5, p=row) for row in chances])
    return terms, labels


@pytest.mark.parametrize("weights", [[2.0], [1.0], [0.4], [0.25, 0.05], [1.5, 0.0]])
def test_known_weights_are_recovered(weights: list[float]) -> None:
    """By the likelihood ratio to the true weights: fails for one seed in a million."""
    terms, labels = terms_and_labels(weights)
    found = least_nll(terms, labels)
    gain = nll_of(weighted(terms, weights), labels) - nll_of(weighted(terms, found), labels)
    assert -1.0 <= gain * len(labels) <= chi2.isf(1e-6, len(weights)) / 2  # the penalty may cost less than a nat
    np.testing.assert_allclose(found, weights, rtol=0.15, atol=0.01)
    for change in (0.97, 1.03):  # convex, so a minimum of the neighbourhood is the minimum
        moved = [found[0] * change, *found[1:]]
        assert nll_of(weighted(terms, moved), labels) > nll_of(weighted(terms, found), labels)


def test_units_of_the_vote_do_not_matter() -> None:
    terms, labels = terms_and_labels([0.5, 0.05])
    once, scaled = least_nll(terms, labels), least_nll([terms[0], terms[1] * 100], labels)
    np.testing.assert_allclose(once, [scaled[0], scaled[1] * 100], rtol=1e-4)


def test_a_vote_that_says_nothing_or_the_contrary_has_no_weight() -> None:
    terms, labels = terms_and_labels([1.0, 0.05])
    assert least_nll([terms[0], -terms[1]], labels)[1] == 0.0
    assert least_nll([terms[0], np.zeros_like(terms[1])], labels)[1] == 0.0


def test_images_without_a_mistake_do_not_make_it_infinitely_sure() -> None:
    labels = np.arange(60) % 3
    sure = log_softmax(5.0 * np.eye(3)[labels], axis=1)
    (weight,) = least_nll([sure], labels)
    assert 1.0 < weight < 3.0
    weights = least_nll([sure, 100 * sure], labels)
    assert np.isfinite(weights).all() and weights[0] < 3.0


def test_useless_posteriors_are_made_flat_but_stay_posteriors() -> None:
    generator = np.random.default_rng(0)
    wild = log_softmax(generator.normal(0, 50, (500, 4)), axis=1)
    weights = least_nll([wild], generator.integers(0, 4, 500))
    assert 0.01 <= weights[0] < 0.05
    flat = np.exp(Calibration(temperature=1 / weights[0]).apply([wild]))
    np.testing.assert_allclose(flat.sum(1), 1)
