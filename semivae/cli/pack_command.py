"""`semivae pack`: pictures decoded once, into arrays on disk that training reads at random."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semivae.cli.options import DataRootOption, SetOption
from semivae.cli.showing import note, say


def pack(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A recipe, whose source is packed; or a folder or .zip of pictures."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder for the arrays; a stopped packing goes on.")],
    changes: SetOption = [],  # noqa: B006  typer copies it
    data_root: DataRootOption = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Only compare all files of OUT with their checksums."),
    ] = False,
) -> None:
    """Decode pictures once into arrays on disk.

    Training then takes data larger than memory, and starts sooner.
    """
    from semivae.data.packed.packing import pack as write
    from semivae.data.packed.store import verify as compare
    from semivae.data.sources import data_root as find_root
    from semivae.data.sources import place_of
    from semivae.errors import DataError
    from semivae.recipe import read_recipe

    if verify:
        compare(out)
        say(f"{out}: all files are as they were packed")
        return
    if Path(source).is_dir() or source.lower().endswith(".zip"):
        recipe = read_recipe("folder", [f"source.path={Path(source).absolute()}", *changes])
    else:
        recipe = read_recipe(source, changes)
    path = getattr(recipe.source, "path", None)
    if path is None:
        raise DataError(f"source: {recipe.source.name} is read in seconds and not packed; folder and masks are")
    write(recipe.source, place_of(path, find_root(data_root)), out, note)
    say(f"packed into {out}. Train with it: semivae train RECIPE --set source.path={out.absolute()}")
