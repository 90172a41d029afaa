"""Files about single classes, and pictures of images that have none or one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semivae.cli.kinds.class_promises import beside, joined_set
from semivae.cli.listing import reply_predictions
from semivae.cli.opening import once_used
from semivae.cli.showing import classifier_lines
from semivae.cli.writing import check_target, csv_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from semivae.api import Run
    from semivae.classification import Classifier
    from semivae.cli.kinds import Asked
    from semivae.data.inputs.pieces import Pieces
    from semivae.data.inputs.reading import Reading
    from semivae.generative.imputation import Imputed


def check_csv(out: Path | None, overwrite: bool) -> None:
    """Refuses what is no new .csv file."""
    check_target(out, overwrite, ".csv")


def predict_csv(
    classifier: Classifier,
    given: Reading | Pieces,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
    asked: Asked,
) -> None:
    """Writes OUT.csv, or shows it; as JSON the rows too where there is no file."""
    answer = classifier.answer(given.examples)
    images = once_used(given)
    run, names = classifier.run, images.names
    more = beside(classifier, images, answer, asked)
    probabilities, facts = answer.probabilities.tolist(), classifier.facts(answer) | more.facts
    labels = labels_of(probabilities, run.classes, more.answered)
    table = predictions_csv(names, labels, more.columns, probabilities, run.classes, list(images.unreadable))
    notes = classifier_lines(facts, run.nouns) + more.lines
    report = {"run": str(run.path), "count": len(names), "classes": list(run.classes), **facts, **images.report()}
    columns = {"name": names, "label": labels, **more.columns, "probabilities": probabilities}
    reply_predictions(table, columns, report, notes, out, as_json)


def labels_of(
    probabilities: Sequence[Sequence[float]], classes: Sequence[str], answered: Sequence[bool] | None = None
) -> list[str]:
    """The name of each row's most likely class; empty where it is not answered."""
    labels = [classes[max(range(len(row)), key=row.__getitem__)] for row in probabilities]
    return [label if sure else "" for label, sure in zip(labels, answered or [True] * len(labels), strict=True)]


def predictions_csv(
    names: Sequence[str],
    labels: Sequence[str],
    beside: Mapping[str, Sequence[Any]],
    probabilities: Sequence[Sequence[float]],
    classes: Sequence[str],
    unreadable: Sequence[str] = (),
) -> bytes:
    """Rows `name,label,...,prob_CLASS...`, `beside` by column; of unreadable files at the end, with empty cells."""
    cells = [[_cell(value) for value in column] for column in beside.values()]
    rows = zip(names, labels, *cells, strict=True)
    answers = [[*row, *(f"{value:.6f}" for value in each)] for row, each in zip(rows, probabilities, strict=True)]
    header = ["name", "label", *beside, *(f"prob_{name}" for name in classes)]
    return csv_bytes(header, answers, unreadable)


def _cell(value: Any) -> str:
    return joined_set(value) if isinstance(value, list) else f"{value:.6g}"


def image_alone(run: Run, drawn: Mapping[str, Tensor]) -> Tensor:
    """The images as they are; of a run that starts from features, the pictures beside them."""
    return drawn[run.shown]


def share_arrays(imputed: Imputed, classes: Sequence[str]) -> dict[str, Any]:
    """How often the draws have each class, [n, classes]."""
    import numpy as np

    return {"labels": imputed.label_shares(len(classes)).numpy(), "classes": np.asarray(classes)}


def images_alone(
    run: Run, out: Path, images: Reading, imputed: Imputed, rows: Tensor, values: Mapping[str, Any]
) -> Tensor:
    """The fillings as they are, one after the other."""
    return rows.flatten(0, 1)
