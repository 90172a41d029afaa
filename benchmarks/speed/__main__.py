"""What training costs.

    python -m benchmarks.speed checkouts --data-root DATA --old OTHER_CHECKOUT
    python -m benchmarks.speed share --data-root DATA
    python -m benchmarks.speed peers --data-root DATA --usb CHECKOUT --pythae --authors CHECKOUT
    python -m benchmarks.speed error mnist_100labels --target 0.02 --data-root DATA --usb CHECKOUT

The last two write benchmarks/speed/speed.json and .md, or where --out says. USB is microsoft/Semi-supervised-learning,
the authors' code dschles70/symvae-aistats2024; what they import is installed by you, best into a folder of PYTHONPATH.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.common.commands import user_errors
from benchmarks.common.machine import stamp
from benchmarks.speed.checkouts import checkouts
from benchmarks.speed.examples import read_examples
from benchmarks.speed.ours import Ours
from benchmarks.speed.page import add_entries
from benchmarks.speed.peers import COMPARISONS, Peers, authors, compare
from benchmarks.speed.plain import Plain
from benchmarks.speed.share import share
from benchmarks.speed.time_to_error import Curve, time_to_error
from benchmarks.speed.turns import Learner
from benchmarks.speed.usb import Usb
from semivae.files import write_whole

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None)
app.command("checkouts")(checkouts)
app.command("share")(share)

DataRoot = Annotated[Path, typer.Option("--data-root", metavar="DIR", help="Where the data lie.")]
UsbOption = Annotated[Path | None, typer.Option("--usb", metavar="CHECKOUT", help="Of USB; left out without it.")]
OutOption = Annotated[Path, typer.Option("--out", metavar="PATH", help="PATH.json and PATH.md.")]
OUT = Path("benchmarks/speed/speed")


@app.command("peers")
def peers_command(
    data_root: DataRoot = Path("data"),
    only: Annotated[str, typer.Option("--only", help=f"Of {', '.join(COMPARISONS)}.")] = ",".join(COMPARISONS),
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Timed turns of each.")] = 5,
    usb: UsbOption = None,
    pythae: Annotated[bool, typer.Option("--pythae", help="Compare with it; it must be importable.")] = False,
    authors_checkout: Annotated[
        Path | None, typer.Option("--authors", metavar="CHECKOUT", help="Of the authors' code; left out without it.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", help="Of the plain loop's data loaders; only the clock sees them.")
    ] = 0,
    out: OutOption = OUT,
) -> None:
    """Time images of training steps beside other people's code."""
    torch.set_num_threads(1)
    peers = Peers(data_root, usb, authors_checkout, pythae, workers)
    with user_errors():
        for name in filter(None, only.split(",")):
            if name not in COMPARISONS:
                raise typer.BadParameter(f"{name}: one of {', '.join(COMPARISONS)}")
            add_entries(out, "steps", [{**compare(name, peers, rounds), **_stamp()}])
        if peers.authors is not None:
            found = authors(peers.authors, 2 + rounds)
            add_entries(out, "ladders", [{"name": each["precision"], **each, **_stamp()} for each in found])


@app.command("error")
def error_command(
    recipe: Annotated[str, typer.Argument(help="One of classes with views of unlabelled images.")],
    target: Annotated[float, typer.Option("--target", help="The validation error, in [0, 1].")],
    data_root: DataRoot = Path("data"),
    steps: Annotated[int, typer.Option("--steps", help="The most that each takes; 0: as many as the recipe.")] = 0,
    every: Annotated[int, typer.Option("--every", min=1, help="Steps between two validations.")] = 50,
    usb: UsbOption = None,
    patience: Annotated[
        float,
        typer.Option("--patience", min=1.0, help="Give up after so many times the time of the first to reach it."),
    ] = 4.0,
    also: Annotated[
        list[str], typer.Option("--also", help="Ours once more with KEY=VALUE of the recipe, several with spaces.")
    ] = [],  # noqa: B006  typer copies it
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="The plain loop and USB's too.")] = True,
    log: Annotated[Path | None, typer.Option("--log", help="A JSON file of the curves so far.")] = None,
    out: OutOption = OUT,
) -> None:
    """Train beside the plain loop, and USB's FixMatch, until each has reached a validation error."""
    torch.set_num_threads(1)

    def tell(curves: dict[str, Curve]) -> None:
        rows = "; ".join(f"{name} {curve[-1]['error']:.4f}" for name, curve in curves.items())
        typer.echo(f"step {max(curve[-1]['steps'] for curve in curves.values()):.0f}: {rows}")
        if log is not None:
            write_whole(log, json.dumps(curves))

    with user_errors():
        examples = read_examples(recipe, data_root)
        learners: dict[str, Learner] = {"ours": Ours(examples)}
        for text in also:
            changes = dict(change.partition("=")[::2] for change in text.split())
            learners[f"ours, {text}"] = Ours(read_examples(recipe, data_root, changes))
        if peers:
            learners["plain FixMatch loop, the paper's SGD"] = Plain(examples, "sgd")
            learners["plain FixMatch loop, AdamW"] = Plain(examples, "adamw")
        if peers and usb is not None:
            learners["USB's FixMatch"] = Usb(usb, examples)
        most = steps or examples.recipe.training.steps
        curves = time_to_error(learners, target, most, every, tell, patience)
        about = f"The same network and labels, at most {most:,} steps, validated every {every} off the clock."
        entry = {"name": recipe, "about": about, "target": target, "curves": curves, **_stamp()}
        add_entries(out, "errors", [entry])


def _stamp() -> dict[str, Any]:
    return stamp(torch.device("cpu"))


if __name__ == "__main__":
    app()
