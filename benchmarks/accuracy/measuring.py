"""What fills a cell: train a network or fit a baseline, then measure it once on the test images."""

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
from semivae.training.phase import Progress

SAMPLES = 2_000  # class-conditional ones that are read by another classifier

Report = Callable[[Progress], None]


def fill(cell: Cell, data_root: Path | None, device: str, report: Report) -> None:
    """Does what a cell asks for and writes it down; an interrupted run goes on from its last checkpoint.

    Raises:
        SemivaeError: as training, data and evaluation say.
        KeyboardInterrupt: after training wrote a checkpoint.
    """
    if cell.state() == "changed":
        cell.remove()
    cell.write({})
    if cell.variant in VARIANTS:
        result, used = trained(cell, data_root, device, report)
    else:
        result, used = fitted(cell, data_root), torch.device("cpu")
    cell.write({"result": result, **stamp(used)})


def trained(cell: Cell, data_root: Path | None, device: str, report: Report) -> tuple[dict[str, Any], torch.device]:
    """The result of a network's last checkpoint, and the device that it was trained on."""
    if cell.run.exists() and not is_run_folder(cell.run):
        shutil.rmtree(cell.run)  # stopped while the folder was made: nothing in it can be gone on with
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


def fitted(cell: Cell, data_root: Path | None) -> dict[str, Any]:
    """The result of a baseline."""
    dataset = load_source(cell.recipe.source, find_data_root(data_root))
    split = make_split(dataset, cell.recipe.split)
    data = examples(dataset, split)
    started = time.monotonic()
    answers = BASELINES[cell.variant].answer(data, cell.seed)
    seconds = time.monotonic() - started
    labels = dataset.test["y"].numpy()
    wrong = int((answers.classes != labels).sum())
    known = answers.probabilities
    return {
        "error": wrong / len(labels),
        "error_interval": list(metrics.error_interval(wrong, len(labels))),
        "nll": None if known is None else metrics.negative_log_likelihood(known, labels),
        "ece": None if known is None else metrics.calibration_error(known, labels),
        "test_images": len(labels),
        "labelled": len(data.labelled),
        "unlabelled": len(data.unlabelled),
        "seconds": seconds,
        "note": answers.note,
    }


def read_samples(cell: Cell, reader: Cell, data_root: Path | None, device: str) -> None:
    """Notes how often another classifier reads the class that was asked for off a cell's samples (decoder means).

    Nothing is done where that has been noted for this very reader.

    Raises:
        RunError: one of the runs is gone or damaged, or the decoder cannot draw images of a class.
    """
    assert cell.kept is not None and reader.kept is not None
    identity = {
        "reader": reader.title,
        "reader_date": reader.kept["date"],
        "reader_error": reader.kept["result"]["error"],
    }
    noted = cell.kept.get("generation", {})
    if noted and {key: noted.get(key) for key in identity} == identity:
        return
    run, other = (Run.load(each.run, data_root=data_root, device=device) for each in (cell, reader))
    classes = len(run.classes)
    wanted = np.repeat(np.arange(classes), SAMPLES // classes)
    images = draw(run, len(wanted), {run.label: wanted}, seed=0)[run.image]
    read = Classifier(other).predict(images)
    right = int((read == wanted).sum())
    generation = {**identity, "samples": len(wanted), "read_as_intended": right / len(wanted)}
    found = {key: cell.kept[key] for key in ("result", "machine", "versions", "date")}
    cell.write({**found, "generation": generation})
