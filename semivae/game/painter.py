"""The painter: a flow that paints over what the decoder drafts, and its lessons (docs/method.md, section 12).

Where a flow costs too much inside the game, a cheap decoder teaches the codes. When the game is over, a painter learns
p(x | parents, draft): the decoder's own parents of x, drawn by the finished encoder, and its mean image of them, the
draft. It is a second decoder factor of x for pictures alone; likelihoods, votes and chains stay those of the game.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from semivae.game.average import MovingAverage
from semivae.game.conditionals import Conditional
from semivae.game.evidence import log_likelihoods
from semivae.game.flow import FlowConditional, FlowDistribution
from semivae.game.game import Game, Step
from semivae.game.graphs import PlayerName
from semivae.game.ladder import Reference
from semivae.game.plan import Lesson, Plan
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.game.teaching.teacher import StreamViews
from semivae.variables import Around, Sample


class Painter(nn.Module):
    """A flow of the image given the decoder's parents of it and the decoder's draft.

    Args:
        flow: the flow; the last of what it is given is the draft (`semivae.variables.draft_of`).
        drafts: the decoder's factor of the image, which stays as it is; not a submodule.
    """

    def __init__(self, flow: FlowConditional, drafts: Conditional) -> None:
        super().__init__()
        self.flow, self._drafts = flow, Reference(drafts)

    def with_draft(self, sample: Sample) -> Sample:
        """Returns the sample with the decoder's mean image of its parents beside them."""
        with torch.no_grad():
            return {**sample, self.flow.given[-1].name: self._drafts.conditional(sample).mean}

    def distribution(self, sample: Sample) -> FlowDistribution:
        """Returns p(image | parents, draft) of a sample with the parents."""
        return self.flow.forward(self.with_draft(sample))

    def picture(self, sample: Sample, around: Around | None = None) -> Tensor:
        """Returns a picture for each row of the parents, [batch, *shape], that fits `around` where it is known."""
        return self.flow.picture(self.with_draft(sample), around)


class Painting(Game):
    """The painter's lessons: what the decoder learns of the image, learnt by the painter; nobody else moves.

    Args:
        painter: the painter.
        decoder, encoder: the finished players, neither learnt nor kept here. The encoder draws the parents, from the
            decoder's factors of evidence where a stream shows some.
        plan: the lessons, `semivae.scenario.plan.painter_plan`.
        weights, views: as for `Game`.
        ema_decay: decay of the painter's moving average, which is what a run keeps.
    """

    turns = (("decoder",),)

    def __init__(
        self,
        painter: Painter,
        decoder: Player,
        encoder: Player,
        plan: Plan,
        weights: Mapping[tuple[PlayerName, str, str], Weight] | None = None,
        views: Mapping[str, StreamViews] | None = None,
        ema_decay: float = 0.999,
    ) -> None:
        self._finished: tuple[Player, ...] = ()
        super().__init__(Player([painter.flow]), Player([]), plan, weights, views, ema_decay)
        self._painter, self._finished = (painter,), (decoder, encoder)  # tuples, so that none is a submodule
        self.painter_average = MovingAverage(painter.flow, ema_decay)

    @property
    def ema_encoder(self) -> Player:
        """The finished encoder."""
        return self._finished[1] if self._finished else super().ema_encoder

    @property
    def painter(self) -> Painter:
        """The painter with its average weights."""
        flow = self.painter_average.module
        assert isinstance(flow, FlowConditional)
        return Painter(flow, self._painter[0]._drafts.conditional)

    def update_average(self) -> None:
        """Updates the painter's average; call it once a step."""
        self.painter_average.follow(self._painter[0].flow)

    def _evidence(self, lesson: Lesson, sample: Sample) -> dict[str, Tensor]:
        return log_likelihoods(self._finished[0], sample, lesson.evidence)

    def _samples(self, lessons: Sequence[Lesson], step: Step) -> dict[Lesson, Sample]:
        """Returns what each lesson scores, with the decoder's draft beside it."""
        samples = super()._samples(lessons, step)
        return {lesson: self._painter[0].with_draft(sample) for lesson, sample in samples.items()}
