"""What commands show and write about each kind of label: a module for each, called as the kind is.

A kind's module holds `SHOWN`; nothing else asks which kind a label is of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from semivae.tasks.modules import module_of, own_figures

if TYPE_CHECKING:
    from rich.console import RenderableType
    from torch import Tensor

    from semivae.api import Run
    from semivae.classification import Classifier
    from semivae.data.inputs.reading import Reading
    from semivae.generative.imputation import Imputed

Report = Mapping[str, Any]
Shown = list["RenderableType"]


@dataclass(frozen=True)
class Asked:
    """What `predict` is asked for beside the class.

    Attributes:
        coverage: of sets of classes; None: no sets.
        sets: the scores that they are made by, "aps" or "raps".
        at_most_error: among the answers; None: all are answered.
        novelty: how novel each example is.
    """

    coverage: float | None = None
    at_most_error: float | None = None
    novelty: bool = False
    sets: Literal["aps", "raps"] = "aps"


@dataclass(frozen=True)
class KindOfLabel:
    """How one kind of label is shown.

    Attributes:
        results: of an evaluation, the table that matters most.
        details: of an evaluation, all further tables.
        seeds: one line for each split seed, from the evaluations by seed.
        check_out: refuses a place where predictions cannot or may not be written (out, overwrite).
        predict: writes and shows what a classifier says of images (classifier, images, out, overwrite, as_json,
            and what else was asked for).
        predicts_pieces: whether `predict` also takes images in pieces.
        picture: what is shown of samples, images [n, channels, height, width].
        arrays: of imputed images, what is kept of their labels, by name.
        imputed: writes what else is kept of imputed labels, and returns what is shown of images with their fillings
            (run, out, images, imputed, rows [some, 3 + draws, channels, height, width], values that were given).
    """

    results: Callable[[Report], Shown]
    details: Callable[[Report], Shown]
    seeds: Callable[[Mapping[int, Report]], Shown]
    check_out: Callable[[Path | None, bool], None]
    predict: Callable[[Classifier, Any, Path | None, bool, bool, Asked], None]
    picture: Callable[[Run, Mapping[str, Tensor]], Tensor]
    arrays: Callable[[Imputed, Sequence[str]], dict[str, Any]]
    imputed: Callable[[Run, Path, Reading, Imputed, Tensor, Mapping[str, Any]], Tensor]
    predicts_pieces: bool = False


def shown_as(kind: str) -> KindOfLabel:
    """How a kind of label is shown, by the task's name.

    A kind without a module of its own is shown as the kind that it is made from, after a table of its own figures.
    """
    from semivae.tasks.kinds import parents_of, task_named

    task, module = task_named(kind), module_of(__name__, parents_of(kind))
    found: KindOfLabel = module.SHOWN
    if module.__name__.endswith(f".{kind}"):
        return found
    from semivae.cli.kinds.figures import figures_table
    from semivae.cli.tables import seeds_table

    key, (name, form) = next(iter(own_figures(task).items()))
    return replace(
        found,
        results=lambda report: [figures_table(report, task), *found.results(report)],
        seeds=lambda reports: [seeds_table(reports, key, form, f"{name[0].upper()}{name[1:]}"), *found.seeds(reports)],
    )
