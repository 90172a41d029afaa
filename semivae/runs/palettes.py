"""What the numbers and colours of masks mean to a run."""

from __future__ import annotations

from semivae.data.formats.palettes import Palette, read_palette
from semivae.data.paths import resolve
from semivae.data.readers.masks import palette_of
from semivae.errors import DataError
from semivae.recipe.schema import MasksSource
from semivae.runs.folder import PALETTE_FILE
from semivae.runs.model import TrainedModel
from semivae.tasks.map_pictures import VOID_NUMBER


def run_palette(run: TrainedModel) -> Palette:
    """Returns what masks given to this run mean: by the palette that it was trained with, else by class numbers."""
    source = run.recipe.source
    if isinstance(source, MasksSource) and source.palette is not None:
        try:
            kept = run.path / PALETTE_FILE  # runs of before have none
            read = (
                read_palette(kept, source.void)
                if kept.is_file()
                else palette_of(source, resolve(source.path, run.data_root))
            )
            return Palette(run.classes, read.colours, VOID_NUMBER if read.void is None else read.void, read.void_colour)
        except DataError:  # the data are not at hand; masks of class numbers still say all
            pass
    void = getattr(source, "void", None)
    return Palette(run.classes, void=VOID_NUMBER if void is None else void)
