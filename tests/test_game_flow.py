"""Flows: exact small cases of their bound, their samples, and what a lesson teaches."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from semivae.game.flow import NOISIEST, FlowConditional, Sampling, cleanest, draw_levels, end_terms, time_of
from semivae.game.flow_ends import ENDS
from semivae.variables import TIME_FEATURES, Variable

LOC, SCALE = 0.7, 0.5


class NormalVelocity(nn.Module):
    """The exact velocity of numbers that are N(loc, scale^2): of the state alone."""

    def __init__(self, loc: float = LOC, scale: float = SCALE) -> None:
        super().__init__()
        self.loc, self.scale = nn.Parameter(torch.tensor(loc)), scale

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert vectors is not None
        state, features = vectors[:, :-TIME_FEATURES], vectors[:, -TIME_FEATURES:]
        time = 0.5 * features[:, -1:] + 0.5
        alpha, precision = 1.0 - time, ((1.0 - time) * self.scale) ** 2 + time**2
        value = self.loc + alpha * self.scale**2 / precision * (state - alpha * self.loc)
        noise = time / precision * (state - alpha * self.loc)
        return noise - value


class GuidedVelocity(nn.Module):
    """-(4 if class 1 is seen, 2 if class 0 is, 1 if none is), whatever the state: a flow to that number."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert vectors is not None
        seen = (vectors[:, -2:] > 0).float()
        return -(1.0 + seen @ torch.tensor([[1.0], [3.0]])) + 0.0 * self.unused


def normal_flow(count: int = 1, steps: int = 8) -> FlowConditional:
    return FlowConditional(Variable("h", "gaussian", (count,)), (), NormalVelocity(), Sampling(steps))


def log_density(values: Tensor) -> Tensor:
    return (-0.5 * ((values - LOC) / SCALE) ** 2 - math.log(SCALE * math.sqrt(2.0 * math.pi))).sum(dim=1)


def test_the_bound_of_an_exact_flow_is_the_log_density() -> None:
    """With the true network the bound is tight, value by value. Six standard errors: fails once in 10^8."""
    torch.manual_seed(0)
    values = torch.tensor([[0.7], [0.2], [1.9], [-1.0]]).expand(4, 1500)
    flow = normal_flow(1500)
    with torch.no_grad():
        estimates = torch.stack([flow({"h": values}).log_prob(values) for _ in range(50)]) / 1500
    error = estimates.std(dim=0) / math.sqrt(len(estimates))
    assert (error < 0.03).all()
    assert (estimates.mean(dim=0) - log_density(values) / 1500).abs().max() < 0.02 + 6 * error.max()


def test_a_wrong_network_loses_the_divergence() -> None:
    """Of two normals of equal scale whose means differ by 0.3, it is 0.3^2 / (2 * 0.5^2) = 0.18 nats a number."""
    torch.manual_seed(0)
    values = LOC + SCALE * torch.randn(4, 5000)
    right = normal_flow(5000)
    wrong = FlowConditional(Variable("h", "gaussian", (5000,)), (), NormalVelocity(LOC + 0.3))
    kept = []
    for flow in (right, wrong):
        torch.manual_seed(1)
        with torch.no_grad():
            kept.append(flow({"h": values}).log_prob(values).mean().item() / 5000)
    assert kept[0] - kept[1] == pytest.approx(0.18, abs=0.02)


def test_a_lesson_estimates_the_same_bound_with_one_level() -> None:
    """The levels of a batch are spread evenly, so its mean varies little. Six standard errors: fails once in 10^8."""
    torch.manual_seed(0)
    values = torch.full((200, 200), 0.2)
    with torch.no_grad():
        estimates = torch.stack([normal_flow(200).lesson_score({"h": values}).mean() / 200 for _ in range(100)])
    error = estimates.std().item() / math.sqrt(len(estimates))
    assert error < 0.04
    assert estimates.mean().item() == pytest.approx(log_density(values[:1]).item() / 200, abs=0.02 + 6 * error)


def test_a_lesson_moves_a_wrong_network_towards_the_data() -> None:
    torch.manual_seed(0)
    values = LOC + SCALE * torch.randn(5000, 1)
    for start, sign in ((LOC - 0.3, 1.0), (LOC + 0.3, -1.0)):
        flow = FlowConditional(Variable("h", "gaussian", (1,)), (), NormalVelocity(start))
        (gradient,) = torch.autograd.grad(flow.lesson_score({"h": values}).mean(), list(flow.net.parameters()))
        assert sign * gradient.item() > 0.05


