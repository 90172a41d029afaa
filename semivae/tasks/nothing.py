"""NOTHING: no label; the kind of a variable that is not a label, such as a code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from semivae.tasks.task import LabelStatistics, Task

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
    from semivae.variables import Variable

REFUSES: Mapping[str, str] = {option: "there is no label" for option in ("doubt", "sets", "judge", "doubts")}


class Nothing(Task):
    """Any variable."""

    name = "none"
    has_places = False
    counted = "{images}"
    refuses = REFUSES
    fewest_to_calibrate = 0

    def fits(self, name: str, variable: VariableSpec) -> bool:
        return True

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        """Returns a random split, because there is no class to balance."""
        from semivae.data.splits import plain_split

        return plain_split(dataset, spec)

    def unpaired(self, request: Unpaired) -> Stream:
        """Returns a stream of values from a file."""
        from semivae.data.unpaired import file_stream

        return file_stream(request)

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        raise ValueError(f"{label} is not a label, so it has no teacher on unlabelled images")

    def parse(self, value: UserValue) -> Tensor:
        """Returns numbers, or class numbers."""
        from semivae.tasks.user_values import plain_values

        return plain_values(value)

    def outputs(self, variable: Variable, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        return parameters

    def outputs_of(self, posterior: Distribution, temperature: float = 1.0) -> Tensor:
        return posterior.mean

    def predict(self, outputs: Tensor, chosen: Any = None) -> Tensor:
        return outputs

    def by_example(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raise ValueError("there is no label to judge by")

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        raise ValueError("there is no label to measure")

    def prior_frequencies(self, prior: Distribution) -> tuple[float, ...]:
        return ()

    def label_frequencies(self, labels: Tensor, classes: int) -> tuple[float, ...]:
        return ()

    def count_values(self, labels: Tensor) -> int:
        return 0

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        return []

    def scores(
        self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str], chosen: Any = None
    ) -> dict[str, Any]:
        return {}


NOTHING = Nothing()
