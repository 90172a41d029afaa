"""`semivae diagnose`: a run's curves, who reads its samples as what, and everything there is to warn of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semivae.cli.opening import open_run
from semivae.cli.options import Checkpoint, DataRootOption, DeviceOption, JsonOption, RunArgument
from semivae.cli.showing import console, reply


def diagnose(
    run: RunArgument,
    reader: Annotated[
        Path | None, typer.Option("--reader", metavar="RUN", help="Another run whose classifier reads the samples too.")
    ] = None,
    samples: Annotated[
        int, typer.Option("-n", "--samples", min=1, help="Number of samples to draw from the decoder.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Makes the samples repeatable.")] = 0,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Look for signs of failure.

    It finds collapsed codes, drifting labels, lost classes and a useless decoder.
    """
    opened = open_run(run, Checkpoint.last, device, data_root)
    from semivae.cli.diagnosis_tables import shown
    from semivae.reports.diagnosis import diagnose as diagnose_run

    report = diagnose_run(opened, reader=reader, samples=samples, seed=seed)
    reply(report, as_json, console(), *shown(report))