def test_what_a_lesson_teaches_is_weighted_by_level() -> None:
    """The gradient is that of the velocity's error, times 1/2 at time 0.02, and nearly all of it at later times."""
    values = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    flow = FlowConditional(Variable("h", "gaussian", (1,)), (), NormalVelocity(LOC + 1.0))
    parameters = list(flow.net.parameters())
    torch.manual_seed(1)
    (found,) = torch.autograd.grad(flow.lesson_score({"h": values}).sum(), parameters)
    torch.manual_seed(1)
    level, _ = draw_levels(len(values), cleanest(ENDS["gaussian"]), values.device)
    noise, time = torch.randn(values.shape), time_of(level)
    state = (1.0 - time[:, None]) * values + time[:, None] * noise
    errors = (noise - values - flow.velocity({}, state, time)).square().sum(dim=1) / 2
    (expected,) = torch.autograd.grad(-(errors * time**2 / (time**2 + 0.02**2)).sum(), parameters)
    torch.testing.assert_close(found, expected)


def test_the_noisy_end_costs_its_divergence() -> None:
    """KL(N((1 - t) e, t^2) || N(0, 1)) is exp(-10) e^2 / 2 to first order: 22.7 nats for e = 1000."""
    ends, h = ENDS["gaussian"], Variable("h", "gaussian", (1,))
    values = torch.tensor([[0.0], [1000.0]])
    near, far = end_terms(ends, h, values, values, torch.zeros(2, 1)).tolist()
    assert near - far == pytest.approx(0.5e6 * math.exp(-10.0), rel=1e-5)


def test_all_samples_of_a_batch_share_the_noise_of_their_scores() -> None:
    torch.manual_seed(0)
    scores = normal_flow(3)({"h": torch.zeros(5, 3)}).log_prob(torch.full((5, 3), 0.2))
    assert torch.allclose(scores, scores[0])


def test_a_draw_ends_at_the_value_itself() -> None:
    """Of a number that is always 100, with the exact network; not at its 99 hundredths, where the path ends."""
    torch.manual_seed(0)
    flow = FlowConditional(Variable("h", "gaussian", (1,)), (), NormalVelocity(100.0, 0.0))
    assert (flow.draw({}, 1000) - 100.0).abs().max() < 0.1  # seven deviations of its noise


def test_samples_have_the_moments_of_the_data() -> None:
    """20,000 samples in 200 steps; six standard errors: fails once in 10^8."""
    torch.manual_seed(0)
    drawn = normal_flow(steps=200).draw({}, 20_000)
    assert drawn.shape == (20_000, 1)
    assert drawn.mean().item() == pytest.approx(LOC, abs=6 * SCALE / math.sqrt(20_000) + 0.005)
    assert drawn.std().item() == pytest.approx(SCALE, abs=6 * SCALE / math.sqrt(40_000) + 0.01)


def test_the_mean_takes_one_evaluation() -> None:
    torch.manual_seed(0)
    mean = normal_flow().to_draw({}, 7).mean
    assert mean.shape == (7, 1)
    assert torch.allclose(mean, torch.full((7, 1), LOC), atol=1e-5)


def test_what_is_known_leads_to_what_is_missing() -> None:
    """Two numbers that are always equal, one of them known: the other follows it, as the exact network says."""

    class Equal(GuidedVelocity):
        def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
            assert vectors is not None
            state, time = vectors[:, :2], 0.5 * vectors[:, 1 + TIME_FEATURES :] + 0.5
            alpha = 1.0 - time  # both are one number of N(0, 1), seen twice
            value = alpha * state.sum(dim=1, keepdim=True) / (2 * alpha**2 + time**2)
            return (state - value) / time.clamp_min(1e-3) + 0.0 * self.unused

    torch.manual_seed(0)
    flow = FlowConditional(Variable("h", "gaussian", (2,)), (), Equal(), Sampling(64))
    known = torch.tensor([[1.5, 0.0]]).expand(500, 2)
    sample = {"h": known}
    free, led = flow.picture(sample), flow.picture(sample, (known, torch.tensor([False, True]).expand(500, 2)))
    assert free.mean().item() == pytest.approx(0.0, abs=0.3)
    assert led[:, 1].mean().item() == pytest.approx(1.5, abs=0.2)
    assert led[:, 1].std().item() < 0.5 < free.std().item()


