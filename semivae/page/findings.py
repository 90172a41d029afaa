"""All that the page says of one run, gathered once: plain numbers, and what is shown beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from semivae.classification import Classifier
from semivae.classification.posterior import at_a_time, embed
from semivae.data.dataset import Dataset
from semivae.data.hashing import random_subset
from semivae.data.splits import Split
from semivae.errors import SemivaeError
from semivae.page.charts import Cloud, LineChart, clouds
from semivae.page.curves import last_losses, loss_charts, measured_charts
from semivae.page.diagram import Diagram, diagrams_of
from semivae.page.judged import Judged, judged_of
from semivae.page.kinds import KindOnPage, on_page
from semivae.page.looks import Look
from semivae.page.number_charts import SquareChart
from semivae.page.words import Sentences, recipe_in_words
from semivae.reports.diagnosis import diagnose
from semivae.reports.evaluation import evaluate
from semivae.runs.folder import read_metrics
from semivae.runs.model import TrainedModel
from semivae.scenario.plan import plan_of
from semivae.scenario.plan_rows import plan_rows
from semivae.variables import Sample

MAPPED = 1500  # test examples in the map of features
BATCHES_EXAMINED = 8  # of training labels that are looked at: 4,096 classes, fewer maps
SAMPLES = 1000  # of the decoder's, as in `semivae diagnose`

Found = TypeVar("Found")


@dataclass(eq=False)
class Findings:
    """What is known of one run.

    Attributes:
        name: what the page calls it.
        numbers: JSON-serialisable, see `semivae.page.report.write_report`.
        kind: how its label is shown.
        words: its recipe.
        diagrams: its plan.
        measured: charts of what validations found.
        losses: charts of the losses, by player.
        looks: "examples", "most_wrong", "least_sure", "doubted" and "samples".
        clouds: the map of the features, by class.
        legend: names and colours of the classes, where examples are shown in them.
        charts: further charts of the evaluation.
    """

    name: str
    numbers: dict[str, Any]
    kind: KindOnPage
    words: Sentences = field(default_factory=list)
    diagrams: list[Diagram] = field(default_factory=list)
    measured: list[LineChart] = field(default_factory=list)
    losses: dict[str, list[LineChart]] = field(default_factory=dict)
    looks: dict[str, list[Look]] = field(default_factory=dict)
    clouds: tuple[Cloud, ...] = ()
    legend: list[tuple[str, str]] = field(default_factory=list)
    charts: list[SquareChart] = field(default_factory=list)

    def attempt(self, what: str, find: Callable[[], Found]) -> Found | None:
        """What is found; None, with the reason on the page, where it cannot be had."""
        try:
            return find()
        except SemivaeError as error:
            self.numbers["left_out"].append(f"{what}: {error}")
            return None


def findings_of(run: TrainedModel, name: str | None = None) -> Findings:
    """Everything about a run at its last checkpoint; what cannot be had is named in its numbers as "left_out"."""
    run = run.at("last")
    kind = on_page(run.task.name)
    numbers: dict[str, Any] = {"run": str(run.path), "about": run.recipe.about, "kind": run.task.name, "left_out": []}
    found = Findings(name or run.path.name, numbers, kind)
    _tell_recipe(run, found)
    data = found.attempt("data", lambda: (run.dataset(), run.split()))
    if data is not None:
        _show_data(run, found, *data)
        _judge(run, found, *data)
    _diagnose(run, found)
    found.looks["samples"] = found.attempt("samples", lambda: _samples(run, kind)) or []
    return found


def _samples(run: TrainedModel, kind: KindOnPage) -> list[Look]:
    run.require_picture_factor()
    return kind.samples(run)


def _tell_recipe(run: TrainedModel, found: Findings) -> None:
    plan = plan_of(run.recipe, run.roles)
    found.words = recipe_in_words(run)
    observed = {name: stream.observe for name, stream in run.recipe.streams.items()}
    found.diagrams = diagrams_of(plan, run.roles, observed, list(run.recipe.variables))
    columns = ("stream", "learner", "completion", "scores")
    found.numbers |= {
        "step": run.facts.step,
        "steps": run.facts.steps,
        "seconds": run.facts.seconds,
        "words": dict(found.words),
        "plan": [dict(zip(columns, row, strict=True)) for row in plan_rows(plan)],
    }


def _show_data(run: TrainedModel, found: Findings, dataset: Dataset, split: Split) -> None:
    """Counts, and the first examples."""
    rows = found.kind.parts(split)
    parts = {name: _rows(dataset.train, of) for name, of in rows.items()} | {"test": dataset.test}
    beside = len(dataset.unlabelled.get(run.image, ()))
    found.numbers["data"] = {
        "name": dataset.name,
        "shape": list(dataset.shape),
        "classes": list(run.classes),
        "labelled": len(rows.get("labelled", ())),
        "unlabelled": len(rows["unlabelled"]) + beside,
        "validation": len(split.validation),
        "test": len(dataset.test.get(run.image, ())),
        "test_origin": dataset.test_origin,
        "warnings": list(dataset.warnings),
        "class_counts": _class_counts(run, parts),
    }
    chosen = random_subset(next(of for of in rows.values() if len(of)), found.kind.shown, seed=0)
    found.looks["examples"] = found.kind.examples(run, _rows(dataset.train, chosen))
    found.legend = found.kind.legend(run)


def _rows(arrays: Sample, rows: Tensor) -> Sample:
    return {name: values[rows] for name, values in arrays.items()}


def _class_counts(run: TrainedModel, parts: Mapping[str, Sample]) -> dict[str, list[int]]:
    """How many examples each class has, by part; without the parts whose examples hide their class, or have no one."""
    known = {name: run.roles.label_in(part) for name, part in parts.items() if name != "unlabelled"}
    counts = {
        name: run.task.class_counts(labels, len(run.classes)) for name, labels in known.items() if labels is not None
    }
    return {name: of_class for name, of_class in counts.items() if of_class}


def _judge(run: TrainedModel, found: Findings, dataset: Dataset, split: Split) -> None:
    """The evaluation, the examples that it is most wrong and least sure about, doubted labels, a map of features."""
    judged = Judged(run.task)
    report = found.attempt("evaluation", lambda: evaluate(run, watch=judged))
    found.numbers["evaluation"] = report
    if report is None:
        return
    most = found.kind.shown
    for name, rows in (("most_wrong", judged.most_wrong(most)), ("least_sure", judged.least_sure(most))):
        found.numbers[name] = judged.rows(rows)
        found.looks[name] = found.kind.judged(run, _rows(dataset.test, rows)) if len(rows) else []
    found.charts = found.kind.charts(run, report)
    if found.kind.doubts:
        _doubt(run, found, dataset, split)
    _map_features(run, found, dataset)


def _doubt(run: TrainedModel, found: Findings, dataset: Dataset, split: Split) -> None:
    """Training labels that the run itself answers otherwise."""
    if not len(split.labelled):  # evidence alone taught the label
        return
    rows = random_subset(split.labelled, BATCHES_EXAMINED * at_a_time(run), seed=0)
    part = _rows(dataset.train, rows)
    judged = judged_of(run.task, Classifier(run).in_parts(run.examples(part)), part[run.label])
    doubted = judged.most_wrong(found.kind.shown)
    found.numbers["doubted"] = {"examined": len(rows), "wrong": int((judged.wrong > 0).sum()),
                                "rows": judged.rows(doubted, rows)}  # fmt: skip
    found.looks["doubted"] = found.kind.judged(run, _rows(part, doubted)) if len(doubted) else []


def _map_features(run: TrainedModel, found: Findings, dataset: Dataset) -> None:
    """The test examples' features in the plane in which they differ most."""
    from sklearn.decomposition import PCA

    rows = random_subset(torch.arange(len(dataset.test[run.label])), MAPPED, seed=0)
    groups = found.kind.coloured(dataset.test[run.label][rows])
    if groups is None or len(rows) < 3:
        return
    features = embed(run, run.examples(dataset.test)[rows])
    if features.shape[1] < 2:
        return
    plane = PCA(2, random_state=0)
    places = plane.fit_transform(features).tolist()
    found.clouds = clouds(places, groups, run.classes)
    found.numbers["features"] = {
        "count": len(rows),
        "dimensions": features.shape[1],
        "explained": plane.explained_variance_ratio_.tolist(),
    }


def _diagnose(run: TrainedModel, found: Findings) -> None:
    """Curves, codes in use, warnings."""
    metrics = read_metrics(run.path)
    found.losses = loss_charts(metrics)
    found.numbers["losses"] = last_losses(metrics)
    report = found.attempt("diagnosis", lambda: diagnose(run, samples=SAMPLES))
    found.numbers["diagnosis"] = report
    if report is not None:
        found.measured = measured_charts(report["curve"], run.task.headline)


def short_names(runs: Sequence[TrainedModel]) -> list[str]:
    """What the page calls each run: its folder's name, with those above it where two would be called alike."""
    parts = [run.path.absolute().parts for run in runs]
    length = 1
    while length < 4 and len({part[-length:] for part in parts}) < len(parts):
        length += 1
    return ["/".join(part[-length:]) for part in parts]
