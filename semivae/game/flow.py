"""Flows: a conditional that leads noise to a value in a few steps, given the parents (docs/method.md, section 12).

On the path z_t = (1 - t) e + t n from a value's embedding e (t = 0) to normal noise n (t = 1) a network predicts the
velocity n - e (flow matching with straight paths: Lipman et al. 2023; Liu et al. 2023). Samples follow it from t = 1
back to 0. The same network predicts e, as z_t - t v, and so gives a lower bound of the log-probability (Kingma et al.
2021, "Variational diffusion models", in continuous time; l is the log of the signal-to-noise ratio, (1 - t)^2 / t^2):

    log p(x) >= E log p(x | z_0) - 1/2 integral exp(l) E |e - e_hat(z_l)|^2 dl - KL(q(z_1 | x) || p(z_1)).

Both expectations and the integral are drawn, without bias. A lesson draws one level of noise per sample, and weighs the
levels for learning by the error of the velocity: wherever the weights lie, the best network is the same, and these make
better pictures (Kingma and Gao 2023, "Understanding diffusion objectives as the ELBO with simple data augmentation").
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from semivae.game.conditionals import Conditional
from semivae.game.finite import finite
from semivae.game.flow_ends import ENDS, Ends
from semivae.game.network_inputs import network_inputs
from semivae.parallel.shards import current_shard, drawn_rows, sample_rows
from semivae.variables import Around, Sample, Variable, flow_inputs

NOISIEST = -10.0  # log signal-to-noise ratio at t = 1, where nothing is left of a value
CENTRE, WIDTH, UNIFORM = 0.0, 2.0, 0.1  # of the levels that lessons draw: normal, and this fraction evenly
BLUR = 0.02  # the time from which on a level weighs half in a lesson: finer noise is not seen
FREQUENCIES = (0.06, 0.125, 0.25, 0.5, 1.0)  # of the level, as a network sees it

Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Sampling:
    """How a flow is drawn and scored.

    Args:
        steps: evaluations of the network per draw; twice as many with guidance.
        guidance: how far samples are led towards their guiding parents: 1 is as learnt, more is clearer and less varied
            (Ho and Salimans 2022, "Classifier-free diffusion guidance").
        guides: the parents that guide.
        drop: the fraction of samples that learn without the guiding parents.
        levels: levels of noise in a log-probability, one evaluation each.
    """

    steps: int = 8
    guidance: float = 1.0
    guides: tuple[str, ...] = ()
    drop: float = 0.1
    levels: int = 32


class FlowDistribution(Distribution):
    """p(target | given) as a flow.

    `mean` is the network's own estimate of the mean, from noise alone: one evaluation, not a picture. On a CPU, draws
    and means raise FloatingPointError where the network returns what is not finite.

    Args:
        target: the variable.
        batch: the number of samples.
        velocity: of states [batch, *input_shape] at times [batch], as the network predicts it.
        guided: the same with guidance.
        sampling: steps and levels.
        device: of the samples.
    """

    arg_constraints = {}  # noqa: RUF012 (torch's own convention)
    has_rsample = False
    draws_rows = True  # by itself (`semivae.parallel.shards`)

    def __init__(
        self,
        target: Variable,
        batch: int,
        velocity: Velocity,
        guided: Velocity,
        sampling: Sampling,
        device: torch.device,
    ) -> None:
        self.target, self.velocity, self.guided, self.sampling = target, velocity, guided, sampling
        self.ends, self.device = ENDS[target.family], device
        super().__init__(torch.Size((batch,)), torch.Size(target.shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """E[target | given], [batch, *shape], in one evaluation."""
        noise = self._noise()
        denoised = noise - self.velocity(noise, torch.ones(len(noise), device=self.device))
        return self.ends.mean(self.target, finite(denoised, f"the flow of {self.target.name}"))

    def picture(self, around: Around | None = None) -> Tensor:
        """Returns a draw without the last step's noise, [batch, *shape]; what is known leads to what is missing."""
        with torch.no_grad():
            return self.ends.mean(self.target, self._follow(0.0, around))

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        assert not sample_shape, "a flow gives one draw per sample"
        with torch.no_grad():
            last = last_time(cleanest(self.ends))
            state = self._follow(last) / (1.0 - last)
            return sample_rows(self.ends.last_step(self.target, state))

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns an unbiased estimate of a lower bound of log p(value | given), [batch], nats per sample.

        All samples share the noise and its levels: of one value under several parents, as votes compare them, the
        differences are far more exact than the values.
        """
        value = self.ends.exact(value)
        embedded, known = self.ends.embed(self.target, value), self.ends.known(self.target, value)
        count, highest = self.sampling.levels, cleanest(self.ends)
        width = (highest - NOISIEST) / count
        shard = current_shard()
        noise = shard.draw(lambda: torch.randn_like(embedded[:1]))
        total = end_terms(self.ends, self.target, value, embedded, noise)
        for level in range(count):
            log_snr = NOISIEST + width * (level + shard.draw(lambda: torch.rand(1, device=embedded.device)))
            noise = shard.draw(lambda: torch.randn_like(embedded[:1]))
            errors = error_of(embedded, known, self.velocity, log_snr.expand(len(value)), noise)
            total = total - width * (1.0 - time_of(log_snr)) ** 2 * errors
        return total

    def _noise(self) -> Tensor:
        return drawn_rows(torch.randn, (*self.batch_shape, *self.target.input_shape), self.device)

    def _follow(self, end: float, around: Around | None = None) -> Tensor:
        """Returns the state at time `end`, [batch, *input_shape], reached from noise in equal steps.

        Where values are known, the state is theirs at every step (Song et al. 2021, "Score-based generative modeling
        through stochastic differential equations", on imputation).
        """
        noise = state = self._noise()
        for now, then in itertools.pairwise(times_to(end, self.sampling.steps)):
            if around is not None:
                path = (1.0 - now) * self.ends.embed(self.target, around[0]) + now * noise
                state = torch.where(around[1], state, path)
            state = state - (now - then) * self.guided(state, torch.full((len(state),), now, device=self.device))
        return finite(state, f"the flow of {self.target.name}")


class FlowConditional(Conditional):
    """A flow whose velocity a network computes from the state, its time and the given variables.

    Args:
        target: the variable; no single class.
        given: its parents, perhaps none.
        net: a module of `semivae.nets` for the state and the time (`semivae.variables.flow_inputs`) and the parents;
            forward(images, vectors) returns a velocity of the target's input shape.
        sampling: how it is drawn and scored.
    """

    learnable = True
    reads_alone = True  # each distribution reads the network when it is asked

    def __init__(
        self, target: Variable, given: tuple[Variable, ...], net: nn.Module, sampling: Sampling | None = None
    ) -> None:
        super().__init__(target, given)
        self.net, self.sampling = net, sampling or Sampling()
        self.state, self.time = flow_inputs(target)

    def parameters_of(self, sample: Sample) -> Tensor:
        """Raises TypeError: a flow has no parameters of a family."""
        raise TypeError(f"{self.target.name} is a flow, which has no parameters of a family")

    def forward(self, sample: Sample) -> FlowDistribution:
        return self.to_draw(sample, len(next(iter(sample.values()))))

    def to_draw(self, sample: Sample, batch: int) -> FlowDistribution:
        device = next(self.net.parameters()).device

        def velocity(state: Tensor, time: Tensor) -> Tensor:
            return self.velocity(sample, state, time)

        guided = self._guided(sample) if self.sampling.guidance != 1.0 and self.sampling.guides else velocity
        return FlowDistribution(self.target, batch, velocity, guided, self.sampling, device)

    def picture(self, sample: Sample, around: Around | None = None) -> Tensor:
        """Returns the target as it is shown to people, [batch, *shape]: a draw without the last step's noise."""
        return self.to_draw(sample, len(next(iter(sample.values())))).picture(around)

    def lesson_score(self, sample: Sample, distribution: Distribution | None = None) -> Tensor:
        """Returns an unbiased estimate of the bound at one level of noise, [batch], nats per sample.

        Its gradient is that of the velocity's error, weighted by level. Samples that learn without their guides are
        scored so.
        """
        ends = ENDS[self.target.family]
        value = ends.exact(sample[self.target.name])
        embedded, known = ends.embed(self.target, value), ends.known(self.target, value)
        log_snr, density = draw_levels(len(value), cleanest(ends), value.device)
        kept = None
        if self.sampling.guides and self.sampling.drop:
            keep = (drawn_rows(torch.rand, (len(value),), value.device) >= self.sampling.drop).float()
            kept = dict.fromkeys(self.sampling.guides, keep)

        def velocity(state: Tensor, time: Tensor) -> Tensor:
            return self.velocity(sample, state, time, kept)

        errors = error_of(embedded, known, velocity, log_snr, drawn_rows(torch.randn, embedded.shape, value.device))
        with torch.no_grad():
            noise = drawn_rows(torch.randn, embedded.shape, value.device)
            bound = end_terms(ends, self.target, value, embedded, noise)
            bound = bound - (1.0 - time_of(log_snr)) ** 2 / density * errors
        # nearly without noise the velocity is mostly noise, which no network can tell: little is learnt there
        weighted = errors / (1.0 + (BLUR / time_of(log_snr)) ** 2)
        score: Tensor = bound + weighted.detach() - weighted
        return score

    def velocity(self, sample: Sample, state: Tensor, time: Tensor, kept: dict[str, Tensor] | None = None) -> Tensor:
        """Returns the predicted velocity, [batch, *input_shape].

        Args:
            sample: the parents.
            state: [batch, *input_shape].
            time: [batch], 0 to 1.
            kept: by parent, [batch], 0 where the network shall not see it.
        """
        whole = {**sample, self.state.name: state, self.time.name: time_features(time)}
        predicted: Tensor = self.net(*network_inputs((self.state, self.time, *self.given), whole, kept))
        return predicted.float()

    def _guided(self, sample: Sample) -> Velocity:
        """Returns the velocity with guidance: of both halves of a batch, one without the guides."""
        twice = {variable.name: torch.cat([sample[variable.name]] * 2) for variable in self.given}

        def velocity(state: Tensor, time: Tensor) -> Tensor:
            keep = torch.cat([torch.ones_like(time), torch.zeros_like(time)])
            kept = dict.fromkeys(self.sampling.guides, keep)
            with_guides, without = self.velocity(twice, torch.cat([state] * 2), torch.cat([time] * 2), kept).chunk(2)
            return without + self.sampling.guidance * (with_guides - without)

        return velocity


# Levels of noise -----------------------------------------------------------------------------------------------------


def time_of(log_snr: Tensor) -> Tensor:
    """Returns t where log((1 - t)^2 / t^2) has this value."""
    return torch.sigmoid(-0.5 * log_snr)


@functools.cache
def last_time(log_snr: float) -> float:
    """Returns `time_of` a number, which is asked for once."""
    return time_of(torch.tensor(log_snr)).item()


@functools.cache
def times_to(end: float, steps: int) -> tuple[float, ...]:
    """Returns the times from 1 to `end`, equally far apart."""
    return tuple(torch.linspace(1.0, end, steps + 1).tolist())


def cleanest(ends: Ends) -> float:
    """Returns the log signal-to-noise ratio at the end of the path, z_0."""
    return -2.0 * math.log(ends.noise)


def draw_levels(count: int, highest: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns levels from NOISIEST to `highest`, evenly spread over their density, and the density, [count] each."""
    shard = current_shard()
    whole = count * shard.count
    first = shard.draw(lambda: torch.rand(1, device=device))
    place = shard.rows((first + torch.arange(whole, device=device) / whole) % 1.0)
    low, high = (0.5 * (1.0 + math.erf((end - CENTRE) / WIDTH / math.sqrt(2.0))) for end in (NOISIEST, highest))
    inner = low + (high - low) * ((place - UNIFORM) / (1.0 - UNIFORM)).clamp(1e-6, 1.0 - 1e-6)
    normal = CENTRE + WIDTH * torch.special.ndtri(inner.double()).float()
    level = torch.where(place < UNIFORM, NOISIEST + (highest - NOISIEST) * place / UNIFORM, normal)
    bell = torch.exp(-0.5 * ((level - CENTRE) / WIDTH) ** 2) / (WIDTH * math.sqrt(2.0 * math.pi) * (high - low))
    return level, UNIFORM / (highest - NOISIEST) + (1.0 - UNIFORM) * bell


def time_features(time: Tensor) -> Tensor:
    """Returns a time as a network sees it, [batch, TIME_FEATURES]: itself, and waves of its level."""
    level = 2.0 * torch.log((1.0 - time + 1e-4) / (time + 1e-4))
    make = _frequencies.__wrapped__ if torch.compiler.is_compiling() else _frequencies  # a traced tensor is not kept
    angles = level[:, None] * make(time.device)
    return torch.cat([angles.sin(), angles.cos(), 2.0 * time[:, None] - 1.0], dim=1)


@functools.cache
def _frequencies(device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # they serve in training, too
        return torch.tensor(FREQUENCIES, device=device)  # sent once


# Terms of the bound --------------------------------------------------------------------------------------------------


def error_of(embedded: Tensor, known: Tensor | None, velocity: Velocity, log_snr: Tensor, noise: Tensor) -> Tensor:
    """Returns half the squared error of the velocity at these levels, [batch], summed over what is known of e."""
    time = time_of(log_snr)
    shaped = time.view(-1, *[1] * (embedded.dim() - 1))
    error = (noise - embedded - velocity((1.0 - shaped) * embedded + shaped * noise, time)) ** 2
    if known is not None:
        error = error * known
    return 0.5 * error.flatten(1).sum(dim=1)


def end_terms(ends: Ends, target: Variable, value: Tensor, embedded: Tensor, noise: Tensor) -> Tensor:
    """Returns log p(value | z_0) of one z_0, minus the divergence of z_1 from noise, [batch], nats."""
    last = ends.last_step(target, embedded + ends.noise * noise)
    log_prob: Tensor = last.log_prob(value)
    return log_prob - 0.5 * math.exp(NOISIEST) * (embedded**2).flatten(1).sum(dim=1)
