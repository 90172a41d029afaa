"""Families: probabilities that sum to one, samplers that follow their log_prob, shapes, neutral members."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import chi2
from torch.distributions import Categorical, Distribution, Independent, Normal

from semivae.game.distributions import Bits, DiscretizedLogistic, most_likely
from semivae.game.families import FAMILIES
from semivae.variables import VOID, Variable

CODE = Variable("h", "bernoulli", (3,))
LABEL = Variable("y", "categorical", (), classes=4)
GRADE = Variable("y", "ordinal", (), classes=4)
MASK = Variable("s", "categorical", (2, 1), classes=3)
REAL = Variable("z", "gaussian", (2,))
PIXELS = Variable("x", "discretized_logistic", (2, 1, 1))


def values_of(variable: Variable) -> torch.Tensor:
    """Every value that a discrete variable can take, [values, *shape]."""
    levels = {"bernoulli": [0.0, 1.0]}.get(variable.family, [level / 255 for level in range(256)])
    if variable.has_classes:
        levels = list(range(variable.class_count))
    flat = list(itertools.product(levels, repeat=math.prod(variable.shape)))
    dtype = torch.int64 if variable.has_classes else torch.float64
    return torch.tensor(flat, dtype=dtype).reshape(len(flat), *variable.shape)


def parameters_for(variable: Variable, scale: float = 1.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(variable.parameter_shape, generator=generator).double()


@pytest.mark.parametrize("variable", [CODE, LABEL, GRADE, MASK, PIXELS], ids=lambda variable: variable.family)
def test_probabilities_sum_to_one(variable: Variable) -> None:
    distribution = FAMILIES[variable.family].distribution(variable, parameters_for(variable))
    assert distribution.event_shape == variable.shape
    total = distribution.log_prob(values_of(variable)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("family", ["gaussian", "discretized_logistic"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_first_half_of_the_parameters_is_the_location(family: str, channels: int) -> None:
    """Of pixels of several channels, where a cut into other parts would fit as well."""
    variable = Variable("x", family, (channels, 2, 2))
    parameters = torch.zeros(1, 2 * channels, 2, 2)
    moved = parameters.clone()
    moved[:, :channels] = 0.1 * torch.arange(1, channels + 1).view(-1, 1, 1)
    still, shifted = (FAMILIES[family].distribution(variable, each) for each in (parameters, moved))
    offset = (shifted.mean - still.mean)[0, :, 0, 0] / (1.0 if family == "gaussian" else 0.5)
    torch.testing.assert_close(offset, 0.1 * torch.arange(1, channels + 1), atol=0.01, rtol=0)
    wide = parameters.clone()
    wide[:, channels:] = 1.0
    assert (FAMILIES[family].distribution(variable, wide).log_prob(still.mean) < still.log_prob(still.mean)).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32])
def test_maps_of_any_numbers_are_the_same_input(dtype: torch.dtype) -> None:
    maps = torch.tensor([[[0], [2]], [[1], [1]]])
    family = FAMILIES["categorical"]
    torch.testing.assert_close(family.as_input(MASK, maps.to(dtype)), family.as_input(MASK, maps))


def test_gaussian_density_integrates_to_one() -> None:
    variable = Variable("z", "gaussian", (1,))
    distribution = FAMILIES["gaussian"].distribution(variable, parameters_for(variable))
    grid = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    assert torch.trapezoid(distribution.log_prob(grid[:, None]).exp(), grid).item() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("variable", [CODE, LABEL, GRADE, MASK], ids=lambda variable: variable.family)
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


def test_bits_in_float32_are_scored_as_in_float64() -> None:
    """On CPUs they have a formula of their own; float64 keeps torch's, and is the truth here."""
    logits = torch.linspace(-120.0, 120.0, 20_001).requires_grad_()
    soft = torch.rand(len(logits), generator=torch.Generator().manual_seed(0)).requires_grad_()
    for value in (torch.zeros_like(logits), torch.ones_like(logits), soft):
        found = Bits(logits=logits, validate_args=False).log_prob(value)
        exact_logits, exact_value = (given.detach().double().requires_grad_() for given in (logits, value))
        exact = Bits(logits=exact_logits, validate_args=False).log_prob(exact_value)
        torch.testing.assert_close(found.double(), exact, atol=1e-6, rtol=2e-7)
        weights = torch.linspace(-1.0, 2.0, len(logits))
        gradients = torch.autograd.grad((weights * found).sum(), [logits, soft] if value is soft else [logits])
        exact_gradients = torch.autograd.grad((weights.double() * exact).sum(), [exact_logits, exact_value])
        for gradient, right in zip(gradients, exact_gradients, strict=False):
            torch.testing.assert_close(gradient.double(), right, atol=1e-6, rtol=1e-6)


