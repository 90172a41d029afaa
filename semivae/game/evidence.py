"""Evidence: observed variables whose only parent in the decoder is a label that is not observed (docs/method.md, 2).

A coarse class, a set of candidates, what an annotator wrote down: in the model such a variable c tells about x through
the label y alone, so p(y | x, c) is proportional to p(y | x) p(c | y). With q(y | x) in the place of p(y | x) the label
is drawn from q(y | x, c), and the encoder's lesson is log sum_y q(y | x) p(c | y). Limits of this rule are partial
labels (p(c | y) is 0 or 1), the forward correction of noisy labels (Patrini et al. 2017; p(c | y) is known), and
annotators with confusions of their own (Raykar et al. 2010; without x: Dawid and Skene 1979).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributions import Distribution

from semivae.game.conditionals import Conditional
from semivae.game.distributions import categorical_of
from semivae.game.players import Player
from semivae.variables import Sample, seen


def log_likelihood(conditional: Conditional, value: Tensor) -> Tensor:
    """Returns log p(value | label) under every class of the label, [batch, classes], nats.

    It is 0 where the value is not seen (`semivae.variables.seen`).

    Args:
        conditional: of the value, given the label alone.
        value: [batch, *shape].
    """
    (label,) = conditional.given
    every = conditional({label.name: torch.arange(label.class_count, device=value.device)})  # batch shape [classes]
    known = seen(value)
    safe = torch.where(known.view(-1, *[1] * (value.dim() - 1)), value, torch.zeros_like(value))
    if not conditional.target.has_classes:  # bits of candidates are kept as bytes
        safe = safe.float()
    log_prob: Tensor = every.log_prob(safe.unsqueeze(1))
    return torch.where(known[:, None], log_prob, torch.zeros_like(log_prob))


@torch.no_grad()
def log_likelihoods(decoder: Player, sample: Sample, names: Iterable[str]) -> dict[str, Tensor]:
    """Returns the log-likelihood of all that is seen of each label, by label, [batch, classes], nats.

    Args:
        decoder: the player whose factors p(c | label) are taken as they are.
        sample: what is observed.
        names: the variables that are evidence.
    """
    found: dict[str, Tensor] = {}
    for name in names:
        label = decoder[name].given[0].name
        added = log_likelihood(decoder[name], sample[name])
        found[label] = found[label] + added if label in found else added
    return found


def marginal_log_prob(posterior: Distribution, evidence: Tensor) -> Tensor:
    """Returns log sum_y q(y | x) p(c | y), [batch], nats: the likelihood of the evidence under the encoder's posterior.

    Its gradient is the mean of grad log q(y | x) under q(y | x, c): the lesson of a pair, with the label drawn from the
    evidence.

    Args:
        posterior: q(y | x), batch shape [batch].
        evidence: log p(c | y), [batch, classes] (`log_likelihoods`).
    """
    return (categorical_of(posterior).logits + evidence).logsumexp(dim=-1)