def test_guidance_leads_beyond_the_given_class() -> None:
    given = (Variable("y", "categorical", (), 2),)
    sample = {"y": torch.arange(2).repeat(4000)}
    usual = Sampling(steps=3, guides=("y",))
    for guidance, expected in ((usual.guidance, [2.0, 4.0]), (2.0, [3.0, 7.0]), (0.0, [1.0, 1.0])):
        sampling = replace(usual, guidance=guidance)
        flow = FlowConditional(Variable("h", "gaussian", (1,)), given, GuidedVelocity(), sampling)
        torch.manual_seed(0)
        drawn = flow.picture(sample).view(4000, 2).mean(dim=0)
        assert drawn.tolist() == pytest.approx(expected, abs=6 / math.sqrt(4000))


def test_a_tenth_of_a_lesson_learns_without_its_guides() -> None:
    class Recording(GuidedVelocity):
        def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
            assert vectors is not None
            self.blind = (vectors[:, -2:] == 0).all(dim=1).float().mean().item()
            return super().forward(images, vectors)

    torch.manual_seed(0)
    net, y = Recording(), Variable("y", "categorical", (), 2)
    flow = FlowConditional(Variable("h", "gaussian", (1,)), (y,), net, Sampling(guides=("y",), drop=0.1))
    sample = {"y": torch.randint(2, (10_000,)), "h": torch.randn(10_000, 1)}
    flow.lesson_score(sample)
    assert net.blind == pytest.approx(0.1, abs=6 * 0.003)  # six standard errors
    flow(sample).log_prob(sample["h"])
    assert net.blind == 0.0


@pytest.mark.parametrize(
    "variable, value",
    [
        (Variable("x", "bernoulli", (3,)), torch.tensor([[0.0, 1.0, 1.0]])),
        (Variable("x", "discretized_logistic", (3,)), torch.tensor([[0, 17, 255]]) / 255.0),
        (Variable("s", "categorical", (1, 3), 4), torch.tensor([[[0, 3, 2]]])),
        (Variable("x", "gaussian", (3,)), torch.tensor([[0.1, -2.0, 3.0]])),
    ],
    ids=lambda each: each.family if isinstance(each, Variable) else "",
)
def test_the_last_step_gives_back_the_value(variable: Variable, value: Tensor) -> None:
    """From z_0 the value is found, with nearly all of its probability: a bit is wrong once in 30,000."""
    torch.manual_seed(0)
    ends, many = ENDS[variable.family], value.repeat(300, *[1] * (value.dim() - 1))
    embedded = ends.embed(variable, many)
    assert embedded.shape == (300, *variable.input_shape)
    last = ends.last_step(variable, embedded + ends.noise * torch.randn_like(embedded))
    drawn = last.sample()
    assert drawn.shape == many.shape and drawn.dtype == many.dtype
    assert last.log_prob(many).shape == (300,)
    if variable.family == "gaussian":
        assert (drawn - many).abs().max() < 8 * ends.noise * math.sqrt(2.0)
    else:
        assert (drawn - many).abs().gt(1e-6).float().mean() < 0.02
        assert last.log_prob(many).mean() > -0.2


@pytest.mark.parametrize(
    "variable",
    [
        Variable("x", "bernoulli", (2,)),
        Variable("x", "discretized_logistic", (1,)),
        Variable("s", "categorical", (1, 1), 3),
    ],
    ids=lambda each: each.family,
)
def test_last_steps_are_probabilities(variable: Variable) -> None:
    torch.manual_seed(0)
    values = {
        "bernoulli": torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
        "discretized_logistic": torch.arange(256)[:, None] / 255.0,
        "categorical": torch.arange(3)[:, None, None],
    }[variable.family]
    state = 0.3 * torch.randn(1, *variable.input_shape).expand(len(values), *variable.input_shape)
    last = ENDS[variable.family].last_step(variable, state)
    assert last.log_prob(values).exp().sum().item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("variable", "values"),
    [
        (Variable("x", "bernoulli", (1,)), torch.tensor([[0.0], [1.0]])),
        (Variable("s", "categorical", (1, 1), 3), torch.arange(3)[:, None, None]),
    ],
    ids=["bits", "classes"],
)
def test_the_last_step_is_the_posterior_of_equally_likely_values(variable: Variable, values: Tensor) -> None:
    """By Bayes' rule: z_0 is normal around the value, with the deviation `noise`."""
    ends = ENDS[variable.family]
    places = ends.embed(variable, values)
    state = 0.2 * torch.randn(1, *variable.input_shape, generator=torch.Generator().manual_seed(0))
    densities = torch.distributions.Normal(places, ends.noise).log_prob(state).flatten(1).sum(dim=1)
    last = ends.last_step(variable, state.expand(len(values), *variable.input_shape))
    assert last.log_prob(values).tolist() == pytest.approx(densities.log_softmax(dim=0).tolist(), abs=1e-4)


