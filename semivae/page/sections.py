"""The sections of the page, in order: what each is called, what it says of itself, and which runs have it.

Each has a template of its name in templates/sections.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from semivae.page.findings import Findings


@dataclass(frozen=True)
class Section:
    """One section: its name in links and files, title, first sentence, and whether a run has something in it."""

    name: str
    title: str
    lead: str
    shows: Callable[[Findings], bool]


def _has(key: str) -> Callable[[Findings], bool]:
    return lambda found: bool(found.numbers.get(key))


def _looks(*names: str) -> Callable[[Findings], bool]:
    return lambda found: any(found.looks.get(name) for name in names)


def _diagnosed(key: str) -> Callable[[Findings], bool]:
    return lambda found: bool((found.numbers.get("diagnosis") or {}).get(key))


SECTIONS = (
    Section(
        "results",
        "Results",
        "Measured once, on test examples that no training step has seen. The supervised twin is the same network, "
        "trained on the labelled examples alone. Intervals speak of the finite test set only, not of the choice of "
        "labels or of the seed.",
        _has("evaluation"),
    ),
    Section("warnings", "Warnings", "What looks wrong about the run, and what to try.", _diagnosed("warnings")),
    Section(
        "mistakes",
        "Where it is wrong",
        "Test examples whose true label the run takes for least likely, first the worst.",
        _looks("most_wrong"),
    ),
    Section(
        "doubts",
        "Where it is least sure",
        "Test examples whose answer has the lowest probability, right or wrong.",
        _looks("least_sure"),
    ),
    Section(
        "labels",
        "Training labels that it doubts",
        "Labelled training examples that the run answers otherwise than their label. Some may be labelled wrongly.",
        _looks("doubted"),
    ),
    Section(
        "evidence",
        "What was written down of the label",
        "A row for each true class, a column for each class that was written down, and how often it was. The 95% "
        "interval of a cell appears under the pointer; it does not know that the run may be wrong about true classes.",
        _diagnosed("evidence"),
    ),
    Section("samples", "What the decoder draws", "", _looks("samples")),
    Section(
        "map",
        "Map of the features",
        "Each dot is a test example, coloured by its true class. The features below the classifier's last layer are "
        "shown in the plane in which they differ most (principal components).",
        lambda found: bool(found.clouds),
    ),
    Section(
        "curves",
        "Training",
        "Against the number of training steps.",
        lambda found: bool(found.measured or any(found.losses.values())),
    ),
    Section(
        "codes",
        "Codes in use",
        "The information, in bits per sample, that the encoder recovers of each code from what the decoder makes of "
        "it: a lower bound. A code with 0 bits has collapsed.",
        _diagnosed("bits"),
    ),
    Section(
        "plan",
        "Who learns what from whom",
        "One diagram for each lesson. Filled variables are observed in the stream, dashed ones are drawn by the other "
        "player, or by the teacher of the labels. Thick arrows are the factors that learn.",
        lambda found: bool(found.diagrams),
    ),
    Section("data", "Data", "", _has("data")),
    Section("recipe", "Recipe in words", "", lambda found: bool(found.words)),
    Section("left-out", "Left out", "What this page does not show, and why.", _has("left_out")),
)
