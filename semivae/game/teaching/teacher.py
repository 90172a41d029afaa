"""Teachers: they give pseudo-labels to unlabelled images. The base class, and a stream's settings of its teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from semivae.game.players import Player
from semivae.game.readings import Asking, answered
from semivae.game.schedules import Weight
from semivae.variables import Sample, drawn_name

FIRST_CURRICULUM_FRACTION = 0.1  # of every class, at the start of a curriculum


class Teacher(nn.Module, ABC):
    """Teaches q(label | image) on the unlabelled images of one stream. It is a module: checkpoints hold its buffers.

    Args:
        label: the name of the label.
        views: the augmentations of the stream and the settings of the teacher.
    """

    def __init__(self, label: str, views: StreamViews) -> None:
        super().__init__()
        self.label, self.views = label, views

    @abstractmethod
    def lesson(
        self,
        encoder: Player,
        images: Tensor,
        generator: torch.Generator,
        progress: float,
        evidence: Tensor | None = None,
    ) -> Asking[tuple[Tensor, dict[str, Tensor]]]:
        """Asks the encoder for its label of strong views, and returns its loss and the loss's parts, nats per sample.

        Args:
            encoder: the player that learns.
            images: [batch, ...], not augmented.
            generator: the random numbers of the views.
            progress: the fraction of the training that is done, in [0, 1].
            evidence: the log-likelihood of what is seen of the label, [batch, classes], which joins the teacher.

        Returns:
            The weighted loss, and by name at least "views", its unweighted value, and "mask_rate", the fraction of the
            labels that are confident enough to be learnt.

        Raises:
            ValueError: there is evidence, and such a label has none that a teacher could take.
        """

    def loss(
        self, encoder: Player, images: Tensor, generator: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns what `lesson` does, of this lesson alone."""
        return answered([self.lesson(encoder, images, generator, progress)])[0]

    def refuse(self, evidence: Tensor | None) -> None:
        """Raises ValueError if there is evidence, for teachers that can take none."""
        if evidence is not None:
            raise ValueError(f"the teacher of {self.label} takes no evidence")


MakeTeacher = Callable[[str, "StreamViews", Player, Player], Teacher]
"""Makes a teacher from the label's name, a stream's views, the decoder and the EMA of the encoder."""


@dataclass(frozen=True)
class Vote:
    """The decoder's vote (`semivae.game.teaching.vote`).

    Args:
        strength: the factor of the vote, which is in nats, relative to log q(label | image).
        draws: the number of codes per image and class.
        start: the fraction of the training after which the decoder votes.
        classes: how many of the likely classes of an image are voted on.
    """

    strength: float
    draws: int = 1
    start: float = 0.0
    classes: int = 16


