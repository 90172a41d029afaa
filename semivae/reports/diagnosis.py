"""The diagnosis of a finished run: its curves, the class consistency of its samples, and warnings of failures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semivae.data.hashing import random_subset
from semivae.errors import DataError, RunError
from semivae.game.losses import mask_rates_of
from semivae.monitoring.context import Context, context_of, smallest_threshold
from semivae.monitoring.failures import (
    Failure,
    Row,
    figure_interval,
    find_failures,
    other_meaning,
    worse_than_twin,
)
from semivae.monitoring.fractions import interval
from semivae.monitoring.measures import (
    SAMPLES,
    LabelMetrics,
    class_consistency,
    draw_samples,
    mean_of,
    measure_label,
    measure_samples,
)
from semivae.recipe.section import LARGEST_SEED
from semivae.reports.confusions import confusions
from semivae.runs.folder import read_metrics
from semivae.runs.model import TrainedModel
from semivae.scenario.plan import plan_of
from semivae.seeds import seeded
from semivae.variables import Sample

OWN, TWIN = "its own encoder", "its supervised twin"
OF_PICTURES = "{reader}, looking at the pictures"  # where it starts from features, which the decoder draws as well


def diagnose(
    run: TrainedModel, *, reader: TrainedModel | str | Path | None = None, samples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Collects a run's curves, measures its last checkpoint once more, and finds failures.

    Args:
        run: the run; its last checkpoint is measured.
        reader: another run with the same classes and image shape, whose encoder classifies the samples as well.
        samples: how many samples to draw from the decoder; labels come from its prior, and images are means.
        seed: of the draws.

    Returns:
        A JSON-serialisable dict: "run", "step", "steps"; "curve", a dict per validation; "bits" in use and at most, by
        code; "headline": what the figure of the label is, and how it is written (`semivae.tasks.task.Headline`);
        "nouns": what one example is called, and several; "validation": count and, by reader, that figure as "error",
        with its 95% interval; "samples": count and, by reader, the class consistency ("read_as_intended") with its
        interval; "evidence": tables of coarse classes and
        annotators (`semivae.reports.confusions`); "warnings": kind, about, seen, means,
        advice, the step "since" which training reports it (None: found only now), and whether it still "holds";
        "not_measured": what,
        and why.

    Raises:
        RunError: the reader cannot classify this run's samples, or the number of samples or the seed is invalid.
    """
    if samples < 1 or not 0 <= seed <= LARGEST_SEED:
        raise RunError(f"cannot draw {samples} samples with seed {seed}; ask for 1 or more, and a seed of 0 or more")
    run = run.at("last")
    skipped: list[str] = []
    readers = readers_of(run, reader, skipped)
    part = held_out_images(run, skipped)
    measured = examine_readers(run, readers, part, skipped)
    label = measured.get(OWN, LabelMetrics())
    errors = {name: of.validation_error for name, of in measured.items() if of.validation_error is not None}
    with seeded(seed, run.device):
        drawn = draw_samples(run.decoder, run.roles, samples, seed, part)
    found = measure_samples(run.decoder, run.encoder, run.roles, drawn)
    read = read_by(run, readers, drawn, skipped)
    plan = plan_of(run.recipe, run.roles)
    context = context_of(run.recipe, run.roles, plan, run.decoder, part, run.classes)
    context = replace(context, n_samples=samples, steps=run.facts.steps)
    rows = read_metrics(run.path)
    model, twin = ([row for row in rows if row["phase"] == phase] for phase in ("model", "twin"))
    now = {**(model[-1] if model else {}), "step": run.facts.step, **asdict(label), **asdict(found)}
    before = [row for row in model if row["step"] != now["step"]]
    held = [
        *find_failures([*before, now], context),
        *worse_than_twin([*before, now], twin, context),
        *_other_meanings(run, readers, read, errors, samples, context),
    ]
    count = context.n_images
    return {
        "run": str(run.path),
        "step": run.facts.step,
        "steps": run.facts.steps,
        "curve": curve(model, twin),
        "bits": {
            code: {"in_use": bits, "at_most": _finite(context.capacity[code])} for code, bits in found.bits.items()
        },
        "headline": asdict(run.task.headline),
        "nouns": list(run.nouns),
        "validation": {"count": count, "readers": _figures(measured, errors, context)} if errors else None,
        "samples": {"count": samples, "readers": _consistencies(read, samples)} if read else None,
        "evidence": confusions(run, skipped),
        "warnings": merged(rows, held),
        "not_measured": skipped,
    }


