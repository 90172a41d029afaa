"""Compares hierarchies with the authors' public code and with the evidence lower bound, in one page.

    git clone https://github.com/dschles70/symvae-aistats2024 CHECKOUT
    python -m benchmarks.hierarchies agree CHECKOUT                  # their weights, our networks
    python -m benchmarks.hierarchies speed CHECKOUT                  # training steps per second, side by side
    python -m benchmarks.hierarchies train symmetric                 # equal processor time: ours, ...
    python -m benchmarks.hierarchies train elbo                      # ... our lower bound, ...
    python -m benchmarks.hierarchies train authors CHECKOUT          # ... and theirs
    python -m benchmarks.hierarchies score CHECKOUT --features RUN   # distances, bits level by level, the picture

Each command adds its part to one JSON file and writes the page again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
import typer

from benchmarks.common.commands import user_errors
from benchmarks.common.machine import stamp
from benchmarks.hierarchies.equal_time import Setting, score_authors, score_run, setting_of, train_authors, train_ours
from benchmarks.hierarchies.peer import Experiment, Objective, hvae_module, make_model
from benchmarks.hierarchies.peer_weights import agreement
from benchmarks.hierarchies.side_by_side import Precision, side_by_side
from benchmarks.hierarchies.tables import read_parts, write_parts
from semivae.api import Run
from semivae.cli.options import DataRootOption
from semivae.errors import RunError
from semivae.generative.features import FeatureSpace
from semivae.generative.grids import save_grid

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None)

Contestant = Literal["symmetric", "elbo", "authors", "authors_fast", "authors_elbo"]
RATES: dict[str, float] = {"authors": 1e-4, "authors_fast": 1e-3, "authors_elbo": 1e-4}  # the first as in their README
SEED = 0

CheckoutArgument = Annotated[Path, typer.Argument(metavar="CHECKOUT", help="Of dschles70/symvae-aistats2024.")]
ExperimentOption = Annotated[str, typer.Option(help=", ".join(get_args(Experiment)))]
OutOption = Annotated[Path, typer.Option(metavar="PATH", help="PATH.json and PATH.md.")]
RunsOption = Annotated[Path, typer.Option(metavar="DIR", help="Where the trained models are kept.")]
OUT, RUNS = Path("runs/hierarchies"), Path("runs/hierarchies")


@app.command()
def agree(
    checkout: CheckoutArgument,
    count: Annotated[int, typer.Option("--count", help="Samples of their model.")] = 256,
    out: OutOption = OUT,
) -> None:
    """Put the authors' weights into our networks, and compare the log-probabilities of every factor."""
    found: dict[str, Any] = {}
    with user_errors():
        for experiment in get_args(Experiment):
            torch.manual_seed(SEED)
            model = make_model(hvae_module(checkout, experiment))
            away_from_zero(model)
            found[experiment] = {
                name: agreement(experiment, model, count, precision=precision)
                for name, precision in (("float64", torch.float64), ("float32", torch.float32))
            }
        add_part(out, "agreement", {"count": count, "experiments": found})


