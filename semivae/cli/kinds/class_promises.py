"""What `predict` says beside the class: a set of classes, whether it is sure enough to answer, and how novel it is.

All of it rests on the run's validation examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from semivae.text import Nouns, count_of, either, percent

if TYPE_CHECKING:
    from semivae.classification.classifier import Answer, Classifier
    from semivae.cli.kinds import Asked
    from semivae.data.inputs.reading import Reading


@dataclass
class Beside:
    """What stands beside the label of each example.

    Attributes:
        answered: whether each one is answered; None: all are.
        columns: by name, a value for each example; a set is a list of names.
        facts: for a report, JSON-serialisable.
        lines: for people.
    """

    answered: Sequence[bool] | None = None
    columns: dict[str, Sequence[Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def beside(classifier: Classifier, images: Reading, answer: Answer, asked: Asked) -> Beside:
    """What was asked for beside the class.

    Raises:
        RunError, DataError: the validation examples cannot promise it, or are gone.
    """
    from semivae.classification.trust import Validated

    found = Beside()
    if asked.coverage is not None or asked.at_most_error is not None:
        validated = Validated.of(classifier)
        if asked.coverage is not None:
            _add_sets(found, validated, images, answer, asked)
        if asked.at_most_error is not None:
            _add_answered(found, validated, answer, asked.at_most_error)
        if validated.choices:
            found.lines.append(choice_line(validated.choices, classifier.run.nouns))
    if asked.novelty:
        _add_novelty(found, classifier, images)
    return found


def choice_line(choices: Sequence[str], nouns: Nouns) -> str:
    """Says that a promise is no longer exact."""
    chosen = " and ".join(choices)
    verb = "were" if " and " in chosen else "was"
    return f"{chosen} {verb} chosen on the same validation {nouns[1]}, so the promise is not exact"


def joined_set(names: Sequence[str]) -> str:
    r"""The names of a set in one cell, `3|8`; a backslash stands before a | or backslash that belongs to a name."""
    return "|".join(name.replace("\\", "\\\\").replace("|", "\\|") for name in names)


def _add_sets(found: Beside, validated: Any, images: Reading, answer: Answer, asked: Asked) -> None:
    from semivae.classification.trust import sets_of, uniform_in

    coverage = asked.coverage or 0.0
    run, threshold = validated.classifier.run, validated.sets(coverage, asked.sets)
    nouns: Nouns = run.nouns
    held = sets_of(threshold, answer.log_posterior, uniform_in(run, images.values))
    found.columns["set"] = [[run.classes[number] for number in row.nonzero()[0]] for row in held]
    sizes = held.sum(axis=1)
    found.facts["sets"] = threshold.facts() | {
        "chosen_on_validation": validated.choices,
        "mean_size": float(sizes.mean()),
        "empty": int((sizes == 0).sum()),
    }
    low, high = threshold.interval
    found.lines.append(
        f"sets with a coverage of {percent(coverage)} by {count_of(threshold.count, *nouns, before='validation')} "
        f"(with these, {low:.1%} to {high:.1%}): {sizes.mean():.2f} classes on average, {(sizes == 0).sum():,} empty"
    )
    if run.task.promised:
        found.facts["sets"]["of"] = run.task.promised
        found.lines.append(f"the coverage is that of {run.task.promised}")
    if (sizes == 0).any():
        right = float((validated.log_posterior.argmax(axis=1) == validated.labels).mean())
        found.lines.append(
            f"sets are empty where more coverage than asked would follow: the class alone is right for {right:.1%} of "
            f"the validation {run.nouns[1]}; ask for a higher coverage to have fewer"
        )


def _add_answered(found: Beside, validated: Any, answer: Answer, at_most_error: float) -> None:
    from semivae.classification.abstaining import log_odds

    answering = validated.answering(at_most_error)
    nouns: Nouns = validated.classifier.run.nouns
    answered = log_odds(answer.log_posterior) > answering.threshold
    found.answered = answered.tolist()
    found.facts["answering"] = {
        "at_most_error": at_most_error,
        "confidence": answering.confidence,
        "validation_answered": answering.answered,
        "validation_wrong": answering.wrong,
        "validation_count": answering.count,
        "bound": answering.bound,
        "chosen_on_validation": validated.choices,
        "answered": int(answered.sum()),
        "abstained": int((~answered).sum()),
    }
    found.lines.append(
        f"answered: {answered.sum():,}, not answered (no label): {(~answered).sum():,}. Of the answers at most "
        f"{percent(at_most_error)} are wrong, with {answering.confidence:.0%} confidence; of {answering.answered:,} of "
        f"{count_of(answering.count, *nouns, before='validation')} so sure, {answering.wrong:,} "
        f"{either(answering.wrong, 'was', 'were')}"
    )


def _add_novelty(found: Beside, classifier: Classifier, images: Reading) -> None:
    from semivae.generative.features_novelty import distances

    novel = distances(classifier.run, images.values)
    found.columns |= {"novelty": novel.scores.tolist(), "novelty_p": novel.p_values.tolist()}
    flagged = int((novel.p_values <= 0.05).sum())
    found.facts["novelty"] = {"compared_with": novel.count, "flagged": flagged}
    found.lines.append(
        f"novel at 5% false alarms: {flagged:,}, by the distance to training {classifier.run.nouns[1]}, compared with "
        f"{count_of(novel.count, *classifier.run.nouns, before='validation')}"
    )
