"""The protocol of the kinds of labels (`semivae.tasks.kinds` lists them).

A task is one object without state. It gets recipes, arrays and tensors, never a run, so all rooms can use it. Recipes
are checked without torch, so a task imports torch only inside the methods that compute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution

    from semivae.data.dataset import Dataset
    from semivae.data.splits import Split
    from semivae.data.streams import Stream
    from semivae.data.unpaired import Unpaired
    from semivae.game.players import Player
    from semivae.game.teaching.teacher import StreamViews, Teacher
    from semivae.recipe.schema import SplitSpec, VariableSpec
    from semivae.tasks.user_values import UserValue


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """Statistics of a posterior on examples with m known labels: one per example, or one per known pixel.

    Attributes:
        errors: the error of each label, [m], from 0 to 1; None if the labels are unknown.
        confidence: the confidence of each label, [m], from 0 to 1.
        mass: the sum of the posterior by class, float64 [classes]; empty without classes.
        counts: by class, how often it is the most likely one, float64 [classes]; empty without classes.
    """

    errors: Tensor | None
    confidence: Tensor
    mass: Tensor
    counts: Tensor


class Task(Protocol):
    """A kind of label."""

    @property
    def name(self) -> str:
        """The name of the kind, in a data set's `LabelInfo` and in reports."""
        ...

    @property
    def has_places(self) -> bool:
        """Whether a label has a value at every pixel of the image, so that views move it along with the image."""
        ...

    @property
    def counted(self) -> str:
        """What fractions of such labels count, for messages, in terms of {images}."""
        ...

    @property
    def refuses(self) -> Mapping[str, str]:
        """The options that such a label does not support, each with the reason; {label} stands for the label's name.

        Options are those of a recipe's streams (align, information, vote, adjust, mixup) and split (ratio), those of
        classifiers and evaluations (calibrate, vote, prior, test_prior, judge), sets (prediction sets and withheld
        answers), doubt, the novelty of an image by the uncertainty of its label, and suggest, which images to label.
        """
        ...

    @property
    def fewest_to_calibrate(self) -> int:
        """The smallest number of validation images for choosing a temperature."""
        ...

    def fits(self, name: str, variable: VariableSpec) -> bool:
        """Returns whether a variable that streams show beside the image is such a label; it may lack its shape yet."""
        ...

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        """Chooses the labelled and the validation examples.

        Raises:
            DataError: the data have too few labels or examples, or the kind refuses an option of the split.
        """
        ...

    def unpaired(self, request: Unpaired) -> Stream:
        """Returns the stream that shows the label alone, without an image.

        Raises:
            DataError: there are no values, or they do not fit.
        """
        ...

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        """Returns the teacher of the label on a stream's unlabelled images.

        Args:
            label: the name of the label.
            views: the augmentations of the stream and the settings of the teacher.
            decoder: the player whose p(label) and vote the teacher may use.
            ema_encoder: the EMA of the encoder.
        """
        ...

    def parse(self, value: UserValue) -> Tensor:
        """Returns a user's value for such a variable, (count, *shape).

        Raises:
            RunError: the value does not fit.
        """
        ...

    def outputs(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """Returns what users get for the encoder's parameters [n, *parameter_shape], such as class probabilities.

        Exported files contain this method, so it uses methods of tensors only.
        """
        ...

    def outputs_of(self, posterior: Distribution, temperature: float = 1.0) -> Tensor:
        """Returns the same from the posterior itself, to check exported files against."""
        ...

    def predict(self, outputs: Tensor) -> Tensor:
        """Returns the most likely label [n, *shape] of outputs [n, ...]."""
        ...

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        """Returns statistics of a posterior of batch shape [n], against labels [n, *shape] if they are known."""
        ...

    def prior_frequencies(self, prior: Distribution) -> tuple[float, ...]:
        """Returns the class frequencies of a prior, averaged over pixels; empty without classes."""
        ...

    def label_frequencies(self, labels: Tensor, classes: int) -> tuple[float, ...]:
        """Returns the class frequencies among labels [n, *shape], without unknown pixels; empty without classes."""
        ...

    def count_values(self, labels: Tensor) -> int:
        """Returns the number of known values among labels [n, *shape]: one per example, or one per known pixel."""
        ...

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        """Returns the number of examples [n, *shape] of each class; empty if an example has no single class."""
        ...

    def scores(self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str]) -> dict[str, Any]:
        """Returns scores of outputs as plain numbers, lists and dicts.

        Args:
            parts: pairs of outputs [n, ...] and labels [n, *shape].
            classes: class names.
        """
        ...


def takes(task: Task, option: str) -> bool:
    """Returns whether a label of this kind supports an option."""
    return option not in task.refuses


def reason(task: Task, option: str, label: str | None) -> str | None:
    """Returns why a label of this kind refuses an option; None if it supports it."""
    why = task.refuses.get(option)
    return None if why is None else why.format(label=label)
