"""The loss of labelled pairs whose stream asks for logit adjustment or mixup."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semivae.game.families import categorical_of
from semivae.game.players import Player
from semivae.game.teaching.class_teacher import prior_of
from semivae.game.teaching.logit_adjustment import adjust_logits
from semivae.game.teaching.mixing import mix_examples
from semivae.variables import Sample


class LabelledLoss(nn.Module):
    """Scores q(label | image) on the labelled pairs of one stream.

    Args:
        label: the name of the label, a single class.
        frequencies: class frequencies of the pairs, [classes], for logit adjustment to the decoder's p(label)
            (`semivae.game.teaching.logit_adjustment`); None for none.
        mixup: alpha of mixup (`semivae.game.teaching.mixing`); None for none.
    """

    def __init__(self, label: str, frequencies: Tensor | None = None, mixup: float | None = None) -> None:
        super().__init__()
        self.label, self.mixup = label, mixup
        self.register_buffer("frequencies", frequencies, persistent=False)  # the split determines them

    def log_prob(self, encoder: Player, decoder: Player, sample: Sample) -> Tensor:
        """Returns log q(label | image), [batch], nats per sample; of a mixture, the weighted mean over both labels."""
        conditional, value = encoder[self.label], sample[self.label]
        others, lam = value, torch.ones(())
        if self.mixup is not None:
            image = conditional.given[0].name
            mixture, others, lam = mix_examples(sample[image], value, self.mixup)
            sample = {**sample, image: mixture}
        posterior = categorical_of(conditional(sample))
        if isinstance(self.frequencies, Tensor):
            posterior = adjust_logits(posterior, self.frequencies, prior_of(decoder, self.label))
        own: Tensor = posterior.log_prob(value)  # type: ignore[no-untyped-call]
        if self.mixup is None:
            return own
        other: Tensor = posterior.log_prob(others)  # type: ignore[no-untyped-call]
        return lam * own + (1.0 - lam) * other
