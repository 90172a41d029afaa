"""Correlated numbers: density, draws and gradient of the distribution, and the discriminant that a decoder learns."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import chi2
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.distributions import MultivariateNormal

from semivae.errors import RecipeError
from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.correlated import CorrelatedConditional, CorrelatedNormal
from semivae.game.players import Player
from semivae.game.teaching.vote import decoder_vote
from semivae.nets import Mlp
from semivae.recipe import change_recipe, read_recipe
from semivae.scenario.build import build_players
from semivae.scenario.shapes import net_mistakes
from semivae.variables import Variable

CLASS = Variable("y", "categorical", (), classes=3)
NUMBERS = Variable("f", "gaussian", (4,))


def factor(numbers: int) -> torch.Tensor:
    """A lower triangular matrix with a positive diagonal, whose numbers are strongly correlated."""
    generator = torch.Generator().manual_seed(0)
    below = torch.randn(numbers, numbers, generator=generator, dtype=torch.float64).tril(-1)
    return below + torch.diag(torch.linspace(0.5, 2.0, numbers, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(4,), (2, 1, 2)])
def test_the_density_is_that_of_a_normal_distribution(shape: tuple[int, ...]) -> None:
    loc = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    value = loc.flip(0) + 0.3
    found = CorrelatedNormal(loc, factor(4), len(shape))
    expected = MultivariateNormal(loc.view(5, 4), precision_matrix=factor(4).T @ factor(4))
    assert (found.batch_shape, found.event_shape) == ((5,), shape)
    torch.testing.assert_close(found.log_prob(value), expected.log_prob(value.view(5, 4)))
    torch.testing.assert_close(found.variance.view(5, 4), expected.variance)
    torch.testing.assert_close(found.mean, loc)
    expanded = CorrelatedNormal(loc[0], factor(4), len(shape)).expand(torch.Size((2, 5)))
    assert expanded.batch_shape == (2, 5) and expanded.sample().shape == (2, 5, *shape)


def test_draws_have_the_mean_and_the_covariance() -> None:
    """The numbers made independent are standard normal: their squares sum to a chi-square. Fails once in a million."""
    torch.manual_seed(0)
    loc, count = torch.tensor([1.0, -2.0, 0.0, 5.0]).double(), 20_000
    drawn = CorrelatedNormal(loc, factor(4)).sample(torch.Size((count,)))
    white = (drawn - loc) @ factor(4).T
    assert chi2.ppf(5e-7, 4 * count) < white.square().sum().item() < chi2.isf(5e-7, 4 * count)
    assert (white.mean(0).abs() < 6 / math.sqrt(count)).all()
    assert ((white.T @ white / count - torch.eye(4)).abs() < 6 * math.sqrt(2 / count)).all()


def test_the_density_keeps_its_precision_where_networks_run_in_bfloat16() -> None:
    loc, value = torch.full((3, 4), 7.3), torch.full((3, 4), 8.1)
    distribution = CorrelatedNormal(loc, factor(4).float())
    plain = distribution.log_prob(value)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(distribution.log_prob(value), plain)


def test_every_number_of_the_factor_has_its_gradient() -> None:
    conditional = CorrelatedConditional(NUMBERS, (CLASS,), Mlp(None, 3, (4,), ()))
    conditional.below.data.normal_()
    sample = {"y": torch.tensor([0, 2]), "f": torch.randn(2, 4, dtype=torch.float64)}

    def score(raw_scale: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        names = {"raw_scale": raw_scale, "below": below}
        found: torch.Tensor = torch.func.functional_call(conditional, names, (sample,)).log_prob(sample["f"])
        return found

    leaves = [value.detach().double().requires_grad_() for value in (conditional.raw_scale, conditional.below)]
    assert torch.autograd.gradcheck(score, leaves)
    assert (conditional.factor.triu(1) == 0).all() and (conditional.factor.diagonal() > 0).all()


def test_it_starts_as_independent_numbers_of_deviation_one() -> None:
    conditional = CorrelatedConditional(NUMBERS, (CLASS,), Mlp(None, 3, (4,), ()))
    torch.testing.assert_close(conditional.factor, torch.eye(4), atol=2e-3, rtol=0)


def test_checkpoints_hold_the_factor_below_its_diagonal_row_by_row() -> None:
    """Another order or sign learns as well, but would misread every run that is kept."""
    conditional = CorrelatedConditional(NUMBERS, (CLASS,), Mlp(None, 3, (4,), ()))
    conditional.below.data = torch.arange(1.0, 7.0)
    below = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [2.0, 3.0, 0.0, 0.0], [4.0, 5.0, 6.0, 0.0]])
    assert torch.equal(conditional.factor.tril(-1), below)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of three classes with one covariance, far from a diagonal one, and the classes."""
    generator = torch.Generator().manual_seed(2)
    y = torch.arange(300) % 3
    means = 1.5 * torch.randn(3, 4, generator=generator)
    spread = torch.linalg.inv(factor(4).float())
    return means[y] + torch.randn(300, 4, generator=generator) @ spread.T, y


