"""The game: two players, each learning on samples that the other completed (docs/method.md, section 3).

Nothing is reparametrised and no gradient crosses from one player into the other's sampling: the rival completes
without gradients, then the learner takes one optimiser step on the negative log-probability of its own factors. The
optimiser's turn is in the loop (`semivae.training.phase`); here are the losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from semivae.game.losses import Losses, Term
from semivae.game.plan import Lesson, Plan, PlayerName
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.game.teaching.pairs import PairsTeacher
from semivae.game.teaching.teacher import StreamViews, Teacher
from semivae.variables import Sample

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Step:
    """What both players have before them in one step.

    Args:
        batches: a sample per stream, as the stream has it.
        viewed: the same after each stream's own view (augmentation).
        sizes: batch size per stream, for streams that observe nothing.
        progress: the fraction of the training that is done, in [0, 1).
        generator: draws the views; it lives on the batches' device.
    """

    batches: Mapping[str, Sample]
    viewed: Mapping[str, Sample]
    sizes: Mapping[str, int]
    progress: float
    generator: torch.Generator


class Game(nn.Module):
    """Two players and what they learn from which stream.

    Args:
        decoder, encoder: the players; they may not share parameters.
        plan: the lessons.
        weights: of single lessons, by (learner, stream, factor); 1 where absent.
        views: by stream.
        ema_decay: decay of the encoder's exponential moving average, which completes samples, labels weak views and is
            what a run keeps.
        pairs: by (stream, label), how labelled pairs are changed before the encoder learns from them.

    Raises:
        ValueError: the players share parameters, or views that teach a label have no teacher.
    """

    turns: ClassVar[tuple[tuple[PlayerName, ...], ...]] = (("decoder",), ("encoder",))
    """Who moves together, in order: the encoder learns from the decoder just updated."""

    def __init__(
        self,
        decoder: Player,
        encoder: Player,
        plan: Plan,
        weights: Mapping[tuple[PlayerName, str, str], Weight] | None = None,
        views: Mapping[str, StreamViews] | None = None,
        ema_decay: float = 0.999,
        pairs: Mapping[tuple[str, str], PairsTeacher] | None = None,
    ) -> None:
        super().__init__()
        if {id(parameter) for parameter in decoder.parameters()} & {
            id(parameter) for parameter in encoder.parameters()
        }:
            raise ValueError("decoder and encoder share parameters: each player's own moves would change the other")
        self.decoder, self.encoder, self.plan = decoder, encoder, plan
        self.weights, self.views, self.ema_decay = dict(weights or {}), dict(views or {}), ema_decay
        self.pairs = dict(pairs or {})
        self.pairs_teachers = nn.ModuleList(self.pairs.values())  # so that they move between devices
        self.encoder_average = AveragedModel(encoder, multi_avg_fn=self._average_towards)
        self.encoder_average.eval()  # as `train` keeps it
        self.teachers = nn.ModuleDict(
            {
                _teacher_of(lesson.stream): self._make_teacher(lesson.stream, lesson.scores[0])
                for lesson in plan.lessons
                if lesson.views
            }
        )

    def _make_teacher(self, stream: str, label: str) -> Teacher:
        views = self.views[stream]
        if views.teacher is None:
            raise ValueError(f"the views of {stream} teach {label}, but do not say who makes its teacher")
        return views.teacher(label, views, self.decoder, self.average)

    def _average_towards(self, averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        # a young average must not be dominated by where it started
        decay = min(self.ema_decay, (1.0 + int(count)) / (10.0 + int(count)))
        get_ema_multi_avg_fn(decay)(averaged, current, count)  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> Game:
        """Like nn.Module.train, but the average stays in eval mode: with dropout on it would teach its own noise."""
        super().train(mode)
        self.encoder_average.eval()
        return self

    @property
    def average(self) -> Player:
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
        """Shows a step's batches through the views of their streams, once for both players."""
        viewed = {name: self._viewed(name, batch, generator) for name, batch in batches.items()}
        return Step(batches, viewed, sizes, progress, generator)

    def loss(self, learners: Sequence[PlayerName], step: Step) -> Losses:
        """Returns the loss of one turn: of all lessons of the players that learn in it.

        Raises:
            FloatingPointError: a rival's factor has parameters that are not finite.
        """
        losses = Losses.none(step.generator.device)
        for lesson in self.plan.lessons:
            if lesson.learner in learners:
                losses = losses + self.lesson_loss(lesson, step)
        return losses

    def update_average(self) -> None:
        """Moves the average towards the encoder; call it once after all turns of a step."""
        self.encoder_average.update_parameters(self.encoder)

    def lesson_loss(self, lesson: Lesson, step: Step) -> Losses:
        """Returns what one lesson costs its learner."""
        return self._teacher_loss(lesson, step) if lesson.views else self._rival_loss(lesson, step)

    def _rival_loss(self, lesson: Lesson, step: Step) -> Losses:
        """Minus log-probability of the learner's factors, of what the stream shows and the rival completes."""
        nothing = Losses.none(step.generator.device)
        where = (lesson.learner, lesson.stream)
        weights = {name: self.weights.get((*where, name), Weight()).at(step.progress) for name in lesson.scores}
        scored = [name for name, weight in weights.items() if weight]
        if not scored:  # switched off, or not yet begun: the rival need not draw
            return nothing
        observed = step.viewed[lesson.stream]
        rival = self.average if lesson.learner == "decoder" else self.decoder
        with torch.no_grad():
            sample = rival.complete(observed, step.sizes[lesson.stream]) if lesson.draws else observed
        losses = {name: -log_prob.mean() for name, log_prob in self._log_prob(lesson, sample, scored).items()}
        total = sum((weights[name] * loss for name, loss in losses.items()), start=nothing.total)
        return Losses(total, {Term(*where, name): loss.detach() for name, loss in losses.items()})

    def _log_prob(self, lesson: Lesson, sample: Sample, scored: list[str]) -> dict[str, Tensor]:
        """The learner's log-probabilities; those of the labels of pairs as their stream changes them."""
        changed = {} if lesson.learner == "decoder" else {
            name: self.pairs[lesson.stream, name] for name in scored if (lesson.stream, name) in self.pairs
        }  # fmt: skip
        found = self.player(lesson.learner).log_prob(sample, [name for name in scored if name not in changed])
        return found | {name: pairs.log_prob(self.encoder, self.decoder, sample) for name, pairs in changed.items()}

    def _teacher_loss(self, lesson: Lesson, step: Step) -> Losses:
        """What the average teaches the encoder of a label on one stream's images."""
        teacher = self.teachers[_teacher_of(lesson.stream)]
        assert isinstance(teacher, Teacher)
        if not teacher.views.teaches(step.progress):
            return Losses.none(step.generator.device)
        images = step.batches[lesson.stream][teacher.views.variable]
        total, parts = teacher.loss(self.encoder, images, step.generator, step.progress)
        rate = parts.pop("mask_rate")
        terms = {Term(kind, lesson.stream, lesson.scores[0]): value for kind, value in parts.items()}
        return Losses(total, terms, {lesson.stream: rate})

    def _viewed(self, stream: str, batch: Sample, generator: torch.Generator) -> Sample:
        views = self.views.get(stream)
        if views is None or views.view is None:
            return batch
        if views.maps in batch:
            image, maps = views.view.joint(batch[views.variable], batch[views.maps], generator)
            return {**batch, views.variable: image, views.maps: maps}
        return {**batch, views.variable: views.view(batch[views.variable], generator)}


def _teacher_of(stream: str) -> str:
    return f"stream_{stream}"  # a bare name such as `train` is an attribute of every module, which torch refuses