def test_bits_are_scored_by_parameters_that_several_values_share() -> None:
    logits = torch.tensor([0.5, -2.0, 3.0], requires_grad=True)
    value = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, float(VOID)]])
    found = FAMILIES["bernoulli"].distribution(CODE, logits).log_prob(value)
    exact = [-math.log1p(math.exp(-sign * logit)) for sign, logit in ((1, 0.5), (-1, -2.0), (1, 3.0))]
    second = -math.log1p(math.exp(0.5)) - math.log1p(math.exp(-2.0))
    torch.testing.assert_close(found.detach(), torch.tensor([sum(exact), second]))
    found.sum().backward()
    probs = torch.tensor([0.5, -2.0, 3.0]).sigmoid()
    torch.testing.assert_close(logits.grad, torch.tensor([1.0, 0.0, 1.0]) - probs * torch.tensor([2.0, 2.0, 1.0]))


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


# By hand -------------------------------------------------------------------------------------------------------------


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_a_level_has_the_mass_of_its_interval_and_the_ends_take_the_tails() -> None:
    """Of a logistic at 0.4 with scale 0.1, at levels 0, 102 (0.4 itself) and 255."""
    distribution = DiscretizedLogistic(torch.tensor(0.4).double(), torch.tensor(0.1).double())
    half = 0.5 / 255
    masses = [
        sigmoid((half - 0.4) / 0.1),
        sigmoid(half / 0.1) - sigmoid(-half / 0.1),
        1 - sigmoid((1 - half - 0.4) / 0.1),
    ]
    found = distribution.log_prob(torch.tensor([0.0, 102 / 255, 1.0]).double())
    torch.testing.assert_close(found.exp(), torch.tensor(masses).double())


@pytest.mark.parametrize(("loc", "scale"), [(0.4, 0.1), (0.9, 0.3), (-0.2, 0.05), (1.5, 0.2)])
def test_the_mean_of_a_logistic_is_that_of_its_levels(loc: float, scale: float) -> None:
    distribution = DiscretizedLogistic(torch.tensor(loc).double(), torch.tensor(scale).double())
    levels = torch.arange(256).double() / 255
    exact = (levels * distribution.log_prob(levels).exp()).sum().item()
    assert distribution.mean.item() == pytest.approx(exact, abs=1e-4)


def test_a_logistic_is_drawn_at_levels_of_eight_bits_of_which_the_ends_take_the_tails() -> None:
    torch.manual_seed(0)
    distribution = DiscretizedLogistic(torch.tensor([0.0, 1.0]), torch.tensor(0.1))
    drawn = distribution.sample((4000,))
    assert drawn.shape == (4000, 2) and not drawn.requires_grad
    torch.testing.assert_close(drawn * 255, (drawn * 255).round(), atol=1e-4, rtol=0)
    assert drawn.min() == 0.0 and drawn.max() == 1.0
    ends = (drawn == torch.tensor([0.0, 1.0])).float().mean(0)
    half_a_level = sigmoid(0.5 / 255 / 0.1)
    assert ends.tolist() == pytest.approx([half_a_level] * 2, abs=0.05)  # six standard errors


def test_a_logistic_expands_to_a_batch_and_draws_without_gradient() -> None:
    loc = torch.tensor([0.2, 0.8], requires_grad=True)
    expanded = DiscretizedLogistic(loc, torch.tensor(0.1)).expand(torch.Size((5, 2)))
    assert expanded.batch_shape == (5, 2) and expanded.sample().shape == (5, 2)
    assert not expanded.sample().requires_grad and expanded.log_prob(torch.zeros(5, 2)).requires_grad
    torch.testing.assert_close(expanded.mean[3], DiscretizedLogistic(loc, torch.tensor(0.1)).mean)
    assert not DiscretizedLogistic.has_rsample


