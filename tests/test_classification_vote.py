"""The chain of a classifier on a model small enough to sum over: two pixels, two classes, one bit."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from semivae.api import Run
from semivae.classification import Classifier
from semivae.classification.calibration import Calibration
from semivae.classification.priors import trained_prior
from semivae.errors import RunError
from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.players import Player
from semivae.recipe import Recipe
from semivae.runs.checkpoint import Facts
from semivae.variables import Variable

X, Y, H = Variable("x", "bernoulli", (1, 1, 2)), Variable("y", "categorical", (), 2), Variable("h", "bernoulli", (1,))
IMAGES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2))).view(4, 1, 1, 2)
PIXELS = torch.tensor([[[0.9, 0.4], [0.2, 0.7]], [[0.3, 0.2], [0.6, 0.9]]])  # p(pixel = 1 | y, h), [y, h, pixel]
NOTHING = 1e12  # a temperature at which the encoder has no say


class Lookup(nn.Module):
    """Parameters from a table, by what is given: [image of four], then class, then bit."""

    table: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table)

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        places = []
        if images is not None:
            places.append((images > 0.5).flatten(1).float() @ torch.tensor([2.0, 1.0]))
        if vectors is not None:
            places.append(vectors[:, :2].argmax(1))
            if vectors.shape[1] > 2:
                places.append(vectors[:, 2] > 0)
        return self.table[tuple(place.long() for place in places)]


def exact() -> tuple[Tensor, Tensor]:
    """p(x | y), [4, 2], and p(h = 1 | x, y), [4, 2], under fair bits."""
    x = IMAGES.view(4, 1, 1, 2)
    joint = 0.5 * (PIXELS**x * (1 - PIXELS) ** (1 - x)).prod(-1)  # [x, y, h]
    return joint.sum(2), joint[..., 1] / joint.sum(2)


def tabular_run(q_h: Tensor, label_prior: Tensor | None = None, **facts: object) -> Run:
    decoder = Player([Prior(Y, label_prior), Prior(H), NetworkConditional(X, (Y, H), Lookup(pixels_as_parameters()))])
    q_y = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.3, 0.7], [0.9, 0.1]])
    encoder = Player(
        [
            NetworkConditional(Y, (X,), Lookup(q_y.log())),
            NetworkConditional(H, (X, Y), Lookup(q_h.logit().unsqueeze(-1))),
        ]
    )
    known = Facts.model_validate({"classes": ["a", "b"], **facts})
    return Run(Path("nowhere"), recipe(), decoder, encoder, known, "last", torch.device("cpu"))


def pixels_as_parameters() -> Tensor:
    return PIXELS.logit().view(2, 2, 1, 1, 2)


def recipe(align: bool = False) -> Recipe:
    net = {"name": "mlp", "hidden": [4]}
    pair = {"weak": "none", "strong": "none", "align": align}
    return Recipe.model_validate(
        {
            "source": {"name": "arrays", "path": "nowhere.npz"},
            "split": {"labelled": 2},
            "variables": {
                "x": {"family": "bernoulli", "shape": [1, 1, 2]},
                "y": {"family": "categorical", "classes": 2, "shape": []},
                "h": {"family": "bernoulli", "shape": [1]},
            },
            "decoder": {"y": "uniform", "h": "uniform", "x": {"given": ["y", "h"], "net": net}},
            "encoder": {"y": {"given": ["x"], "net": net}, "h": {"given": ["x", "y"], "net": net}},
            "views": {"none": {}},
            "streams": {"labelled": {"observe": ["x", "y"]}, "unlabelled": {"observe": ["x"], "views": pair}},
            "training": {"steps": 1},
        }
    )


def test_vote_is_exact_where_the_codes_posterior_is() -> None:
    """p(x, h | y) / q(h | x, y) is then p(x | y) for every h, so a single draw says it without an error."""
    likelihood, q_h = exact()
    classifier = Classifier(tabular_run(q_h), Calibration(temperature=NOTHING, strength=1.0, draws=1))
    expected = likelihood / likelihood.sum(1, keepdim=True)
    torch.testing.assert_close(classifier.probabilities(IMAGES), expected, atol=1e-5, rtol=0)


def test_vote_is_right_in_expectation_whatever_the_codes_posterior() -> None:
    """With 20,000 draws the standard deviation is below 0.0025; 0.02 is eight of them."""
    likelihood, q_h = exact()
    off = Classifier(
        tabular_run(torch.full_like(q_h, 0.5)), Calibration(temperature=NOTHING, strength=1.0, draws=20000)
    )
    expected = likelihood / likelihood.sum(1, keepdim=True)
    torch.testing.assert_close(off.probabilities(IMAGES), expected, atol=0.02, rtol=0)


def test_the_chain_adds_up() -> None:
    likelihood, q_h = exact()
    run = tabular_run(q_h, labelled_counts=[3, 1])
    prior = np.array([0.1, 0.9])
    calibration = Calibration(temperature=2.0, strength=0.3, draws=2)
    classifier = Classifier(run, calibration, prior, trained_prior(run))
    answer = classifier.answer(IMAGES)
    q_y = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.3, 0.7], [0.9, 0.1]])
    before = q_y.log() / 2 + 0.3 * likelihood.log()
    after = before + torch.tensor([0.1, 0.9]).log() - torch.tensor([0.75, 0.25]).log()
    torch.testing.assert_close(answer.uncorrected, before.softmax(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(answer.probabilities, after.softmax(1), atol=1e-5, rtol=0)
    assert classifier.facts(answer)["trained_prior"] == {"a": 0.75, "b": 0.25}


def test_answers_are_repeatable_and_leave_the_generator_alone() -> None:
    classifier = Classifier(tabular_run(torch.full((4, 2), 0.5)), Calibration(strength=1.0, draws=1))
    torch.manual_seed(0)
    first = classifier.probabilities(IMAGES)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(classifier.probabilities(IMAGES), first) and torch.equal(torch.rand(1), expected)


def test_the_trained_prior_is_the_decoders_only_where_streams_bring_it_there() -> None:
    _, q_h = exact()
    run = tabular_run(q_h, label_prior=torch.tensor([0.9, 0.1]).log(), labelled_counts=[1, 1])
    np.testing.assert_allclose(trained_prior(run), [0.5, 0.5])
    run.recipe = recipe(align=True)
    np.testing.assert_allclose(trained_prior(run), [0.9, 0.1], atol=1e-6)
    run.checkpoint = "twin"  # it has seen the pairs alone
    np.testing.assert_allclose(trained_prior(run), [0.5, 0.5])


def test_votes_that_cannot_be_taken_are_refused() -> None:
    _, q_h = exact()
    voting = Calibration(strength=1.0, draws=1)
    twin = tabular_run(q_h)
    twin.checkpoint = "twin"
    with pytest.raises(RunError, match="the supervised twin has no decoder"):
        Classifier(twin, voting).probabilities(IMAGES)
    without = tabular_run(q_h)
    without.decoder = Player([without.decoder["y"], without.decoder["x"]])
    with pytest.raises(RunError, match="the decoder has no probability of h"):
        Classifier(without, voting).probabilities(IMAGES)
    early = tabular_run(q_h)
    early.encoder = Player([early.encoder["h"], early.encoder["y"]])
    with pytest.raises(RunError, match="the encoder draws h before y"):
        Classifier(early, voting).probabilities(IMAGES)
