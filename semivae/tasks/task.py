"""The protocol of the kinds of labels (`semivae.tasks.kinds` lists them).

A task is one object without state. It gets recipes, arrays and tensors, never a run, so all rooms can use it. Recipes
are checked without torch, so a task imports torch only inside the methods that compute.

Every kind has one headline figure (`Headline`): the lower, the better. Validation measures it (`Task.headline_of`), the
best checkpoint is chosen by it, failures compare it with earlier ones and with the twin's, and progress shows it.
Evaluations hold whatever scores the kind has (`Task.scores`); its modules in `cli/kinds` and `page/kinds` show them.
Methods with a body here are right for classes, and for kinds that do not say otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.distributions import Distribution

    from semivae.data.dataset import Dataset, LabelInfo
    from semivae.data.splits import Split
    from semivae.data.streams import Stream
    from semivae.data.unpaired import Unpaired
    from semivae.game.players import Player
    from semivae.game.teaching.teacher import StreamViews, Teacher
    from semivae.recipe.schema import SplitSpec, VariableSpec
    from semivae.tasks.user_values import UserValue
    from semivae.variables import Variable


AGREEMENT = "classifies {share:.0%} of {n:,} of the decoder's samples as the class that they were drawn for"


@dataclass(frozen=True)
class Headline:
    """The figure that a kind of label is judged by while it is trained: the lower, the better.

    Attributes:
        name: what messages and tables call it, after the word "validation": "error", "RMSE".
        fraction: whether it is the fraction of the answers that are wrong. Its 95% interval is then that of a count;
            of any other figure `Task.headline_of` measures the standard error along with it.
        format: how tables write it.
        short: how sentences write it.
    """

    name: str = "error"
    fraction: bool = True
    format: str = ".2%"
    short: str = ".1%"

    def text(self, value: float) -> str:
        """Returns a value as tables write it."""
        return format(value, self.format)

    def brief(self, value: float) -> str:
        """Returns a value as sentences write it."""
        return format(value, self.short)


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """Statistics of a posterior on examples with m known labels: one per example, or one per known pixel.

    Attributes:
        errors: the error of each label, [m], from 0 to 1 if the headline is a fraction; None if the labels are unknown.
        confidence: the confidence of each label, [m], from 0 to 1.
        mass: the sum of the posterior by class, float64 [classes]; empty without classes.
        counts: by class, how often it is the most likely one, float64 [classes]; empty without classes.
        outputs, labels: of the examples, [n, ...], for kinds whose headline is no mean over the errors; else None.
    """

    errors: Tensor | None
    confidence: Tensor
    mass: Tensor
    counts: Tensor
    outputs: Tensor | None = None
    labels: Tensor | None = None


class Task(Protocol):
    """A kind of label.

    Attributes:
        family: the family of its variables.
        headline: the figure that the kind is judged by.
        chooses: whether answers need what `choose` chooses on validation examples.
        nouns: what one entry of `Dataset.classes` is called, and several.
        agreement: how messages word that the encoder agrees with a {share} of {n} samples (`consistency`).
        output: what an exported classifier's output is called (`outputs`).
        hub_tasks: whether inputs are images -> what model hubs call the task; without an entry there are no figures.
        figures: key of a score -> its name, the hubs' name and its format, for model cards; in order.
        promised: of which examples prediction sets promise something, for messages; "" of all.
        limits: what a model card says of inputs that are none of the classes; "" where there are no classes.
    """

    family: ClassVar[str] = "categorical"
    headline: ClassVar[Headline] = Headline()
    chooses: ClassVar[bool] = False
    nouns: ClassVar[tuple[str, str]] = ("class", "classes")
    agreement: ClassVar[str] = AGREEMENT
    output: ClassVar[str] = "probabilities"
    hub_tasks: ClassVar[Mapping[bool, str]] = MappingProxyType({})
    figures: ClassVar[Mapping[str, tuple[str, str, str]]] = MappingProxyType({})
    promised: ClassVar[str] = ""
    limits: ClassVar[str] = "Every input is answered as one of a known kind; `semivae novelty` tells the others."

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

        Options are those of a recipe's streams (align, information, vote, adjust, mixup, cutmix) and split (ratio),
        those of classifiers and evaluations (calibrate, vote, prior, test_prior, judge), sets (prediction sets and
        withheld answers), answering (withheld answers alone), doubt, the novelty of an image by the uncertainty of its
        label, suggest, which images to label, and doubts, which labels are probably wrong.
        """
        ...

    @property
    def fewest_to_calibrate(self) -> int:
        """The smallest number of validation images for choosing a temperature."""
        ...

    def fits(self, name: str, variable: VariableSpec) -> bool:
        """Returns whether a variable that streams show beside the image is such a label; it may lack its shape yet."""
        ...

    def name_count(self, variable: VariableSpec) -> int:
        """Returns how many names `LabelInfo.classes` holds of such a label, from its variable with its shape."""
        return variable.classes or 0

    def prepare(self, dataset: Dataset, name: str, variable: VariableSpec) -> Dataset:
        """Returns the data as the kind takes them, here as they are.

        Args:
            dataset: the data, as they were read.
            name: the name of the label.
            variable: the recipe's variable.

        Raises:
            DataError: the data do not fit the kind.
        """
        return dataset

    def learn_from(self, name: str, variable: VariableSpec, info: LabelInfo, values: Tensor) -> VariableSpec:
        """Returns the recipe's variable of a label with what it takes from the data, such as the scale of numbers.

        Args:
            name: the name of the label.
            variable: the variable, with its shape.
            info: what the data know of the label.
            values: of the examples that show it, [n, *shape].

        Raises:
            DataError: nothing can be taken from them.
        """
        return variable

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

    def is_promised(self, labels: Tensor, classes: Sequence[str]) -> Tensor:
        """Returns which of the labelled examples [n] prediction sets promise something of, bool [n]; here all."""
        import torch

        return torch.ones(len(labels), dtype=torch.bool)

    def metadata(self, variable: VariableSpec) -> dict[str, Any]:
        """Returns what exported files say of the label beside its classes, JSON-serialisable, by key."""
        return {}

    def parse(self, value: UserValue) -> Tensor:
        """Returns a user's value for such a variable, (count, *shape).

        Raises:
            RunError: the value does not fit.
        """
        ...

    def outputs(self, variable: Variable, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """Returns what users get for the encoder's parameters [n, *parameter_shape], such as class probabilities.

        Exported files contain this method, so it uses methods of tensors only.
        """
        ...

    def outputs_of(self, posterior: Distribution, temperature: float = 1.0) -> Tensor:
        """Returns the same from the posterior itself, to check exported files against."""
        ...

    def log_posterior(self, parameters: Tensor) -> Tensor:
        """Returns log-probabilities [n, values, *shape] of the encoder's parameters, which a temperature may scale.

        They are normalised over dimension 1, the values that each number of a label [n, *shape] can take.
        """
        return parameters.log_softmax(dim=1)

    def outputs_from(self, log_posterior: Tensor) -> Tensor:
        """Returns what users get, as `outputs`, for log-probabilities as `log_posterior` gives them."""
        return log_posterior.exp()

    def predict(self, outputs: Tensor, chosen: Any = None) -> Tensor:
        """Returns the most likely label [n, *shape] of outputs [n, ...]; `chosen` is what `choose` returned."""
        ...

    def named(self, answers: NDArray[Any], classes: Sequence[str]) -> NDArray[np.str_]:
        """Returns the names of answers [n, *shape] as `predict` gives them."""
        import numpy as np

        names: NDArray[np.str_] = np.array(classes)[answers]
        return names

    def renumbered(self, labels: Tensor, numbers: Tensor) -> Tensor:
        """Returns labels [n, *shape] as they are with classes in another order; what is void stays so.

        Args:
            labels: in the present order.
            numbers: int64 [classes], the number of each class in the other order.
        """
        import torch

        return torch.where(labels < 0, labels, numbers[labels.clamp_min(0)])

    def by_example(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns three numbers of each example, float64 [n]: which it is most wrong, and least sure about.

        Args:
            outputs: [n, ...].
            labels: [n, *shape], with void places.

        Returns:
            The probability of the true label, the fraction of the label that is answered wrongly, both NaN where
            nothing of it is known, and the probability of the answer: means over its places, if it has several.
        """
        ...

    def texts(self, draws: Tensor, classes: Sequence[str]) -> list[str]:
        """Returns what a cell of a table says of draws of each example's label: here its most frequent class.

        Args:
            draws: [n, draws].
            classes: class names.
        """
        import torch

        shares = torch.nn.functional.one_hot(draws.long(), len(classes)).sum(dim=1)
        return [classes[place] for place in shares.argmax(dim=1).tolist()]

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        """Returns statistics of a posterior of batch shape [n], against labels [n, *shape] if they are known."""
        ...

    def headline_of(self, statistics: Sequence[LabelStatistics]) -> tuple[float | None, float | None]:
        """Returns the headline figure of statistics in parts, and its standard error where it is no fraction.

        Here it is the mean of the errors. Both are None if no label is known.
        """
        import torch

        errors = [each.errors for each in statistics if each.errors is not None]
        if not sum(map(len, errors)):
            return None, None
        every = torch.cat(errors).cpu().double()
        if self.headline.fraction:
            return every.mean().item(), None
        return every.mean().item(), every.std(correction=0).item() / math.sqrt(len(every))

    def shares_of(self, statistics: Sequence[LabelStatistics]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns by class the mean posterior, and the fraction of the labels for which it is the most likely one."""
        import torch

        count = sum(len(each.confidence) for each in statistics)
        masses, counts = ([getattr(each, name) for each in statistics] for name in ("mass", "counts"))
        mean, likely = ((torch.stack(columns).sum(dim=0) / count).tolist() for columns in (masses, counts))
        return tuple(mean), tuple(likely)

    def consistency(self, posterior: Distribution, intended: Tensor) -> Tensor:
        """Returns how well a posterior agrees with the labels that samples were drawn for, from 0 to 1, [m]."""
        errors = self.measure(posterior, intended).errors
        assert errors is not None
        return 1.0 - errors.double()

    def chance(self, frequencies: Sequence[float]) -> float:
        """Returns the consistency of always giving the same answer, if the classes have these frequencies."""
        return max(frequencies, default=0.0)

    def prior_frequencies(self, prior: Distribution) -> tuple[float, ...]:
        """Returns the class frequencies of a prior, averaged over pixels; empty without classes."""
        ...

    def label_frequencies(self, labels: Tensor, classes: int) -> tuple[float, ...]:
        """Returns the class frequencies among labels [n, *shape], without unknown pixels; empty without classes."""
        ...

    def doubt(self, log_posterior: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns how novel examples are by log-probabilities [n, values]: one minus the largest probability, [n]."""
        import numpy as np

        return np.asarray(1.0 - np.exp(log_posterior.max(axis=1)), dtype=np.float64)

    def count_values(self, labels: Tensor) -> int:
        """Returns the number of known values among labels [n, *shape]: one per example, or one per known pixel."""
        ...

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        """Returns the number of examples [n, *shape] of each class; empty if an example has no single class."""
        ...

    def count_ranges(self, labels: Sequence[Tensor]) -> dict[str, list[int]]:
        """Returns how many examples of each part lie in which range of numbers, by the range's text; {} if none do.

        Args:
            labels: of each part, [n, *shape].
        """
        return {}

    def choose(self, parts: Iterable[tuple[Tensor, Tensor]]) -> Any:
        """Returns what answers need besides outputs, such as thresholds, chosen on validation examples.

        Args:
            parts: as of `scores`.

        Returns:
            Plain numbers, lists and dicts, which a run keeps; None for kinds that choose nothing.
        """
        return None

    def scores(
        self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str], chosen: Any = None
    ) -> dict[str, Any]:
        """Returns scores of outputs as plain numbers, lists and dicts.

        Args:
            parts: pairs of outputs [n, ...] and labels [n, *shape].
            classes: class names.
            chosen: what `choose` returned; None where there were no examples to choose on.
        """
        ...


def takes(task: Task, option: str) -> bool:
    """Returns whether a label of this kind supports an option."""
    return option not in task.refuses


def reason(task: Task, option: str, label: str | None) -> str | None:
    """Returns why a label of this kind refuses an option; None if it supports it."""
    why = task.refuses.get(option)
    return None if why is None else why.format(label=label)
