"""What a run's numbers say after training: the curves, who reads its samples as what, and all there is to warn of."""

from __future__ import annotations

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
from semivae.monitoring.failures import Failure, Row, find_failures, other_meaning, worse_than_twin
from semivae.monitoring.fractions import interval
from semivae.monitoring.measures import (
    SAMPLES,
    LabelMetrics,
    class_consistency,
    draw_samples,
    mean_images,
    mean_of,
    measure_label,
    measure_samples,
)
from semivae.recipe.section import LARGEST_SEED
from semivae.runs.folder import read_metrics
from semivae.runs.model import TrainedModel
from semivae.scenario.plan import plan_of
from semivae.seeds import seeded
from semivae.variables import Sample

OWN, TWIN = "its own encoder", "its supervised twin"


def diagnose(
    run: TrainedModel, *, reader: TrainedModel | str | Path | None = None, samples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Collects a run's curves, measures its last checkpoint once more, and says what to worry about.

    Args:
        run: the run; its last checkpoint is looked at.
        reader: another run with the same classes and image shape, whose encoder then reads this one's samples too.
        samples: how many to draw from the decoder. Their labels come from its prior, their images are means.
        seed: of the draws.

    Returns:
        A JSON-serialisable dict: "run", "step", "steps"; "curve", a dict per validation; "bits" in use and at most, by
        code; "validation": count and, by reader, error with its 95% interval; "samples": count and, by reader, the
        share read as intended with its interval; "warnings": kind, about, seen, means, advice, the step "since" when
        training has told (None: found only now), and whether each still "holds"; "not_measured": what, and why.

    Raises:
        RunError: a reader that cannot read this run's samples, or a number of samples or seed that is none.
    """
    if samples < 1 or not 0 <= seed <= LARGEST_SEED:
        raise RunError(f"cannot draw {samples} samples with seed {seed}; ask for 1 or more, and a seed of 0 or more")
    run = run.at("last")
    skipped: list[str] = []
    readers = readers_of(run, reader, skipped)
    part = held_out_images(run, skipped)
    label, errors = examine_readers(run, readers, part, skipped)
    with seeded(seed, run.device):
        drawn = draw_samples(run.decoder, run.roles, samples, seed, part)
    found = measure_samples(run.decoder, run.encoder, run.roles, drawn)
    read = read_by(run, readers, drawn, skipped)
    plan = plan_of(run.recipe, run.roles)
    context = replace(context_of(run.recipe, run.roles, plan, run.decoder, part, run.classes), n_samples=samples)
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
        "validation": {"count": count, **_with_intervals(errors, "error", count)} if errors else None,
        "samples": {"count": samples, **_with_intervals(read, "read_as_intended", samples)} if read else None,
        "warnings": merged(rows, held),
        "not_measured": skipped,
    }


# What is looked at ---------------------------------------------------------------------------------------------------


def readers_of(
    run: TrainedModel, reader: TrainedModel | str | Path | None, skipped: list[str]
) -> dict[str, TrainedModel]:
    """The runs whose encoders are asked, by what they are called: this one, its twin, and another run."""
    if run.roles.image_label is None:
        skipped.append("the label: this run has none, or its encoder is given more than the image for it")
        if reader is not None:
            raise RunError(f"{run.path}: there is no label that another run could read in its samples")
        return {}
    readers = {OWN: run}
    if (run.path / "twin.safetensors").is_file() and (twin := run.at("twin")).finished:
        readers[TWIN] = twin
    else:
        skipped.append(f"{TWIN}: there is none that has finished; train it along with --twin --resume")
    if reader is not None:
        other = reader if isinstance(reader, TrainedModel) else TrainedModel.load(reader, device=str(run.device))
        refuse_reader(run, other)
        readers[f"reader {other.path}"] = other
    return readers


def refuse_reader(run: TrainedModel, reader: TrainedModel) -> None:
    """Raise `RunError` unless `reader` is another run that classifies such images into the same classes."""
    if reader.path.resolve() == run.path.resolve() and reader.checkpoint != "twin":
        raise RunError(f"{reader.path}: a run is no independent reader of its own samples; name another run")
    if reader.roles.image_label is None:
        raise RunError(f"{reader.path}: its encoder reads no label off an image alone; name a run that classifies")
    shape, other = (of.recipe.variables[of.image].shape for of in (run, reader))
    if shape != other:
        raise RunError(
            f"{reader.path}: it reads images of shape {list(other or ())}, the samples have {list(shape or ())}"
        )
    if sorted(reader.classes) != sorted(run.classes):
        raise RunError(
            f"{reader.path}: its classes are {', '.join(reader.classes)}, the samples' {', '.join(run.classes)}; "
            "name a run with the same ones"
        )


def held_out_images(run: TrainedModel, skipped: list[str]) -> Sample:
    """The run's validation images with their labels; else unlabelled ones alone; else none."""
    roles = run.roles
    try:
        dataset, split = run.dataset(), run.split()
    except DataError as error:
        skipped.append(f"all that needs images: {error}")
        return {}
    names = [roles.image, *roles.labels]
    if len(split.validation):
        return {name: dataset.train[name][split.validation].to(run.device) for name in names}
    skipped.append("validation error and drift: the split keeps no images for validation (split.validation)")
    unlabelled = dataset.train[roles.image][random_subset(split.unlabelled, SAMPLES, seed=0)]
    if not len(unlabelled) and roles.image in dataset.unlabelled:
        unlabelled = random_subset(dataset.unlabelled[roles.image], SAMPLES, seed=0)
    return {roles.image: unlabelled.to(run.device)}


# What is found -------------------------------------------------------------------------------------------------------


def examine_readers(
    run: TrainedModel, readers: Mapping[str, TrainedModel], part: Sample, skipped: list[str]
) -> tuple[LabelMetrics, dict[str, float]]:
    """What the run's own label does on held-out images, and the errors there of itself and its twin."""
    if not readers or run.image not in part:
        return LabelMetrics(), {}
    threshold = smallest_threshold(run.recipe)
    if threshold is None:
        skipped.append("confidence: no stream of unlabelled images teaches the label by it")
    found = {
        name: measure_label(readers[name].encoder, run.roles, part, threshold)
        for name in (OWN, TWIN)
        if name in readers
    }
    errors = {name: of.validation_error for name, of in found.items() if of.validation_error is not None}
    return found[OWN], errors


def read_by(
    run: TrainedModel, readers: Mapping[str, TrainedModel], drawn: Sample, skipped: list[str]
) -> dict[str, float]:
    """The share of the drawn samples that each reader takes for the class that they were drawn for."""
    if not readers:
        return {}
    images = mean_images(run.decoder, run.roles, drawn)
    if images is None:
        skipped.append("the decoder's samples: a prior is known by samples only, and none of them are at hand")
        return {}
    intended = drawn[run.label]
    return {
        name: mean_of(class_consistency(by.encoder, by.roles, images, _as_numbered_by(by, run, intended)))
        for name, by in readers.items()
    }


def _as_numbered_by(reader: TrainedModel, run: TrainedModel, labels: Tensor) -> Tensor:
    """Class numbers of `run` as another run counts the same classes; void places stay void."""
    numbers = torch.tensor([reader.classes.index(name) for name in run.classes], device=labels.device)
    return torch.where(labels < 0, labels, numbers[labels.clamp_min(0)])


def _other_meanings(
    run: TrainedModel,
    readers: Mapping[str, TrainedModel],
    read: Mapping[str, float],
    errors: Mapping[str, float],
    count: int,
    context: Context,
) -> list[Failure]:
    found: list[Failure] = []
    for name in [name for name in read if name != OWN]:
        error = errors[name] if name in errors else last_validation_error(readers[name])
        found += other_meaning(read[OWN], read[name], error, count, name, str(context.label))
    return found


def last_validation_error(run: TrainedModel) -> float | None:
    """What a run's own training found last, on its own validation part."""
    phase = "twin" if run.checkpoint == "twin" else "model"
    seen = [row.get("validation_error") for row in read_metrics(run.path) if row["phase"] == phase]
    return seen[-1] if seen else None


# What is told --------------------------------------------------------------------------------------------------------


def curve(model: Sequence[Row], twin: Sequence[Row]) -> list[dict[str, Any]]:
    """What each validation of the model found, beside its twin's error after as many steps."""
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
    """What training has told, in that order, with the latest figures where it holds; then what is new."""
    latest = {(failure.kind, failure.about): failure.as_row() for failure in held}
    found: list[dict[str, Any]] = []
    for row in rows:
        for told in row.get("warnings", ()):
            current = latest.pop((told["kind"], told["about"]), None)
            found.append({**told, **(current or {}), "since": row["step"], "holds": current is not None})
    return found + [{**failure, "since": None, "holds": True} for failure in latest.values()]


def _with_intervals(shares: Mapping[str, float], name: str, count: int) -> dict[str, Any]:
    readers = {reader: {name: share, "interval": list(interval(share, count))} for reader, share in shares.items()}
    return {"readers": readers}


def _finite(bits: float) -> float | None:
    """JSON knows no infinity: a code of real numbers has no bound."""
    return None if bits == float("inf") else bits
