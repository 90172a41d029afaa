"""Sheets of chosen images, row by row, as the model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from semivae.cli.writing import check_target
from semivae.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from semivae.api import Run
    from semivae.data.inputs.inputs import Inputs
    from semivae.data.inputs.reading import Reading

PICTURES = (".png", ".jpg", ".jpeg")


def check_sheet(path: Path | None, overwrite: bool) -> None:
    """Refuses a sheet that cannot or may not be written."""
    if path is not None and path.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"{path} must end in {', '.join(PICTURES)}", param_hint="--sheet")
    check_target(path, overwrite)


def refuse_sheet(run: Run, path: Path | None, inputs: Inputs | None = None) -> None:
    """Raises RunError where a sheet is asked for, but an example is no image of one channel or three.

    Args:
        run: the run.
        path: of the sheet, if it is asked for.
        inputs: what is drawn; None: what the run starts from.
    """
    inputs = inputs or run.inputs
    if path is not None and not (inputs.are_images and inputs.shape[0] in (1, 3)):
        raise RunError(f"{run.path}: its examples of shape {list(inputs.shape)} are no pictures; leave out --sheet")


def pictures_of(run: Run, images: Path, given: Reading, rows: NDArray[np.int64]) -> Tensor:
    """Returns some of the images that a user gave, as `run.canvas` reads them; for features the pictures themselves."""
    if run.canvas is run.inputs:
        return given.values[rows]
    return run.canvas.read(images, skip_unreadable=bool(given.unreadable)).values[rows]


def picture(run: Run, images: Tensor, titles: Sequence[str], order: Sequence[str], ending: str) -> bytes:
    """The content of a picture file: rows of images, those of one title in one row or several.

    Args:
        run: the run.
        images: as `run.canvas` reads them, [n, channels, height, width].
        titles: of each, [n].
        order: all titles, in the order of their rows.
        ending: .png, .jpg or .jpeg.
    """
    import numpy as np

    from semivae.data.inputs.pixels import as_model_values
    from semivae.inspection.sheet import COLUMNS, drawn, encoded

    shown = run.canvas.as_shown(as_model_values(images))
    pixels = (shown * 255).round().byte().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    rows = []
    for title in order:
        members = [np.ascontiguousarray(each) for each, of in zip(pixels, titles, strict=True) if of == title]
        parts = [members[start : start + COLUMNS] for start in range(0, len(members), COLUMNS)]
        rows += [(title, part) for part in parts]
    return encoded(drawn(rows), ending)
