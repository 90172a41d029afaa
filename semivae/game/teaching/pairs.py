"""Labelled pairs that a stream changes before the encoder learns from them: logits adjusted, examples mixed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semivae.game.families import categorical_of
from semivae.game.players import Player
from semivae.game.teaching.class_teacher import prior_of
from semivae.game.teaching.logit_adjustment import adjusted
from semivae.game.teaching.mixing import mixed
from semivae.variables import Sample


class PairsTeacher(nn.Module):
    """Scores q(label | image) on one stream's pairs, as the stream changes them.

    Args:
        label: name of the label, a single class.
        frequencies: class frequencies of the pairs, [classes]; with them the posterior is adjusted to the decoder's
            p(label) (`semivae.game.teaching.logit_adjustment`). None: no adjustment.
        mixup: alpha of the mixtures of pairs (`semivae.game.teaching.mixing`); None: no mixtures.
    """

    def __init__(self, label: str, frequencies: Tensor | None = None, mixup: float | None = None) -> None:
        super().__init__()
        self.label, self.mixup = label, mixup
        self.register_buffer("frequencies", frequencies, persistent=False)  # the split gives them again

    def log_prob(self, encoder: Player, decoder: Player, sample: Sample) -> Tensor:
        """Returns log q(label | image), [batch], nats per sample; of mixtures, the mean over both labels."""
        conditional, value = encoder[self.label], sample[self.label]
        others, kept = value, torch.ones(())
        if self.mixup is not None:
            image = conditional.given[0].name
            mixture, others, kept = mixed(sample[image], value, self.mixup)
            sample = {**sample, image: mixture}
        posterior = categorical_of(conditional(sample))
        if isinstance(self.frequencies, Tensor):
            posterior = adjusted(posterior, self.frequencies, prior_of(decoder, self.label))
        own: Tensor = posterior.log_prob(value)  # type: ignore[no-untyped-call]
        if self.mixup is None:
            return own
        other: Tensor = posterior.log_prob(others)  # type: ignore[no-untyped-call]
        return kept * own + (1.0 - kept) * other
