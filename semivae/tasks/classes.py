"""CLASSES: one class for each example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from semivae.tasks.categorical import Categorical

if TYPE_CHECKING:
    from torch import Tensor

    from semivae.data.dataset import Dataset
    from semivae.data.splits import Split
    from semivae.data.streams import Stream
    from semivae.data.unpaired import Unpaired
    from semivae.game.players import Player
    from semivae.game.teaching.teacher import StreamViews, Teacher
    from semivae.recipe.schema import SplitSpec, VariableSpec
    from semivae.tasks.user_values import UserValue

REFUSES: Mapping[str, str] = {
    "judge": "an external classifier judges images that are generated for maps, but {label} is a class"
}


class Classes(Categorical):
    """A categorical variable of shape ()."""

    name = "classes"
    has_places = False
    counted = "{images}"
    refuses = REFUSES
    hub_tasks = MappingProxyType({True: "image-classification", False: "tabular-classification"})
    fewest_to_calibrate = 50  # with fewer, a single error would determine the temperature

    def fits(self, name: str, variable: VariableSpec) -> bool:
        """Returns whether the variable is categorical with shape ()."""
        return variable.family == "categorical" and not variable.shape

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        """Returns a split in which every class has labelled examples."""
        from semivae.data.splits import stratified_split

        return stratified_split(dataset, spec)

    def unpaired(self, request: Unpaired) -> Stream:
        """Returns a stream of classes drawn with weights."""
        from semivae.data.unpaired import class_stream

        return class_stream(request)

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        """Returns a `ClassTeacher`."""
        from semivae.game.teaching.class_teacher import ClassTeacher

        return ClassTeacher(label, views, decoder, ema_encoder)

    def parse(self, value: UserValue) -> Tensor:
        """Returns class numbers of names or numbers of classes."""
        from semivae.tasks.user_values import class_numbers

        return class_numbers(value)

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        """Returns the number of examples of each class."""
        counts: list[int] = labels.bincount(minlength=classes).tolist()
        return counts

    def scores(
        self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str], chosen: Any = None
    ) -> dict[str, Any]:
        """Returns error with its interval, likelihood and calibration (`semivae.tasks.class_scores`)."""
        from semivae.tasks.class_scores import scores_of

        return scores_of(parts, classes)


CLASSES = Classes()
