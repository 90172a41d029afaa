"""Filling in the empty cells of a table, the label's too: imputation in the table's own words and units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from semivae.data.formats.csv_cells import read_cells
from semivae.data.inputs.table_encoding import is_missing
from semivae.errors import DataError, RunError
from semivae.generative.imputation import Imputed, impute
from semivae.runs.model import TrainedModel
from semivae.text import join_names


@dataclass(frozen=True)
class FilledTable:
    """A table without empty cells in the columns that the run knows.

    Args:
        cells: by column, in the file's order; what was there is as it was, to the letter.
        filled: how many cells were empty, by column; columns without any are left out.
        imputed: the draws behind it, in the encoding's vectors; all labels are the one that was there, if it was.
    """

    cells: dict[str, list[str]]
    filled: dict[str, int]
    imputed: Imputed


def fill_table(run: TrainedModel, path: str | Path, *, draws: int = 8, rounds: int = 50, seed: int = 0) -> FilledTable:
    """Fills in what is missing: numbers by the mean of the draws, categories and labels by the most likely one.

    A row's label, where it is there, is held fixed, so that it tells about the rest of the row.

    Args:
        run: a run that learnt from a table file.
        path: a table with its columns; that of the label may lack.
        draws, rounds, seed: as of `impute`.

    Raises:
        DataError: no such file, a column is missing, an unknown label, or no cell is empty.
        RunError: the run learnt from no table file; else as `impute`.
    """
    path, encoding = Path(path), run.encoding
    if encoding is None:
        raise RunError(f"{run.path}: this run did not learn from a table file, so it has no columns to fill in")
    cells = read_cells(path)
    values, gaps = (torch.from_numpy(each) for each in encoding.encode_with_gaps(cells, str(path)))
    column = cells.get(encoding.label) if run.roles.labels else None  # of an unsupervised run there is none to fill in
    given = _given_labels(run, path, encoding.label, column)
    known = {column.name: cells[column.name] for column in encoding.columns}
    if given is not None:
        known[encoding.label] = cells[encoding.label]
    empty = {name: [is_missing(cell) for cell in column] for name, column in known.items()}
    filled = {name: sum(marks) for name, marks in empty.items() if any(marks)}
    if not filled:
        raise DataError(
            f"{path}: no cell is empty in the columns {join_names(list(known), 12)}; there is nothing to fill"
        )
    imputed = _imputed(run, values, gaps, given, draws, rounds, seed)
    found = encoding.decode(imputed.mean.numpy())
    if given is not None:
        likeliest = imputed.label_shares(len(run.classes)).argmax(dim=1)
        found[encoding.label] = [run.classes[place] for place in likeliest.tolist()]
    complete = {
        name: [new if is_missing(old) else old for old, new in zip(column, found[name], strict=True)]
        for name, column in known.items()
    }
    return FilledTable(cells | complete, filled, imputed)


def _given_labels(run: TrainedModel, path: Path, name: str, column: Sequence[str] | None) -> list[int | None] | None:
    """Class numbers of the rows, None where the label is missing; None if the table has no such column."""
    if column is None:
        return None
    written = [None if is_missing(cell) else cell.strip() for cell in column]
    if unknown := sorted({cell for cell in written if cell is not None and cell not in run.classes}):
        raise DataError(
            f"{path}: column {name} holds classes that the run does not know: {join_names(unknown)}; it knows "
            f"{join_names(run.classes)}"
        )
    return [None if cell is None else run.classes.index(cell) for cell in written]


def _imputed(
    run: TrainedModel, values: Tensor, gaps: Tensor, given: list[int | None] | None, draws: int, rounds: int, seed: int
) -> Imputed:
    """`impute` of rows with their labels held fixed, and of those without, put together again."""
    numbers = given or [None] * len(values)
    labelled = torch.tensor([number is not None for number in numbers])
    parts = []
    for rows in (labelled.nonzero()[:, 0], (~labelled).nonzero()[:, 0]):
        if len(rows):
            # an array holds numbers of classes; in a list 1 might also be the class called "1"
            known = {run.label: torch.tensor([numbers[row] for row in rows.tolist()])} if labelled[rows[0]] else {}
            found = impute(run, values[rows], gaps[rows], known, draws=draws, rounds=rounds, seed=seed)
            parts.append((rows, found))
    order = torch.cat([rows for rows, _ in parts]).argsort()
    all_draws, mean, spread = (
        torch.cat([getattr(found, name) for _, found in parts])[order] for name in ("draws", "mean", "spread")
    )
    labels = [found.labels for _, found in parts if found.labels is not None]
    return Imputed(all_draws, mean, spread, torch.cat(labels)[order] if labels else None)