# What is measured ---------------------------------------------------------------------------------------------------


def readers_of(
    run: TrainedModel, reader: TrainedModel | str | Path | None, skipped: list[str]
) -> dict[str, TrainedModel]:
    """Returns the runs whose encoders classify samples, by name: this one, its twin, and another run."""
    if run.roles.image_label is None:
        skipped.append(f"the label: this run has none, or its encoder needs more than {run.image} to infer it")
        if reader is not None:
            raise RunError(f"{run.path}: there is no label that another run could infer from its samples")
        return {}
    readers = {OWN: run}
    if (run.path / "twin.safetensors").is_file() and (twin := run.at("twin")).finished:
        readers[TWIN] = twin
    else:
        skipped.append(f"{TWIN}: no twin has finished its training; train it along with --twin --resume")
    if reader is not None:
        other = reader if isinstance(reader, TrainedModel) else TrainedModel.load(reader, device=str(run.device))
        refuse_reader(run, other)
        readers[f"reader {other.path}"] = other
    return readers


def refuse_reader(run: TrainedModel, reader: TrainedModel) -> None:
    """Raises `RunError` unless `reader` is another run that classifies such images into the same classes."""
    if reader.path.resolve() == run.path.resolve() and reader.checkpoint != "twin":
        raise RunError(f"{reader.path}: a run is not an independent reader of its own samples; name another run")
    if reader.roles.image_label is None:
        raise RunError(
            f"{reader.path}: its encoder infers no label from {reader.image} alone; name a run that classifies "
            f"such {run.nouns[1]}"
        )
    shape, other = (of.recipe.variables[of.shown].shape for of in (run, reader))
    if shape != other:
        raise RunError(
            f"{reader.path}: it takes {reader.nouns[1]} of shape {list(other or ())}, but the samples have "
            f"{list(shape or ())}"
        )
    if reader.task is not run.task:
        raise RunError(
            f"{reader.path}: its label is of the kind {reader.task.name}, the samples' of the kind {run.task.name}; "
            "name a run with the same kind"
        )
    if sorted(reader.classes) != sorted(run.classes):
        raise RunError(
            f"{reader.path}: its classes are {', '.join(reader.classes)}, the samples' {', '.join(run.classes)}; "
            "name a run with the same ones"
        )


def held_out_images(run: TrainedModel, skipped: list[str]) -> Sample:
    """Returns the run's validation images with their labels, or else unlabelled ones alone, or else nothing."""
    roles = run.roles
    try:
        dataset, split = run.dataset(), run.split()
    except DataError as error:
        skipped.append(f"all that needs {run.nouns[1]}: {error}")
        return {}
    names = [roles.image, *roles.labels]
    if len(split.validation):
        return {name: dataset.train[name][split.validation].to(run.device) for name in names}
    skipped.append(f"validation error and drift: the split keeps no {run.nouns[1]} for validation (split.validation)")
    unlabelled = dataset.train[roles.image][random_subset(split.unlabelled, SAMPLES, seed=0)]
    if not len(unlabelled) and roles.image in dataset.unlabelled:
        unlabelled = random_subset(dataset.unlabelled[roles.image], SAMPLES, seed=0)
    return {roles.image: unlabelled.to(run.device)}


# Measurements -------------------------------------------------------------------------------------------------------


def examine_readers(
    run: TrainedModel, readers: Mapping[str, TrainedModel], part: Sample, skipped: list[str]
) -> dict[str, LabelMetrics]:
    """Returns the metrics of the label on held-out images by the run and its twin; empty where nobody reads them."""
    if not readers or run.image not in part:
        return {}
    threshold = smallest_threshold(run.recipe)
    if threshold is None:
        skipped.append(f"confidence: no stream of unlabelled {run.nouns[1]} has a confidence threshold")
    return {
        name: measure_label(readers[name].encoder, run.roles, part, threshold)
        for name in (OWN, TWIN)
        if name in readers
    }


