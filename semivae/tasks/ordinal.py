"""ORDINAL: a grade of each example, one of several classes in an order, as a school mark, a stage or an age.

The answer is the most likely grade. Beside what classes have, errors are counted in grades.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from semivae.errors import DataError
from semivae.tasks.classes import Classes
from semivae.tasks.task import Headline, LabelStatistics
from semivae.text import join_names

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution

    from semivae.data.dataset import Dataset
    from semivae.recipe.schema import VariableSpec
    from semivae.variables import Sample


class Ordinal(Classes):
    """An ordinal variable of shape ()."""

    family = "ordinal"
    name = "ordinal"
    headline = Headline("MAE in grades", fraction=False, format=".3f", short=".2f")
    nouns = ("grade", "grades")
    agreement = "reads {share:.0%} of {n:,} of the decoder's samples as the grade that they were drawn for"
    figures = MappingProxyType(
        {
            "mae": ("MAE in grades", "mae", ".3f"),
            "kappa": ("quadratic weighted kappa", "cohen_kappa", ".3f"),
            "near": ("within one grade", "accuracy", ".2%"),
            **Classes.figures,
        }
    )

    def fits(self, name: str, variable: VariableSpec) -> bool:
        """Returns whether the variable is ordinal."""
        return variable.family == self.family and not variable.shape

    def prepare(self, dataset: Dataset, name: str, variable: VariableSpec) -> Dataset:
        """Returns the data with classes in the order of the grades.

        Raises:
            DataError: the label is no single class, or nothing says the order of its classes.
        """
        from dataclasses import replace

        import torch

        info = dataset.labels.get(name)
        if info is None or info.kind == self.name:  # a code; or given back by a run, which has prepared it
            return dataset
        if info.kind != Classes.name:
            raise DataError(f"variables.{name}: {name} of {dataset.name} holds {info.kind}, no grades; correct family")
        order = variable.order or _numbers_in_order(name, info.classes, dataset.name)
        if set(order) != set(info.classes):
            lacking, unknown = (sorted(set(a) - set(b)) for a, b in ((info.classes, order), (order, info.classes)))
            what = f"lacks {join_names(lacking)}" if lacking else f"names {join_names(unknown)}, which the data lack"
            raise DataError(f"variables.{name}.order {what}; {dataset.name} has {join_names(info.classes, 20)}")
        numbers = torch.tensor([order.index(each) for each in info.classes])
        alike = {label: other for label, other in dataset.labels.items() if other.classes == info.classes}

        def ordered(sample: Sample) -> Sample:
            found = dict(sample)
            for label in alike.keys() & sample.keys():
                values = sample[label]
                found[label] = self.renumbered(values, numbers) if values.dim() == 1 else values[:, numbers.argsort()]
            return found

        reordered = {label: replace(other, classes=tuple(order)) for label, other in alike.items()}
        labels = {**dataset.labels, **reordered}
        labels[name] = replace(labels[name], kind=self.name)
        train, test, unlabelled = (ordered(part) for part in (dataset.train, dataset.test, dataset.unlabelled))
        return replace(dataset, labels=labels, train=train, test=test, unlabelled=unlabelled)

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        """Returns statistics in which an error is the distance of the answer from the label, in grades."""
        from dataclasses import replace

        from semivae.game.distributions import categorical_of

        found = super().measure(posterior, labels)
        if labels is None:
            return found
        logits = categorical_of(posterior).logits
        labels = labels.to(logits.device)
        known = labels >= 0
        return replace(found, errors=(logits[known].argmax(dim=-1) - labels[known]).abs().cpu().double())

    def consistency(self, posterior: Distribution, intended: Tensor) -> Tensor:
        """Returns whether the most likely grade is the intended one."""
        errors = super().measure(posterior, intended).errors
        assert errors is not None
        return 1.0 - errors.double()

    def scores(
        self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str], chosen: Any = None
    ) -> dict[str, Any]:
        """Returns the scores of classes and of grades (`grade_scores`)."""
        import torch

        probabilities, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        return super().scores([(probabilities, labels)], classes) | grade_scores(probabilities.argmax(dim=1), labels)


def grade_scores(answers: Tensor, labels: Tensor) -> dict[str, Any]:
    """Returns how far answers [n] are from labels [n], both numbers of grades.

    "mae" (the mean distance in grades), "mae_interval" (95%, by the standard error), "near" (the share that is at most
    one grade off) and "kappa" (quadratic weighted, Cohen 1968: 1 if all are right, 0 by chance; None where answers or
    labels are all alike, so that nothing can agree).
    """
    distance = (answers - labels).abs().double()
    mean, error = distance.mean().item(), distance.std(correction=0).item() / len(distance) ** 0.5
    y, z = labels.double(), answers.double()
    # of squared distances the expected one, if answers and labels were independent
    by_chance = (y.var(correction=0) + z.var(correction=0) + (y.mean() - z.mean()) ** 2).item()
    return {
        "mae": mean,
        "mae_interval": [max(0.0, mean - 1.96 * error), mean + 1.96 * error],
        "near": (distance <= 1).double().mean().item(),
        "kappa": 1.0 - distance.square().mean().item() / by_chance if by_chance else None,
    }


def _numbers_in_order(name: str, classes: Sequence[str], data: str) -> tuple[str, ...]:
    """Returns classes whose names are numbers, by value. Raises DataError for others, and for two of one value."""
    try:
        values = {each: float(each) for each in classes}
    except ValueError:
        raise DataError(
            f"variables.{name}: nothing says the order of the grades {join_names(classes)} of {data}; write order: "
            f"[{join_names(classes, 20)}], and put them from the lowest to the highest"
        ) from None
    found = tuple(sorted(classes, key=values.__getitem__))
    for one, other in pairwise(found):
        if not values[one] < values[other]:
            raise DataError(
                f"variables.{name}: the grades {one} and {other} of {data} are the same number, or not a number; write "
                "each grade in one way, or give their order, as order: [low, high]"
            )
    return found


ORDINAL = Ordinal()
