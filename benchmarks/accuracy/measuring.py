"""Measures a cell: trains a network or fits a baseline, and evaluates it once on the test images."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy.baselines import BASELINES, examples
from benchmarks.accuracy.cells import Cell
from benchmarks.accuracy.variants import VARIANTS
from benchmarks.common.machine import stamp
from semivae import metrics
from semivae.api import Run, train
from semivae.classification import Classifier
from semivae.data.sources import data_root as find_data_root
from semivae.data.sources import load_source
from semivae.generative.sampling import draw
from semivae.runs.folder import is_run_folder, read_metrics
from semivae.tasks.splitting import make_split
from semivae.training.progress import Progress

SAMPLES = 2_000  # class-conditional, for an external classifier

Report = Callable[[Progress], None]


def measure(cell: Cell, data_root: Path | None, device: str, report: Report) -> None:
    """Measures a cell and writes its file; an interrupted run is resumed from its last checkpoint.

    Raises:
        SemivaeError: as training, data and evaluation say.
        KeyboardInterrupt: after training wrote a checkpoint.
    """
    if cell.state() == "changed":
        cell.remove()
    cell.write({})
    if cell.variant in VARIANTS:
        result, used = train_network(cell, data_root, device, report)
    else:
        result, used = fit_baseline(cell, data_root), torch.device("cpu")
    cell.write({"result": result, **stamp(used)})


def train_network(
    cell: Cell, data_root: Path | None, device: str, report: Report
) -> tuple[dict[str, Any], torch.device]:
    """Trains the network; returns the result of its last checkpoint, and the device of the training."""
    if cell.run.exists() and not is_run_folder(cell.run):
        shutil.rmtree(cell.run)  # stopped while the folder was made: nothing in it can be resumed
    resume = is_run_folder(cell.run)
    run = train(cell.recipe, out=cell.run, data_root=data_root, resume=resume, device=device, progress=report)
    scores = run.evaluate()["last"]
    bits = [row["bits"] for row in read_metrics(cell.run) if row["phase"] == "model"][-1]
    split = run.split()
    result = {key: scores[key] for key in ("error", "error_interval", "nll", "ece")} | {
        "test_images": len(run.dataset().test[run.label]),
        "labelled": len(split.labelled),
        "unlabelled": len(split.unlabelled) + len(run.dataset().unlabelled.get(run.image, ())),
        "steps": run.facts.step,
        "seconds": run.facts.seconds,
        "precision": run.recipe.training.precision,
        "bits": bits,
    }
    return result, run.device


def fit_baseline(cell: Cell, data_root: Path | None) -> dict[str, Any]:
    """Fits the baseline; returns its result."""
    dataset = load_source(cell.recipe.source, find_data_root(data_root))
    split = make_split(dataset, cell.recipe.split)
    data = examples(dataset, split)
    started = time.monotonic()
    predictions = BASELINES[cell.variant].predict(data, cell.seed)
    seconds = time.monotonic() - started
    labels = dataset.test["y"].numpy()
    wrong = int((predictions.classes != labels).sum())
    probabilities = predictions.probabilities
    return {
        "error": wrong / len(labels),
        "error_interval": list(metrics.error_interval(wrong, len(labels))),
        "nll": None if probabilities is None else metrics.negative_log_likelihood(probabilities, labels),
        "ece": None if probabilities is None else metrics.calibration_error(probabilities, labels),
        "test_images": len(labels),
        "labelled": len(data.labelled),
        "unlabelled": len(data.unlabelled),
        "seconds": seconds,
        "note": predictions.note,
    }


def classify_samples(cell: Cell, classifier: Cell, data_root: Path | None, device: str) -> None:
    """Records how often an external classifier predicts the class that samples (decoder means) were drawn for.

    A cell that has been recorded with this very classifier stays as it is.

    Raises:
        RunError: one of the runs is gone or damaged, or the decoder cannot draw images of a class.
    """
    assert cell.record is not None and classifier.record is not None
    identity = {
        "reader": classifier.title,
        "reader_date": classifier.record["date"],
        "reader_error": classifier.record["result"]["error"],
    }
    before = cell.record.get("generation", {})
    if before and {key: before.get(key) for key in identity} == identity:
        return
    run, external = (Run.load(each.run, data_root=data_root, device=device) for each in (cell, classifier))
    classes = len(run.classes)
    wanted = np.repeat(np.arange(classes), SAMPLES // classes)
    images = draw(run, len(wanted), {run.label: wanted}, seed=0)[run.image]
    right = int((Classifier(external).predict(images) == wanted).sum())
    generation = {**identity, "samples": len(wanted), "read_as_intended": right / len(wanted)}
    measured = {key: cell.record[key] for key in ("result", "machine", "versions", "date")}
    cell.write({**measured, "generation": generation})
