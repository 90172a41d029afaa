"""A run's classifier, measured once on the test images: error, calibration, and the same for its supervised twin.

The only place that reads the test set. Nothing here chooses anything by what it finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from semivae import metrics
from semivae.errors import DataError, RunError
from semivae.game.conditionals import NetworkConditional
from semivae.game.variables import Sample
from semivae.run import CHECKPOINTS, Run


def label_factor(run: Run) -> NetworkConditional:
    """q(label | image), the classifier of a run.

    Raises:
        RunError: the run is unsupervised, or its label depends on more than the image.
    """
    factor = run.encoder[run.label]
    given = [variable.name for variable in factor.given]
    if given != [run.image] or not isinstance(factor, NetworkConditional):
        raise RunError(
            f"{run.path}: the encoder's {run.label} is given {', '.join(given)}; a classifier needs {run.image} alone"
        )
    return factor


def label_posterior(run: Run, sample: Sample) -> Tensor:
    """q(label | image) of one batch on the run's device, probabilities float32 (n, K)."""
    return label_factor(run).parameters_of(sample).float().softmax(dim=1)


def predict_probabilities(run: Run, images: Tensor, batch: int = 512) -> Tensor:
    """Class probabilities of images (n, C, H, W), bytes or floats in [0, 1], as float32 (n, K) on the CPU.

    Raises:
        DataError: the images' shape is not the run's.
    """
    with torch.no_grad():
        parts = [label_posterior(run, {run.image: chunk}).cpu() for chunk in batches(run, images, batch)]
    return torch.cat(parts)


def batches(run: Run, images: Tensor, batch: int) -> Iterator[Tensor]:
    """Images (n, C, H, W), bytes or floats in [0, 1], as the model takes them: float32 on its device, in parts.

    Raises:
        DataError: the images' shape is not the run's, or there are none.
    """
    shape = run.recipe.variables[run.image].shape
    if tuple(images.shape[1:]) != shape or not len(images):
        raise DataError(
            f"{run.path} expects images of shape (n, {', '.join(map(str, shape or ()))}); given {tuple(images.shape)}"
        )
    for chunk in torch.split(images, batch):
        on_device = chunk.to(run.device)
        yield on_device.float() / 255 if chunk.dtype == torch.uint8 else on_device.float()


def evaluate(
    run: Run | str | Path,
    *,
    split: Literal["test", "validation"] = "test",
    data_root: str | Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure the run's last and validation-selected encoders and its supervised twin on the test images.

    Returns a JSON-serialisable dict: "run" (its path), "split", "count" (images), and for each of "last", "selected"
    and "twin" the `scores` below, or None where the run has no such checkpoint. Errors are fractions.

    `data_root` and `device` serve to open a run by its path; a `Run` keeps its own.

    Raises:
        RunError: a folder that is no run, or an unsupervised run.
        DataError: the data are missing, or the part is empty.
    """
    last = run.at("last") if isinstance(run, Run) else Run.load(run, data_root=data_root, device=device)
    images, labels, classes = _part(last, split)
    report: dict[str, Any] = {"run": str(last.path), "split": split, "count": len(labels)}
    for checkpoint in CHECKPOINTS:
        model = _checkpoint(last, checkpoint)
        report[checkpoint] = model and scores(predict_probabilities(model, images), labels, classes)
    return report


def scores(probabilities: Tensor, labels: Tensor, classes: tuple[str, ...]) -> dict[str, Any]:
    """All metrics of probabilities (n, K) against labels (n,), as plain numbers, lists and dicts.

    "error" and "error_interval" (95%, Clopper-Pearson), "nll" (nats), "brier" (0..2), "ece" (15 bins), "per_class"
    (class name to error, None where the class has no image), "confusion" (rows: true classes).
    """
    confusion = metrics.confusion_matrix(probabilities, labels)
    wrong = int(confusion.sum() - np.trace(confusion))
    return {
        "error": wrong / len(labels),
        "error_interval": list(metrics.error_interval(wrong, len(labels))),
        "nll": metrics.negative_log_likelihood(probabilities, labels),
        "brier": metrics.brier_score(probabilities, labels),
        "ece": metrics.calibration_error(probabilities, labels),
        "per_class": dict(zip(classes, metrics.class_errors(confusion), strict=True)),
        "confusion": confusion.tolist(),
    }


def _checkpoint(run: Run, name: str) -> Run | None:
    """The run at a checkpoint; None where there is none, or the twin's training did not come to its end."""
    if not (run.path / f"{name}.safetensors").is_file():
        return None
    model = run.at(name)
    return None if name == "twin" and not model.finished else model


def _part(run: Run, split: Literal["test", "validation"]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Images, labels and class names of the test or the validation part."""
    dataset = run.dataset()
    part = dataset.test
    if split == "validation":
        rows = run.split().validation
        part = {name: values[rows] for name, values in dataset.train.items()}
    images, labels = part[run.image], part[run.label]
    if not len(labels):
        raise DataError(f"{run.path}: the run's {split} part holds no images, so there is nothing to evaluate on")
    return images, labels, dataset.classes
