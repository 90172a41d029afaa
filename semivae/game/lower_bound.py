"""The evidence lower bound: the same players with one objective, for comparison (docs/method.md, "Hierarchies").

Both players maximise E_q[log p(x, z) - log q(z | x)] on real data. Gradients must pass through the encoder's draws:

- `zgr` (the default): a second-order straight-through estimator for bits and classes, the reparametrisation trick for
  Gaussians. It takes one draw and has low variance. It is exact for decoders that are quadratic in every single draw,
  and slightly biased for others (Shekhovtsov 2023, "Cold analysis of Rao-Blackwellized straight-through Gumbel-Softmax
  gradient estimator"; for one bit it is that of DARN, Gregor et al. 2014). Flach et al. (2024) use it for their bound.
- `leave_one_out`: the score function, with the bound of the other draw as its baseline (Kool et al. 2019). It takes two
  draws and has more variance, but is unbiased for every family.

If the decoder's parents of a variable are known when the encoder draws it, its Kullback-Leibler term is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Normal, kl_divergence

from semivae.game.distributions import base_of
from semivae.game.game import Game, Step
from semivae.game.graphs import PlayerName
from semivae.game.ladder import with_shared_features
from semivae.game.losses import Losses, Term
from semivae.game.plan import Lesson, Plan
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.game.teaching.labelled_loss import LabelledLoss
from semivae.game.teaching.teacher import StreamViews
from semivae.parallel.shards import sample_rows
from semivae.variables import Sample

Estimator = Literal["zgr", "leave_one_out"]
Bounds = dict[tuple[PlayerName, str], Tensor]  # the terms of a bound, [batch], by player and factor
DRAWS = 2  # per sample, for leave_one_out


class LowerBound(Game):
    """The same two players, which together maximise the evidence lower bound of every stream with data.

    The decoder's lessons become lower bounds of what their stream observes, unweighted. The encoder keeps its lessons
    on labelled pairs and its self-training; the decoder's samples teach it nothing.

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
        labelled_losses: Mapping[tuple[str, str], LabelledLoss] | None = None,
        estimator: Estimator = "zgr",
    ) -> None:
        super().__init__(decoder, encoder, plan, weights, views, ema_decay, labelled_losses)
        self.estimator = estimator
        for level in self.encoder.levels.values():
            level.differentiate_prior = True

    def losses_of(self, lessons: Sequence[Lesson], step: Step) -> Losses:
        """Returns the sum of the losses of some lessons; the terms of a stream's bound sum to minus the bound."""
        streams = [lesson.stream for lesson in lessons if lesson.learner == "decoder"]
        bounds = [self._bound_loss(stream, step.augmented[stream]) for stream in streams]
        of_encoder = [lesson for lesson in lessons if lesson.learner == "encoder"]
        others = [lesson for lesson in of_encoder if lesson.self_training or not lesson.draws]
        return Losses.sum([*bounds, super().losses_of(others, step)], step.generator.device)

    def _bound_loss(self, stream: str, observed: Sample) -> Losses:
        bound = lower_bound if self.estimator == "zgr" else leave_one_out_bound
        with torch.no_grad():  # the encoder learns the unknown bits of a label from the known ones alone
            observed = self.encoder.fill(observed)
        surrogate, terms = bound(self.decoder, self.encoder, observed)
        parts = {Term(player, stream, factor): -term.detach().mean() for (player, factor), term in terms.items()}
        return Losses(-surrogate.mean(), parts)


def lower_bound(decoder: Player, encoder: Player, observed: Sample) -> tuple[Tensor, Bounds]:
    """Returns the bound of one draw on log p(observed), [batch], nats per sample, differentiable, and its terms.

    The term of ("decoder", x) is log p(x | ...). That of ("encoder", z) is minus the divergence of q from the decoder's
    prior. If the decoder's parents of z are drawn after z, it is the entropy of q, and ("decoder", z) is another term.
    """
    sample = dict(observed)
    terms: Bounds = {}
    shared = with_shared_features([encoder[name] for name in encoder.names if name not in observed], observed)
    scored = [name for name in decoder.names if name in observed]
    for name in encoder.names:
        if name in sample or not encoder[name].parents.issubset(sample):
            continue
        posterior = encoder[name]({**shared, **sample})
        if decoder[name].parents.issubset(sample):
            terms["encoder", name] = -divergence(posterior, decoder[name](sample))
        else:
            terms["encoder", name] = entropy(posterior)
            scored.append(name)
        sample[name] = differentiable_draw(posterior)
    for name in scored:
        if decoder[name].parents.issubset(sample):
            terms["decoder", name] = log_prob_of(decoder[name](sample), sample[name])
    batch = len(next(iter(observed.values())))
    return sum(terms.values(), start=torch.zeros(batch, device=next(iter(observed.values())).device)), terms


