"""The game: two players, each of which learns from samples that the other completed (docs/method.md, section 3).

No gradient passes through a draw: the other player completes a sample without gradients, then the learner takes one
optimizer step on the negative log-probability of its own factors. This module computes the losses; the training loop
(`semivae.training.phase`) takes the optimizer steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from semivae.game.average import MovingAverage
from semivae.game.evidence import log_likelihoods, marginal_log_prob
from semivae.game.graphs import PlayerName
from semivae.game.ladder import with_shared_features
from semivae.game.losses import Losses, Term, total_of
from semivae.game.plan import Lesson, Plan
from semivae.game.players import Player
from semivae.game.readings import Asking, answered, asking_of
from semivae.game.schedules import Weight
from semivae.game.teaching.labelled_loss import LabelledLoss
from semivae.game.teaching.teacher import StreamViews, Teachers
from semivae.variables import Sample


@dataclass(frozen=True)
class Step:
    """The data of one step, the same for both players.

    Args:
        batches: by stream, the sample that it shows.
        augmented: the same samples after the single view (augmentation) of their streams.
        sizes: by stream, its batch size, which streams that observe nothing need.
        progress: the fraction of the training that is done, in [0, 1).
        generator: the random numbers of the views, on the device of the batches.
    """

    batches: Mapping[str, Sample]
    augmented: Mapping[str, Sample]
    sizes: Mapping[str, int]
    progress: float
    generator: torch.Generator


class Game(nn.Module):
    """Two players and what each learns from which stream.

    Args:
        decoder, encoder: the players, without shared parameters.
        plan: the lessons.
        weights: loss weights by (learner, stream, factor), 1 by default.
        views: the augmentations and the teacher of each stream that has any.
        ema_decay: decay of the exponential moving average (EMA) of the encoder. The EMA completes samples, labels
            unlabelled images, and is the encoder that a run keeps.
        labelled_losses: by (stream, label), the loss of streams that adjust or mix their labelled pairs.

    Raises:
        ValueError: the players share parameters, or views that teach a label have no teacher.
    """

    turns: ClassVar[tuple[tuple[PlayerName, ...], ...]] = (("decoder",), ("encoder",))
    """The players that learn in each turn of a step. The decoder is first: the encoder learns from its new samples."""

    def __init__(
        self,
        decoder: Player,
        encoder: Player,
        plan: Plan,
        weights: Mapping[tuple[PlayerName, str, str], Weight] | None = None,
        views: Mapping[str, StreamViews] | None = None,
        ema_decay: float = 0.999,
        labelled_losses: Mapping[tuple[str, str], LabelledLoss] | None = None,
    ) -> None:
        super().__init__()
        if not set(decoder.parameters()).isdisjoint(encoder.parameters()):
            raise ValueError("the decoder and the encoder share parameters; give each player networks of its own")
        self.decoder, self.encoder, self.plan = decoder, encoder, plan
        self.weights, self.views = dict(weights or {}), dict(views or {})
        self.labelled_losses = dict(labelled_losses or {})
        self._labelled_losses = nn.ModuleList(self.labelled_losses.values())  # modules move between devices
        self.encoder_average = MovingAverage(encoder, ema_decay)
        labels = {lesson.stream: lesson.scores[0] for lesson in plan.lessons if lesson.self_training}
        self.teachers = Teachers(labels, self.views, decoder, self.ema_encoder)

    @property
    def ema_encoder(self) -> Player:
        """The encoder's exponential moving average."""
        player = self.encoder_average.module
        assert isinstance(player, Player)
        return player

    def player(self, name: PlayerName) -> Player:
        """Returns the decoder or the encoder."""
        return self.decoder if name == "decoder" else self.encoder

    def begin(
        self, batches: Mapping[str, Sample], sizes: Mapping[str, int], progress: float, generator: torch.Generator
    ) -> Step:
        """Augments the batches of a step, once for both players (see `Step`)."""
        augmented = {
            name: self.views[name].augmented(batch, generator) if name in self.views else batch
            for name, batch in batches.items()
        }
        return Step(batches, augmented, sizes, progress, generator)

    def loss(self, learners: Sequence[PlayerName], step: Step) -> Losses:
        """Returns the loss of one turn: the sum over all lessons of the players that learn in it.

        Raises:
            FloatingPointError: a network of the other player returns values that are not finite.
        """
        return self.losses_of([lesson for lesson in self.plan.lessons if lesson.learner in learners], step)

    def losses_of(self, lessons: Sequence[Lesson], step: Step) -> Losses:
        """Returns the sum of the losses of some lessons, which read every network together."""
        taught = [lesson for lesson in lessons if self._teaches(lesson, step)]
        samples = self._samples([lesson for lesson in taught if not lesson.self_training], step)
        where = f"{type(self).__name__}.lesson_loss"
        asking = [asking_of(self.lesson_loss(lesson, samples.get(lesson), step), where) for lesson in taught]
        return Losses.sum(answered(asking), step.generator.device)

    def update_average(self) -> None:
        """Updates the EMA of the encoder; call it once, after all turns of a step."""
        self.encoder_average.follow(self.encoder)

    def lesson_loss(self, lesson: Lesson, sample: Sample | None, step: Step) -> Asking[Losses]:
        """Asks networks once (`semivae.game.readings`), and returns the loss of one lesson.

        Args:
            lesson: who learns what from which stream.
            sample: what is scored: the stream's, completed by the other player; None in a lesson of self-training.
            step: the data of the step.
        """
        return self._teacher_loss(lesson, step) if sample is None else self._sample_loss(lesson, sample, step)

    def _weights(self, lesson: Lesson, step: Step) -> dict[str, float]:
        """Returns the weights of the factors that a lesson scores at this step."""
        where = (lesson.learner, lesson.stream)
        weights = {name: self.weights.get((*where, name), Weight()).at(step.progress) for name in lesson.scores}
        return {name: weight for name, weight in weights.items() if weight}

    def _teaches(self, lesson: Lesson, step: Step) -> bool:
        """Returns whether a lesson has any weight at this step."""
        if lesson.self_training:
            return self.teachers.of(lesson.stream).views.teaches(step.progress)
        return bool(self._weights(lesson, step))

    @torch.no_grad()
    def _samples(self, lessons: Sequence[Lesson], step: Step) -> dict[Lesson, Sample]:
        """Returns what each lesson scores: what its stream shows, completed by the player that does not learn."""
        found: dict[Lesson, Sample] = {}
        for learner, other in (("decoder", self.ema_encoder), ("encoder", self.decoder)):
            drawing = [lesson for lesson in lessons if lesson.learner == learner and lesson.draws]
            observed = [step.augmented[lesson.stream] for lesson in drawing]
            sizes = [step.sizes[lesson.stream] for lesson in drawing]
            evidence = [self._evidence(lesson, sample) for lesson, sample in zip(drawing, observed, strict=True)]
            found |= zip(drawing, other.complete_all(observed, sizes, evidence=evidence), strict=True)
        for lesson in lessons:
            if not lesson.draws:  # an encoder learns from pairs what is known of them, and no draw of its own teacher's
                shown = step.augmented[lesson.stream]
                found[lesson] = self.ema_encoder.fill(shown) if lesson.learner == "decoder" else shown
        return found

    def _sample_loss(self, lesson: Lesson, sample: Sample, step: Step) -> Asking[Losses]:
        """Returns minus the log-probability of the learner's factors on a sample that the other player completed."""
        player, weights = self.player(lesson.learner), self._weights(lesson, step)
        evidence = {} if lesson.draws else self._evidence(lesson, sample)  # what is seen of a label teaches the encoder
        shared = with_shared_features([player[name] for name in weights], sample)
        reads = {name: self._reads(lesson, name, shared, evidence.get(name)) for name in weights}
        found = yield [(player[name], read) for name, (read, _) in reads.items()]
        losses = {name: -score(given).mean() for (name, (_, score)), given in zip(reads.items(), found, strict=True)}
        weighted = [weight * losses[name] if weight != 1.0 else losses[name] for name, weight in weights.items()]
        terms = {Term(lesson.learner, lesson.stream, name): loss.detach() for name, loss in losses.items()}
        return Losses(total_of(weighted), terms)

    def _reads(
        self, lesson: Lesson, name: str, sample: Sample, evidence: Tensor | None
    ) -> tuple[Sample, Callable[[Distribution], Tensor]]:
        """Returns what a factor reads in a lesson, and how its answer is scored, [batch], nats per sample."""
        player = self.player(lesson.learner)
        if evidence is not None:
            return sample, lambda posterior: marginal_log_prob(posterior, evidence)
        pairs = self.labelled_losses.get((lesson.stream, name)) if lesson.learner == "encoder" else None
        if pairs is not None:
            mixture = pairs.mixed(player, sample)
            return mixture.sample, lambda posterior: pairs.log_prob(posterior, mixture, self.decoder)
        return sample, lambda distribution: player[name].lesson_score(sample, distribution)

    def _evidence(self, lesson: Lesson, sample: Sample) -> dict[str, Tensor]:
        """Returns the log-likelihood of a lesson's evidence, by label, [batch, classes], nats."""
        return log_likelihoods(self.decoder, sample, lesson.evidence)

    def _teacher_loss(self, lesson: Lesson, step: Step) -> Asking[Losses]:
        """Returns the loss of the encoder on labels that the EMA teacher gives to one stream's images."""
        teacher, batch = self.teachers.of(lesson.stream), step.batches[lesson.stream]
        label = lesson.scores[0]
        images, evidence = teacher.views.together(batch), self._evidence(lesson, batch).get(label)
        asking = teacher.lesson(self.encoder, images, step.generator, step.progress, evidence)
        total, parts = yield from asking_of(asking, f"{type(teacher).__name__}.lesson")
        rate = parts.pop("mask_rate")
        terms = {Term(kind, lesson.stream, label): value for kind, value in parts.items()}
        return Losses(total, terms, {lesson.stream: rate})
