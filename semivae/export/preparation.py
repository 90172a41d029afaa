"""How a picture or a table row becomes what an exported file takes: stated in each file, put inside it on request."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.inputs.inputs import pictures_of_inputs
from semivae.data.inputs.table_encoding import FittedColumn, NumberColumn, TableEncoding
from semivae.errors import ExportError
from semivae.export.resampling import PictureFitting
from semivae.runs.model import TrainedModel
from semivae.text import join_names

FITS = {
    "crop": "scaled until it covers this size, and what protrudes is cut off on two sides alike (ImageOps.fit)",
    "pad": "scaled until it lies within this size, in the middle, and the rest is filled with the background",
    "stretch": "scaled to this size, whatever its ratio of sides",
}


class TableRows(nn.Module):
    """Raw rows of a table as the model's rows: what `TableEncoding.encode` does.

    A row has a number for each column, in order: the number of the cell, NaN where it is missing; of a text the place
    of its category, -1 where it is missing or unknown.
    """

    input_name = "rows"
    open_sizes = ("n",)

    def __init__(self, encoding: TableEncoding) -> None:
        super().__init__()
        self.encoding = encoding

    def forward(self, rows: Tensor) -> Tensor:
        """Rows float64 (n, columns) to float32 (n, width)."""
        parts = []
        for place, column in enumerate(self.encoding.columns):
            cells = rows[:, place : place + 1]
            if isinstance(column, NumberColumn):
                missing = torch.isnan(cells)
                parts.append(torch.where(missing, torch.zeros_like(cells), (cells - column.mean) / column.deviation))
                parts += [missing.double()] if column.may_miss else []
            else:
                parts.append((cells == torch.arange(column.width, dtype=torch.float64)).double())
        return torch.cat(parts, 1).float()


Preparing = PictureFitting | TableRows


def preparing_module(run: TrainedModel) -> Preparing:
    """What turns raw pictures or rows into the model's input.

    Raises:
        ExportError: the run learnt from arrays of rows, for which there is nothing to do.
    """
    if (pictures := pictures_of_inputs(run.inputs)) is not None:
        return PictureFitting(pictures.preprocessing)
    if run.encoding is None:
        raise ExportError(
            f"{run.path} learnt from an array of rows, and such rows are used as they are; leave out the preprocessing"
        )
    return TableRows(run.encoding)


def raw_examples(run: TrainedModel, prepare: Preparing, values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Raw inputs like the model's `values`, each batch with what semivae's own reading makes of it.

    Pictures have three sizes, the run's own last; of rows the last one lacks every cell.
    """
    if isinstance(prepare, TableRows):
        yield _raw_rows(prepare.encoding, values)
        return
    inputs = pictures_of_inputs(run.inputs)
    assert inputs is not None
    pictures = (values * 255).round().byte().permute(0, 2, 3, 1)
    taller = pictures.repeat_interleave(3, 1).repeat_interleave(2, 2)[:, :-1]
    wider = pictures.repeat_interleave(5, 2)[:, 1:, 1:]
    for raw in (taller, wider, pictures):
        yield raw.contiguous(), inputs.values(inputs.read(raw.numpy()).values)


def _raw_rows(encoding: TableEncoding, values: Tensor) -> tuple[Tensor, Tensor]:
    ends = np.cumsum([column.width for column in encoding.columns])
    parts = np.split(values.double().numpy(), ends[:-1], axis=1)
    raw = np.stack([_raw_column(column, part) for column, part in zip(encoding.columns, parts, strict=True)], axis=1)
    raw = np.concatenate([raw, [[np.nan if isinstance(column, NumberColumn) else -1.0 for column in encoding.columns]]])
    cells = {
        column.name: [_cell(column, encoding, number) for number in raw[:, place].tolist()]
        for place, column in enumerate(encoding.columns)
    }
    return torch.from_numpy(raw), torch.from_numpy(encoding.encode(encoding.read(cells, "the check"), "the check"))


def _raw_column(column: FittedColumn, part: NDArray[np.float64]) -> NDArray[np.float64]:
    """A column's raw numbers, [n], of encoded ones, [n, width]."""
    if isinstance(column, NumberColumn):
        lacking = part[:, 1] > 0.5 if column.may_miss else np.zeros(len(part), bool)
        return np.where(lacking, np.nan, part[:, 0] * column.deviation + column.mean)
    return np.where(part.max(1) > 0.5, part.argmax(1), -1.0)


