"""The decoder's vote on a label: its importance-weighted likelihood of an image under every class (docs/method.md, 6).

For an observed x and every class y, draw K codes h_k ~ q(h | x, y) and compute

    vote(y) = log 1/K sum_k p(x | y, h_k) p(h_k) / q(h_k | x, y),

an importance-sampled lower bound of log p(x | y), in nats (Burda et al. 2016). Added to log p(y) and normalised over y,
it is the posterior of the decoder as a generative classifier. The game alone never uses that posterior; reweighted
wake-sleep adds the same step to wake-sleep (Bornschein and Bengio 2015).

Codes on which no observed variable depends integrate to 1, and are not drawn. Where x depends on y alone, the vote is
log p(x | y) itself.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor
from torch.distributions import Categorical

from semivae.game.ladder import FEATURES, with_shared_features
from semivae.game.players import Player
from semivae.parallel.shards import sample_rows
from semivae.variables import Sample, repeated


@torch.no_grad()
def decoder_vote(
    decoder: Player, encoder: Player, observed: Sample, label: str, classes: int | Tensor, draws: int = 1
) -> Tensor:
    """Returns the log-likelihood of the observed variables under some classes, [batch, classes], nats per sample.

    Args:
        decoder, encoder: the players.
        observed: the known variables without the label, each [batch, *shape].
        label: the name of the label, a single class.
        classes: the number of classes, of which all are voted on; or of each image those that are, int64 [batch, some].
        draws: the number of codes per image and class (K above); more make the bound tighter.
    """
    count, device = (value := next(iter(observed.values()))).shape[0], value.device
    voted = torch.arange(classes, device=device).expand(count, -1) if isinstance(classes, int) else classes
    # one row per image, draw and class; the class changes fastest
    rows = {name: repeated(value, voted.numel() * draws) for name, value in observed.items()}
    drawn = _codes_of(decoder, encoder, observed, label)
    sample, scores = draw_and_score(encoder, {label: voted.repeat(1, draws).flatten(), **rows}, drawn, observed)
    codes = [name for name in sample if name not in observed and name != label]
    weight = torch.zeros(voted.numel() * draws, device=device)
    for log_prob in decoder.log_prob(sample, [name for name in (*observed, *codes) if name in decoder]).values():
        weight = weight + log_prob
    for log_prob in scores.values():
        weight = weight - log_prob
    return weight.view(count, draws, -1).logsumexp(dim=1) - math.log(draws)


def draw_and_score(
    player: Player, sample: Sample, only: Collection[str], fewer: Sample
) -> tuple[Sample, dict[str, Tensor]]:
    """Draws variables that are absent from a sample, and scores the draws with the same reading of every network.

    Args:
        player: whose variables are drawn, in its order.
        sample: the known variables, each [batch, *shape].
        only: the variables that may be drawn.
        fewer: known variables of which the batch repeats every value, once each: a network that can reads them so.

    Returns:
        The new sample, and the log-probability of each variable that was drawn, [batch], nats per sample.
    """
    drawn = [name for name in player.names if name not in sample and name in only]
    completed = dict(with_shared_features([player[name] for name in drawn], sample, fewer))
    scores: dict[str, Tensor] = {}
    for name in drawn:
        if player[name].parents.issubset(completed):
            once = {image: fewer[image] for image in player[name].takes_fewer_of(fewer)}
            distribution = player[name].to_draw({**completed, **once}, len(next(iter(sample.values()))))
            completed[name] = sample_rows(distribution)
            scores[name] = distribution.log_prob(completed[name])
    completed.pop(FEATURES, None)
    return completed, scores


def _codes_of(decoder: Player, encoder: Player, observed: Collection[str], label: str) -> set[str]:
    """Returns the codes on which an observed variable depends, and those that either player needs to draw or score."""
    known = {*observed, label}
    needed, waiting = set(known), [name for name in observed if name in decoder]
    while waiting:
        name = waiting.pop()
        players = (decoder,) if name in known else (decoder, encoder)
        new = {parent for player in players if name in player for parent in player[name].parents} - needed
        needed |= new
        waiting.extend(new)
    return needed - known


@torch.no_grad()
def vote_on_likely(
    decoder: Player, encoder: Player, observed: Sample, label: str, posterior: Categorical, most: int, draws: int = 1
) -> Tensor:
    """Returns `decoder_vote` on the likely classes of each image, [batch, classes], nats per sample.

    A class that is not among the `most` likely ones gets the lowest vote that one of them got: the decoder says nothing
    in its favour. With no more classes than that, this is the vote on all of them.

    Args:
        posterior: of the label, batch shape [batch], which says how likely classes are.
        most: how many classes are voted on.
    """
    classes = posterior.logits.shape[-1]
    if classes <= most:
        return decoder_vote(decoder, encoder, observed, label, classes, draws)
    likely = posterior.logits.topk(most, dim=-1).indices
    votes = decoder_vote(decoder, encoder, observed, label, likely, draws)
    return votes.amin(dim=-1, keepdim=True).repeat(1, classes).scatter(1, likely, votes)


def add_vote(posterior: Categorical, vote: Tensor, strength: float) -> Categorical:
    """Returns the normalised posterior with logits log q(y | x) + strength * vote(y)."""
    return Categorical(logits=posterior.logits + strength * vote.float(), validate_args=False)
