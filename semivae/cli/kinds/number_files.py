"""Files about numbers: predictions with their intervals, and numbers that imputation draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semivae.cli.listing import reply_predictions
from semivae.cli.opening import once_used
from semivae.cli.writing import csv_bytes
from semivae.text import count_of, percent

if TYPE_CHECKING:
    from semivae.classification import Classifier
    from semivae.cli.kinds import Asked
    from semivae.data.inputs.pieces import Pieces
    from semivae.data.inputs.reading import Reading
    from semivae.generative.imputation import Imputed


def predict_numbers(
    classifier: Classifier, given: Reading | Pieces, out: Path | None, overwrite: bool, as_json: bool, asked: Asked
) -> None:
    """Writes OUT.csv with mean, standard deviation and interval of every image, or shows it; as JSON the rows too.

    Intervals are for the coverage that is asked for; unasked, for 90% where there are validation images enough.

    Raises:
        RunError: the validation images cannot promise the coverage, or an error is to be promised.
    """
    from semivae.classification.intervals import predict_numbers as predicted
    from semivae.classification.posterior import refuse_by_kind

    run = classifier.run
    refuse_by_kind(run, sets=asked.at_most_error)
    found = predicted(classifier, given.examples, asked.coverage)
    images = once_used(given)
    names = images.names
    columns: dict[str, Sequence[float]] = dict(found.columns(run.label))
    notes, facts = [], found.facts()
    if found.coverage is not None:
        notes.append(
            f"intervals (low to high) hold {percent(found.coverage)} of the numbers of new {run.nouns[1]} like the "
            f"{count_of(found.count, *run.nouns, before='validation')}"
        )
    if asked.novelty:
        from semivae.generative.features_novelty import distances

        novel = distances(run, images.values)
        columns |= {"novelty": novel.scores.tolist(), "novelty_p": novel.p_values.tolist()}
    report = {"run": str(run.path), "count": len(names), **facts, **images.report()}
    rows = [[name, *map(_cell, row)] for name, row in zip(names, zip(*columns.values(), strict=True), strict=True)]
    table = csv_bytes(["name", *columns], rows, images.unreadable)
    reply_predictions(table, {"name": names, **columns}, report, notes, out, as_json)


def _cell(value: float) -> str:
    return f"{value:.6g}"


def number_arrays(imputed: Imputed, classes: Sequence[str]) -> dict[str, Any]:
    """The numbers of all draws, [n, draws, ...]."""
    assert imputed.labels is not None
    return {"labels": imputed.labels.numpy()}