def _cell(column: FittedColumn, encoding: TableEncoding, number: float) -> str:
    """The text of a cell, as it stands in a table file."""
    if isinstance(column, NumberColumn):
        return "" if math.isnan(number) else encoding.style.written(repr(number))
    return "" if number < 0 else column.categories[int(number)]


def preparation_of(run: TrainedModel, inside: bool) -> dict[str, Any]:
    """What is done to a picture or a row before the network sees it, JSON-serialisable, with `words` for people.

    Args:
        run: the run.
        inside: whether the exported file does it.
    """
    if (known := pictures_of_inputs(run.inputs)) is not None:
        return _of_pictures(known.preprocessing, run.threshold, inside)
    if run.encoding is not None:
        return _of_table(run.encoding, inside)
    words = f"rows: float32 [n, {run.inputs.shape[0]}], as in the array that was learnt from; nothing is done to them."
    return {"inside": False, "kind": "rows", "columns": run.inputs.shape[0], "words": words}


def _of_pictures(how: Preprocessing, threshold: float | None, inside: bool) -> dict[str, Any]:
    size = f"{how.height} x {how.width} (height x width)"
    colours = "grey (Pillow's mode L)" if how.channels == 1 else "RGB"
    ground = "is left out" if how.background == "none" else f"is laid on {how.background}"
    white = "" if how.white is None else f"; files of more than 8 bits are divided by {how.white:g} and become bytes"
    decoding = f"upright as EXIF says, {colours}, transparency {ground}{white}"
    scaling = f"A picture of another size than {size} is {FITS[how.fit]}, in Pillow's bicubic way, on bytes"
    values = "then divided by 255; no mean is subtracted"
    if threshold is not None:
        values += f"; the file makes pixels above {threshold:g} white and all others black"
    if inside:
        words = (
            f"images: uint8 [n, height, width, {how.channels}], pictures of any one size. Decode to bytes: {decoding}. "
            f"{scaling}, {values}: the file does this."
        )
    else:
        words = (
            f"images: float32 [n, {how.channels}, {how.height}, {how.width}] in [0, 1]. Decode to bytes: {decoding}. "
            f"{scaling}, {values}, channels first."
        )
    return {
        "inside": inside,
        "kind": "images",
        "layout": "n, height, width, channels" if inside else "n, channels, height, width",
        "dtype": "uint8" if inside else "float32",
        "channels": how.channels,
        "colours": "grey" if how.channels == 1 else "RGB",
        "size": [how.height, how.width],
        "fit": how.fit,
        "background": how.background,
        "resampling": "Pillow bicubic, antialiased, on bytes",
        "white": how.white,
        "divide_by": 255,
        "mean": [0.0] * how.channels,
        "deviation": [1.0] * how.channels,
        "threshold": threshold,
        "words": words,
    }


def _of_table(encoding: TableEncoding, inside: bool) -> dict[str, Any]:
    columns = [column.model_dump(mode="json") for column in encoding.columns]
    names = join_names([column.name for column in encoding.columns], most=20)
    missing = "a number that is missing is NaN, a text that is missing or unknown is -1"
    if inside:
        words = (
            f"rows: float64 [n, {len(columns)}], the columns {names}. Give numbers as they are in the table, and for a "
            f"text the place of its category in the list `categories` of its column, from 0; {missing}. The file "
            "standardises numbers and codes categories."
        )
    else:
        words = (
            f"rows: float32 [n, {sum(column.width for column in encoding.columns)}], from the columns {names}, in "
            "order. A number is (value - mean) / deviation, 0 where it is missing, and where `may_miss` says so "
            "followed by 1 for missing, else 0. A text is one number for each of its `categories`: 1 at its own, else "
            "0, and all 0 where it is missing or unknown."
        )
    return {
        "inside": inside,
        "kind": "table",
        "dtype": "float64" if inside else "float32",
        "columns": columns,
        "decimal": encoding.style.decimal,
        "thousands": encoding.style.thousands,
        "missing_texts": ["", *encoding.style.missing],
        "words": words,
    }
