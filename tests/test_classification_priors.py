"""Class priors: what may be stated, the change from one to another, and their estimation from unlabelled images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from semivae.classification.priors import change_prior, read_prior
from semivae.classification.shift import LARGEST_GAP, estimate_prior, shifted_rows
from semivae.errors import DataError, RunError

CLASSES = ("cat", "dog", "eel")
OLD = np.array([0.5, 0.3, 0.2])
LIKELIHOOD = np.array([[0.7, 0.2, 0.05, 0.05], [0.1, 0.6, 0.2, 0.1], [0.1, 0.1, 0.3, 0.5]])  # p(x | y), x of 4 values


def log_posterior(prior: np.ndarray) -> np.ndarray:
    """log p(y | x) for each of the four x, (4, 3)."""
    joint = prior[:, None] * LIKELIHOOD
    with np.errstate(divide="ignore"):
        logarithms: np.ndarray = np.log(joint / joint.sum(0))
    return logarithms.T


# The change of prior -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [[0.1, 0.1, 0.8], [0.5, 0.3, 0.2], [0.4, 0.0, 0.6]])
def test_a_changed_prior_gives_the_posterior_under_it(new: list[float]) -> None:
    changed = change_prior(log_posterior(OLD), OLD, np.array(new), CLASSES)
    np.testing.assert_allclose(np.exp(changed), np.exp(log_posterior(np.array(new))), atol=1e-12)


def test_a_class_that_training_never_saw_cannot_come_back() -> None:
    old, new = np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.25, 0.25])
    with pytest.raises(RunError, match="gives eel a share, but in training it had none"):
        change_prior(log_posterior(old), old, new, CLASSES)
    both = np.array([0.9, 0.1, 0.0])
    np.testing.assert_allclose(
        np.exp(change_prior(log_posterior(old), old, both, CLASSES)), np.exp(log_posterior(both)), atol=1e-12
    )


# Estimation ----------------------------------------------------------------------------------------------------------


def drawn_from(prior: np.ndarray, count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, count, p=prior)
    return np.array([generator.choice(4, p=LIKELIHOOD[label]) for label in labels])


def log_likelihood(rows: np.ndarray, prior: np.ndarray) -> float:
    return float(np.log((prior @ LIKELIHOOD)[rows]).sum())


@pytest.mark.parametrize("true", [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.25, 0.75, 0.0]])
def test_em_recovers_a_shifted_prior(true: list[float]) -> None:
    """By the likelihood ratio, chi-squared with two degrees of freedom: fails for one seed in a million."""
    rows = drawn_from(np.array(true), 4000, seed=0)
    found = estimate_prior(log_posterior(OLD)[rows], OLD, pseudo_images=0)
    assert found.settled and found.probabilities.sum() == pytest.approx(1)
    gain = log_likelihood(rows, found.probabilities) - log_likelihood(rows, np.array(true))
    assert -LARGEST_GAP <= gain <= chi2.isf(1e-6, 2) / 2
    np.testing.assert_allclose(found.probabilities, true, atol=0.08)


def test_the_gap_bounds_what_any_prior_could_gain() -> None:
    rows = drawn_from(np.array([0.2, 0.2, 0.6]), 300, seed=1)
    found = estimate_prior(log_posterior(OLD)[rows], OLD, pseudo_images=0)
    best = log_likelihood(rows, found.probabilities) + found.gap
    generator = np.random.default_rng(0)
    for concentration in (0.2, 1.0, 50.0):
        for prior in generator.dirichlet(1e-3 + concentration * found.probabilities, 200):
            assert log_likelihood(rows, prior) <= best + 1e-9


def log_density(rows: np.ndarray, prior: np.ndarray, pseudo_images: float) -> float:
    """The logarithm of the shares' posterior density, up to a constant."""
    return log_likelihood(rows, prior) + pseudo_images * float(np.log(prior).sum())


