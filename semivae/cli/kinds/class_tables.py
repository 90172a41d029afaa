"""Tables about single classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from semivae.cli.kinds.class_promises import choice_line
from semivae.cli.tables import NAMES, bar_text, counted, new_table, nouns_of, validation_count
from semivae.text import count_of, percent

if TYPE_CHECKING:
    from rich.console import RenderableType


def results_table(report: Mapping[str, Any]) -> Table:
    """Shows the error with its 95% interval and calibration, for each checkpoint in an evaluation's report."""
    title = f"{counted(report)}{', class shares as asked' if 'test_prior' in report else ''}"
    table = new_table("", "error", "95% interval", "NLL", "Brier", "ECE", title=title)
    for key, name in NAMES.items():
        scores = report.get(key)
        if scores:
            low, high = scores["error_interval"]
            numbers = (f"{scores['nll']:.4f}", f"{scores['brier']:.4f}", f"{scores['ece']:.4f}")
            table.add_row(name, f"{scores['error']:.2%}", f"{low:.2%} to {high:.2%}", *numbers)
    return table


def per_class_table(report: Mapping[str, Any]) -> Table:
    """Shows the error and confusions of each class, for the last checkpoint."""
    scores = report["last"]
    classes = list(scores["per_class"])
    table = new_table("class", nouns_of(report)[1], "error", "most often taken for", title="Per class")
    for row, (name, error) in enumerate(scores["per_class"].items()):
        counts = list(scores["confusion"][row])
        total = sum(counts)
        counts[row] = 0
        worst = max(range(len(counts)), key=counts.__getitem__)
        taken = f"{classes[worst]} ({counts[worst]})" if counts[worst] else ""
        table.add_row(name, str(total), "-" if error is None else f"{error:.2%}", taken)
    return table


def confusion_table(report: Mapping[str, Any]) -> Table:
    """Shows the confusion matrix of the last checkpoint: a row per true class, a column per answer."""
    scores = report["last"]
    classes = list(scores["per_class"])
    table = new_table("true \\ answered", *classes, title="Confusion")
    for name, counts in zip(classes, scores["confusion"], strict=True):
        table.add_row(name, *(str(count) if count else "." for count in counts))
    return table


def reliability_table(report: Mapping[str, Any]) -> Table:
    """How often answers are right that are so sure: of the last step that was measured. A bar is the share of right
    answers, a stroke the mean confidence: beyond the bar it is too sure, within it too doubtful.
    """
    key = next(key for key in ("corrected", "voted", "calibrated", "last") if report.get(key))
    title = f"Reliability: {NAMES[key]}"
    table = new_table("confidence", nouns_of(report)[1], "right", "0% to 100%", title=title)
    for row in report[key]["reliability"]:
        bar = bar_text(row["right"], row["confidence"])
        table.add_row(f"{row['confidence']:.1%}", f"{row['count']:,}", f"{row['right']:.1%}", bar)
    return table


def promise_lines(report: Mapping[str, Any]) -> list[str]:
    """Shows how large sets of classes are and, where it was asked for, what the promised error costs."""
    lines = []
    if "sets" in report:
        sets = report["sets"]
        if "refused" in sets:
            return [f"no prediction sets: {sets['refused']}"]
        low, high = sets["covered_interval"]
        least, most = sets["expected_interval"]
        lines.append(
            f"prediction sets for a coverage of {percent(sets['coverage'])}: {sets['covered']:.1%} hold the class "
            f"({low:.1%} to {high:.1%}), {sets['mean_size']:.2f} classes on average, {sets['empty']:.1%} empty; by "
            f"{validation_count(report, sets['count'])}, with which it lies between {sets['interval'][0]:.1%} and "
            f"{sets['interval'][1]:.1%}; of {count_of(sum(sets['sizes']), *nouns_of(report))} {least:.1%} to "
            f"{most:.1%} "
            "are then expected"
        )
        if other := sets.get("beyond"):
            lines.append(
                f"strangers, of which nothing is promised: of {other['count']:,} sets {other['named']:.1%} hold "
                f"strangers, {other['alone']:.1%} nothing else, {other['missed']:.1%} known classes alone; "
                f"{other['mean_size']:.2f} classes on average"
            )
        if sets["chosen_on_validation"]:
            lines.append(choice_line(sets["chosen_on_validation"], nouns_of(report)))
    if "answering" in report:
        found = report["answering"]
        error = "none" if found["test_error"] is None else f"{found['test_error']:.2%}"
        lines.append(
            f"at most {percent(found['at_most_error'])} wrong, promised with {found['confidence']:.0%} confidence: "
            f"{found['test_answered']:.1%} of the test {nouns_of(report)[1]} are answered, of these wrong {error}"
        )
    return lines


def risk_table(report: Mapping[str, Any]) -> Table:
    """The error among the surest share of the images, for several shares."""
    found = report["risk_coverage"]
    title = f"Surest {nouns_of(report)[1]} alone: AURC {found['aurc']:.2g}"
    table = new_table("answered, the surest first", "error among them", title=title)
    shown = {f"{row['answered']:.0%}": f"{row['error']:.2%}" for row in found["curve"]}  # of few images some are equal
    for answered, error in shown.items():
        table.add_row(answered, error)
    return table


def details(report: Mapping[str, Any]) -> list[RenderableType]:
    """All tables of an evaluation but the first."""
    risk = [risk_table(report)] if "risk_coverage" in report else []
    return [*promise_lines(report), reliability_table(report), *risk, per_class_table(report), confusion_table(report)]
