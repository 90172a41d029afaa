"""Files about single classes, and pictures of images that have none or one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from semivae.cli.showing import classifier_lines, console, reply
from semivae.cli.writing import check_target, csv_bytes, write_file

if TYPE_CHECKING:
    from torch import Tensor

    from semivae.api import Run
    from semivae.classification import Classifier
    from semivae.data.inputs.reading import Reading
    from semivae.generative.imputation import Imputed


def check_csv(out: Path | None, overwrite: bool) -> None:
    """Refuse what is no new .csv file."""
    check_target(out, overwrite, ".csv")


def predict_csv(classifier: Classifier, images: Reading, out: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write OUT.csv, or show it; as JSON the rows too where there is no file."""
    run, names = classifier.run, images.names
    answer = classifier.answer(images.values)
    probabilities, facts = answer.probabilities.tolist(), classifier.facts(answer)
    text = predictions_csv(names, probabilities, run.classes, list(images.unreadable))
    notes = classifier_lines(facts)
    report = {"run": str(run.path), "count": len(names), "classes": list(run.classes), **facts, **images.report()}
    if out is not None:
        write_file(out, text)
        reply(report | {"out": str(out)}, as_json, console(), f"{out}: {len(names)} images", *notes)
    elif as_json:
        labels = [run.classes[row.index(max(row))] for row in probabilities]
        columns = {"name": names, "label": labels, "probabilities": probabilities}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        reply(report | {"images": rows}, as_json, console())
    else:
        typer.echo(text, nl=False)
        for note in notes:
            print(f"note: {note}", file=sys.stderr)


def predictions_csv(
    names: Sequence[str],
    probabilities: Sequence[Sequence[float]],
    classes: Sequence[str],
    unreadable: Sequence[str] = (),
) -> bytes:
    """Rows `name,label,prob_CLASS...`; of files that cannot be read at the end, with empty cells."""
    labels = [classes[max(range(len(row)), key=row.__getitem__)] for row in probabilities]
    rows = zip(names, labels, probabilities, strict=True)
    answers = [[name, label, *(f"{value:.6f}" for value in row)] for name, label, row in rows]
    empty = [[name, *[""] * (1 + len(classes))] for name in unreadable]
    return csv_bytes(["name", "label", *(f"prob_{name}" for name in classes)], answers + empty)


def image_alone(run: Run, drawn: Mapping[str, Tensor]) -> Tensor:
    """The images as they are."""
    return drawn[run.image]


def share_arrays(imputed: Imputed, classes: Sequence[str]) -> dict[str, Any]:
    """How often the draws have each class, [n, classes]."""
    import numpy as np

    return {"labels": imputed.label_shares(len(classes)).numpy(), "classes": np.asarray(classes)}


def images_alone(
    run: Run, out: Path, images: Reading, imputed: Imputed, rows: Tensor, values: Mapping[str, Any]
) -> Tensor:
    """The fillings as they are, one after the other."""
    return rows.flatten(0, 1)
