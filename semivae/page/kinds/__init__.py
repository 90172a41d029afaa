"""What the page shows of each kind of label: a module for each, called as the kind is; it holds `SHOWN`.

Nothing else in this room asks which kind a label is of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from semivae.data.splits import Split
from semivae.page.looks import Look
from semivae.page.number_charts import SquareChart
from semivae.runs.model import TrainedModel
from semivae.tasks.kinds import parents_of, task_named
from semivae.tasks.modules import module_of, own_figures
from semivae.variables import Sample


@dataclass(frozen=True)
class Score:
    """A score of an evaluation: its key there, its name, how it is written, and the key of its interval."""

    key: str
    name: str
    format: str
    interval: str = ""


@dataclass(frozen=True)
class KindOnPage:
    """How one kind of label is shown.

    Attributes:
        scores: of an evaluation, the one that matters most first; empty where nothing is evaluated.
        per_class, counted: what the scores by class are, and what a confusion matrix counts.
        parts: the rows of the training examples, "labelled" (where there are any) and "unlabelled".
        examples: labelled examples (run, arrays as data sets keep them).
        judged: the same beside what the run answers.
        samples: what the decoder draws for each value of the label.
        coloured: class numbers [n] to colour single examples by; None where an example has no one class.
        samples_caption, judged_caption: what the pictures of samples, and of answers, show.
        entry: what has a score by itself.
        shown: how many examples of each sort, at most.
        legend: names and colours of the classes, where pictures are shown in them.
        charts: further charts of an evaluation (run, its report).
        doubts: whether training labels that the run answers otherwise are shown.
    """

    scores: tuple[Score, ...]
    per_class: str
    counted: str
    parts: Callable[[Split], dict[str, Tensor]]
    examples: Callable[[TrainedModel, Sample], list[Look]]
    judged: Callable[[TrainedModel, Sample], list[Look]]
    samples: Callable[[TrainedModel], list[Look]]
    coloured: Callable[[Tensor], Sequence[int] | None]
    samples_caption: str
    judged_caption: str = ""
    shown: int = 24
    entry: str = "class"
    legend: Callable[[TrainedModel], list[tuple[str, str]]] = lambda run: []
    charts: Callable[[TrainedModel, Mapping[str, Any]], list[SquareChart]] = lambda run, report: []
    doubts: bool = True


def labelled_and_not(split: Split) -> dict[str, Tensor]:
    """The parts of a split that shows labels."""
    return {"labelled": split.labelled, "unlabelled": split.unlabelled}


def on_page(kind: str) -> KindOnPage:
    """How a kind of label is shown, by the task's name.

    A kind without a module of its own is shown as the kind that it is made from, with its own figures first, of which
    the very first has an interval.
    """
    task, module = task_named(kind), module_of(__name__, parents_of(kind))
    found: KindOnPage = module.SHOWN
    if module.__name__.endswith(f".{kind}"):
        return found
    scores = [Score(key, f"{name[0].upper()}{name[1:]}", form) for key, (name, form) in own_figures(task).items()]
    scores[0] = replace(scores[0], interval=f"{scores[0].key}_interval")
    return replace(found, scores=(*scores, *found.scores))