def test_at_the_optimum_the_vote_is_the_linear_discriminant() -> None:
    """Means, pooled covariance and posteriors of maximum likelihood, by scikit-learn's shrunk by nothing."""
    x, y = data()
    torch.manual_seed(0)
    conditional = CorrelatedConditional(NUMBERS, (CLASS,), Mlp(None, 3, (4,), ()))
    optimizer = torch.optim.LBFGS(conditional.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value: torch.Tensor = -conditional({"y": y}).log_prob(x).mean()
        value.backward()
        return value

    optimizer.step(loss)
    means = torch.stack([x[y == label].mean(0) for label in range(3)])
    torch.testing.assert_close(conditional({"y": torch.arange(3)}).mean, means, atol=1e-3, rtol=0)
    residual = x - means[y]
    covariance = residual.T @ residual / len(x)
    precision = conditional.factor.T @ conditional.factor
    torch.testing.assert_close(precision @ covariance, torch.eye(4), atol=5e-3, rtol=0)
    decoder = Player([Prior(CLASS), conditional])
    encoder = Player([NetworkConditional(CLASS, (NUMBERS,), Mlp(None, 4, (3,), ()))])
    votes = decoder_vote(decoder, encoder, {"f": x}, "y", 3)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.0).fit(x.numpy(), y.numpy())
    torch.testing.assert_close(
        votes.softmax(1), torch.tensor(theirs.predict_proba(x.numpy())).float(), atol=5e-3, rtol=0
    )


# In a recipe ---------------------------------------------------------------------------------------------------------

RECIPE = """
source: {name: digits}
split: {labelled: 50}
variables:
  x: {family: bernoulli, shape: [1, 8, 8]}
  y: {family: categorical, classes: 10}
  z: {family: gaussian, shape: [6]}
decoder:
  y: uniform
  z: {given: [y], net: {name: mlp, hidden: []}, scale: covariance}
  x: {given: [y, z], net: {name: mlp, hidden: [16]}}
encoder:
  y: {given: [x], net: {name: mlp, hidden: [16]}}
  z: {given: [x, y], net: {name: mlp, hidden: [16]}}
streams:
  labelled: {observe: [x, y], batch: 8}
  unlabelled: {observe: [x], batch: 8}
training: {steps: 2}
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_a_recipe_may_ask_for_a_covariance(recipe_file: Path) -> None:
    decoder, _ = build_players(read_recipe(recipe_file))
    assert isinstance(decoder["z"], CorrelatedConditional) and decoder["z"].factor.shape == (6, 6)
    drawn = decoder.complete({"y": torch.tensor([0, 1, 2])})
    assert drawn["z"].shape == (3, 6) and drawn["x"].shape == (3, 1, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder.z.scale": "covariance"}, "only the decoder's factors can have a covariance; use shared"),
        ({"decoder.x.scale": "covariance"}, "a bernoulli variable has no scale; remove scale"),
        (
            {"variables.x.family": "discretized_logistic", "decoder.x.scale": "covariance"},
            "a covariance is of gaussian numbers, and x is discretized_logistic; use shared",
        ),
        (
            {"training.objective": "elbo"},
            "the lower bound takes no covariance of numbers that the encoder draws, z; use scale: shared, or symmetric",
        ),
    ],
)
def test_what_takes_no_covariance_is_refused(recipe_file: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        change_recipe(read_recipe(recipe_file), changes)


def test_a_single_number_has_no_covariance(recipe_file: Path) -> None:
    recipe = change_recipe(read_recipe(recipe_file), {"variables.z.shape": []})
    message = "decoder.z.scale: a covariance is of a vector of numbers, which have no unit; use shared"
    assert net_mistakes(recipe) == [message]
    with pytest.raises(RecipeError, match=message):
        build_players(recipe)
