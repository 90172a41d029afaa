"""The evidence lower bound: the same players, one objective, to compare with the game (docs/method.md, "Hierarchies").

Both players climb E_q[log p(x, z) - log q(z | x)] of real data. What the encoder draws must then carry a gradient:

- `zgr`: a second-order straight-through value for bits and classes, the reparametrised one for Gaussians. One draw, low
  variance; exact for decoders that are quadratic in every single draw, else slightly biased (Shekhovtsov 2023,
  "Cold analysis of Rao-Blackwellized straight-through Gumbel-Softmax gradient estimator"; for one bit it is DARN's,
  Gregor et al. 2014). This is the authors' choice for their lower bound, so the default here.
- `leave_one_out`: the score function with the other draw's bound as its baseline (Kool et al. 2019). Two draws, more
  variance, unbiased for every family.

Where the decoder's parents of a variable are known when the encoder draws it, its Kullback-Leibler term is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal, kl_divergence

from semivae.game.game import Game, Step
from semivae.game.ladder import with_shared_features
from semivae.game.losses import Losses, Term
from semivae.game.plan import Lesson, Plan, PlayerName
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.game.teaching.pairs import PairsTeacher
from semivae.game.teaching.teacher import StreamViews
from semivae.variables import Sample

Estimator = Literal["zgr", "leave_one_out"]
Bounds = dict[tuple[PlayerName, str], Tensor]  # terms of a bound, [batch], by player and factor
DRAWS = 2  # of leave_one_out, for every sample


class LowerBound(Game):
    """The same two players, both moving together up the evidence lower bound of every stream with data.

    Of the plan's lessons those of the decoder become lower bounds of what their stream observes, unweighted. Of the
    encoder's, known labels and views stay; what the decoder would have painted for the encoder plays no part.

    Args:
        estimator: how gradients pass through the encoder's draws.
        others: as for `Game`.
    """

    turns = (("decoder", "encoder"),)

    def __init__(
        self,
        decoder: Player,
        encoder: Player,
        plan: Plan,
        weights: Mapping[tuple[PlayerName, str, str], Weight] | None = None,
        views: Mapping[str, StreamViews] | None = None,
        ema_decay: float = 0.999,
        pairs: Mapping[tuple[str, str], PairsTeacher] | None = None,
        estimator: Estimator = "zgr",
    ) -> None:
        super().__init__(decoder, encoder, plan, weights, views, ema_decay, pairs)
        self.estimator = estimator
        for level in self.encoder.levels.values():  # a ladder's levels pass gradients to the decoder below them
            level.decoder_too = True

    def lesson_loss(self, lesson: Lesson, step: Step) -> Losses:
        """Returns what one lesson costs; the terms of a stream's bound add up to minus the bound."""
        if lesson.learner == "decoder":
            return self._bound_loss(lesson.stream, step.viewed[lesson.stream])
        if lesson.draws and not lesson.views:
            return Losses.none(step.generator.device)
        return super().lesson_loss(lesson, step)

    def _bound_loss(self, stream: str, observed: Sample) -> Losses:
        bound = lower_bound if self.estimator == "zgr" else leave_one_out_bound
        surrogate, terms = bound(self.decoder, self.encoder, observed)
        parts = {Term(player, stream, factor): -term.detach().mean() for (player, factor), term in terms.items()}
        return Losses(-surrogate.mean(), parts)


def lower_bound(decoder: Player, encoder: Player, observed: Sample) -> tuple[Tensor, Bounds]:
    """One draw's bound on log p(observed), [batch], nats per sample, differentiable; its terms by player and factor.

    A term is log p for ("decoder", x), minus the divergence from the decoder's prior for ("encoder", z), or the entropy
    of q where the decoder's parents of z are drawn later; log p(z | ...) is then a term of the decoder's.
    """
    sample = dict(observed)
    terms: Bounds = {}
    shared = with_shared_features([encoder[name] for name in encoder.names if name not in observed], observed)
    scored = [name for name in decoder.names if name in observed]
    for name in encoder.names:
        if name in sample or any(given.name not in sample for given in encoder[name].given):
            continue
        posterior = encoder[name]({**shared, **sample})
        if all(given.name in sample for given in decoder[name].given):
            terms["encoder", name] = -divergence(posterior, decoder[name](sample))
        else:
            terms["encoder", name] = entropy(posterior)
            scored.append(name)
        sample[name] = differentiable_draw(posterior)
    for name in scored:
        if all(given.name in sample for given in decoder[name].given):
            terms["decoder", name] = log_prob_of(decoder[name](sample), sample[name])
    batch = len(next(iter(observed.values())))
    return sum(terms.values(), start=torch.zeros(batch, device=next(iter(observed.values())).device)), terms


