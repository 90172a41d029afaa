"""`semivae report`: a run, or several side by side, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semivae.cli.opening import open_run
from semivae.cli.options import Checkpoint, DataRootOption, DeviceOption, JsonOption, OverwriteOption
from semivae.cli.showing import console, note, reply
from semivae.cli.writing import check_target
from semivae.text import count_of


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="The folders of one or several trained runs.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.html", help="The page to write.")],
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write one web page about a run, or about several.

    It shows results, mistakes, samples, curves and recipe, and needs neither network nor script.
    """
    check_target(out, overwrite, ".html", ".htm")
    from semivae.page.report import refuse_number, write_report

    refuse_number(len(runs))
    opened = [open_run(path, Checkpoint.last, device, data_root) for path in runs]
    found = write_report(opened, out, overwrite=overwrite)
    for run in found["runs"]:
        for text in run["left_out"]:
            note(f"left out: {text}")
    size = out.stat().st_size / 1e6
    reply(found, as_json, console(), f"{out}: {count_of(len(runs), 'run', 'runs')}, {size:.1f} MB")
