"""What a run can promise of its answers, by the labelled validation examples: sets of classes, and an error.

Nobody trains on validation examples, so of the checkpoint `last`, as it is, they are exchangeable with new examples
of the same source. A checkpoint or a temperature that was chosen on them has seen them a little: `Validated.choices`
says so.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification.abstaining import (
    CONFIDENCE,
    Answering,
    choose_threshold,
    fewest_answered,
    least_error,
    least_promise,
    log_odds,
)
from semivae.classification.classifier import Classifier
from semivae.classification.conformal import (
    NONE,
    Penalty,
    adaptive_scores,
    choose_penalty,
    coverage_interval,
    fewest,
    threshold_of,
    uniform_of,
)
from semivae.classification.more_validation import more_validation
from semivae.classification.posterior import refuse_by_kind
from semivae.data.inputs.pieces import AnyExamples, Pieces
from semivae.errors import DataError, RunError
from semivae.runs.model import TrainedModel
from semivae.text import EXAMPLES, count_of, either, percent

Floats = NDArray[np.float64]
Score = Literal["aps", "raps"]
TUNING = 5  # one validation example of so many chooses the penalty of RAPS


@dataclass(frozen=True)
class SetThreshold:
    """Which classes a set holds: those whose score (`semivae.classification.conformal`) is at most `threshold`.

    Attributes:
        coverage: the share of new examples, at least, whose set holds their class.
        threshold: at least 0; of APS at most 1.
        count: validation examples that it was chosen on.
        interval: between which numbers the coverage lies with 95% probability, over the draw of these examples.
        penalty: of RAPS, chosen on other validation examples; of APS it is nothing.
    """

    coverage: float
    threshold: float
    count: int
    interval: tuple[float, float]
    penalty: Penalty = NONE

    def facts(self) -> dict[str, Any]:
        """JSON-serialisable: its attributes, and "score", the kind of the scores. Only RAPS has a "penalty"."""
        found = asdict(self) | {"interval": list(self.interval)}
        if self.penalty == NONE:
            del found["penalty"]
        return {"score": f"{'APS' if self.penalty == NONE else 'RAPS'}, randomised", **found}

    @property
    def words(self) -> str:
        """How to make a set, for whoever has the probabilities and no semivae."""
        ranks = (
            ""
            if self.penalty == NONE
            else (f", and {self.penalty.weight:g} for each rank beyond {self.penalty.free}, counted from 1")
        )
        return (
            f"A set holds the classes whose score is at most {self.threshold:.6g}. The score of a class is the sum of "
            f"the probabilities of all more likely classes, and u times its own{ranks}; u is a number of the example, "
            f"uniform between 0 and 1. At least {percent(self.coverage)} of new examples have a set that holds their "
            "class."
        )


@dataclass(frozen=True)
class Validated:
    """What a classifier says of the run's validation examples with known labels.

    Attributes:
        classifier: without a change of prior.
        log_posterior: [n, K], nats.
        labels: [n].
        u: `uniform_of` the examples, [n].
    """

    classifier: Classifier
    log_posterior: Floats
    labels: NDArray[np.int64]
    u: Floats

    @classmethod
    def of(cls, classifier: Classifier) -> Validated:
        """Classify the validation examples.

        Raises:
            RunError: labels of another kind, a prior that is changed, or a run without labelled validation examples.
            DataError: the data are gone.
        """
        run = classifier.run
        refuse_by_kind(run, sets=True)
        if classifier.prior is not None:
            raise RunError(
                f"{run.path}: under another prior the validation examples promise nothing of new ones; leave out the "
                "prior, or the coverage and the error"
            )
        try:
            train, rows = run.dataset().train, run.split().validation
        except DataError as error:
            raise DataError(
                f"{run.path}: coverage and errors are promised by the validation examples, which cannot be read; go "
                f"where the data are, or name their folder (--data-root):\n{error}"
            ) from error
        rows = rows[train[run.label][rows] >= 0]
        if not len(rows):
            raise RunError(
                f"{run.path}: the split keeps no labelled examples for validation, and nothing can be promised without "
                f"them; {more_validation(run)}"
            )
        images = run.examples({name: values[rows] for name, values in train.items()})
        labels = np.asarray(train[run.label][rows], dtype=np.int64)
        return cls(classifier, classifier.log_posterior(images), labels, uniform_in(run, images))

    @property
    def choices(self) -> list[str]:
        """What was chosen on these examples, so that the promise is no longer exact; empty: it is."""
        calibration, chosen = self.classifier.calibration, []
        if self.classifier.run.checkpoint == "selected":
            chosen.append("the checkpoint")
        if calibration.count:
            chosen.append("the temperature and the vote" if calibration.draws else "the temperature")
        return chosen

    def sets(self, coverage: float, score: Score = "aps") -> SetThreshold:
        """The threshold of prediction sets with a coverage in (0, 1).

        The penalty of "raps" is chosen on every fifth example, and its threshold on the others, so that the coverage is
        as exact as that of "aps".

        Raises:
            RunError: the coverage or score is none, or there are too few validation examples for it.
        """
        checked_share(coverage, "coverage")
        if score not in get_args(Score):
            raise RunError(f"sets by {score!r} are not known; use {' or '.join(get_args(Score))}")
        rows = np.arange(len(self.labels))
        tuning = rows[::TUNING] if score == "raps" else rows[:0]
        chosen = np.setdiff1d(rows, tuning)
        count, needed = len(chosen), fewest(coverage)
        if count < needed:
            enough = needed if score == "aps" else math.ceil(needed * TUNING / (TUNING - 1)) + 1
            run, least = self.classifier.run, f"ask for at most {percent(_floored(count / (count + 1)))}"
            raise RunError(
                f"{run.path}: {count_of(len(rows), *EXAMPLES, before='labelled validation')} cannot promise a coverage "
                f"of {percent(coverage)}; it needs {enough} or more, better ten times as many: "
                f"{more_validation(run, enough, 10 * enough, least)}"
            )
        probabilities, penalty = np.exp(self.log_posterior), NONE
        if score == "raps":
            penalty = choose_penalty(probabilities[tuning], self.u[tuning], self.labels[tuning], coverage)
        scores = adaptive_scores(probabilities, self.u, penalty)[chosen, self.labels[chosen]]
        return SetThreshold(
            coverage, threshold_of(scores, coverage), count, coverage_interval(count, coverage), penalty
        )

    def answering(self, at_most_error: float) -> Answering:
        """Above which confidence to answer, for an error in (0, 1) among the answers.

        Raises:
            RunError: the error is none, or the validation examples cannot promise it, or the kind of the label.
        """
        refuse_by_kind(self.classifier.run, answering=True)
        checked_share(at_most_error, "at_most_error")
        odds, right = log_odds(self.log_posterior), self.log_posterior.argmax(axis=1) == self.labels
        found = choose_threshold(odds, right, at_most_error)
        if found is not None:
            return found
        run, count, needed = self.classifier.run, len(self.labels), fewest_answered(at_most_error)
        where = f"{run.path}: an error of at most {percent(at_most_error)} cannot be promised"
        at_best = least_promise(odds, right)
        instead = (
            "no error can be promised" if at_best is None else f"the least that can be promised is {percent(at_best)}"
        )
        if count < needed:
            raise RunError(
                f"{where} with {count_of(count, *EXAMPLES, before='labelled validation')}: with {CONFIDENCE:.0%} "
                f"confidence it needs {needed} without a mistake, and {count} {either(count, 'promises', 'promise')} "
                f"{least_error(count):.2%} at best; {more_validation(run, needed, 2 * needed)}. With these, {instead}"
            )
        raise RunError(
            f"{where} with {CONFIDENCE:.0%} confidence: among the surest of the {count} labelled validation examples "
            f"too many are taken wrongly; {instead}. More validation examples (split.validation) may help"
        )


def uniform_in(run: TrainedModel, images: AnyExamples) -> Floats:
    """`uniform_of` inputs as `TrainedModel.read_all` gives them, or of kept pieces: bytes and floats are alike."""
    given = images.whole if isinstance(images, Pieces) else images
    parts = {run.image: given} if isinstance(given, Tensor) else given.parts
    values = [run.inputs_of(name).values(parts[name]).float().flatten(1).cpu().numpy() for name in run.roles.inputs]
    return uniform_of(np.concatenate(values, axis=1))


def sets_of(threshold: SetThreshold, log_posterior: Floats, u: Floats) -> NDArray[np.bool_]:
    """Which classes each set holds, [n, K], from log posteriors [n, K] and `uniform_in` the examples, [n]."""
    return adaptive_scores(np.exp(log_posterior), u, threshold.penalty) <= threshold.threshold


def predict_sets(
    classifier: Classifier, images: AnyExamples, coverage: float, score: Score = "aps"
) -> NDArray[np.bool_]:
    """Which classes the set of each example holds, [n, K]; see `Validated.sets`."""
    threshold = Validated.of(classifier).sets(coverage, score)
    return sets_of(threshold, classifier.log_posterior(images), uniform_in(classifier.run, images))


def predict_sure(classifier: Classifier, images: AnyExamples, at_most_error: float) -> NDArray[np.int64]:
    """The most likely class number of each example, [n], or -1 where it is not answered; see `Validated.answering`."""
    answering = Validated.of(classifier).answering(at_most_error)
    log_posterior = classifier.log_posterior(images)
    return np.where(log_odds(log_posterior) > answering.threshold, log_posterior.argmax(axis=1), -1)


def checked_share(value: float, name: str) -> None:
    """Raise `RunError` unless a value lies between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise RunError(f"{name} is {value:g}, but must lie between 0 and 1, such as 0.95 or 0.01")


def _floored(value: float) -> float:
    """Rounded down to 0.1%, so that it can be asked for."""
    return int(value * 1000) / 1000