@pytest.mark.parametrize("family", ["bernoulli", "discretized_logistic"])
def test_the_mean_of_a_picture_undoes_the_embedding_and_stays_a_picture(
    family: Literal["bernoulli", "discretized_logistic"],
) -> None:
    variable, ends = Variable("x", family, (3,)), ENDS[family]
    values = torch.tensor([[0.0, 0.25, 1.0]])
    assert ends.mean(variable, ends.embed(variable, values)).tolist() == values.tolist()
    assert ends.mean(variable, torch.tensor([[-1.5, 0.0, 1.5]])).tolist() == [[0.0, 0.5, 1.0]]


def test_an_unknown_place_of_a_map_adds_nothing() -> None:
    class Zero(GuidedVelocity):
        def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
            assert images is not None
            return torch.zeros_like(images) + 0.0 * self.unused

    maps = torch.tensor([[[0, 1]], [[0, -1]], [[-1, -1]]])  # all three share the noise
    flow = FlowConditional(Variable("s", "categorical", (1, 2), 2), (), Zero())
    torch.manual_seed(0)
    with torch.no_grad():
        scores = flow({"s": maps}).log_prob(maps).tolist()
    assert scores[0] < scores[1] < scores[2] == pytest.approx(0.0, abs=1e-3)


def test_grey_pixels_are_binarised_when_they_are_scored() -> None:
    torch.manual_seed(0)
    exact = ENDS["bernoulli"].exact(torch.full((4000, 1), 0.25))
    assert set(exact.flatten().tolist()) == {0.0, 1.0}
    assert exact.mean().item() == pytest.approx(0.25, abs=6 * 0.0069)  # six standard errors


def test_levels_are_drawn_by_their_density() -> None:
    """The mean of 1 / density is the length of the interval, that of level / density the integral of the level."""
    torch.manual_seed(0)
    for family in ("gaussian", "bernoulli"):
        highest = cleanest(ENDS[family])
        level, density = draw_levels(200_000, highest, torch.device("cpu"))
        assert level.min() >= NOISIEST and level.max() <= highest
        assert (1.0 / density).mean().item() == pytest.approx(highest - NOISIEST, rel=0.01)
        assert (level / density).mean().item() == pytest.approx((highest**2 - NOISIEST**2) / 2, abs=0.5)


def test_most_levels_lie_around_as_much_noise_as_signal() -> None:
    """Nine of ten are normal about 0 with a deviation of 2, cut off at both ends; the others are even."""
    highest = cleanest(ENDS["gaussian"])
    level, _ = draw_levels(200_000, highest, torch.device("cpu"))
    for end in (-2.0, 0.0, 2.0):
        low, here, high = (Normal(0.0, 2.0).cdf(torch.tensor(each)).item() for each in (NOISIEST, end, highest))
        expected = 0.1 * (end - NOISIEST) / (highest - NOISIEST) + 0.9 * (here - low) / (high - low)
        assert (level < end).float().mean().item() == pytest.approx(expected, abs=1e-4)  # levels are evenly spread


def test_time_and_level_agree() -> None:
    level = torch.tensor([-10.0, 0.0, 3.0])
    time = time_of(level)
    assert torch.allclose(torch.log((1 - time) ** 2 / time**2), level, atol=1e-3)


@pytest.mark.parametrize("family", ["gaussian", "bernoulli"])
def test_a_network_that_is_not_finite_is_named(family: str) -> None:
    flow = FlowConditional(Variable("h", family, (1,)), (), NormalVelocity(math.nan))
    for draw in (lambda: flow.draw({}, 2), lambda: flow.to_draw({}, 2).mean, lambda: flow.to_draw({}, 2).picture()):
        with pytest.raises(FloatingPointError, match="the flow of h returns values that are not finite"):
            draw()
