"""What a run's promises come to on examples with known labels: coverage and size of its sets, risk where it answers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification import Classifier
from semivae.classification.abstaining import area_under_risk, log_odds, risk_coverage
from semivae.classification.conformal import coverage_interval
from semivae.classification.posterior import Floats
from semivae.classification.trust import Score, Validated, sets_of, uniform_in
from semivae.data.inputs.examples import Examples
from semivae.errors import DataError, RunError
from semivae.metrics import error_interval

COVERAGE = 0.95  # that an evaluation measures unasked
SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)  # of the examples, answered


def beyond(sets: NDArray[np.bool_]) -> dict[str, Any]:
    """What became of examples of the last class, of which nothing is promised, from their sets [n, K].

    "count", "named" (the share whose set holds their class), "alone" (and nothing else), "missed" (whose set holds
    other classes alone) and "mean_size".
    """
    last, others = sets[:, -1], sets[:, :-1].any(axis=1)
    return {
        "count": len(sets),
        "named": float(last.mean()),
        "alone": float((last & ~others).mean()),
        "missed": float((~last & others).mean()),
        "mean_size": float(sets.sum(axis=1).mean()),
    }


def promises_report(
    classifier: Classifier,
    images: Tensor | Examples,
    labels: Tensor,
    log_posterior: Floats,
    at_most_error: float | None = None,
    score: Score = "aps",
) -> dict[str, Any]:
    """The parts "sets", "risk_coverage" and, where an error is stated, "answering" of an evaluation.

    "sets": the facts of the threshold for a coverage of 95% (`SetThreshold.facts`), "chosen_on_validation", and as
    measured on the examples given "covered" (the share whose set holds their class), "covered_interval" (95%,
    Clopper-Pearson), "expected_interval" (where "covered" lies in 95% of the draws of validation and test examples, if
    the promise holds), "mean_size", "sizes" (how many sets have 0, 1, ..., K classes) and "empty" (share). Where there
    are too few validation examples, or they cannot be read, only "refused", the reason. Where nothing is promised of
    some examples (`Task.is_promised`), as of strangers, these figures are of the others, and `beyond` says what became
    of them.
    "risk_coverage": "curve", the error among the surest share of the examples, and "aurc", the area under it.
    "answering": the attributes of `Answering`, "test_answered" (share), and "test_error" and "test_error_interval",
    None where nothing is answered.

    Args:
        classifier: what promises.
        images, labels: examples and their classes [n].
        log_posterior: the classifier's, of these examples, [n, K].
        at_most_error: the error that is stated.
        score: by which sets are made.

    Raises:
        RunError: the stated error cannot be promised.
    """
    truth = labels.numpy()
    odds, right = log_odds(log_posterior), log_posterior.argmax(axis=1) == truth
    report: dict[str, Any] = {
        "risk_coverage": {"curve": risk_coverage(odds, right, SHARES), "aurc": area_under_risk(odds, right)}
    }
    try:
        validated = Validated.of(classifier)
        threshold = validated.sets(COVERAGE, score)
    except (RunError, DataError) as error:  # the test images may be there, and those for validation others
        if at_most_error is not None:
            raise
        return {"sets": {"refused": str(error)}, **report}
    every = sets_of(threshold, log_posterior, uniform_in(classifier.run, images))
    promised = classifier.run.task.is_promised(labels, classifier.run.classes).numpy()
    found, known = every[promised], truth[promised]
    if not len(known):
        return {"sets": {"refused": "nothing is promised of any of these examples"}, **report}
    covered, sizes = int(found[np.arange(len(known)), known].sum()), found.sum(axis=1)
    sets = threshold.facts() | {
        "chosen_on_validation": validated.choices,
        "covered": covered / len(known),
        "covered_interval": list(error_interval(covered, len(known))),
        "expected_interval": list(coverage_interval(threshold.count, COVERAGE, examples=len(known))),
        "mean_size": float(sizes.mean()),
        "sizes": np.bincount(sizes, minlength=found.shape[1] + 1).tolist(),
        "empty": float((sizes == 0).mean()),
    }
    if not promised.all():
        sets["beyond"] = beyond(every[~promised])
    if at_most_error is None:
        return {"sets": sets, **report}
    answering = validated.answering(at_most_error)
    answered = odds > answering.threshold
    count, wrong = int(answered.sum()), int((answered & ~right).sum())
    measured = {
        "threshold": answering.threshold if np.isfinite(answering.threshold) else None,  # JSON knows no infinity
        "test_answered": count / len(truth),
        "test_error": wrong / count if count else None,
        "test_error_interval": list(error_interval(wrong, count)) if count else None,
    }
    return {"sets": sets, **report, "answering": asdict(answering) | measured}
