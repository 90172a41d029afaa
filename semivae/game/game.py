"""The game: two players, each learning on samples that the other completed (docs/method.md, section 3).

Nothing is reparametrised and no gradient crosses from one player into the other's sampling: the rival completes
without gradients, then the learner takes one optimiser step on the negative log-probability of its own factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from semivae.game.families import categorical_of
from semivae.game.plan import Lesson, Plan, PlayerName
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.game.teaching.class_teacher import LabelTeacher, prior_of
from semivae.game.teaching.logit_adjustment import adjusted
from semivae.game.teaching.mixing import mixed
from semivae.game.teaching.teacher import StreamViews
from semivae.variables import Sample

Tensors = tuple[Tensor, ...] | list[Tensor]
Losses = dict[str, Tensor]
"""Negative log-probability per sample, in nats, by "player.stream.factor"; and shares, by "share.stream"."""


class Game(nn.Module):
    """Two players and what they learn from which stream.

    Args:
        decoder, encoder: the players; they may not share parameters.
        plan: the lessons.
        weights: of single lessons, by (learner, stream, factor); 1 where absent.
        views: by stream.
        average: decay of the encoder's running average, which completes samples, labels weak views and is evaluated.
        pair_shares: class shares [classes] of the pairs, by (stream, label), that are adjusted to the decoder's prior.
        mixup: by (stream, label), how strongly pairs are mixed that teach the encoder (`semivae.game.teaching.mixing`).

    Raises:
        ValueError: the players share parameters.
    """

    def __init__(
        self,
        decoder: Player,
        encoder: Player,
        plan: Plan,
        weights: Mapping[tuple[PlayerName, str, str], Weight] | None = None,
        views: Mapping[str, StreamViews] | None = None,
        average: float = 0.999,
        pair_shares: Mapping[tuple[str, str], Tensor] | None = None,
        mixup: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        super().__init__()
        if {id(parameter) for parameter in decoder.parameters()} & {
            id(parameter) for parameter in encoder.parameters()
        }:
            raise ValueError("decoder and encoder share parameters: each player's own moves would change the other")
        self.decoder, self.encoder, self.plan = decoder, encoder, plan
        self.weights, self.views = dict(weights or {}), dict(views or {})
        self.average_decay, self.mixup = average, dict(mixup or {})
        for (stream, label), of_classes in (pair_shares or {}).items():
            self.register_buffer(_pairs(stream, label), of_classes, persistent=False)  # the split says them again
        self.encoder_average = AveragedModel(encoder, multi_avg_fn=self._average_towards)
        self.encoder_average.eval()  # as `train` keeps it
        self.teachers = nn.ModuleDict(
            {
                _teacher_of(lesson.stream): LabelTeacher(
                    lesson.scores[0], self.views[lesson.stream], decoder, self.average
                )
                for lesson in plan.lessons
                if lesson.views
            }
        )

    def _average_towards(self, averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        # a young average must not be dominated by where it started
        decay = min(self.average_decay, (1.0 + int(count)) / (10.0 + int(count)))
        get_ema_multi_avg_fn(decay)(averaged, current, count)  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> Game:
        """As every module, but the average is never in training: a teacher with dropout on would teach its noise."""
        super().train(mode)
        self.encoder_average.eval()
        return self

    @property
    def average(self) -> Player:
        """The encoder's running average."""
        player = self.encoder_average.module
        assert isinstance(player, Player)
        return player

    def player(self, name: PlayerName) -> Player:
        return self.decoder if name == "decoder" else self.encoder

    def step(
        self,
        batches: Mapping[str, Sample],
        sizes: Mapping[str, int],
        optimizers: Mapping[PlayerName, Optimizer],
        generator: torch.Generator,
        share: float = 1.0,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Losses:
        """One step of both players: the decoder learns first, then the encoder from the decoder just updated.

        Args:
            batches: a sample per stream.
            sizes: batch size per stream, for streams that observe nothing.
            optimizers: by player; each is called with the player's loss and takes the step.
            generator: of the views, on the batches' device.
            share: share of the training done, for lessons that start later.
            autocast: makes the precision context that the networks run in.
        """
        shown = {name: self._shown(name, batch, generator) for name, batch in batches.items()}
        losses: Losses = {}
        learners: tuple[PlayerName, ...] = ("decoder", "encoder")
        for learner in learners:
            with autocast():
                total, parts = self._loss(learner, shown, batches, sizes, generator, share)
            losses |= parts
            optimizers[learner](total, parts)
        self.encoder_average.update_parameters(self.encoder)
        return losses

    def _loss(
        self,
        learner: PlayerName,
        shown: Mapping[str, Sample],
        batches: Mapping[str, Sample],
        sizes: Mapping[str, int],
        generator: torch.Generator,
        share: float,
    ) -> tuple[Tensor, Losses]:
        total = torch.zeros((), device=generator.device)
        parts: Losses = {}
        for lesson in self.plan.of(learner):
            if lesson.views:
                if not self._teacher(lesson.stream).views.teaches(share):
                    continue
                term, lesson_parts = self._teacher_loss(lesson, batches[lesson.stream], generator, share)
            else:
                term, lesson_parts = self._rival_loss(lesson, shown[lesson.stream], sizes[lesson.stream], share)
            total = total + term
            parts |= lesson_parts
        return total, parts

    def _rival_loss(self, lesson: Lesson, observed: Sample, size: int, share: float) -> tuple[Tensor, Losses]:
        where = (lesson.learner, lesson.stream)
        weights = {name: self.weights.get((*where, name), Weight()).at(share) for name in lesson.scores}
        scored = [name for name, weight in weights.items() if weight]
        if not scored:  # switched off, or not yet begun: the rival need not draw
            return torch.zeros(()), {}
        rival = self.average if lesson.learner == "decoder" else self.decoder
        with torch.no_grad():
            sample = rival.complete(observed, size) if lesson.draws else observed
        losses = {name: -log_prob.mean() for name, log_prob in self._log_prob(lesson, sample, scored).items()}
        total = sum((weights[name] * loss for name, loss in losses.items()), start=torch.zeros(()))
        return total, {f"{lesson.learner}.{lesson.stream}.{name}": loss.detach() for name, loss in losses.items()}

    def _log_prob(self, lesson: Lesson, sample: Sample, scored: list[str]) -> dict[str, Tensor]:
        """The learner's log-probabilities; those of the labels of pairs as their stream adjusts and mixes them."""
        pairs = {name for name in scored if lesson.learner == "encoder" and self._changes_pairs(lesson.stream, name)}
        found = self.player(lesson.learner).log_prob(sample, [name for name in scored if name not in pairs])
        return found | {name: self._pairs_log_prob(lesson.stream, name, sample) for name in scored if name in pairs}

    def _changes_pairs(self, stream: str, label: str) -> bool:
        return hasattr(self, _pairs(stream, label)) or (stream, label) in self.mixup

    def _pairs_log_prob(self, stream: str, label: str, sample: Sample) -> Tensor:
        """log q(label | image), [batch]: under the pairs' own class shares, and of mixtures, of both labels."""
        conditional, value = self.encoder[label], sample[label]
        alpha, others, share = self.mixup.get((stream, label)), value, torch.ones(())
        if alpha is not None:
            image = conditional.given[0].name
            mixture, others, share = mixed(sample[image], value, alpha)
            sample = {**sample, image: mixture}
        posterior = categorical_of(conditional(sample))
        if hasattr(self, _pairs(stream, label)):
            posterior = adjusted(posterior, self.get_buffer(_pairs(stream, label)), prior_of(self.decoder, label))
        own: Tensor = posterior.log_prob(value)  # type: ignore[no-untyped-call]
        if alpha is None:
            return own
        other: Tensor = posterior.log_prob(others)  # type: ignore[no-untyped-call]
        return share * own + (1.0 - share) * other

    def _teacher_loss(
        self, lesson: Lesson, batch: Sample, generator: torch.Generator, share: float
    ) -> tuple[Tensor, Losses]:
        teacher, label = self._teacher(lesson.stream), lesson.scores[0]
        total, parts = teacher.loss(self.encoder, batch[teacher.views.variable], generator, share)
        named = {f"{name}.{lesson.stream}.{label}": value for name, value in parts.items() if name != "share"}
        return total, {**named, f"share.{lesson.stream}": parts["share"]}

    def _teacher(self, stream: str) -> LabelTeacher:
        teacher = self.teachers[_teacher_of(stream)]
        assert isinstance(teacher, LabelTeacher)
        return teacher

    def _shown(self, stream: str, batch: Sample, generator: torch.Generator) -> Sample:
        views = self.views.get(stream)
        if views is None or views.view is None:
            return batch
        if views.maps is not None and views.maps in batch:
            image, maps = views.view.joint(batch[views.variable], batch[views.maps], generator)
            return {**batch, views.variable: image, views.maps: maps}
        return {**batch, views.variable: views.view(batch[views.variable], generator)}


def _teacher_of(stream: str) -> str:
    return f"stream_{stream}"  # a bare name such as `train` is an attribute of every module, which torch refuses


def _pairs(stream: str, label: str) -> str:
    return f"pairs_{stream}_{label}"


class Optimizer(Protocol):
    """Takes one step of one player on its loss; `parts` name the terms, for the message if one is not finite."""

    def __call__(self, loss: Tensor, parts: Losses) -> None: ...
