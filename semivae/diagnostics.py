"""What is measured while training: validation error, and bits in use per code variable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from semivae.data.streams import as_model_values
from semivae.game.game import Game, most_likely
from semivae.game.players import Player


@torch.no_grad()
def validation_error(encoder: Player, image: str, label: str, part: Mapping[str, Tensor], batch: int = 512) -> float:
    """Share of a held-out part's examples whose most likely class under q(label | image) is not their label."""
    wrong = 0
    for images, labels in zip(torch.split(part[image], batch), torch.split(part[label], batch), strict=True):
        _, value = most_likely(encoder[label]({image: as_model_values(images)}))
        wrong += int((value != labels).sum())
    return wrong / len(part[label])


@torch.no_grad()
def bits_in_use(game: Game, codes: Iterable[str], seed: int, batch: int = 512) -> dict[str, float]:
    """Information that the encoder recovers of each code, in bits per sample.

    E[log2 q(code | ...) - log2 p(code | ...)] over samples that the decoder drew: a lower bound on the mutual
    information of the code and what the encoder sees (Barber and Agakov 2003). 0 means a collapsed code. Codes that the
    decoder cannot draw with all that depends on them, because a prior is known only by samples, are left out.
    """
    torch.manual_seed(seed)
    sample = game.decoder.complete({}, batch)
    bits = {}
    for name in codes:
        if name not in game.encoder or not {name, *(given.name for given in game.encoder[name].given)} <= set(sample):
            continue
        gain = game.average.log_prob(sample, [name])[name] - game.decoder.log_prob(sample, [name])[name]
        bits[name] = gain.mean().item() / math.log(2.0)
    return bits
