"""Self-training of a class on unlabelled images: the EMA of the encoder is the teacher (docs/method.md, sections 5, 6).

Weak and strong views (FixMatch, Sohn et al. 2020), the decoder's vote, distribution alignment and the curriculum meet
here: they decide which pseudo-label an image gets, whether it is confident enough, and what the encoder learns from it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical

from semivae.game.distributions import categorical_of, most_likely, with_evidence
from semivae.game.family import one_hot
from semivae.game.players import Player
from semivae.game.readings import Asking
from semivae.game.teaching.alignment import align_distribution
from semivae.game.teaching.curriculum import curriculum_mask
from semivae.game.teaching.mixing import paste_boxes, random_boxes
from semivae.game.teaching.mutual_information import information_loss
from semivae.game.teaching.teacher import StreamViews, Teacher
from semivae.game.teaching.vote import add_vote, vote_on_likely
from semivae.parallel.shards import current_shard


class ClassTeacher(Teacher):
    """Teaches a label that is one class per image.

    Args:
        label: the name of the label.
        views: the augmentations of the stream and the settings of the teacher.
        decoder: the player that votes, and whose p(label) the teacher's labels are aligned to.
        ema_encoder: the EMA of the encoder, which labels the images.

    Raises:
        ValueError: distribution alignment without a prior of the label in the decoder.
    """

    def __init__(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> None:
        super().__init__(label, views)
        self._players = (decoder, ema_encoder)  # in a tuple, their parameters do not belong to this module
        if views.distribution_alignment:
            prior = self.prior()
            if prior is None:
                raise ValueError(f"distribution alignment needs a prior of {label} in the decoder, which has none")
            self.register_buffer("shares", prior.clone())  # the running class frequencies, as checkpoints name them
            self.register_buffer("offsets", torch.zeros_like(prior))

    def prior(self) -> Tensor | None:
        """Returns the decoder's p(label), [classes]; None if it is known by samples only or has parents."""
        decoder, label = self._players[0], self.label
        if label not in decoder or decoder[label].given:
            return None
        return prior_of(decoder, label)

    def lesson(
        self,
        encoder: Player,
        images: Tensor,
        generator: torch.Generator,
        progress: float,
        evidence: Tensor | None = None,
    ) -> Asking[tuple[Tensor, dict[str, Tensor]]]:
        """As `Teacher.lesson` says, with "information" for the mutual-information loss, which has a view of its own."""
        views, information = self.views, self.views.mutual_information.at(progress)
        with torch.no_grad():
            posterior = self.posterior(images, generator, progress, evidence)
            confidence, _ = most_likely(posterior)
            mask = (confidence >= views.threshold).float()
            if progress < views.curriculum:
                mask = mask * curriculum_mask(posterior, views.curriculum_fraction(progress), self.prior())
            target = target_probabilities(posterior, views.temperature) * mask[:, None]
            strong, target = self._cutmix(self._strong_view(images, generator), target, generator)
            read = [strong, self._strong_view(images, generator)] if information else [strong]
        answers = yield [(encoder[self.label], {views.variable: view}) for view in read]
        learnt, *second = (categorical_of(answer) for answer in answers)
        loss = cross_entropy(target, learnt).mean()
        parts = {"views": loss.detach(), "mask_rate": mask.mean()}
        weight = views.weight.at(progress)
        total = weight * loss if weight != 1.0 else loss
        if second:
            loss = information_loss(learnt.probs, second[0].probs, self.prior())
            total = total + information * loss
            parts["information"] = -loss.detach()
        return total, parts

    def posterior(
        self, images: Tensor, generator: torch.Generator, progress: float, evidence: Tensor | None = None
    ) -> Categorical:
        """Returns the teacher's posterior, batch shape [batch]; with distribution alignment, updates its offsets."""
        views, (decoder, ema_encoder) = self.views, self._players
        weak = views.weak(images, generator) if views.weak else views.plain(images)
        posterior = categorical_of(ema_encoder[self.label]({views.variable: weak}))
        if views.vote is not None and progress >= views.vote.start:
            observed = {views.variable: views.plain(images)}
            most, draws = views.vote.classes, views.vote.draws
            votes = vote_on_likely(decoder, ema_encoder, observed, self.label, posterior, most, draws)
            posterior = add_vote(posterior, votes, views.vote.strength)
        if evidence is not None:
            posterior = with_evidence(posterior, evidence)
        prior = self.prior()
        if views.distribution_alignment and prior is not None:
            posterior = self.aligned(posterior, prior)
        return posterior

    def aligned(self, posterior: Categorical, prior: Tensor) -> Categorical:
        """Returns the posterior with offsets, which it updates, so that labels are as frequent as the prior says."""
        return align_distribution(posterior, prior, self.get_buffer("shares"), self.get_buffer("offsets"))

    def _strong_view(self, images: Tensor, generator: torch.Generator) -> Tensor:
        view = self.views.strong or self.views.view
        return view(images, generator) if view else self.views.plain(images)

    def _cutmix(self, images: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pastes boxes of the next image into images [batch, ...]; mixes targets [batch, classes] in proportion."""
        if not self.views.cutmix:
            return images, target
        count, _, height, width = images.shape
        boxes = random_boxes(count, height, width, self.views.cutmix, generator)
        area = boxes.mean(dim=(1, 2), dtype=torch.float32)[:, None].to(target)
        return paste_boxes(images, boxes), torch.lerp(target, current_shard().following(target), area)


def prior_of(decoder: Player, label: str) -> Tensor:
    """Returns p(label), [classes], of a decoder in which the label has no parents."""
    return categorical_of(decoder[label]({})).probs.detach()


def target_probabilities(posterior: Categorical, temperature: float | None) -> Tensor:
    """Returns the teacher's target, probabilities [batch, classes].

    Args:
        posterior: of the teacher, batch shape [batch].
        temperature: divides its logits; below 1 it sharpens the posterior (Berthelot et al. 2019). None puts all
            probability on the most likely class.
    """
    if temperature is None:
        return one_hot(posterior.logits.argmax(dim=-1), posterior.logits.shape[-1])
    return (posterior.logits / temperature).softmax(dim=-1)


def cross_entropy(target: Tensor, learnt: Categorical) -> Tensor:
    """Returns the cross-entropy of target probabilities [batch, classes] and a posterior: [batch], nats per sample."""
    return -(target * learnt.logits).sum(dim=-1)
