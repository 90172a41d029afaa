"""What a classifier says of single examples: how likely it takes their labels to be, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from semivae.classification.posterior import beside
from semivae.tasks.task import Task


@dataclass
class Judged:
    """Sees answers part by part (`semivae.reports.evaluation.Watcher`) and keeps three numbers of each example.

    All are means over the known places of an example, where its label has several.

    Attributes:
        task: the kind of the label.
        likely: probability of the true class, [n] from 0 to 1; NaN where no place is known.
        wrong: share of the places whose most likely class is another one, [n]; NaN where no place is known.
        sure: probability of the most likely class, [n], over all places.
    """

    task: Task
    parts: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, answers: Tensor, labels: Tensor) -> None:
        """Takes outputs [n, ...] and labels [n, *shape], as `Task.by_example` does."""
        self.parts.append(self.task.by_example(answers, labels))

    @property
    def likely(self) -> Tensor:
        return torch.cat([part[0] for part in self.parts])

    @property
    def wrong(self) -> Tensor:
        return torch.cat([part[1] for part in self.parts])

    @property
    def sure(self) -> Tensor:
        return torch.cat([part[2] for part in self.parts])

    def most_wrong(self, count: int) -> Tensor:
        """The `count` examples with a mistake whose true label is taken for least likely, int64 rows."""
        rows = (self.wrong > 0).nonzero()[:, 0]
        return rows[self.likely[rows].argsort(stable=True)[:count]]

    def least_sure(self, count: int) -> Tensor:
        """The `count` examples whose answer has the lowest probability, int64 rows."""
        return self.sure.argsort(stable=True)[:count]

    def rows(self, chosen: Tensor, numbers: Tensor | None = None) -> list[dict[str, float | None]]:
        """The three numbers of chosen examples, and which row each is; `numbers`: of the rows, where others count."""
        places = chosen if numbers is None else numbers[chosen]
        columns = {"row": places, "likely": self.likely[chosen], "wrong": self.wrong[chosen], "sure": self.sure[chosen]}
        lists = [column.tolist() for column in columns.values()]
        finite = ([None if value != value else value for value in values] for values in zip(*lists, strict=True))
        return [dict(zip(columns, values, strict=True)) for values in finite]


def judged_of(task: Task, parts: Iterable[Tensor], labels: Tensor) -> Judged:
    """The same of answers in parts, and all labels."""
    found = Judged(task)
    for part in beside(parts, labels):
        found(*part)
    return found
