"""What one example x is: the one place where files, arrays and bytes become what a model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.inputs.features import Features
from semivae.data.inputs.images import Images
from semivae.data.inputs.pieces import Pieces
from semivae.data.inputs.reading import Reading
from semivae.data.inputs.rows import Rows
from semivae.data.inputs.table_encoding import TableEncoding
from semivae.recipe.schema import Recipe


class Inputs(Protocol):
    """What one x is.

    Attributes:
        shape: of one x: (channels, height, width), or (columns,).
        are_images: whether it can be shown as a picture.
        called: what exported files call their input.
    """

    shape: tuple[int, ...]
    are_images: bool
    called: str

    def read(self, given: object, *, skip_unreadable: bool = False) -> Reading:
        """Examples in files or arrays as they are kept, bytes or floats [n, *shape], with their names.

        Args:
            given: where they are, or they themselves.
            skip_unreadable: pass over files that cannot be read, and name them.

        Raises:
            DataError: nothing there, or what does not fit.
        """
        ...

    def pieces(self, given: object, *, skip_unreadable: bool = False, kept: bool = False) -> Pieces | None:
        """Returns many image files a piece at a time; None for all else, which `read` reads at once.

        Args:
            given, skip_unreadable: as for `read`.
            kept: whether the pieces stay in memory, for whoever looks at them again.
        """
        ...

    def masks(self) -> Inputs:
        """What masks of missing places are, white where something is missing: of one channel, fitted like images."""
        ...

    def reads_cells(self, path: Path) -> bool:
        """Whether a file is read as a table of cells."""
        ...

    def values(self, raw: Tensor) -> Tensor:
        """Examples as `read` gives them, [n, *shape], as the model takes them: float32, on the same device."""
        ...

    def as_shown(self, mean: Tensor) -> Tensor:
        """Means of x under a decoder, [n, *shape], as they are shown to people."""
        ...

    def complexity(self, values: Tensor) -> NDArray[np.float64]:
        """Nats that a general code needs for each x, [n]; zeros where there is none to compare with."""
        ...

    def refuse(self, recipe: Recipe, dataset: Dataset) -> None:
        """Raises DataError where families or views of a recipe do not fit such data."""
        ...


def pictures_of_inputs(inputs: Inputs) -> Images | None:
    """The pictures that users give for such inputs, at the size that a network sees; None for rows of a table."""
    if isinstance(inputs, Features):
        return inputs.pictures
    return inputs if isinstance(inputs, Images) else None


def inputs_of(
    shape: tuple[int, ...],
    threshold: float | None = None,
    encoding: TableEncoding | None = None,
    preprocessing: Preprocessing | None = None,
) -> Inputs:
    """Returns what examples of a shape are.

    Args:
        shape: of one x.
        threshold: where black and white are parted, in [0, 1], of images that are binarised; else None.
        encoding: of the columns of a table file; None for all other data.
        preprocessing: how image files become examples; None: cropped, on white.
    """
    return Images(shape, threshold, preprocessing) if len(shape) == 3 else Rows(shape, encoding)
