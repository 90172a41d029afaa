"""The decoder's vote on a label: its importance-weighted likelihood of an image under every class (docs/method.md, 6).

For an observed x and every class y, draw K codes h_k ~ q(h | x, y) and compute

    vote(y) = log 1/K sum_k p(x | y, h_k) p(h_k) / q(h_k | x, y),

an importance-sampled lower bound of log p(x | y), in nats (Burda et al. 2016). Added to log p(y) and normalised over y,
it is the posterior of the decoder as a generative classifier. The game alone never uses that posterior; reweighted
wake-sleep adds the same step to wake-sleep (Bornschein and Bengio 2015).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Categorical

from semivae.game.players import Player
from semivae.variables import Sample


@torch.no_grad()
def decoder_vote(
    decoder: Player, encoder: Player, observed: Sample, label: str, classes: int, draws: int = 1
) -> Tensor:
    """Returns the log-likelihood of the observed variables under every class, [batch, classes], nats per sample.

    Args:
        decoder, encoder: the players.
        observed: the known variables without the label, each [batch, *shape].
        label: the name of the label, a single class.
        classes: the number of classes.
        draws: the number of codes per image and class (K above); more make the bound tighter.
    """
    count = len(next(iter(observed.values())))
    # one row per image, draw and class; the class changes fastest
    repeated = {name: value.repeat_interleave(classes * draws, dim=0) for name, value in observed.items()}
    value = torch.arange(classes, device=next(iter(observed.values())).device).repeat(count * draws)
    sample = encoder.complete({**repeated, label: value}, sampled=True)
    codes = [name for name in sample if name not in observed and name != label]
    weight = torch.zeros(count * draws * classes, device=value.device)
    for log_prob in decoder.log_prob(sample, [name for name in (*observed, *codes) if name in decoder]).values():
        weight = weight + log_prob
    for log_prob in encoder.log_prob(sample, [name for name in codes if name in encoder]).values():
        weight = weight - log_prob
    return weight.view(count, draws, classes).logsumexp(dim=1) - math.log(draws)


def add_vote(posterior: Categorical, vote: Tensor, strength: float) -> Categorical:
    """Returns the normalised posterior with logits log q(y | x) + strength * vote(y)."""
    return Categorical(logits=posterior.logits + strength * vote.float(), validate_args=False)
