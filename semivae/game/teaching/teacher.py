"""Who teaches a label on unlabelled images: the protocol of teachers, and what a stream says of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from semivae.game.players import Player
from semivae.game.schedules import Weight

FIRST_FRACTION = 0.1  # of every class, that a ramp starts with


class Teacher(nn.Module, ABC):
    """Teaches q(label | image) on one stream's unlabelled images. A module, so that checkpoints hold its buffers.

    Args:
        label: name of the label.
        views: of the stream, with all that is said there of its teacher.
    """

    def __init__(self, label: str, views: StreamViews) -> None:
        super().__init__()
        self.label, self.views = label, views

    @abstractmethod
    def loss(
        self, encoder: Player, images: Tensor, generator: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The encoder's loss on unlabelled images [batch, ...], and its parts, in nats per sample, by name.

        Args:
            encoder: who learns.
            images: as the stream has them.
            generator: of the views.
            progress: the fraction of the training that is done, in [0, 1].

        Returns:
            The weighted loss, and at least "views", without its weight, and "mask_rate", the fraction of the labels
            that were sure enough to be taught.
        """


MakeTeacher = Callable[[str, "StreamViews", Player, Player], Teacher]
"""From a label's name, a stream's views, the decoder and the encoder's average to the teacher."""


@dataclass(frozen=True)
class Vote:
    """How strongly the decoder votes on labels (`semivae.game.teaching.vote`), from which fraction of training on."""

    strength: float
    draws: int = 1
    start: float = 0.0


@dataclass(frozen=True)
class StreamViews:
    """Views of one stream: `view` for what it shows both players, or a weak and a strong one that teach the label.

    With a `vote` and no pair, the weak view is the image as it is and the strong one is `view`, or none either.
    `teacher` makes the teacher of what pair or vote teach. `maps` names the label where it has a class at every place,
    and so moves along with the image `variable`.
    With a `temperature` the target is the teacher's whole posterior, tempered, and not its most likely class; of a map
    a draw of it at every place.
    `cutmix` is the probability that a strong view gets a patch of another one, and as much of its label
    (`semivae.game.teaching.mixing`).
    """

    variable: str
    view: JointView | None = None
    weak: JointView | None = None
    strong: JointView | None = None
    maps: str | None = None
    teacher: MakeTeacher | None = None
    threshold: float = 0.95
    weight: Weight = field(default_factory=Weight)
    align: bool = False
    vote: Vote | None = None
    information: Weight = field(default_factory=lambda: Weight(0.0))
    ramp: float = 0.0
    temperature: float | None = None
    cutmix: float = 0.0

    def teaches(self, progress: float) -> bool:
        """Whether anything is taught when that fraction of the training is done."""
        return bool(self.weight.at(progress) or self.information.at(progress))

    def taught_fraction(self, progress: float) -> float:
        """Of every class, the fraction that is taught when that fraction of the training is done."""
        return FIRST_FRACTION + (1.0 - FIRST_FRACTION) * progress / self.ramp if progress < self.ramp else 1.0


class JointView(Protocol):
    """A random transform of images [batch, channels, height, width] and their maps [batch, height, width]."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: ...

    def joint(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Moves images and maps alike; what comes from outside is `VOID` in the maps. Colours change in images only."""
        ...