@dataclass(frozen=True)
class StreamViews:
    """The augmentations (views) of one stream, and the settings of the teacher on its unlabelled images.

    Args:
        variable: the image that the views transform.
        view: the single view that both players see.
        weak, strong: the pair of views for self-training: the teacher labels the weak one, the encoder learns on the
            strong one. With a vote and no pair, the teacher gets the plain image and the encoder `view`, if any.
        maps: the name of the label if it is a segmentation map, which moves along with the image.
        turned: the name of the label that turns with the image, an angle, if a view turns one.
        teacher: makes the teacher of the pair or vote.
        threshold: the smallest confidence of a label that is learnt.
        weight: the weight of the loss.
        distribution_alignment: whether the teacher's labels follow the decoder's prior on average.
        vote: the decoder's vote, which joins the teacher.
        mutual_information: the weight of the mutual-information loss.
        curriculum: the fraction of the training over which the fraction of learnt labels grows to 1; 0 for none.
        temperature: divides the teacher's logits; its whole posterior is then the target (for maps, a draw from it at
            every pixel). None for its most likely class.
        cutmix: the probability that a strong view gets a box of another one, with the matching part of its label.
        stored: the names of views of which batches hold draws that were computed before, beside the variable itself
            (`semivae.variables.drawn_name`). The views then pick them (`StoredView`).
    """

    variable: str
    view: JointView | None = None
    weak: JointView | None = None
    strong: JointView | None = None
    maps: str | None = None
    turned: str | None = None
    teacher: MakeTeacher | None = None
    threshold: float = 0.95
    weight: Weight = field(default_factory=Weight)
    distribution_alignment: bool = False
    vote: Vote | None = None
    mutual_information: Weight = field(default_factory=lambda: Weight(0.0))
    curriculum: float = 0.0
    temperature: float | None = None
    cutmix: float = 0.0
    stored: tuple[str, ...] = ()

    def together(self, batch: Sample) -> Tensor:
        """Returns what the views take: the image; or, where draws are stored, [batch, 1 + draws, ...], it first."""
        if not self.stored:
            return batch[self.variable]
        drawn = [batch[drawn_name(self.variable, view)] for view in self.stored]
        return torch.stack([batch[self.variable], *drawn], dim=1)

    def augmented(self, batch: Sample, generator: torch.Generator) -> Sample:
        """Returns a batch after the single view, with the label that moves or turns along; without one, as it is."""
        if self.view is None:
            return batch
        if self.maps in batch:
            image, maps = self.view.joint(batch[self.variable], batch[self.maps], generator)
            return {**batch, self.variable: image, self.maps: maps}
        if self.turned in batch:
            label = batch[self.turned]
            image, turns = self.view.turned(batch[self.variable], generator, label)
            return {**batch, self.variable: image, self.turned: label + turns.to(label)}
        return {**batch, self.variable: self.view(self.together(batch), generator)}

    def plain(self, images: Tensor) -> Tensor:
        """Returns the image itself of what the views take."""
        return images[:, 0] if self.stored else images

    def teaches(self, progress: float) -> bool:
        """Returns whether any loss has a weight when a fraction `progress` of the training is done."""
        return bool(self.weight.at(progress) or self.mutual_information.at(progress))

    def curriculum_fraction(self, progress: float) -> float:
        """Returns the fraction of every class that is learnt when a fraction `progress` of the training is done."""
        first = FIRST_CURRICULUM_FRACTION
        return first + (1.0 - first) * progress / self.curriculum if progress < self.curriculum else 1.0


class Teachers(nn.ModuleDict):
    """The teachers of a game, one for each stream with a lesson of self-training.

    Args:
        labels: by stream, the label that is taught.
        views: by stream, the views that name the teacher.
        decoder: the decoder.
        ema_encoder: the EMA of the encoder.

    Raises:
        ValueError: views that teach a label name no teacher.
    """

    def __init__(
        self, labels: Mapping[str, str], views: Mapping[str, StreamViews], decoder: Player, ema_encoder: Player
    ) -> None:
        super().__init__()
        for stream, label in labels.items():
            make = views[stream].teacher
            if make is None:
                raise ValueError(f"the views of stream {stream} teach {label}, but they name no teacher")
            self[self._key(stream)] = make(label, views[stream], decoder, ema_encoder)

    def of(self, stream: str) -> Teacher:
        """Returns the teacher of a stream."""
        teacher = self[self._key(stream)]
        assert isinstance(teacher, Teacher)
        return teacher

    @staticmethod
    def _key(stream: str) -> str:
        return f"stream_{stream}"  # torch refuses the names of a module's own attributes, such as `train`


@dataclass(frozen=True)
class StoredView:
    """Picks one stored draw of a view.

    Args:
        place: which one of `StreamViews.stored`.
    """

    place: int

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images[:, 1 + self.place]

    def turned(self, images: Tensor, generator: torch.Generator, angles: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Raises ValueError: stored draws do not say how they were turned."""
        raise ValueError("stored draws of views turn no labels; let the encoder start from the images")

    def joint(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Raises ValueError: a map has no stored draws."""
        raise ValueError("stored draws of views move no maps; let the encoder start from the images")


class JointView(Protocol):
    """A random augmentation of images [batch, channels, height, width] and of their maps [batch, height, width]."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: ...

    def turned(self, images: Tensor, generator: torch.Generator, angles: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns images, and what their turns add to their label, an angle, [batch]; limits hold for `angles`."""
        ...

    def joint(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Moves images and maps alike, and changes colours in images only. New pixels of the maps are `VOID`."""
        ...
