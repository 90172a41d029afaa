"""Files about single classes."""

from __future__ import annotations

from collections.abc import Sequence

from semivae.cli.writing import csv_bytes


def predictions_csv(names: Sequence[str], probabilities: Sequence[Sequence[float]], classes: Sequence[str]) -> bytes:
    """Rows `name,label,prob_CLASS...`."""
    labels = [classes[max(range(len(row)), key=row.__getitem__)] for row in probabilities]
    rows = zip(names, labels, probabilities, strict=True)
    return csv_bytes(
        ["name", "label", *(f"prob_{name}" for name in classes)],
        ([name, label, *(f"{value:.6f}" for value in row)] for name, label, row in rows),
    )
