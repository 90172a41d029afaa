"""NUMBERS: a number, or a short vector of numbers, for each example (regression)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from semivae.errors import DataError
from semivae.tasks.task import Headline, LabelStatistics, Task, reason

if TYPE_CHECKING:
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

REFUSES: Mapping[str, str] = {
    "ratio": "a ratio is of class counts, but {label} is a number",
    "align": "only classes can be aligned, but {label} is a number",
    "information": "the mutual-information loss needs classes, but {label} is a number",
    "adjust": "only classes can be adjusted, but {label} is a number",
    "mixup": "only classes can be mixed, but {label} is a number",
    "cutmix": "only classes can be mixed, but {label} is a number",
    "vote": "the decoder votes on classes only, but {label} is a number",
    "calibrate": "a temperature is for class probabilities, but {label} is a number; its intervals are chosen on the "
    "validation examples anyway",
    "prior": "a prior is about classes, but {label} is a number",
    "test_prior": "a prior is about classes, but {label} is a number",
    "judge": "an external classifier judges images that are generated for maps, but {label} is a number",
    "sets": "prediction sets and rejection are about classes, but {label} is a number; it has intervals",
    "doubt": "the uncertainty of a number is that of its scale, which says nothing of novelty",
    "doubts": "doubts compare class probabilities, but {label} is a number",
    "suggest": "suggestions compare class probabilities, but {label} is a number",
}
CONSISTENCY_BY_CHANCE = 0.484  # the mean of max(0, 1 - z^2) over standard normal z: of always answering the mean
SMALLEST_DEVIATION, LARGEST_DEVIATION = 1e-15, 1e15  # of 32-bit floats, whose squares must be such floats, too


class Numbers(Task):
    """A Gaussian variable of shape () or (K,), with a unit. NaN stands for a number that is not known."""

    family = "gaussian"
    headline = Headline("RMSE", fraction=False, format=".4g", short=".3g")
    chooses = True
    nouns = ("number", "numbers")
    agreement = "agrees to {share:.0%} with the numbers that {n:,} of the decoder's samples were drawn for"
    output = "mean_and_deviation"
    hub_tasks = MappingProxyType({True: "image-feature-extraction", False: "tabular-regression"})
    figures = MappingProxyType(
        {
            "rmse": ("RMSE", "rmse", ".4g"),
            "mae": ("MAE", "mae", ".4g"),
            "r2": ("R2", "r_squared", ".3f"),
            "nll": ("NLL (nats)", "nll", ".4f"),
        }
    )
    name = "numbers"
    has_places = False
    counted = "{images}"
    refuses = REFUSES
    fewest_to_calibrate = 0

    def fits(self, name: str, variable: VariableSpec) -> bool:
        """Returns whether the variable is Gaussian, with at most one dimension."""
        return variable.family == "gaussian" and len(variable.shape or ()) <= 1

    def learn_from(self, name: str, variable: VariableSpec, info: LabelInfo, values: Tensor) -> VariableSpec:
        """Returns the variable with its unit, and mean and deviation of the known numbers where the recipe has none.

        They are rounded to six digits, so that a recipe shows them well.

        Raises:
            DataError: fewer than two different numbers are known of the label, or of an entry of the vector, or their
                deviation is one whose square 32-bit floats do not hold.
        """
        unit = variable.unit or info.unit
        if variable.mean is not None:
            stated = variable.deviation or ()
            _refuse_scales(name, stated if isinstance(stated, tuple) else (stated,))
            return variable.model_copy(update={"unit": unit})
        means, deviations = [], []
        for place, column in enumerate(values.double().reshape(len(values), -1).T):
            known = column[~column.isnan()]
            if len(known) < 2 or not float(known.std()) > 0.0:
                which = f"{name}[{place}]" if variable.shape else name
                raise DataError(
                    f"the labelled examples show {len(known.unique())} different {which}, so numbers have no scale; "
                    f"label more examples, or write variables.{name}.mean and deviation"
                )
            means.append(float(f"{float(known.mean()):.6g}"))
            deviations.append(float(f"{float(known.std()):.6g}"))
        _refuse_scales(name, deviations)
        return variable.model_copy(update={"mean": tuple(means), "deviation": tuple(deviations), "unit": unit})

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        """Returns a split whose labelled and validation examples cover the range of the label evenly."""
        from semivae.data.number_splits import quantile_split

        if spec.balance not in ("balanced", "proportional"):
            raise DataError(f"split.balance: {reason(self, 'ratio', dataset.label)}; remove it")
        return quantile_split(dataset, spec)

    def unpaired(self, request: Unpaired) -> Stream:
        """Returns a stream of numbers: those of examples, rows of a file, or draws from a stated distribution."""
        from semivae.data.unpaired import number_stream

        return number_stream(request)

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        """Returns a `NumberTeacher`."""
        from semivae.game.teaching.number_teacher import NumberTeacher

        return NumberTeacher(label, views, ema_encoder)

    def parse(self, value: UserValue) -> Tensor:
        """Returns numbers."""
        from semivae.tasks.user_values import numbers

        return numbers(value)

    def outputs(self, variable: Variable, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """Returns means and standard deviations in the label's unit, [n, 2, *shape]."""
        import torch

        from semivae.game.families import GaussianFamily

        return torch.stack(GaussianFamily().loc_and_scale(variable, parameters), dim=1)

    def outputs_of(self, posterior: Distribution, temperature: float = 1.0) -> Tensor:
        """Returns the same of a posterior with batch shape [n]."""
        import torch

        return torch.stack([posterior.mean, posterior.stddev], dim=1)

    def predict(self, outputs: Tensor, chosen: Any = None) -> Tensor:
        """Returns the means, float [n, *shape]."""
        return outputs[:, 0]

    def by_example(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns by how much each is off and how sure it is, as falling numbers of what is worst (see below).

        The first is minus the mean absolute error, in the label's unit, NaN where nothing is known; the second is 1
        where something is known, because no number is quite right; the third is minus the mean standard deviation.
        """
        means, scales = outputs.double().reshape(len(outputs), 2, -1).unbind(dim=1)
        off = (means - labels.double().reshape(len(labels), -1)).abs().nanmean(dim=1)
        return -off, off.isfinite().double() + off * 0.0, -scales.mean(dim=1)

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        """Returns statistics by number: squared errors, and the fraction of the variance that is explained."""
        from semivae.game.distributions import numbers_of

        numbers = numbers_of(posterior)
        errors, certainty = None, numbers.certainty
        if labels is not None:
            labels = labels.to(certainty.device)
            known = ~labels.isnan()
            errors, certainty = (labels - numbers.loc)[known].square().cpu().double(), certainty[known]
        nothing = certainty.new_zeros(0).cpu().double()
        return LabelStatistics(errors, certainty.flatten().cpu(), nothing, nothing)

    def headline_of(self, statistics: Sequence[LabelStatistics]) -> tuple[float | None, float | None]:
        """Returns the RMSE, and its standard error by that of the mean square."""
        square, error = super().headline_of(statistics)
        if square is None or error is None:
            return None, None
        rmse = math.sqrt(square)
        return rmse, error / (2.0 * rmse) if rmse else 0.0

    def consistency(self, posterior: Distribution, intended: Tensor) -> Tensor:
        """Returns 1 minus the squared error in units of the label's variance, at least 0, of each known number."""
        from semivae.game.distributions import numbers_of

        numbers = numbers_of(posterior)
        gaps = (numbers.loc - intended.to(numbers.loc.device)) / numbers.deviation
        return (1.0 - gaps[~gaps.isnan()].square().double()).clamp_min(0.0)

    def chance(self, frequencies: Sequence[float]) -> float:
        """Returns the mean of that consistency if the mean is always answered and the numbers are normal."""
        return CONSISTENCY_BY_CHANCE

    def prior_frequencies(self, prior: Distribution) -> tuple[float, ...]:
        return ()

    def label_frequencies(self, labels: Tensor, classes: int) -> tuple[float, ...]:
        return ()

    def texts(self, draws: Tensor, classes: Sequence[str]) -> list[str]:
        """Returns the mean of the draws of each example, with six digits; a vector in brackets."""
        means = draws.double().mean(dim=1)
        rows = means.reshape(len(means), -1).tolist()
        numbers = [[f"{value:.6g}" for value in row] for row in rows]
        return [row[0] if means.dim() == 1 else f"[{', '.join(row)}]" for row in numbers]

    def count_values(self, labels: Tensor) -> int:
        """Returns how many numbers are known."""
        return int((~labels.isnan()).sum())

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        return []

    def count_ranges(self, labels: Sequence[Tensor]) -> dict[str, list[int]]:
        """Returns how many known numbers of each part lie in which of a few ranges; {} for vectors."""
        import torch

        from semivae.tasks.number_ranges import ranges

        known = [part[~part.isnan()].double() for part in labels if part.dim() == 1]
        together = torch.cat(known) if known else torch.zeros(0)
        if not len(together):
            return {}
        edges, texts = ranges(*(float(end) for end in together.aminmax()))
        inner = torch.tensor(edges[1:-1], dtype=torch.float64)
        counts = [torch.bucketize(part, inner, right=True).bincount(minlength=len(texts)).tolist() for part in known]
        return {text: [part[place] for part in counts] for place, text in enumerate(texts)}

    def choose(self, parts: Iterable[tuple[Tensor, Tensor]]) -> Any:
        """Returns the scores that intervals of any coverage are made from (`semivae.tasks.number_intervals`)."""
        import torch

        from semivae.tasks.number_intervals import Intervals

        outputs, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        return Intervals.of(outputs, labels).facts()

    def scores(
        self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str], chosen: Any = None
    ) -> dict[str, Any]:
        """Returns RMSE with its interval, likelihood and coverage (`semivae.tasks.number_scores`)."""
        from semivae.tasks.number_scores import scores_of

        return scores_of(parts, chosen)


def _refuse_scales(name: str, deviations: Sequence[float]) -> None:
    """Raises DataError for a deviation whose square 32-bit floats do not hold, in which losses are computed."""
    for place, deviation in enumerate(deviations):
        if not SMALLEST_DEVIATION <= deviation <= LARGEST_DEVIATION:
            which = f"{name}[{place}]" if len(deviations) > 1 else name
            raise DataError(
                f"{which} has a deviation of {deviation:.3g}, whose square 32-bit floats do not hold; give the numbers "
                f"in a unit in which it lies between {SMALLEST_DEVIATION:g} and {LARGEST_DEVIATION:g}"
            )


NUMBERS = Numbers()
