"""What is told of a run to others: its card, and its repository on a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semivae.cli.opening import open_run
from semivae.cli.options import Checkpoint, DataRootOption, DeviceOption, JsonOption, OverwriteOption, RunArgument
from semivae.cli.showing import console, reply
from semivae.cli.writing import check_target, write_file
from semivae.text import count_of

LicenseOption = Annotated[
    str | None,
    typer.Option("--license", metavar="ID", help="Licence of the weights, such as apache-2.0. Default: none is named."),
]


def card(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE.md", help="The card to write. Default: README.md in the run's folder."
        ),
    ] = None,
    license: LicenseOption = None,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write a run's model card.

    It describes the data, the error beside the twin's, calibration, use and limits.
    """
    opened = open_run(run, Checkpoint.last, device, data_root)
    from semivae.reports.card import card as card_of
    from semivae.reports.card import default_place

    target = out or default_place(opened)
    check_target(target, overwrite, ".md")
    write_file(target, card_of(opened, license=license).encode())
    reply({"run": str(run), "out": str(target)}, as_json, console(), f"{target}: the card of {run}")


def push(
    run: RunArgument,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on the Hugging Face hub.")],
    license: LicenseOption = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a repository that is made.")] = False,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Put a run and its card into a repository of a model hub.

    semivae.load("hf://OWNER/NAME") opens it from there.
    """
    opened = open_run(run, Checkpoint.last, device, data_root)
    files = opened.push(repository, license=license, private=not public, overwrite=overwrite)
    report = {"run": str(run), "repository": repository, "files": files}
    reply(report, as_json, console(), f"hf://{repository}: {count_of(len(files), 'file', 'files')}, {', '.join(files)}")
