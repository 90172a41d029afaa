"""A run's classifier, measured once on the test images: error, calibration, and the same for its supervised twin.

Nothing is chosen by what is found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from semivae.classification import Classifier
from semivae.classification.classifier import Answer
from semivae.classification.posterior import Floats, beside, encoder_log_posterior, refuse_by_kind
from semivae.classification.priors import read_prior
from semivae.classification.shift import shifted_rows
from semivae.classification.trust import Score
from semivae.data.inputs.examples import Examples
from semivae.errors import DataError, RunError
from semivae.reports.further_labels import further_labels, further_report
from semivae.reports.painted import painted_report
from semivae.reports.promises import promises_report
from semivae.runs.folder import CHECKPOINTS
from semivae.runs.model import TrainedModel
from semivae.tasks.task import takes
from semivae.variables import Sample

Part = Literal["test", "validation"]
Watcher = Callable[[Tensor, Tensor], None]


def evaluate(
    run: TrainedModel | str | Path,
    *,
    split: Part = "test",
    calibrate: bool = False,
    vote: bool = False,
    prior: Any = None,
    test_prior: Any = None,
    at_most_error: float | None = None,
    sets: Score = "aps",
    judge: TrainedModel | str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Measures the run's last and validation-selected encoders and its supervised twin on the test images.

    Returns a JSON-serialisable dict: "run" (its path), "kind" (of the label: it says what is scored, see
    `semivae.tasks.class_scores`, `map_scores` and `number_scores`), "unit" (of a number), "split", "count" (examples),
    "nouns" (what one example is called, and several), and for each of "last", "selected" and "twin" its scores, or None
    where the run has no such checkpoint. Errors are
    fractions. "history", where there is one, says in words which run it started from, and which steps
    were added.

    "further_labels" holds the same of every label that is inferred beside the first, by name
    (`semivae.reports.further_labels`).

    Where asked for, the last encoder is measured again after each step of `semivae.classification.Classifier`:
    "calibrated", "voted" and "corrected" hold scores and `Classifier.facts`.

    Of the test images as they are, of single classes, without another prior, "sets", "risk_coverage" and "answering"
    say what the run's promises come to (`semivae.reports.promises`), by the last encoder after calibration and vote.

    Args:
        run: the run, or its path.
        split: which images to measure on.
        calibrate, vote, prior: as for `Classifier.of`.
        test_prior: measure on the largest part of the images with these class shares (as `read_prior`) instead of on
            all; the report repeats them as "test_prior".
        at_most_error: an error to promise of the answers and to measure; see `semivae.classification.abstaining`.
        sets: by which scores prediction sets are made; see `semivae.classification.trust.Validated.sets`.
        judge: if the label is a map, another run, or its path, that segments the images which this one generates for
            the maps; by default its twin. "painted" then holds the fraction of pixels that agree, and the judge.
        data_root, device: to open a run by its path; a `Run` keeps its own.
        watch: called with each part of the last encoder's answers [n, ...] and the labels [n, *shape], in order, for
            what is to be known of single images.

    Raises:
        RunError: the split or folder does not exist, the run is unsupervised, `Classifier.of` raises it, a
            calibration would be measured on the validation images that chose it, or the error cannot be promised.
        DataError: the data are missing, the split is empty, or a prior is invalid.
    """
    if split not in get_args(Part):
        raise RunError(f"split: {split!r} is not a part of the data; use {' or '.join(get_args(Part))}")
    last = (
        run.at("last") if isinstance(run, TrainedModel) else TrainedModel.load(run, data_root=data_root, device=device)
    )
    refuse_by_kind(last, test_prior=test_prior, judge=judge, sets=at_most_error, answering=at_most_error)
    if at_most_error is not None and (split != "test" or prior is not None or test_prior is not None):
        raise RunError(
            f"{last.path}: an error is promised of new examples like the validation ones, without another prior, and "
            f"measured on the test {last.nouns[1]} as they are; leave out the prior and the split, or the error"
        )
    classifier = Classifier.of(last, calibrate=calibrate, vote=vote, prior=prior)
    if split == "validation" and classifier.calibration.count:
        raise RunError(
            f"{last.path}: temperature and vote are chosen on the validation {last.nouns[1]}, so these cannot measure "
            f"them; use the test {last.nouns[1]}"
        )
    images, labels, classes = _part(last, split)
    report: dict[str, Any] = {"run": str(last.path), "kind": last.task.name, "split": split, "count": len(labels)}
    report["nouns"] = list(last.nouns)
    if unit := last.recipe.variables[last.label].unit:
        report["unit"] = unit
    if test_prior is not None:
        shares = read_prior(test_prior, classes, "test prior")
        rows = shifted_rows(labels, shares, classes)
        images, labels = images[rows], labels[rows]
        report |= {"count": len(labels), "test_prior": dict(zip(classes, shares.tolist(), strict=True))}
    if lines := last.history.lines():
        report["history"] = lines
    promises = split == "test" and prior is None and test_prior is None and takes(last.task, "sets")
    # promises look at the posteriors of all examples, so those serve the scores too
    encoder = encoder_log_posterior(last, images) if promises else None
    models = {checkpoint: _checkpoint(last, checkpoint) for checkpoint in CHECKPOINTS}
    for checkpoint, model in models.items():
        if model is not None and model is not last and _same_encoder(model, last):
            report[checkpoint] = deepcopy(report["last"])
        else:
            own = (watch, encoder) if model is last else ()
            report[checkpoint] = model and scores(Classifier(model), images, labels, *own)
    answer = classifier.answer(images, encoder) if classifier.looks_at_all else None
    report |= _steps(classifier, answer, images, labels, encoder, both=calibrate and vote)
    if promises:
        log_posterior = classifier.log_posterior(images, encoder) if answer is None else answer.log_posterior
        report |= promises_report(classifier, images, labels, log_posterior, at_most_error, sets)
    if test_prior is None and further_labels(last):
        report["further_labels"] = further_report(models, _samples(last, split), _samples(last, "validation"))
    if takes(last.task, "judge"):
        judging = (
            TrainedModel.load(judge, data_root=data_root, device=device) if isinstance(judge, str | Path) else judge
        )
        report |= painted_report(last, judging, models["twin"], labels)
    return report


