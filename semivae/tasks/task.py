"""What a label is: the protocol that every kind of label follows (`semivae.tasks.kinds` lists them).

A task is one object without state. It sees recipes, arrays and tensors, never a run, so that all rooms can ask it.
Recipes are checked without torch, so a task imports what computes where it computes.
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
    from semivae.tasks.given import Given


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """What a posterior says on some examples; m of their values are known: one each, or one at each known place.

    Attributes:
        errors: how wrong each known value is taken, [m], from 0 to 1; None without labels.
        confidence: how sure each of them is, [m], from 0 to 1.
        mass: sum of the posterior over them by class, float64 [classes]; empty without classes.
        counts: how often each class is the most likely one, float64 [classes]; empty without classes.
    """

    errors: Tensor | None
    confidence: Tensor
    mass: Tensor
    counts: Tensor


class Task(Protocol):
    """A kind of label."""

    @property
    def name(self) -> str:
        """What the kind is called: in a data set's `LabelInfo`, and where its results are shown."""
        ...

    @property
    def has_places(self) -> bool:
        """Whether a value has a part at every place of the image, which views then move along with it."""
        ...

    @property
    def counted(self) -> str:
        """What fractions of such labels count, for messages, in terms of {images}."""
        ...

    @property
    def refuses(self) -> Mapping[str, str]:
        """What cannot be asked of such a label: the option's name to the reason, in which {label} is the label's name.

        Options are those of a recipe's streams (align, information, vote, adjust, mixup) and split (ratio), those of
        classifiers and evaluations (calibrate, vote, prior, test_prior, judge), and doubt: the novelty of an image by
        how unsure its label is.
        """
        ...

    @property
    def fewest_to_calibrate(self) -> int:
        """Validation images that a temperature needs to be chosen on."""
        ...

    def fits(self, name: str, variable: VariableSpec) -> bool:
        """Whether a variable that streams show beside the image is such a label; its shape may not be known yet."""
        ...

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        """Which training examples show the label.

        Raises:
            DataError: more is asked for than there is, or what the kind refuses.
        """
        ...

    def unpaired(self, asked: Unpaired) -> Stream:
        """The stream that shows the label alone, without an image.

        Raises:
            DataError: no values are at hand, or they do not fit.
        """
        ...

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        """Who teaches the label on a stream's unlabelled images.

        Args:
            label: its name.
            views: of the stream.
            decoder: whose p(label) and vote may join.
            average: the encoder's slow average.
        """
        ...

    def parse(self, given: Given) -> Tensor:
        """What a user gave for such a variable, (count, *shape).

        Raises:
            RunError: it does not fit.
        """
        ...

    def answer(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """What the encoder's parameters [n, *parameter_shape] say of the label, as users get it, [n, ...].

        Exported files hold this too, so it is made of tensors' own methods.
        """
        ...

    def answer_of(self, posterior: Distribution, temperature: float = 1.0) -> Tensor:
        """The same from the posterior itself, to check exported files by."""
        ...

    def predict(self, answers: Tensor) -> Tensor:
        """The label that answers [n, ...] speak for most, [n, *shape]."""
        ...

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        """How a posterior of batch shape [n] does, against labels [n, *shape] where they are known."""
        ...

    def prior_frequencies(self, prior: Distribution) -> tuple[float, ...]:
        """Class shares that a prior of the label expects, mean over places; empty without classes."""
        ...

    def label_frequencies(self, labels: Tensor, classes: int) -> tuple[float, ...]:
        """Class shares among labels [n, *shape], places that are not known left out; empty without classes."""
        ...

    def count_values(self, labels: Tensor) -> int:
        """Returns the number of known values among labels [n, *shape]: one per example, or one per known pixel."""
        ...

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        """How many examples [n, *shape] each class has; empty where an example has no one class."""
        ...

    def scores(self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str]) -> dict[str, Any]:
        """How good answers are, as plain numbers, lists and dicts.

        Args:
            parts: answers [n, ...] and labels [n, *shape], in parts.
            classes: class names.
        """
        ...


def takes(task: Task, option: str) -> bool:
    """Whether an option can be asked of a label of this kind."""
    return option not in task.refuses


def reason(task: Task, option: str, label: str | None) -> str | None:
    """Why a label of this kind refuses an option; None where it takes it."""
    why = task.refuses.get(option)
    return None if why is None else why.format(label=label)