def leave_one_out_bound(
    decoder: Player, encoder: Player, observed: Sample, draws: int = DRAWS
) -> tuple[Tensor, Bounds]:
    """As `lower_bound`, but the first result is only to be differentiated: its gradient is the bound's, unbiased."""
    repeated = {name: value.repeat_interleave(draws, dim=0) for name, value in observed.items()}
    sample = with_shared_features([encoder[name] for name in encoder.names if name not in observed], repeated)
    log_q: dict[str, Tensor] = {}
    for name in encoder.names:
        if name not in sample and all(given.name in sample for given in encoder[name].given):
            posterior = encoder[name](sample)
            sample = {**sample, name: posterior.sample()}
            log_q[name] = posterior.log_prob(sample[name])
    known = [name for name in decoder.names if {name, *(g.name for g in decoder[name].given)} <= set(sample)]
    log_p = decoder.log_prob(sample, known)
    start = torch.zeros(len(next(iter(repeated.values()))), device=next(iter(repeated.values())).device)
    sum_p, sum_q = sum(log_p.values(), start=start), sum(log_q.values(), start=start)
    bound = (sum_p - sum_q).detach().view(-1, draws)
    others = (bound.sum(dim=1, keepdim=True) - bound) / (draws - 1)
    # the expected gradient of log q alone is zero, so it only enters through the score function
    surrogate = (bound - others).flatten() * sum_q + sum_p
    terms: Bounds = {("decoder", name): value for name, value in log_p.items()}
    return surrogate, terms | {("encoder", name): -value for name, value in log_q.items()}


# Distributions with differentiable draws -----------------------------------------------------------------------------


def differentiable_draw(distribution: Distribution) -> Tensor:
    """A draw that carries a gradient: bits and numbers [..., *shape]; classes as one-hot floats [..., *shape, classes].

    Raises:
        ValueError: a family without one.
    """
    base = _base(distribution)
    if isinstance(base, Bernoulli):
        return straight_through_bits(base.logits, distribution.sample())
    if isinstance(base, Categorical):
        return straight_through_classes(base.logits, distribution.sample())
    if isinstance(base, Normal):
        return base.rsample()
    raise ValueError(f"no differentiable draws of a {type(base).__name__}")


def straight_through_bits(logits: Tensor, bits: Tensor) -> Tensor:
    """`bits` drawn from `logits`, with d bit / d logit = half the other value's probability (DARN)."""
    probability = torch.sigmoid(logits.detach())
    slope = 0.5 * (bits * (1.0 - probability) + (1.0 - bits) * probability)
    return bits + slope * (logits - logits.detach())


def straight_through_classes(logits: Tensor, classes: Tensor) -> Tensor:
    """One-hot `classes` drawn from normalised `logits` [..., K]; gradient: the mean of straight-through and DARN."""
    one_hot = F.one_hot(classes, logits.shape[-1]).to(logits)
    probabilities = logits.exp()
    log_chosen = (one_hot * logits).sum(dim=-1, keepdim=True)
    moving = 0.5 * (probabilities + (one_hot - probabilities.detach()) * log_chosen)
    return one_hot + moving - moving.detach()


def divergence(posterior: Distribution, prior: Distribution) -> Tensor:
    """KL(posterior || prior), [batch], nats; from logits, so that saturated bits stay finite."""
    q, p = _base(posterior), _base(prior)
    if isinstance(q, Bernoulli) and isinstance(p, Bernoulli):
        per_value = q.probs * (q.logits - p.logits) + F.softplus(p.logits) - F.softplus(q.logits)
    elif isinstance(q, Categorical) and isinstance(p, Categorical):
        per_value = (q.probs * (q.logits - p.logits)).sum(dim=-1)
    else:
        per_value = kl_divergence(q, p)
    return _summed(per_value, posterior)


def entropy(posterior: Distribution) -> Tensor:
    """Entropy, [batch], nats."""
    base = _base(posterior)
    if isinstance(base, Bernoulli):
        return _summed(F.softplus(base.logits) - base.probs * base.logits, posterior)
    return _summed(base.entropy(), posterior)


def log_prob_of(distribution: Distribution, value: Tensor) -> Tensor:
    """log_prob, [batch], nats; also of classes as one-hot floats, with their gradient."""
    base = _base(distribution)
    if isinstance(base, Categorical) and value.is_floating_point():
        return _summed((value * base.logits).sum(dim=-1), distribution)
    log_prob: Tensor = distribution.log_prob(value)
    return log_prob


def _base(distribution: Distribution) -> Distribution:
    return distribution.base_dist if isinstance(distribution, Independent) else distribution


def _summed(values: Tensor, distribution: Distribution) -> Tensor:
    """Values of every number, summed over the event: [batch]."""
    dimensions = len(distribution.event_shape)
    return values.flatten(-dimensions).sum(dim=-1) if dimensions else values
