"""A run's classifier, measured once on the test images: error, calibration, and the same for its supervised twin.

Nothing is chosen by what is found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from semivae import metrics
from semivae.classification import Classifier
from semivae.classification.maps import is_segmentation, place_probabilities
from semivae.classification.posterior import encoder_log_posterior, refuse_for_maps
from semivae.classification.priors import read_prior
from semivae.classification.shift import shifted_rows
from semivae.errors import DataError, RunError
from semivae.reports.painted import painted_report
from semivae.runs.folder import CHECKPOINTS
from semivae.runs.model import TrainedModel
from semivae.tasks.map_scores import scores_of

Part = Literal["test", "validation"]


def predict_probabilities(run: TrainedModel, images: Tensor, batch: int = 512) -> Tensor:
    """Class probabilities of images (n, C, H, W), bytes or floats in [0, 1], as float32 (n, K) on the CPU.

    Raises:
        DataError: the images' shape is not the run's.
    """
    return torch.from_numpy(np.exp(encoder_log_posterior(run, images, batch))).float()


def evaluate(
    run: TrainedModel | str | Path,
    *,
    split: Part = "test",
    calibrate: bool = False,
    vote: bool = False,
    prior: Any = None,
    test_prior: Any = None,
    judge: TrainedModel | str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure the run's last and validation-selected encoders and its supervised twin on the test images.

    Returns a JSON-serialisable dict: "run" (its path), "split", "count" (images), and for each of "last", "selected"
    and "twin" the `scores` below (where the label is a map, `semivae.tasks.map_scores.scores_of`), or None where the
    run has no such checkpoint. Errors are fractions.

    Where asked for, the last encoder is measured again after each step of `semivae.classification.Classifier`:
    "calibrated", "voted" and "corrected" hold `scores` and `Classifier.facts`.

    Args:
        run: the run, or its path.
        split: which images to measure on.
        calibrate, vote, prior: as for `Classifier.of`.
        test_prior: measure on the largest part of the images with these class shares (as `read_prior`) instead of on
            all; "test_prior" then says them.
        judge: where the label is a map: another run, or its path, that reads what this one paints for the maps; by
            default its twin. "painted" then holds the share of the pixels on which they agree, and who judged.
        data_root, device: to open a run by its path; a `Run` keeps its own.

    Raises:
        RunError: a split or folder that is none, an unsupervised run, or what `Classifier.of` says; or a calibration
            that would be measured on the validation images that chose it.
        DataError: the data are missing, the part is empty, or a prior is none.
    """
    if split not in get_args(Part):
        raise RunError(f"split: {split!r} is no part to measure on; use {' or '.join(get_args(Part))}")
    last = (
        run.at("last") if isinstance(run, TrainedModel) else TrainedModel.load(run, data_root=data_root, device=device)
    )
    refuse_for_maps(last, test_prior=test_prior)
    if judge is not None and not is_segmentation(last):
        raise RunError(f"{last.path}: a judge reads images painted for maps, but {last.label} is a class; leave it out")
    classifier = Classifier.of(last, calibrate=calibrate, vote=vote, prior=prior)
    if split == "validation" and classifier.calibration.count:
        raise RunError(
            f"{last.path}: temperature and vote are chosen on the validation images, so these cannot measure them; "
            "use the test images"
        )
    images, labels, classes = _part(last, split)
    report: dict[str, Any] = {"run": str(last.path), "split": split, "count": len(labels)}
    if test_prior is not None:
        shares = read_prior(test_prior, classes, "test prior")
        rows = shifted_rows(labels, shares, classes)
        images, labels = images[rows], labels[rows]
        report |= {"count": len(labels), "test_prior": dict(zip(classes, shares.tolist(), strict=True))}
    for checkpoint in CHECKPOINTS:
        model = _checkpoint(last, checkpoint)
        report[checkpoint] = model and (
            map_scores(model, images, labels, classes)
            if is_segmentation(last)
            else scores(predict_probabilities(model, images), labels, classes)
        )
        if checkpoint == "last":
            report |= _steps(classifier, images, labels, both=calibrate and vote)
    if is_segmentation(last):
        judging = (
            TrainedModel.load(judge, data_root=data_root, device=device) if isinstance(judge, str | Path) else judge
        )
        report |= painted_report(last, judging, labels)
    return report


def _steps(classifier: Classifier, images: Tensor, labels: Tensor, *, both: bool) -> dict[str, Any]:
    """`scores` and facts after each step that the classifier takes; `both`: of the temperature without the vote too."""
    calibration, classes, found = classifier.calibration, classifier.run.classes, {}
    if not calibration.count and classifier.prior is None:
        return {}
    if is_segmentation(classifier.run):  # in parts: all probabilities of all places at once may not fit
        calibrated = map_scores(classifier.run, images, labels, classes, temperature=calibration.temperature)
        return {"calibrated": calibrated | classifier.facts()}
    if both:
        alone = Classifier.of(classifier.run, calibrate=True)
        found["calibrated"] = scores(alone.probabilities(images), labels, classes) | alone.facts()
    answer = classifier.answer(images)
    if calibration.count:
        step = "voted" if calibration.draws else "calibrated"
        found[step] = scores(answer.uncorrected, labels, classes) | classifier.facts()
    if answer.prior is not None:
        found["corrected"] = scores(answer.probabilities, labels, classes) | classifier.facts(answer)
    return found


def scores(probabilities: Tensor, labels: Tensor, classes: tuple[str, ...]) -> dict[str, Any]:
    """All metrics of probabilities (n, K) against labels (n,), as plain numbers, lists and dicts.

    "error" and "error_interval" (95%, Clopper-Pearson), "nll" (nats), "brier" (0..2), "ece" (15 bins) and
    "reliability" (its bins, `metrics.reliability`), "per_class" (class name to error, None where the class has no
    image), "confusion" (rows: true classes).
    """
    confusion = metrics.confusion_matrix(probabilities, labels)
    wrong = int(confusion.sum() - np.trace(confusion))
    return {
        "error": wrong / len(labels),
        "error_interval": list(metrics.error_interval(wrong, len(labels))),
        "nll": metrics.negative_log_likelihood(probabilities, labels),
        "brier": metrics.brier_score(probabilities, labels),
        "ece": metrics.calibration_error(probabilities, labels),
        "reliability": metrics.reliability(probabilities, labels),
        "per_class": dict(zip(classes, metrics.class_errors(confusion), strict=True)),
        "confusion": confusion.tolist(),
    }


def map_scores(
    run: TrainedModel, images: Tensor, maps: Tensor, classes: Sequence[str], batch: int = 64, temperature: float = 1.0
) -> dict[str, Any]:
    """`scores_of` the run's encoder on images [n, channels, height, width] with maps [n, height, width]."""
    probabilities = place_probabilities(run, images, batch, temperature)
    return scores_of(zip(probabilities, torch.split(maps, batch), strict=True), classes)


def _checkpoint(run: TrainedModel, name: str) -> TrainedModel | None:
    """The run at a checkpoint; None where there is none, or the twin's training did not come to its end."""
    if not (run.path / f"{name}.safetensors").is_file():
        return None
    model = run.at(name)
    return None if name == "twin" and not model.finished else model


def _part(run: TrainedModel, split: Part) -> tuple[Tensor, Tensor, tuple[str, ...]]:
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
