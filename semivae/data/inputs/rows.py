"""Rows of a table as examples: vectors of numbers, read from table files or arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.formats.csv_cells import read_cells
from semivae.data.formats.frame_cells import frame_cells, is_frame
from semivae.data.formats.image_files import is_image
from semivae.data.inputs.arrays import as_examples, read_array_file
from semivae.data.inputs.pixels import as_model_values
from semivae.data.inputs.reading import Reading
from semivae.data.inputs.table_encoding import Cells, TableEncoding
from semivae.data.paths import reachable
from semivae.data.views import View
from semivae.errors import DataError
from semivae.recipe.schema import PairOfViews, Recipe
from semivae.text import count_of

AS_THE_MODEL = "rows of an array are taken as the model has them, numbers with mean 0 and deviation 1"
OTHERWISE = "give a .csv or a DataFrame for rows as they are in the table"


class Rows:
    """Rows of a table.

    Args:
        shape: (columns,).
        encoding: how the columns of a table file become numbers; None where the data came as an array.
    """

    are_images = False
    called = "rows"

    def __init__(self, shape: tuple[int, ...], encoding: TableEncoding | None = None) -> None:
        self.shape, self.encoding = shape, encoding

    def read(self, given: object, *, skip_unreadable: bool = False) -> Reading:
        """Rows of another table file or data frame (of a run that learnt from a table), of an .npy, .npz or array.

        Columns of files and frames go by their names. Rows of arrays are taken as the model has them.

        Returns:
            float32 [n, columns], and the numbers of the rows, from 0.

        Raises:
            DataError: nothing there, a column is missing, or a cell or number does not fit.
        """
        notes: tuple[str, ...] = ()
        if not isinstance(given, str | Path):
            rows, notes = self._in_memory(given)
        elif self.encoding is not None and self.reads_cells(Path(given)):
            if is_image(str(given)) or reachable(Path(given)).is_dir():
                raise DataError(f"{given}: the model takes rows of a table, not images; give a .csv, .npy or .npz file")
            rows, notes = encode_cells(self.encoding, read_cells(Path(given)), str(given))
        elif Path(given).suffix.lower() in (".npy", ".npz"):
            rows = as_examples(read_array_file(Path(given)), self.shape, str(given))
            if self.encoding is not None:
                notes = (f"{given}: {AS_THE_MODEL}, as in imputed.npz; {OTHERWISE}",)
        elif not reachable(Path(given)).exists():
            raise DataError(f"there is no file or folder {Path(given).absolute()}")
        else:
            raise DataError(
                f"the model takes rows of {count_of(self.shape[0], 'number', 'numbers')}, not images; give them in "
                "an .npy or .npz file"
            )
        return Reading(rows, [str(row) for row in range(len(rows))], notes=notes)

    def _in_memory(self, given: object) -> tuple[Tensor, tuple[str, ...]]:
        """Rows of a data frame, by the names of its columns, or of an array; and what a user should know of them."""
        encoding = self.encoding
        if encoding is None:
            return as_examples(given, self.shape), ()
        if is_frame(given):
            categories = {column.name: column.categories for column in encoding.columns if column.kind == "category"}
            return encode_cells(encoding, frame_cells(given, encoding.style, categories), "the data frame")
        rows = as_examples(given, self.shape)
        raw = encoding.looks_raw(rows.numpy().astype(np.float64))
        return rows, (f"the array: {AS_THE_MODEL}, but these look like rows of the table; {OTHERWISE}",) * raw

    def pieces(self, given: object, *, skip_unreadable: bool = False, kept: bool = False) -> None:
        """Rows of a table are read at once."""
        return None

    def masks(self) -> Rows:
        """Rows of as many numbers, one where something is missing."""
        return Rows(self.shape)

    def reads_cells(self, path: Path) -> bool:
        """Whether a file is read as a table of cells with the columns that the run learnt from."""
        return self.encoding is not None and path.suffix.lower() not in (".npy", ".npz")

    def values(self, raw: Tensor) -> Tensor:
        """Rows as the model takes them: float32."""
        return as_model_values(raw)

    def as_shown(self, mean: Tensor) -> Tensor:
        """Means of rows as they are."""
        return mean

    def complexity(self, values: Tensor) -> NDArray[np.float64]:
        """Zeros, [n]: no picture file holds a row, whose length could be compared."""
        return np.zeros(len(values))

    def refuse(self, recipe: Recipe, dataset: Dataset) -> None:
        """Refuses what is for images.

        Raises:
            DataError: a family of values in [0, 1] where the rows hold others, or a view beyond noise.
        """
        family = recipe.variables["x"].family
        parts = [part["x"] for part in (dataset.train, dataset.unlabelled, dataset.test) if part and len(part["x"])]
        low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
        if family in ("bernoulli", "discretized_logistic") and (low < 0 or high > 1):
            raise DataError(
                f"variables.x.family is {family}, whose values lie in [0, 1], but {dataset.name} holds rows with "
                f"numbers from {low:g} to {high:g}; use gaussian, or scale the columns"
            )
        for name, stream in recipe.streams.items():
            pair = stream.views if isinstance(stream.views, PairOfViews) else None
            for view in [stream.views] if pair is None else [pair.weak, pair.strong]:
                if isinstance(view, str) and View(recipe.views[view]).images_only:
                    raise DataError(
                        f"streams.{name}.views: the view {view} changes images, but {dataset.name} holds rows of a "
                        f"table, to which only noise can be added; remove all other entries from views.{view}"
                    )
            if pair is not None and pair.cutmix:
                raise DataError(
                    f"streams.{name}.views.cutmix: patches are of images, but {dataset.name} holds a table; remove it"
                )


def encode_cells(encoding: TableEncoding, cells: Cells, what: str) -> tuple[Tensor, tuple[str, ...]]:
    """Returns rows of a table as the model takes them, and what a user should know of them; `what` names the table."""
    columns = encoding.read(cells, what)
    return torch.from_numpy(encoding.encode(columns, what)), tuple(encoding.doubts(columns, what))
