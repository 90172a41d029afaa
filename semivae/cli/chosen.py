"""Images that a command chooses among a user's: where their list, sheet and copies go, and writing the latter two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from semivae.cli.copying import check_copies, copy_files, places_in
from semivae.cli.opening import given_examples, open_run
from semivae.cli.options import Checkpoint
from semivae.cli.sheets import check_sheet, picture, pictures_of, refuse_sheet
from semivae.cli.showing import note
from semivae.cli.writing import check_target, write_file
from semivae.text import count_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from semivae.api import Run
    from semivae.data.inputs.pieces import Pieces
    from semivae.data.inputs.reading import Reading


@dataclass(frozen=True)
class Targets:
    """Where a command writes what it chooses; None: nowhere.

    Attributes:
        out: the .csv file of the list.
        sheet: the picture file.
        copies: the folder of copies.
    """

    out: Path | None
    sheet: Path | None
    copies: Path | None

    def check(self, images: Path, overwrite: bool) -> None:
        """Refuses what cannot or may not be written, before any work is done for it."""
        check_target(self.out, overwrite, ".csv")
        check_sheet(self.sheet, overwrite)
        if self.copies is not None:
            check_copies(self.copies, images)

    def read(
        self, path: Path, images: Path, checkpoint: Checkpoint, device: str, skip_unreadable: bool
    ) -> tuple[Run, Reading | Pieces]:
        """Opens a run, and a user's images; refuses a sheet of what are no pictures before they are read."""
        run = open_run(path, checkpoint, device)
        refuse_sheet(run, self.sheet, run.canvas)
        return run, given_examples(run, images, skip_unreadable=skip_unreadable, kept=True)

    def draw(
        self,
        run: Run,
        images: Path,
        given: Reading,
        rows: NDArray[np.int64],
        titles: Sequence[str],
        order: Sequence[str],
        what: str,
    ) -> None:
        """Draws the sheet, if it is asked for.

        Args:
            run: the run.
            images: what the user gave.
            given: as it was read.
            rows: of `given`, [n].
            titles: of each, [n].
            order: all titles, in the order of their rows.
            what: what the sheet shows, for a note on stderr.
        """
        if self.sheet is not None:
            drawn = pictures_of(run, images, given, rows)
            write_file(self.sheet, picture(run, drawn, titles, order, self.sheet.suffix.lower()))
            note(f"{self.sheet}: {what}")

    def places(self, folders: Sequence[str] | None, names: Sequence[str], instead: str) -> list[str]:
        """Where each file is copied (`places_in`); none where no copies are asked for."""
        return [] if self.copies is None else places_in(folders, names, instead)

    def copy(self, images: Path, names: Sequence[str], places: Sequence[str]) -> None:
        """Copies the files to their places, if copies are asked for."""
        if self.copies is not None:
            copy_files(images, names, self.copies, places)
            note(f"{self.copies}: copies of {count_of(len(names), 'file', 'files')}")

    def named(self) -> dict[str, Path | None]:
        """Returns the targets by what JSON calls them."""
        return {"out": self.out, "sheet": self.sheet, "copies": self.copies}
