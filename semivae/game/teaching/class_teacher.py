"""The encoder's slow average as a teacher of a class on unlabelled images (docs/method.md, sections 5 and 6).

Views, the decoder's vote, alignment to the prior and the order of certainty all meet here: who says which label a real
image has, how sure it must be, and what the encoder learns from that. After FixMatch (Sohn et al. 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical
from torch.nn.functional import one_hot

from semivae.game.families import categorical_of, most_likely
from semivae.game.players import Player
from semivae.game.teaching.alignment import aligned
from semivae.game.teaching.curriculum import surest
from semivae.game.teaching.mixing import boxes, pasted
from semivae.game.teaching.mutual_information import information_loss
from semivae.game.teaching.teacher import StreamViews, Teacher
from semivae.game.teaching.vote import combined, decoder_vote


class ClassTeacher(Teacher):
    """Teaches one class an image.

    Args:
        label: name of the label, a single class.
        views: of the stream, with all that is said there of its teacher.
        decoder: whose p(label) aligns the labels, and which votes.
        average: the encoder's slow average, the teacher.

    Raises:
        ValueError: views that align, and a decoder without a prior of the label to align to.
    """

    def __init__(self, label: str, views: StreamViews, decoder: Player, average: Player) -> None:
        super().__init__(label, views)
        self._players = (decoder, average)  # a tuple, so that their parameters are not this module's too
        if views.align:
            prior = self.prior()
            if prior is None:
                raise ValueError(f"the decoder has no prior of {label} to align to")
            self.register_buffer("shares", prior.clone())  # buffers, so that checkpoints hold them
            self.register_buffer("offsets", torch.zeros_like(prior))

    def prior(self) -> Tensor | None:
        """The decoder's p(label), [classes]; None where it is known by samples only, or depends on other variables."""
        decoder, label = self._players[0], self.label
        if label not in decoder or decoder[label].given:
            return None
        return prior_of(decoder, label)

    def loss(
        self, encoder: Player, images: Tensor, generator: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Teacher.loss`, with "information" where two views are compared."""
        views = self.views
        with torch.no_grad():
            posterior = self.posterior(images, generator, progress)
            confidence, _ = most_likely(posterior)
            taught = (confidence >= views.threshold).float()
            if progress < views.ramp:
                taught = taught * surest(posterior, views.taught_fraction(progress), self.prior())
            target = label_target(posterior, views.temperature) * taught[:, None]
            strong, target = self._patched(self._strong(images, generator), target, generator)
        learnt = categorical_of(encoder[self.label]({views.variable: strong}))
        loss = cross_entropy(target, learnt).mean()
        parts = {"views": loss.detach(), "mask_rate": taught.mean()}
        total = views.weight.at(progress) * loss
        if weight := views.information.at(progress):
            again = categorical_of(encoder[self.label]({views.variable: self._strong(images, generator)}))
            information = information_loss(learnt.probs, again.probs, self.prior())
            total = total + weight * information
            parts["information"] = -information.detach()
        return total, parts

    def _patched(self, images: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images [batch, ...] with boxes of the next ones, and of target probabilities [batch, classes] as much."""
        if not self.views.cutmix:
            return images, target
        count, _, height, width = images.shape
        places = boxes(count, height, width, self.views.cutmix, generator)
        covered = places.float().mean(dim=(1, 2))[:, None].to(target)
        return pasted(images, places), target * (1.0 - covered) + target.roll(-1, 0) * covered

    def posterior(self, images: Tensor, generator: torch.Generator, progress: float) -> Categorical:
        """What the teacher believes of the label, batch shape [batch]; moves the offsets where it aligns."""
        views, (decoder, average) = self.views, self._players
        weak = views.weak(images, generator) if views.weak else images
        posterior = categorical_of(average[self.label]({views.variable: weak}))
        if views.vote is not None and progress >= views.vote.start:
            observed, classes = {views.variable: images}, posterior.logits.shape[-1]
            votes = decoder_vote(decoder, average, observed, self.label, classes, views.vote.draws)
            posterior = combined(posterior, votes, views.vote.strength)
        prior = self.prior()
        if views.align and prior is not None:
            posterior = aligned(posterior, prior, self.get_buffer("shares"), self.get_buffer("offsets"))
        return posterior

    def _strong(self, images: Tensor, generator: torch.Generator) -> Tensor:
        view = self.views.strong or self.views.view
        return view(images, generator) if view else images


def prior_of(decoder: Player, label: str) -> Tensor:
    """p(label) of a decoder that has it with nothing given, [classes]."""
    return categorical_of(decoder[label]({})).probs.detach()


def label_target(posterior: Categorical, temperature: float | None) -> Tensor:
    """What is taught of a posterior, probabilities [batch, classes].

    Args:
        posterior: of the teacher, batch shape [batch].
        temperature: divides its logits: below 1 the target is sharper than the posterior (Berthelot et al. 2019); None
            teaches the most likely class alone.
    """
    if temperature is None:
        return one_hot(posterior.logits.argmax(dim=-1), posterior.logits.shape[-1]).to(posterior.logits)
    return (posterior.logits / temperature).softmax(dim=-1)


def cross_entropy(target: Tensor, learnt: Categorical) -> Tensor:
    """Of target probabilities [batch, classes] and a posterior, batch shape [batch]: [batch], nats per sample."""
    return -(target * learnt.logits).sum(dim=-1)
