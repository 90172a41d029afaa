"""Scores of the labels that a run infers beside its first one, as the kind of each defines them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from semivae.classification.posterior import IMAGES, batches, beside
from semivae.data.inputs.examples import Examples
from semivae.game.conditionals import Conditional
from semivae.runs.model import TrainedModel
from semivae.variables import Sample, seen


def further_labels(run: TrainedModel) -> list[str]:
    """Returns the labels after the first that the encoder infers from the inputs and from labels before them."""
    known = set(run.roles.inputs)
    found: list[str] = []
    for name in run.encoder.names:
        if name in run.roles.labels and known.issuperset(run.encoder[name].parents):
            known.add(name)
            found.append(name)
    return [name for name in found if name != run.roles.label]


def further_report(models: Mapping[str, TrainedModel | None], part: Sample, validation: Sample) -> dict[str, Any]:
    """Returns by label "kind", "unit" (of a number), "count", "split" and, for each checkpoint, its scores or None.

    Only examples that show a label count for it; where none does, there is "count" alone, 0.

    Args:
        models: the run by checkpoint, "last" among them; None where there is none.
        part: the examples to measure on, by variable.
        validation: those on which answers may choose, such as thresholds.
    """
    last = models["last"]
    assert last is not None
    report: dict[str, Any] = {}
    for name in further_labels(last):
        if name not in part:
            continue
        rows = seen(part[name])
        report[name] = {"kind": last.roles.labels[name].name, "count": int(rows.sum())}
        if unit := last.recipe.variables[name].unit:
            report[name]["unit"] = unit
        if rows.any():
            shown = {key: values[rows] for key, values in part.items()}
            report[name] |= {
                checkpoint: model and _scores(model, name, shown, validation) for checkpoint, model in models.items()
            }
    return report


def _scores(run: TrainedModel, name: str, part: Sample, validation: Sample) -> dict[str, Any]:
    task, chosen = run.roles.labels[name], None
    if task.chooses and len(validation.get(name, ())) and (rows := seen(validation[name])).any():
        there = {key: values[rows] for key, values in validation.items()}
        chosen = task.choose(beside(_outputs(run, name, run.examples(there)), there[name]))
    parts = beside(_outputs(run, name, run.examples(part)), part[name])
    return task.scores(parts, run.dataset().labels[name].classes, chosen)


@torch.no_grad()
def _outputs(run: TrainedModel, name: str, images: Tensor | Examples) -> Iterator[Tensor]:
    """What users get for a label, in parts; labels that it is inferred from have their most likely values."""
    task, factor = run.roles.labels[name], run.encoder[name]
    order = list(run.encoder.names)
    inferred = {run.roles.label, *further_labels(run)}
    before = [parent for parent in order[: order.index(name)] if parent in inferred]
    for sample in batches(run, images, IMAGES):
        for parent in before:
            sample[parent] = _most_likely(run.encoder[parent], sample)
        yield task.outputs(factor.target, factor.parameters_of(sample).cpu().double()).float()


def _most_likely(factor: Conditional, sample: Sample) -> Tensor:
    distribution = factor(sample)
    if factor.target.has_classes:
        value: Tensor = distribution.mode
        return value
    mean: Tensor = distribution.mean
    return mean.round() if factor.target.family == "bernoulli" else mean