def read_by(
    run: TrainedModel, readers: Mapping[str, TrainedModel], drawn: Sample, skipped: list[str]
) -> dict[str, float]:
    """Returns for each reader the fraction of samples that it classifies as the class that they were drawn for."""
    if not readers:
        return {}
    if not {run.image, run.label} <= set(drawn):
        skipped.append("the decoder's samples: a prior is known by samples only, and there are none")
        return {}
    found, intended = {}, drawn[run.label]
    if run.shown != run.image:
        features = run.decoder[run.image].picture(drawn)
        found = {name: _read_as(intended, features, run, readers[name]) for name in (OWN, TWIN) if name in readers}
        if run.shown not in drawn:
            return found
    pictures = run.picture(drawn)
    for name, by in readers.items():
        called = OF_PICTURES.format(reader=name) if name in found else name
        found[called] = _read_as(intended, by.of_pictures(pictures), run, by)
    return found


def _read_as(intended: Tensor, inputs: Tensor, run: TrainedModel, reader: TrainedModel) -> float:
    labels = _as_numbered_by(reader, run, intended)
    return mean_of(class_consistency(reader.encoder, reader.roles, inputs, labels))


def _as_numbered_by(reader: TrainedModel, run: TrainedModel, labels: Tensor) -> Tensor:
    """Returns class numbers of `run` in the order of another run's classes; void pixels, and numbers, stay."""
    if not run.classes:
        return labels
    numbers = torch.tensor([reader.classes.index(name) for name in run.classes], device=labels.device)
    return run.task.renumbered(labels, numbers)


def _other_meanings(
    run: TrainedModel,
    readers: Mapping[str, TrainedModel],
    read: Mapping[str, float],
    errors: Mapping[str, float],
    count: int,
    context: Context,
) -> list[Failure]:
    if not context.headline.fraction:  # other figures are no fraction of the samples, so nothing can be compared
        return []
    found: list[Failure] = []
    for name in [name for name in read if name in readers and name != OWN]:
        error = errors[name] if name in errors else last_validation_error(readers[name])
        found += other_meaning(read[OWN], read[name], error, count, name, str(context.label))
    return found


def last_validation_error(run: TrainedModel) -> float | None:
    """Returns the last validation error that a run's own training measured, on its own validation images."""
    phase = "twin" if run.checkpoint == "twin" else "model"
    seen = [row.get("validation_error") for row in read_metrics(run.path) if row["phase"] == phase]
    return seen[-1] if seen else None


# The report --------------------------------------------------------------------------------------------------------


def curve(model: Sequence[Row], twin: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns the metrics of each validation of the model, with its twin's error after the same number of steps."""
    errors = {row["step"]: row.get("validation_error") for row in twin}
    return [
        {
            "step": row["step"],
            "validation_error": row.get("validation_error"),
            "twin_validation_error": errors.get(row["step"]),
            "read_as_intended": row.get("read_as_intended"),
            "confident": mask_rates_of(row.get("losses", {})),
            "confident_error": row.get("confident_error"),
            "bits": row.get("bits", {}),
        }
        for row in model
    ]


def merged(rows: Sequence[Row], held: Sequence[Failure]) -> list[dict[str, Any]]:
    """Returns the warnings of training in their order, with the latest figures if they still hold, then new ones."""
    latest = {(failure.kind, failure.about): failure.as_row() for failure in held}
    found: list[dict[str, Any]] = []
    for row in rows:
        for warning in row.get("warnings", ()):
            current = latest.pop((warning["kind"], warning["about"]), None)
            found.append({**warning, **(current or {}), "since": row["step"], "holds": current is not None})
    return found + [{**failure, "since": None, "holds": True} for failure in latest.values()]


def _figures(
    measured: Mapping[str, LabelMetrics], errors: Mapping[str, float], context: Context
) -> dict[str, dict[str, Any]]:
    """Returns the headline figure of each reader with its interval."""
    found = {}
    for name, error in errors.items():
        ends = figure_interval(asdict(measured[name]), context)
        found[name] = {"error": error, "interval": list(ends) if math.isfinite(ends[0]) else None}
    return found


def _consistencies(shares: Mapping[str, float], count: int) -> dict[str, dict[str, Any]]:
    """Returns the class consistency by each reader with its interval."""
    return {
        reader: {"read_as_intended": share, "interval": list(interval(share, count))}
        for reader, share in shares.items()
    }


def _finite(bits: float) -> float | None:
    """Returns None for infinity, which JSON lacks: a code of real numbers has no bound."""
    return None if bits == float("inf") else bits
