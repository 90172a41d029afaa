"""NOTHING: no label. Also what a variable is that no kind of label fits: a code."""

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
    from semivae.tasks.given import Given

REFUSES: Mapping[str, str] = {"doubt": "there is no label", "judge": "there is no label"}


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
        """There is no class to balance."""
        from semivae.data.splits import plain_split

        return plain_split(dataset, spec)

    def unpaired(self, asked: Unpaired) -> Stream:
        """Values of a code come from a file."""
        from semivae.data.unpaired import file_stream

        return file_stream(asked)

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        raise ValueError(f"{label} is no label, so nobody teaches it on unlabelled images")

    def parse(self, given: Given) -> Tensor:
        """Numbers, or class numbers."""
        from semivae.tasks.given import plain_values

        return plain_values(given)

    def answer(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        return parameters

    def answer_of(self, posterior: Distribution, temperature: float = 1.0) -> Tensor:
        return posterior.mean

    def predict(self, answers: Tensor) -> Tensor:
        return answers

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        raise ValueError("without a label there is nothing to examine")

    def prior_frequencies(self, prior: Distribution) -> tuple[float, ...]:
        return ()

    def label_frequencies(self, labels: Tensor, classes: int) -> tuple[float, ...]:
        return ()

    def count_values(self, labels: Tensor) -> int:
        return 0

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        return []

    def scores(self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str]) -> dict[str, Any]:
        return {}


NOTHING = Nothing()