def test_a_logistic_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match="scale"):
        DiscretizedLogistic(torch.tensor(0.5), torch.tensor(-1.0), validate_args=True)
    with pytest.raises(ValueError, match="loc"):
        DiscretizedLogistic(torch.tensor(math.nan), torch.tensor(1.0), validate_args=True)


def base_of(variable: Variable, parameters: torch.Tensor) -> Distribution:
    distribution = FAMILIES[variable.family].distribution(variable, parameters)
    assert isinstance(distribution, Independent) and distribution.event_shape == variable.shape
    base: Distribution = distribution.base_dist
    return base


def test_a_number_has_its_location_and_a_scale_with_a_floor() -> None:
    """Channels come first: of [4, 1, 2] parameters the first two are locations. A raw 0 is a scale of 1, -50 none."""
    variable = Variable("z", "gaussian", (2, 1, 2))
    parameters = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[0.0, 1.0]], [[-50.0, 0.0]]])
    for given in (parameters, parameters.expand(3, 4, 1, 2)):
        base = base_of(variable, given)
        assert isinstance(base, Normal)
        assert base.loc.shape[-3:] == (2, 1, 2)
        torch.testing.assert_close(base.loc, torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]).expand(base.loc.shape))
        scale = math.log(1 + math.exp(1) * (math.e - 1))
        expected = torch.tensor([[[1.001, scale + 0.001]], [[0.001, 1.001]]]).expand(base.loc.shape)
        torch.testing.assert_close(base.scale, expected)


def test_a_channel_starts_at_mid_grey_with_a_tenth_for_a_scale() -> None:
    parameters = torch.tensor([[[1.0]], [[-1.0]], [[0.0]], [[-50.0]]])  # of two channels
    for given in (parameters, parameters.expand(3, 4, 1, 1)):
        base = base_of(PIXELS, given)
        assert isinstance(base, DiscretizedLogistic)
        torch.testing.assert_close(base.loc, torch.tensor([[[1.0]], [[0.0]]]).expand(base.loc.shape))
        torch.testing.assert_close(base.scale, torch.tensor([[[0.101]], [[0.001]]]).expand(base.loc.shape))


def test_values_are_fed_as_numbers_of_about_unit_size() -> None:
    value = torch.tensor([[0.0, 0.25, 1.0]])
    assert FAMILIES["bernoulli"].as_input(CODE, value).tolist() == [[-1.0, -0.5, 1.0]]
    assert FAMILIES["discretized_logistic"].as_input(PIXELS, value).tolist() == [[-2.0, -1.0, 2.0]]
    assert FAMILIES["gaussian"].as_input(REAL, value) is value
    one_hot = FAMILIES["categorical"].as_input(LABEL, torch.tensor([2, 0]))
    assert one_hot.tolist() == [[0, 0, 2, 0], [2, 0, 0, 0]]


def test_classes_are_fed_one_hot_at_every_place_and_one_hot_ones_as_they_are() -> None:
    maps = torch.tensor([[[0], [VOID]], [[2], [1]]])
    fed = FAMILIES["categorical"].as_input(MASK, maps)
    root = math.sqrt(3)
    assert fed.shape == (2, 3, 2, 1) and fed.dtype == torch.float32
    torch.testing.assert_close(fed[0, :, :, 0], torch.tensor([[root, 0], [0, 0], [0, 0]]))
    torch.testing.assert_close(fed[1, :, :, 0], torch.tensor([[0, 0], [0, root], [root, 0]]))
    soft = torch.rand(2, 2, 1, 3)
    torch.testing.assert_close(FAMILIES["categorical"].as_input(MASK, soft), soft.permute(0, 3, 1, 2) * root)
    torch.testing.assert_close(FAMILIES["categorical"].as_input(LABEL, torch.eye(4)), 2 * torch.eye(4))


def test_the_most_likely_class_of_labels_and_of_places() -> None:
    probabilities = torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]])
    probability, value = most_likely(Categorical(probs=probabilities))
    assert value.tolist() == [1, 0] and probability.tolist() == pytest.approx([0.5, 0.7])
    places = FAMILIES["categorical"].distribution(MASK, probabilities.log().T[None, :, :, None])
    probability, value = most_likely(places)
    assert value.tolist() == [[[1], [0]]] and probability.shape == (1, 2, 1)
