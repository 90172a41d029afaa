"""MAPS: a class, or `VOID`, at every pixel of the image (semantic segmentation)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
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
    from semivae.tasks.user_values import UserValue

USUAL_NAME = "s"  # of maps in the data; decides while the shape of a recipe's variable is unknown
REFUSES: Mapping[str, str] = {
    "ratio": "a map holds many classes, so a ratio of classes has no meaning",
    "align": "only single classes can be aligned, but {label} is a map",
    "information": "the mutual-information loss needs a single class, but {label} is a map",
    "adjust": "only single classes can be adjusted, but {label} is a map",
    "mixup": "only single classes can be mixed, but {label} is a map",
    "vote": "the decoder votes on single classes only, but {label} is a map",
    "prior": "a prior is about one class per image, but {label} is a map",
    "test_prior": "a prior is about one class per image, but {label} is a map",
    "sets": "prediction sets and rejection are about one class per image, but {label} is a map",
    "doubt": "the uncertainty of a map differs from pixel to pixel, so an image as a whole has none",
    "doubts": "one class of an example is doubted, but {label} is a map; `semivae report` shows the images that are "
    "taken most wrongly",
    "suggest": "suggestions compare one class and one feature vector per image, but {label} is a map",
}


class Maps(Categorical):
    """A categorical variable of shape (height, width)."""

    name = "maps"
    has_places = True
    counted = "the pixels of {images}"
    refuses = REFUSES
    hub_tasks = MappingProxyType({True: "image-segmentation"})
    fewest_to_calibrate = 8  # maps have thousands of pixels, but those of one image are alike

    def fits(self, name: str, variable: VariableSpec) -> bool:
        """Returns whether the variable is categorical with two dimensions, or, without a shape, has the usual name."""
        if variable.family != "categorical":
            return False
        return name == USUAL_NAME if variable.shape is None else len(variable.shape) == 2

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        """Returns a random split, because there is no class to balance."""
        from semivae.data.splits import plain_split

        if spec.balance not in ("balanced", "proportional"):
            raise DataError(f"split.balance: {reason(self, 'ratio', dataset.label)}; remove it")
        return plain_split(dataset, spec)

    def unpaired(self, request: Unpaired) -> Stream:
        """Returns a stream of maps: those of the labelled pairs or the hidden ones, and unpaired maps."""
        from semivae.data.unpaired import map_stream

        return map_stream(request)

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        """Returns a `MapTeacher`."""
        from semivae.game.teaching.map_teacher import MapTeacher

        return MapTeacher(label, views, ema_encoder)

    def parse(self, value: UserValue) -> Tensor:
        """Returns maps from mask files or class numbers."""
        from semivae.tasks.user_values import class_maps

        return class_maps(value)

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        """Returns no counts, because a map has no single class."""
        return []

    def scores(
        self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str], chosen: Any = None
    ) -> dict[str, Any]:
        """Returns IoU with its interval, pixel accuracy and calibration (`semivae.tasks.map_scores`)."""
        from semivae.tasks.map_scores import scores_of

        return scores_of(parts, classes)


MAPS = Maps()
