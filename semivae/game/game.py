"""The game: two players, each learning on samples that the other completed (docs/method.md, section 3).

Nothing is reparametrised and no gradient crosses from one player into the other's sampling: the rival completes
without gradients, then the learner takes one optimiser step on the negative log-probability of its own factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from semivae.game.plan import Lesson, Plan, PlayerName
from semivae.game.players import Player
from semivae.game.variables import Sample


class View(Protocol):
    """A random transform of images [batch, channels, height, width] that keeps their label."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class Weight:
    """How much a lesson counts in its learner's loss, from which share of the training on."""

    weight: float = 1.0
    start: float = 0.0

    def at(self, share: float) -> float:
        return self.weight if share >= self.start else 0.0


@dataclass(frozen=True)
class StreamViews:
    """Views of one stream: `view` for what it shows both players, or a weak and a strong one that teach the label."""

    variable: str
    view: View | None = None
    weak: View | None = None
    strong: View | None = None
    threshold: float = 0.95
    weight: Weight = field(default_factory=Weight)
    align: bool = False


SHARES_DECAY = 0.99  # of the running mean posterior, per step
Tensors = tuple[Tensor, ...] | list[Tensor]
Losses = dict[str, Tensor]
"""Negative log-probability per sample, in nats, by "player.stream.factor"; and shares, by "share.stream"."""


class Game(nn.Module):
    """Two players and what they learn from which stream.

    Args:
        decoder, encoder: the players; they may not share parameters.
        plan: the lessons.
        weights: of single lessons, by (stream, factor); 1 where absent.
        views: by stream.
        average: decay of the encoder's running average, which completes samples, labels weak views and is evaluated.

    Raises:
        ValueError: the players share parameters.
    """

    def __init__(
        self,
        decoder: Player,
        encoder: Player,
        plan: Plan,
        weights: Mapping[tuple[str, str], Weight] | None = None,
        views: Mapping[str, StreamViews] | None = None,
        average: float = 0.999,
    ) -> None:
        super().__init__()
        if {id(parameter) for parameter in decoder.parameters()} & {
            id(parameter) for parameter in encoder.parameters()
        }:
            raise ValueError("decoder and encoder share parameters: each player's own moves would change the other")
        self.decoder, self.encoder, self.plan = decoder, encoder, plan
        self.weights, self.views = dict(weights or {}), dict(views or {})
        self.average_decay = average
        self.encoder_average = AveragedModel(encoder, multi_avg_fn=self._average_towards)
        for lesson in plan.lessons:
            if lesson.views and self.views[lesson.stream].align:
                shares = self._prior_of(lesson.scores[0]).clone()
                self.register_buffer(f"shares_{lesson.stream}", shares)  # a buffer, so that checkpoints hold it

    def _average_towards(self, averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        # a young average must not be dominated by where it started
        decay = min(self.average_decay, (1.0 + int(count)) / (10.0 + int(count)))
        get_ema_multi_avg_fn(decay)(averaged, current, count)  # type: ignore[no-untyped-call]

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
                term, lesson_parts = self._views_loss(lesson, batches[lesson.stream], generator, share)
            else:
                term, lesson_parts = self._rival_loss(lesson, shown[lesson.stream], sizes[lesson.stream], share)
            total = total + term
            parts |= lesson_parts
        return total, parts

    def _rival_loss(self, lesson: Lesson, observed: Sample, size: int, share: float) -> tuple[Tensor, Losses]:
        weights = {name: self.weights.get((lesson.stream, name), Weight()).at(share) for name in lesson.scores}
        rival = self.average if lesson.learner == "decoder" else self.decoder
        with torch.no_grad():
            sample = rival.complete(observed, size) if lesson.draws else observed
        scored = [name for name, weight in weights.items() if weight]
        losses = {
            name: -log_prob.mean() for name, log_prob in self.player(lesson.learner).log_prob(sample, scored).items()
        }
        total = sum((weights[name] * loss for name, loss in losses.items()), start=torch.zeros(()))
        return total, {f"{lesson.learner}.{lesson.stream}.{name}": loss.detach() for name, loss in losses.items()}

    def _views_loss(
        self, lesson: Lesson, batch: Sample, generator: torch.Generator, share: float
    ) -> tuple[Tensor, Losses]:
        """Views teach a label where the average is confident (docs/method.md, section 5; after Sohn et al. 2020)."""
        views, label = self.views[lesson.stream], lesson.scores[0]
        assert views.weak is not None and views.strong is not None
        weight = views.weight.at(share)
        images = batch[views.variable]
        with torch.no_grad():
            posterior = self.average[label]({views.variable: views.weak(images, generator)})
            if views.align:
                posterior = self._aligned(posterior, label, lesson.stream)
            confidence, value = most_likely(posterior)
            confident = (confidence >= views.threshold).float()
            strong = views.strong(images, generator)
        log_prob = self.encoder.log_prob({views.variable: strong, label: value}, [label])[label]
        loss = -(log_prob * confident).mean()
        name = lesson.stream
        return weight * loss, {f"views.{name}.{label}": loss.detach(), f"share.{name}": confident.mean()}

    def _aligned(self, posterior: Distribution, label: str, stream: str) -> Distribution:
        """The posterior times prior over recent mean posterior (distribution alignment, Berthelot et al. 2020)."""
        probabilities = categorical_of(posterior).probs
        shares: Tensor = self.get_buffer(f"shares_{stream}")
        shares.lerp_(probabilities.mean(dim=0), 1.0 - SHARES_DECAY)
        return Categorical(probs=probabilities * self._prior_of(label) / shares, validate_args=False)

    def _prior_of(self, label: str) -> Tensor:
        """The decoder's p(label), [classes]."""
        return categorical_of(self.decoder[label]({})).probs.detach()

    def _shown(self, stream: str, batch: Sample, generator: torch.Generator) -> Sample:
        views = self.views.get(stream)
        if views is None or views.view is None:
            return batch
        return {**batch, views.variable: views.view(batch[views.variable], generator)}


class Optimizer(Protocol):
    """Takes one step of one player on its loss; `parts` name the terms, for the message if one is not finite."""

    def __call__(self, loss: Tensor, parts: Losses) -> None: ...


def most_likely(posterior: Distribution) -> tuple[Tensor, Tensor]:
    """The most likely class [batch] of a categorical posterior, and its probability."""
    probability, value = categorical_of(posterior).probs.max(dim=-1)
    return probability, value


def categorical_of(distribution: Distribution) -> Categorical:
    base = getattr(distribution, "base_dist", distribution)
    assert isinstance(base, Categorical)
    return base