def away_from_zero(model: torch.nn.Module) -> None:
    """Doubles fresh weights, whose scores are near zero, so that probabilities differ from one half."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "lsigma":
                parameter.fill_(-1.0)
            else:
                parameter.mul_(2.0)


@app.command()
def speed(
    checkout: CheckoutArgument,
    batch: Annotated[int, typer.Option("--batch", min=1)] = 256,
    width: Annotated[int, typer.Option("--width", min=1)] = 32,
    threads: Annotated[int, typer.Option("--threads", min=1)] = 2,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Of each, one after the other in turn.")] = 12,
    precision: Annotated[str, typer.Option("--precision", help=", ".join(get_args(Precision)))] = "float32",
    out: OutOption = OUT,
) -> None:
    """Measure seconds per training step of the same networks and batch: theirs and ours take steps in turn."""
    torch.set_num_threads(threads)
    if precision not in get_args(Precision):
        raise typer.BadParameter(f"{precision}: one of {', '.join(get_args(Precision))}")
    with user_errors():
        measured = side_by_side(checkout, batch, width, steps, precision)  # type: ignore[arg-type]
        add_part(out, "speed", {"batch": batch, "width": width, "threads": threads, **measured}, append=True)


@app.command()
def train(
    contestant: Annotated[str, typer.Argument(help=", ".join(get_args(Contestant)))],
    checkout: Annotated[Path | None, typer.Argument(metavar="[CHECKOUT]", help="For the authors' code.")] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, help="Of processor time, on one thread.")] = 30.0,
    batch: Annotated[int, typer.Option("--batch", min=1)] = 256,
    width: Annotated[int, typer.Option("--width", min=1)] = 32,
    experiment: ExperimentOption = "mnist-ladder",
    data_root: DataRootOption = None,
    runs: RunsOption = RUNS,
) -> None:
    """Train one of the contestants for a number of minutes of processor time."""
    torch.set_num_threads(1)
    for word, known in ((contestant, get_args(Contestant)), (experiment, get_args(Experiment))):
        if word not in known:
            raise typer.BadParameter(f"{word}: one of {', '.join(known)}")
    setting = Setting(experiment, minutes, batch, width, SEED, data_root)  # type: ignore[arg-type]
    objective: Objective = "elbo" if contestant in ("elbo", "authors_elbo") else "symmetric"
    with user_errors():
        if contestant in RATES:
            if checkout is None:
                raise RunError("the authors' code is missing; give the path of a checkout of it as CHECKOUT")
            train_authors(checkout, setting, objective, RATES[contestant], runs / experiment / contestant)
        else:
            train_ours(setting, objective, runs / experiment / contestant)


@app.command()
def score(
    checkout: CheckoutArgument,
    features: Annotated[
        Path, typer.Option("--features", metavar="RUN", help="Whose classifier's features the distances are in.")
    ],
    count: Annotated[int, typer.Option("--count", min=10, help="Images, and chains.")] = 2000,
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="Of the limiting chain.")] = 200,
    experiment: ExperimentOption = "mnist-ladder",
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Rows of samples of each.")
    ] = None,
    only: Annotated[str, typer.Option("--only", metavar="NAME,...", help="Only these of the trained ones.")] = "",
    data_root: DataRootOption = None,
    runs: RunsOption = RUNS,
    out: OutOption = OUT,
) -> None:
    """Measure distances of random-code and limiting samples, and bits level by level, of all trained models."""
    torch.set_num_threads(1)
    rows: list[torch.Tensor] = []
    with user_errors():
        space = FeatureSpace(Run.load(features, data_root=data_root))
        for contestant in only.split(",") if only else get_args(Contestant):
            folder = runs / experiment / contestant
            if not folder.is_dir():
                continue
            if contestant in RATES:
                report, samples = score_authors(checkout, folder, space, count, rounds, SEED, data_root)
            else:
                report, samples = score_run(Run.load(folder, data_root=data_root), space, count, rounds, SEED)
            if not rows:
                rows.append(setting_of(folder, data_root).test_images(16))
            rows += [samples["random"], samples["limiting"]]
            add_part(out, "equal_time", {"name": contestant, "features": str(features), **report}, append=True)
        if picture is not None and rows:
            save_grid(torch.cat([row[:16] for row in rows]), picture, columns=16, overwrite=True)


def add_part(out: Path, part: str, measured: dict[str, Any], append: bool = False) -> None:
    """Adds a part to the JSON file, with machine, versions and time, and writes the page."""
    parts = read_parts(out)
    stamped = {**measured, **stamp(torch.device("cpu"))}
    if append:
        kept = [entry for entry in parts.get(part, []) if not same_contestant(entry, measured)]
        stamped_parts = {**parts, part: [*kept, stamped]}
    else:
        stamped_parts = {**parts, part: stamped}
    write_parts(out, stamped_parts)


def same_contestant(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the newer of two entries replaces the older; entries without a name are all kept."""
    return "name" in one and all(one[key] == other.get(key) for key in ("name", "experiment"))


if __name__ == "__main__":
    app()
