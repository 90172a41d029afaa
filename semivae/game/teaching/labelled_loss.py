"""The loss of labelled pairs whose stream asks for logit adjustment or mixup."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from semivae.game.distributions import categorical_of
from semivae.game.players import Player
from semivae.game.teaching.class_teacher import prior_of
from semivae.game.teaching.logit_adjustment import adjust_logits
from semivae.game.teaching.mixing import mix_examples
from semivae.variables import Sample


@dataclass(frozen=True)
class Mixture:
    """Pairs to be read.

    Args:
        sample: the images, and each one's own label.
        others: the labels of the partners that were mixed in, [batch].
        lam: the weight of each image's own label, [batch].
    """

    sample: Sample
    others: Tensor | None = None
    lam: Tensor | None = None


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

    def mixed(self, encoder: Player, sample: Sample) -> Mixture:
        """Returns the pairs as the encoder is to read them: as they are, or with mixup."""
        if self.mixup is None:
            return Mixture(sample)
        image = encoder[self.label].given[0].name
        mixture, others, lam = mix_examples(sample[image], sample[self.label], self.mixup)
        return Mixture({**sample, image: mixture}, others, lam)

    def log_prob(self, posterior: Distribution, mixture: Mixture, decoder: Player) -> Tensor:
        """Returns log q(label | image), [batch], nats per sample; of a mixture, the weighted mean over both labels.

        Args:
            posterior: q(label | image) of the mixture, batch shape [batch].
        """
        posterior = categorical_of(posterior)
        if isinstance(self.frequencies, Tensor):
            posterior = adjust_logits(posterior, self.frequencies, prior_of(decoder, self.label))
        own: Tensor = posterior.log_prob(mixture.sample[self.label])  # type: ignore[no-untyped-call]
        if mixture.others is None or mixture.lam is None:
            return own
        other: Tensor = posterior.log_prob(mixture.others)  # type: ignore[no-untyped-call]
        return torch.lerp(other, own, mixture.lam)
