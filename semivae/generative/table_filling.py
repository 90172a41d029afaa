"""Filling in the empty cells of a table, the label's too: imputation in the table's own words and units."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from semivae.data.dataset import LabelInfo
from semivae.data.formats.csv_cells import read_cells
from semivae.data.inputs.columns import Column
from semivae.data.inputs.further_labels import label_column
from semivae.data.inputs.table_encoding import TableEncoding
from semivae.errors import DataError, DataWarning, RunError
from semivae.generative.imputation import Imputed, impute
from semivae.runs.model import TrainedModel
from semivae.text import join_names
from semivae.variables import VOID, seen


@dataclass(frozen=True)
class FilledTable:
    """A table without empty cells in the columns that the run knows.

    Args:
        cells: by column, in the file's order; what was there is as it was, to the letter.
        filled: how many cells were empty, by column; columns without any are left out.
        imputed: the draws behind it, in the encoding's vectors; all labels are the one that was there, if it was.
    """

    cells: dict[str, Sequence[str]]
    filled: dict[str, int]
    imputed: Imputed


def fill_table(run: TrainedModel, path: str | Path, *, draws: int = 8, rounds: int = 50, seed: int = 0) -> FilledTable:
    """Fills in what is missing: numbers by the mean of the draws, categories and labels by the most likely one.

    A row's label, where it is there, is held fixed, so that it tells about the rest of the row.

    Args:
        run: a run that learnt from a table file.
        path: a table with its columns; that of the label may lack.
        draws, rounds, seed: as of `impute`.

    Warns (`DataWarning`) of texts that were in no training row.

    Raises:
        DataError: no such file, a column is missing, an unknown label, or no cell is empty.
        RunError: the run learnt from no table file; else as `impute`.
    """
    path, encoding = Path(path), run.encoding
    if encoding is None:
        raise RunError(f"{run.path}: this run did not learn from a table file, so it has no columns to fill in")
    cells = read_cells(path)
    columns = encoding.read(cells, str(path))
    values, gaps = (torch.from_numpy(each) for each in encoding.encode_with_gaps(columns, str(path)))
    for doubt in encoding.strange(columns, str(path)):
        warnings.warn(doubt, DataWarning, stacklevel=2)
    empty = encoding.missing(columns)
    column = cells.get(encoding.label) if run.roles.labels else None  # of an unsupervised run there is none to fill in
    given = None if column is None else _given_labels(run, path, encoding, column)
    if given is not None:
        empty[encoding.label] = (~seen(given)).numpy()
    filled = {name: int(marks.sum()) for name, marks in empty.items() if marks.any()}
    if not filled:
        raise DataError(
            f"{path}: no cell is empty in the columns {join_names(list(empty), 12)}; there is nothing to fill"
        )
    labels = torch.full((len(values),), VOID) if given is None else given
    imputed = _imputed(run, values, gaps, labels, draws, rounds, seed)
    found = encoding.decode(imputed.mean.numpy())
    if given is not None and imputed.labels is not None:
        found[encoding.label] = run.task.texts(imputed.labels, run.classes)
    complete = {
        name: [new if lacks else old for old, new, lacks in zip(cells[name], found[name], marks.tolist(), strict=True)]
        for name, marks in empty.items()
    }
    return FilledTable(cells | complete, filled, imputed)


def _given_labels(run: TrainedModel, path: Path, encoding: TableEncoding, cells: Sequence[str]) -> Tensor:
    """Class numbers or numbers of the rows, [n]; `VOID` or NaN where the label is missing."""
    column = label_column(run.task.name, Column(cells, encoding.style), encoding.unlabelled)
    return column.values(LabelInfo(run.task.name, run.classes), f"{path}: column {encoding.label}")


def _imputed(
    run: TrainedModel, values: Tensor, gaps: Tensor, labels: Tensor, draws: int, rounds: int, seed: int
) -> Imputed:
    """`impute` of rows with their labels held fixed, and of those without, put together again."""
    labelled = seen(labels)
    parts = []
    for rows in (labelled.nonzero()[:, 0], (~labelled).nonzero()[:, 0]):
        if len(rows):
            # an array holds numbers of classes; in a list 1 might also be the class called "1"
            known = {run.label: labels[rows]} if labelled[rows[0]] else {}
            found = impute(run, values[rows], gaps[rows], known, draws=draws, rounds=rounds, seed=seed)
            parts.append((rows, found))
    order = torch.cat([rows for rows, _ in parts]).argsort()
    all_draws, mean, spread = (
        torch.cat([getattr(found, name) for _, found in parts])[order] for name in ("draws", "mean", "spread")
    )
    drawn = [found.labels for _, found in parts if found.labels is not None]
    return Imputed(all_draws, mean, spread, torch.cat(drawn)[order] if drawn else None)