def scores(
    classifier: Classifier,
    images: Tensor | Examples,
    labels: Tensor,
    watch: Watcher | None = None,
    encoder: Floats | None = None,
) -> dict[str, Any]:
    """Returns the scores of a classifier on images (n, ...), as the kind of their labels defines them.

    With `encoder`, the log-probabilities [n, K] of the images by its encoder, these are not read again.
    """
    if encoder is None:
        outputs: Iterable[Tensor] = classifier.in_parts(images)
    else:
        outputs = [classifier.outputs_from(classifier.log_posterior(images, encoder))]
    parts = _watched(beside(outputs, labels), watch)
    return classifier.run.task.scores(parts, classifier.run.classes, classifier.chosen)


def _watched(parts: Iterable[tuple[Tensor, Tensor]], watch: Watcher | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields each part and its labels, which a watcher sees too."""
    for part in parts:
        if watch is not None:
            watch(*part)
        yield part


def _steps(
    classifier: Classifier,
    answer: Answer | None,
    images: Tensor | Examples,
    labels: Tensor,
    encoder: Floats | None,
    *,
    both: bool,
) -> dict[str, Any]:
    """Returns scores and facts after each step that the classifier takes.

    Args:
        classifier: with its steps.
        answer: its own, where a step looks at all images.
        images, labels: what to measure on.
        encoder: as for `scores`.
        both: of the temperature without the vote too.
    """
    calibration, run, found = classifier.calibration, classifier.run, {}
    if both:
        alone = Classifier.of(run, calibrate=True)
        found["calibrated"] = scores(alone, images, labels, encoder=encoder) | alone.facts()
    if answer is None:
        if not calibration.count:
            return {}
        return {"calibrated": scores(classifier, images, labels, encoder=encoder) | classifier.facts()}
    if calibration.count:
        step = "voted" if calibration.draws else "calibrated"
        found[step] = run.task.scores([(answer.uncorrected, labels)], run.classes) | classifier.facts()
    if answer.prior is not None:
        found["corrected"] = run.task.scores([(answer.probabilities, labels)], run.classes) | classifier.facts(answer)
    return found


def _same_encoder(one: TrainedModel, other: TrainedModel) -> bool:
    """Whether two checkpoints answer alike: the last one was often chosen on validation too."""
    weights = other.encoder.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.encoder.state_dict().items())


def _checkpoint(run: TrainedModel, name: str) -> TrainedModel | None:
    """Returns the run at a checkpoint; None if there is none, or if the twin has not finished its training."""
    if not (run.path / f"{name}.safetensors").is_file():
        return None
    model = run.at(name)
    return None if name == "twin" and not model.finished else model


def _part(run: TrainedModel, split: Part) -> tuple[Tensor | Examples, Tensor, tuple[str, ...]]:
    """Images, labels and class names of the test or the validation part."""
    part = _samples(run, split)
    images, labels = run.examples(part), part[run.label]
    if not len(labels):
        held = f"the run's {split} part holds no {run.nouns[1]}"
        raise DataError(f"{run.path}: {held}, so there is nothing to evaluate on")
    return images, labels, run.dataset().classes


def _samples(run: TrainedModel, split: Part) -> Sample:
    """Returns all that the data hold of the test or the validation part."""
    if split == "test":
        return run.dataset().test
    rows = run.split().validation
    return {name: values[rows] for name, values in run.dataset().train.items()}
