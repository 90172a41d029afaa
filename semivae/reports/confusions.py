"""What a run learnt of evidence: its tables p(c | y) with intervals, and how often annotators are right."""

from __future__ import annotations

from typing import Any

import numpy as np

from semivae.classification.evidence import WithEvidence, annotators, evidence_names, table_of, with_evidence
from semivae.errors import DataError
from semivae.monitoring.fractions import interval
from semivae.runs.model import TrainedModel


def confusions(run: TrainedModel, skipped: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Returns what is known of each class that is evidence of the label, by name; empty without such evidence.

    A row of a table is estimated from the examples of its class that show the variable; its 95% intervals are exact
    for so many, as expected under q(y | x, c). They do not know that q itself may be wrong.

    Args:
        run: the run.
        skipped: gets a line if the data cannot be read, so that there are no intervals.

    Returns:
        JSON-serialisable, by name: "label"; "classes" of the label and "columns", names; "learnt"; "table", [K, C],
        probabilities; "counts", the expected number of examples of each row, and "intervals", [K, C, 2], or None
        without the data; of annotators also "accuracy", "shown", the number of examples, and its "interval".
    """
    names = [name for name in evidence_names(run) if run.recipe.variables[name].has_classes]
    if not names:
        return {}
    found: WithEvidence | None = None
    try:
        found = with_evidence(run)
    except DataError as error:
        if skipped is not None:
            skipped.append(f"intervals of {', '.join(names)}: {error}")
    return {name: _of(run, name, found) for name in names}


def _of(run: TrainedModel, name: str, found: WithEvidence | None) -> dict[str, Any]:
    table = table_of(run, name)
    same = name in annotators(run)
    columns = run.classes if same else _columns(run, name, table.shape[1])
    report: dict[str, Any] = {
        "label": run.label,
        "classes": list(run.classes),
        "columns": list(columns),
        "learnt": run.decoder[name].learnable,
        "table": table.tolist(),
        "counts": None,
        "intervals": None,
    }
    weights = np.full(len(table), 1.0 / len(table))
    if found is not None:
        shown = found.shown[name]
        counts = found.given_evidence()[shown].sum(axis=0)
        weights = counts / max(counts.sum(), 1e-9)
        report["counts"] = counts.tolist()
        report["intervals"] = [
            [list(interval(share, max(1, round(count)))) for share in row]
            for row, count in zip(table.tolist(), counts.tolist(), strict=True)
        ]
    if same:
        accuracy = float(weights @ table.diagonal())
        count = None if found is None else int(found.shown[name].sum())
        report |= {"accuracy": accuracy, "shown": count, "interval": list(interval(accuracy, count)) if count else None}
    return report


def _columns(run: TrainedModel, name: str, count: int) -> tuple[str, ...]:
    try:
        return run.dataset().labels[name].classes
    except (DataError, KeyError):
        return tuple(str(number) for number in range(count))
