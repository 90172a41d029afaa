"""Rows of a table as examples: vectors of numbers, read from table files or arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.formats.csv_cells import read_cells
from semivae.data.formats.image_files import is_image
from semivae.data.inputs.arrays import as_examples, read_array_file
from semivae.data.inputs.pixels import as_model_values
from semivae.data.inputs.reading import Reading
from semivae.data.inputs.table_encoding import TableEncoding
from semivae.data.paths import reachable
from semivae.data.views import View
from semivae.errors import DataError
from semivae.recipe.schema import PairOfViews, Recipe
from semivae.text import count_of


class Rows:
    """Rows of a table.

    Args:
        shape: (columns,).
        encoding: how the columns of a table file become numbers; None where the data came as an array.
    """

    are_images = False

    def __init__(self, shape: tuple[int, ...], encoding: TableEncoding | None = None) -> None:
        self.shape, self.encoding = shape, encoding

    def read(self, given: object, *, skip_unreadable: bool = False) -> Reading:
        """Rows of another table file (of a run that learnt from one), of an .npy or .npz, or of an array.

        Returns:
            float32 [n, columns], and the numbers of the rows, from 0.

        Raises:
            DataError: nothing there, a column is missing, or a cell or number does not fit.
        """
        notes: tuple[str, ...] = ()
        if not isinstance(given, str | Path):
            rows = as_examples(given, self.shape)
        elif self.encoding is not None and self.reads_cells(Path(given)):
            if is_image(str(given)) or reachable(Path(given)).is_dir():
                raise DataError(f"{given}: the model takes rows of a table, not images; give a .csv, .npy or .npz file")
            columns = self.encoding.read(read_cells(Path(given)), str(given))
            rows = torch.from_numpy(self.encoding.encode(columns, str(given)))
            notes = tuple(self.encoding.doubts(columns, str(given)))
        elif Path(given).suffix.lower() in (".npy", ".npz"):
            rows = as_examples(read_array_file(Path(given)), self.shape, str(given))
            if self.encoding is not None:
                notes = (
                    f"{given}: rows of an array are taken as the model has them, numbers with mean 0 and deviation 1, "
                    "as in imputed.npz; give a .csv for rows as they are in the table",
                )
        elif not reachable(Path(given)).exists():
            raise DataError(f"there is no file or folder {Path(given).absolute()}")
        else:
            raise DataError(
                f"the model takes rows of {count_of(self.shape[0], 'number', 'numbers')}, not images; give them in "
                "an .npy or .npz file"
            )
        return Reading(rows, [str(row) for row in range(len(rows))], notes=notes)

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