@pytest.mark.parametrize("pseudo_images", [0.5, 1.0, 20.0])
def test_the_gap_bounds_the_posterior_density_too(pseudo_images: float) -> None:
    rows = drawn_from(np.array([0.02, 0.08, 0.9]), 60, seed=1)
    found = estimate_prior(log_posterior(OLD)[rows], OLD, pseudo_images)
    reached = log_density(rows, found.probabilities, pseudo_images)
    assert found.settled
    generator = np.random.default_rng(0)
    for concentration in (1.0, 50.0, 2000.0):
        for prior in generator.dirichlet(concentration * found.probabilities, 200):
            assert log_density(rows, np.maximum(prior, 1e-12), pseudo_images) <= reached + found.gap + 1e-9


@pytest.mark.parametrize(("pseudo_images", "expected"), [(0, [0.6, 0.4, 0.0]), (1, [61 / 103, 41 / 103, 1 / 103])])
def test_sure_posteriors_are_counted(pseudo_images: float, expected: list[float]) -> None:
    """Where each image shows its class, shares are counts with the pseudo-images: Laplace's rule of succession."""
    sure = np.log(np.repeat(np.eye(3), [60, 40, 0], axis=0) * (1 - 2e-12) + 1e-12)
    np.testing.assert_allclose(estimate_prior(sure, OLD, pseudo_images).probabilities, expected, atol=1e-5)
    if pseudo_images == 1:
        np.testing.assert_allclose(estimate_prior(sure, OLD).probabilities, expected, atol=1e-5)  # the default


def test_a_rare_class_keeps_its_chance_on_the_images_that_may_show_it() -> None:
    """60 images, of which one may show an eel as well as a cat: maximum likelihood rules the eel out."""
    unsure = np.array([[0.98, 0.01, 0.01]] * 59 + [[0.5, 0.01, 0.49]])
    uniform = np.full(3, 1 / 3)
    shares = {count: estimate_prior(np.log(unsure), uniform, count).probabilities for count in (0, 1)}
    chances = {
        count: np.exp(change_prior(np.log(unsure), uniform, found, CLASSES))[-1, 2] for count, found in shares.items()
    }
    assert chances[0] < 1e-2 < chances[1]
    assert shares[1][2] >= 1 / 63  # its pseudo-image among 60 + 3


def test_a_class_without_share_in_training_stays_without() -> None:
    old = np.array([0.5, 0.5, 0.0])
    rows = drawn_from(np.array([0.9, 0.1, 0.0]), 2000, seed=2)
    found = estimate_prior(log_posterior(old)[rows], old).probabilities
    assert found[2] == 0 and found[0] == pytest.approx(0.9, abs=0.1)  # it has no pseudo-image either


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="estimated from 50 examples or more, here are 49; give more, or state it"):
        estimate_prior(log_posterior(OLD)[np.zeros(49, dtype=int)], OLD)


