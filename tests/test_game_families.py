"""Families: probabilities that sum to one, samplers that follow their log_prob, shapes, neutral members."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import chi2

from semivae.game.families import FAMILIES, DiscretizedLogistic
from semivae.variables import Variable

CODE = Variable("h", "bernoulli", (3,))
LABEL = Variable("y", "categorical", (), classes=4)
MASK = Variable("s", "categorical", (2, 1), classes=3)
REAL = Variable("z", "gaussian", (2,))
PIXELS = Variable("x", "discretized_logistic", (2, 1, 1))


def values_of(variable: Variable) -> torch.Tensor:
    """Every value that a discrete variable can take, [values, *shape]."""
    levels = {"bernoulli": [0.0, 1.0], "categorical": range(variable.classes or 0)}.get(
        variable.family, [level / 255 for level in range(256)]
    )
    flat = list(itertools.product(levels, repeat=math.prod(variable.shape)))
    dtype = torch.int64 if variable.family == "categorical" else torch.float64
    return torch.tensor(flat, dtype=dtype).reshape(len(flat), *variable.shape)


def parameters_for(variable: Variable, scale: float = 1.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(variable.parameter_shape, generator=generator).double()


@pytest.mark.parametrize("variable", [CODE, LABEL, MASK, PIXELS], ids=lambda variable: variable.family)
def test_probabilities_sum_to_one(variable: Variable) -> None:
    distribution = FAMILIES[variable.family].distribution(variable, parameters_for(variable))
    assert distribution.event_shape == variable.shape
    total = distribution.log_prob(values_of(variable)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-12)


def test_gaussian_density_integrates_to_one() -> None:
    variable = Variable("z", "gaussian", (1,))
    distribution = FAMILIES["gaussian"].distribution(variable, parameters_for(variable))
    grid = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    assert torch.trapezoid(distribution.log_prob(grid[:, None]).exp(), grid).item() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("variable", [CODE, LABEL, MASK], ids=lambda variable: variable.family)
def test_samples_follow_log_prob(variable: Variable) -> None:
    """Chi-square over all values; fails once in a million seeds."""
    torch.manual_seed(0)
    distribution = FAMILIES[variable.family].distribution(variable, parameters_for(variable, scale=1.0))
    values = values_of(variable)
    count = 20_000
    drawn = distribution.sample(torch.Size((count,))).reshape(count, -1)
    observed = (drawn[:, None] == values.reshape(1, len(values), -1)).all(-1).sum(0).double()
    expected = count * distribution.log_prob(values).exp()
    assert expected.min() > 5
    statistic = ((observed - expected) ** 2 / expected).sum().item()
    assert statistic < chi2.isf(1e-6, len(values) - 1)


def test_logistic_samples_follow_log_prob() -> None:
    """Chi-square over 8-bit levels, those seldom seen joined; fails once in a million seeds."""
    torch.manual_seed(0)
    distribution = DiscretizedLogistic(torch.tensor(0.9).double(), torch.tensor(0.1).double())
    levels = torch.arange(256).double() / 255
    drawn = distribution.sample((50_000,))
    observed = torch.bincount((drawn * 255).round().long(), minlength=256).double()
    expected = 50_000 * distribution.log_prob(levels).exp()
    often = expected > 10
    observed = torch.cat([observed[often], observed[~often].sum()[None]])
    expected = torch.cat([expected[often], expected[~often].sum()[None]])
    statistic = ((observed - expected) ** 2 / expected).sum().item()
    assert statistic < chi2.isf(1e-6, len(expected) - 1)
    assert drawn.mean().item() == pytest.approx(distribution.mean.item(), abs=6 * 0.18 / math.sqrt(50_000) + 0.002)


def test_logistic_is_finite_far_out_with_its_gradient() -> None:
    loc = torch.tensor([-30.0, 0.5, 30.0], requires_grad=True)
    log_prob = DiscretizedLogistic(loc, torch.full((3,), 1e-3)).log_prob(torch.tensor([1.0, 0.0, 0.5]))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    assert loc.grad is not None and torch.isfinite(loc.grad).all()


def test_soft_bits_score_the_mean_over_random_binarisation() -> None:
    variable = Variable("x", "bernoulli", (1,))
    distribution = FAMILIES["bernoulli"].distribution(variable, torch.tensor([0.7]))
    zero, one = (distribution.log_prob(torch.tensor([value])) for value in (0.0, 1.0))
    assert distribution.log_prob(torch.tensor([0.3])).item() == pytest.approx((0.7 * zero + 0.3 * one).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("variable", "entropy"), [(CODE, 3 * math.log(2)), (LABEL, math.log(4)), (MASK, 2 * math.log(3))]
)
def test_zero_parameters_are_neutral(variable: Variable, entropy: float) -> None:
    family = FAMILIES[variable.family]
    distribution = family.distribution(variable, torch.zeros(variable.parameter_shape))
    assert distribution.entropy().item() == pytest.approx(entropy, abs=1e-6)


def test_zero_parameters_are_the_standard_normal() -> None:
    distribution = FAMILIES["gaussian"].distribution(REAL, torch.zeros(4))
    assert distribution.log_prob(torch.zeros(2)).item() == pytest.approx(-math.log(2 * math.pi), abs=3e-3)


@pytest.mark.parametrize("variable", [CODE, LABEL, MASK, REAL, PIXELS], ids=lambda variable: variable.family)
def test_batched_parameters_give_batched_distributions(variable: Variable) -> None:
    family = FAMILIES[variable.family]
    distribution = family.distribution(variable, parameters_for(variable).expand(5, *variable.parameter_shape))
    assert (distribution.batch_shape, distribution.event_shape) == ((5,), variable.shape)
    value = distribution.sample()
    assert distribution.log_prob(value).shape == (5,)
    assert family.as_input(variable, value).shape == (5, *variable.input_shape)
