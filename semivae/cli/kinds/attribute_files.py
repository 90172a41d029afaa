"""Files about attributes: what `predict` writes, and what is kept of imputed labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semivae.cli.listing import reply_predictions
from semivae.cli.opening import once_used
from semivae.cli.showing import classifier_lines
from semivae.cli.writing import csv_bytes
from semivae.text import Nouns, count_of

if TYPE_CHECKING:
    from semivae.classification import Classifier
    from semivae.cli.kinds import Asked
    from semivae.data.inputs.pieces import Pieces
    from semivae.data.inputs.reading import Reading
    from semivae.generative.imputation import Imputed


def predict_attributes(
    classifier: Classifier, given: Reading | Pieces, out: Path | None, overwrite: bool, as_json: bool, asked: Asked
) -> None:
    """Writes OUT.csv, or shows it: rows `name,attributes,prob_ATTRIBUTE...`; as JSON the rows too without a file."""
    import torch

    from semivae.classification.posterior import refuse_by_kind

    run = classifier.run
    refuse_by_kind(run, sets=asked.coverage or asked.at_most_error, doubt=asked.novelty)
    outputs = torch.cat(list(classifier.in_parts(given.examples)))
    images = once_used(given)
    names = images.names
    labels = run.task.named(run.task.predict(outputs, classifier.chosen).numpy(), run.classes).tolist()
    probabilities, facts = outputs.tolist(), classifier.facts() | thresholds_report(classifier)
    header = ["name", "attributes", *(f"prob_{name}" for name in run.classes)]
    rows = [
        [name, label, *(f"{value:.6f}" for value in row)]
        for name, label, row in zip(names, labels, probabilities, strict=True)
    ]
    notes = [*classifier_lines(facts, run.nouns), threshold_line(facts, run.nouns)]
    report = {"run": str(run.path), "count": len(names), "attributes": list(run.classes), **facts, **images.report()}
    columns = {"name": names, "attributes": labels, "probabilities": probabilities}
    reply_predictions(csv_bytes(header, rows, images.unreadable), columns, report, notes, out, as_json)


def thresholds_report(classifier: Classifier) -> dict[str, Any]:
    """The threshold of each attribute, and on how many validation images they were chosen."""
    from semivae.tasks.attribute_scores import thresholds_of

    chosen, names = classifier.chosen, classifier.run.classes
    thresholds = dict(zip(names, thresholds_of(chosen, len(names)).tolist(), strict=True))
    return {"thresholds": thresholds, "thresholds_chosen_on": 0 if chosen is None else chosen["count"]}


def threshold_line(facts: dict[str, Any], nouns: Nouns) -> str:
    """Where the thresholds come from."""
    count = facts["thresholds_chosen_on"]
    if count:
        return (
            f"named are attributes above thresholds that were chosen on {count_of(count, *nouns, before='validation')}"
        )
    return f"named are attributes of probability above 0.5: no validation {nouns[1]} chose other thresholds"


def share_arrays(imputed: Imputed, classes: Sequence[str]) -> dict[str, Any]:
    """How often the draws have each attribute, [n, K]."""
    import numpy as np

    assert imputed.labels is not None
    return {"attributes": imputed.labels.float().mean(dim=1).numpy(), "names": np.asarray(classes)}