# What may be stated --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("uniform", [1 / 3, 1 / 3, 1 / 3]),
        ("cat=0.5, dog=0.25,eel=0.25", [0.5, 0.25, 0.25]),
        ("eel=2,cat=1,dog=1", [0.25, 0.25, 0.5]),
        ("0=1,1=0,2=0", [1, 0, 0]),
        ("ratio=4", [4 / 7, 2 / 7, 1 / 7]),
        ("ratio=0.25", [1 / 7, 2 / 7, 4 / 7]),
        ({"cat": 10, "dog": 30, 2: 0}, [0.25, 0.75, 0]),
        ([0.2, 0.2, 0.6], [0.2, 0.2, 0.6]),
        (torch.tensor([1, 1, 2]), [0.25, 0.25, 0.5]),
        ("cat=0.3333,dog=0.3333,eel=0.3333", [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_forms_of_a_prior(stated: Any, expected: list[float]) -> None:
    np.testing.assert_allclose(read_prior(stated, CLASSES), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "class,share\ncat,0.5\n\ndog,0.25\neel,0.25\n"),
        ("p.txt", "cat,2\ndog,1\neel,1"),
        ("p.json", json.dumps({"cat": 0.5, "dog": 0.25, "eel": 0.25})),
    ],
)
def test_priors_in_files(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    np.testing.assert_allclose(read_prior(tmp_path / name, CLASSES), [0.5, 0.25, 0.25])


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("unifrom", "prior 'unifrom': there is no such file; write uniform, CLASS=NUMBER,"),
        ("cat=0.5,dog=0.5", "prior says nothing of eel; give every class a number, 0 if it does not occur"),
        ("cat=0.5,cow=0.5", "prior: unknown class 'cow'; the classes are cat, dog, eel"),
        ("cat=0.5,dog=0.3,0=0.2,eel=0", "prior: class cat is named twice"),
        ("cat=0.5,dog=0.3,eel=0.1", "prior sums to 0.9; give probabilities that sum to 1, or whole numbers as counts"),
        ("cat=0,dog=0,eel=0", "prior sums to 0"),
        ("cat=-1,dog=1,eel=1", "prior, class cat: '-1' is no number of 0 or more"),
        ("cat=x,dog=1,eel=1", "prior, class cat: 'x' is no number"),
        ("cat=nan,dog=1,eel=1", "prior, class cat: 'nan' is no number"),
        ("ratio=0", "prior ratio: '0' is no number above 0"),
        ({"cat": True, "dog": 0, "eel": 0}, "prior, class cat: True is no number"),
        ([0.5, 0.5], r"prior has shape \[2\]; one number for each of 3 classes"),
        ([0.5, 0.5, -0.1], "prior: -0.1 is no number of 0 or more"),
    ],
)
def test_priors_that_are_none_are_refused(stated: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_prior(stated, CLASSES)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "cat,0.5\ndog;0.5\n", "p.csv:2: 'dog;0.5'; a line says CLASS,NUMBER"),
        ("p.csv", "cat,1\ndog,1\nemu,1\n", "unknown class 'emu'"),
        ("p.json", "[1, 2]", "p.json cannot be read as a prior: not an object"),
        ("p.json", "{", "p.json cannot be read as a prior"),
        ("p.csv", "", "says nothing of cat, dog, eel"),
    ],
)
def test_files_that_are_no_priors_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=re.escape(message)):
        read_prior(str(tmp_path / name), CLASSES)


# Test sets of other shares -------------------------------------------------------------------------------------------


def test_a_shifted_part_is_the_largest_of_its_shares() -> None:
    labels = torch.arange(300) % 3
    rows = shifted_rows(labels, np.array([0.7, 0.2, 0.1]), CLASSES)
    assert torch.bincount(labels[rows]).tolist() == [100, 28, 14]  # 142 = 100 / 0.7, by largest remainder
    assert torch.equal(rows, rows.unique()) and torch.equal(
        rows, shifted_rows(labels, np.array([7, 2, 1]) / 10, CLASSES)
    )
    assert not torch.equal(rows, shifted_rows(labels, np.array([0.7, 0.2, 0.1]), CLASSES, seed=1))
    assert len(shifted_rows(labels, np.full(3, 1 / 3), CLASSES)) == 300
    assert torch.bincount(labels[shifted_rows(labels, np.array([0.0, 0.5, 0.5]), CLASSES)]).tolist() == [0, 100, 100]


def test_shares_that_the_images_cannot_have_are_refused() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    with pytest.raises(DataError, match="no example of eel to test on; give it a share of 0"):
        shifted_rows(labels, OLD, CLASSES)
    with pytest.raises(DataError, match="the rarest class would have no example"):
        shifted_rows(labels, np.array([0.99, 0.01, 0.0]), CLASSES)


def test_a_prior_of_many_classes_is_no_name_of_a_file() -> None:
    names = [f"class_{number:03}" for number in range(100)]
    assert read_prior(",".join(f"{name}=1" for name in names), names) == pytest.approx([0.01] * 100)