def leave_one_out_bound(
    decoder: Player, encoder: Player, observed: Sample, draws: int = DRAWS
) -> tuple[Tensor, Bounds]:
    """Returns a surrogate whose gradient estimates that of the bound without bias, [batch], and the bound's terms."""
    repeated = {name: value.repeat_interleave(draws, dim=0) for name, value in observed.items()}
    sample = with_shared_features([encoder[name] for name in encoder.names if name not in observed], repeated, observed)
    log_q: dict[str, Tensor] = {}
    for name in encoder.names:
        if name not in sample and encoder[name].parents.issubset(sample):
            posterior = encoder[name](sample)
            sample = {**sample, name: sample_rows(posterior)}
            log_q[name] = posterior.log_prob(sample[name])
    known = [name for name in decoder.names if {name, *decoder[name].parents}.issubset(sample)]
    log_p = decoder.log_prob(sample, known)
    start = torch.zeros(len(next(iter(repeated.values()))), device=next(iter(repeated.values())).device)
    sum_p, sum_q = sum(log_p.values(), start=start), sum(log_q.values(), start=start)
    bound = (sum_p - sum_q).detach().view(-1, draws)
    others = (bound.sum(dim=1, keepdim=True) - bound) / (draws - 1)
    # the expected gradient of log q itself is zero, so log q enters only through the score function
    surrogate = (bound - others).flatten() * sum_q + sum_p
    terms: Bounds = {("decoder", name): value for name, value in log_p.items()}
    return surrogate, terms | {("encoder", name): -value for name, value in log_q.items()}


# Distributions with differentiable draws -----------------------------------------------------------------------------


def differentiable_draw(distribution: Distribution) -> Tensor:
    """Returns a draw with a gradient: bits or numbers [..., *shape], classes as one-hot floats [..., *shape, classes].

    Raises:
        ValueError: the family has no differentiable draws.
    """
    base = base_of(distribution)
    if isinstance(base, Bernoulli):
        return straight_through_bits(base.logits, sample_rows(distribution))
    if isinstance(base, Categorical):
        return straight_through_classes(base.logits, sample_rows(distribution))
    if isinstance(base, Normal):
        noise = sample_rows(Normal(torch.zeros_like(base.loc), torch.ones_like(base.scale), validate_args=False))
        return base.loc + noise * base.scale
    raise ValueError(f"a {type(base).__name__} has no differentiable draws")


def straight_through_bits(logits: Tensor, bits: Tensor) -> Tensor:
    """Returns `bits`, drawn from `logits`, with d bit / d logit = half the probability of the other value (DARN)."""
    probability = torch.sigmoid(logits.detach())
    slope = 0.5 * (bits * (1.0 - probability) + (1.0 - bits) * probability)
    return bits + slope * (logits - logits.detach())


def straight_through_classes(logits: Tensor, classes: Tensor) -> Tensor:
    """Returns `classes`, drawn from normalised `logits` [..., K], as one-hot floats.

    Their gradient is the mean of the straight-through and the DARN gradient.
    """
    one_hot = torch.zeros_like(logits).scatter_(-1, classes.unsqueeze(-1), 1.0)
    probabilities = logits.exp()
    log_chosen = (one_hot * logits).sum(dim=-1, keepdim=True)
    moving = 0.5 * (probabilities + (one_hot - probabilities.detach()) * log_chosen)
    return one_hot + moving - moving.detach()


def divergence(posterior: Distribution, prior: Distribution) -> Tensor:
    """Returns KL(posterior || prior), [batch], nats, computed from logits so that saturated bits stay finite."""
    q, p = base_of(posterior), base_of(prior)
    if isinstance(q, Bernoulli) and isinstance(p, Bernoulli):
        per_value = q.probs * (q.logits - p.logits) + F.softplus(p.logits) - F.softplus(q.logits)
    elif isinstance(q, Categorical) and isinstance(p, Categorical):
        per_value = (q.probs * (q.logits - p.logits)).sum(dim=-1)
    else:
        per_value = kl_divergence(q, p)
    return _summed(per_value, posterior)


def entropy(posterior: Distribution) -> Tensor:
    """Returns the entropy, [batch], nats."""
    base = base_of(posterior)
    if isinstance(base, Bernoulli):
        return _summed(F.softplus(base.logits) - base.probs * base.logits, posterior)
    return _summed(base.entropy(), posterior)


def log_prob_of(distribution: Distribution, value: Tensor) -> Tensor:
    """Returns log_prob, [batch], nats, also of classes as one-hot floats, with their gradient."""
    base = base_of(distribution)
    if isinstance(base, Categorical) and value.is_floating_point():
        return _summed((value * base.logits).sum(dim=-1), distribution)
    log_prob: Tensor = distribution.log_prob(value)
    return log_prob


def _summed(values: Tensor, distribution: Distribution) -> Tensor:
    """Returns the values, one for each number, summed over the event: [batch]."""
    dimensions = len(distribution.event_shape)
    return values.flatten(-dimensions).sum(dim=-1) if dimensions else values
