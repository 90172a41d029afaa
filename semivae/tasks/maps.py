"""MAPS: a class, or `VOID`, at every place of the image; a segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from semivae.errors import DataError
from semivae.tasks.categorical import Categorical
from semivae.tasks.task import reason

if TYPE_CHECKING:
    from torch import Tensor

    from semivae.data.dataset import Dataset
    from semivae.data.splits import Split
    from semivae.data.streams import Stream
    from semivae.data.unpaired import Unpaired
    from semivae.game.players import Player
    from semivae.game.teaching.teacher import StreamViews, Teacher
    from semivae.recipe.schema import SplitSpec, VariableSpec
    from semivae.tasks.given import Given

USUAL_NAME = "s"  # of maps in the data: what a recipe's variable is taken for before the data tell its shape
REFUSES: Mapping[str, str] = {
    "ratio": "maps hold many classes each, so no ratio of classes can be asked for",
    "align": "only single classes are aligned, {label} is a map of them",
    "information": "only of single classes views share information, {label} is a map of them",
    "adjust": "only single classes can be adjusted, {label} is a map of them",
    "mixup": "only single classes can be mixed, {label} is a map of them",
    "vote": "the decoder votes on single classes, {label} is a map of them",
    "prior": "a prior speaks of one class an image, {label} is a map",
    "test_prior": "a prior speaks of one class an image, {label} is a map",
    "doubt": "an image has places that are sure and others that are not, {label} is a map",
}


class Maps(Categorical):
    """A categorical variable of shape (height, width)."""

    name = "maps"
    has_places = True
    counted = "the pixels of {images}"
    refuses = REFUSES
    fewest_to_calibrate = 8  # a map holds thousands of places; but those of one image are alike

    def fits(self, name: str, variable: VariableSpec) -> bool:
        if variable.family != "categorical":
            return False
        return name == USUAL_NAME if variable.shape is None else len(variable.shape) == 2

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        """There is no class to balance."""
        from semivae.data.splits import plain_split

        if spec.balance not in ("balanced", "proportional"):
            raise DataError(f"split.balance: {reason(self, 'ratio', dataset.label)}; remove it")
        return plain_split(dataset, spec)

    def unpaired(self, asked: Unpaired) -> Stream:
        """Maps of the labelled pairs or the hidden ones, and those that come alone."""
        from semivae.data.unpaired import map_stream

        return map_stream(asked)

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        from semivae.game.teaching.map_teacher import MapTeacher

        return MapTeacher(label, views, ema_encoder)

    def parse(self, given: Given) -> Tensor:
        """Mask files, or class numbers."""
        from semivae.tasks.given import class_maps

        return class_maps(given)

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        return []

    def scores(self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str]) -> dict[str, Any]:
        """Intersection over union with its interval, pixel accuracy, calibration (`semivae.tasks.map_scores`)."""
        from semivae.tasks.map_scores import scores_of

        return scores_of(parts, classes)


MAPS = Maps()
