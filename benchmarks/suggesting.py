"""Simulates what suggested labels are worth beside random ones: `python -m benchmarks.suggesting mnist`.

Of a pool of training images nobody knows a label at first. A run without labels suggests the first ones; a run that is
trained on these, and on the whole pool without labels, suggests as many again, and so on. Beside it the same recipe is
trained on labels of images drawn by chance, up to twice as many. Errors are measured on the data's test images, which
nothing is chosen on. Every result is appended to a file, and a simulation that was stopped goes on from there.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

import semivae
from benchmarks.common.machine import machine_text, stamp
from semivae.api import Run
from semivae.data.readers.memory import dataset_without_test
from semivae.data.sources import load_source
from semivae.recipe import read_recipe
from semivae.sklearn.targets import read_targets

Array = NDArray[Any]
POOL = 10_000  # images that nobody knows the label of
POOL_SEED = 100  # plus the seed of a repetition
ALL_OF_IT: Mapping[str, object] = {"split": {"labelled": "all", "validation": 0}, "training.twin": False}
NET: Mapping[str, object] = {"name": "conv", "stem": 16, "channels": [32, 64], "hidden": 128}
SMALL_IMAGES: Mapping[str, object] = {
    "streams.labels.values": "uniform",
    "streams.labels.batch": 32,
    "streams.labelled.batch": 32,
    "streams.unlabelled.batch": 64,
    "streams.unlabelled.vote": None,
    "encoder.y.net": NET,
    "encoder.h.net.hidden": [256],
    "decoder.x.net.hidden": [256],
    "views": {
        "weak": {"shift": 0.07},
        "strong": {"shift": 0.07, "rotate": 10, "scale": 0.1, "contrast": 0.4, "cutout": 0.3},
    },
}
NO_LABEL: Mapping[str, object] = {
    "streams": {"images": {"observe": ["x"], "batch": 64}, "prior": {"observe": [], "batch": 32}},
    "views": {},
    "variables": {"x": {"family": "bernoulli"}, "h": {"family": "bernoulli", "shape": [16]}},
    "decoder": {"h": "uniform", "x": {"given": ["h"], "net": {"name": "mlp", "hidden": [256]}}},
    "encoder": {"h": {"given": ["x"], "net": NET}},
    "training.learning_rate": 1e-3,
}


@dataclass(frozen=True)
class Setting:
    """What is trained on one data set.

    Attributes:
        recipe: the shipped recipe that is shortened.
        changes: to that recipe.
        steps: of each training.
    """

    recipe: str
    changes: Mapping[str, object]
    steps: int


SETTINGS: Mapping[str, Setting] = {
    "digits": Setting("digits_50labels", {}, 300),
    "mnist": Setting("mnist_100labels", SMALL_IMAGES, 150),
    "fashion_mnist": Setting("mnist_100labels", {**SMALL_IMAGES, "source.name": "fashion_mnist"}, 150),
}


@dataclass(frozen=True)
class Pool:
    """Images and their classes, which are shown one by one, and what errors are measured on.

    Attributes:
        x: of the pool, uint8 [n, channels, height, width].
        y: of the pool, [n].
        x_test: for errors alone, [m, channels, height, width].
        y_test: of these, [m].
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array

    @classmethod
    def of(cls, setting: Setting, size: int, seed: int, data_root: Path) -> Pool:
        """The pool of one repetition, drawn by its seed from the data's training images."""
        data = load_source(read_recipe(setting.recipe, setting.changes).source, data_root)
        x, y = data.train["x"].numpy(), data.train["y"].numpy()
        x_test, y_test = data.test["x"].numpy(), data.test["y"].numpy()
        rows = np.random.default_rng(POOL_SEED + seed).permutation(len(y))[:size]
        return cls(x[rows], y[rows], x_test, y_test)


def trained(setting: Setting, pool: Pool, shown: Array, steps: int, seed: int) -> tuple[Run, Array]:
    """A run on the whole pool, of which some rows show their label, and which class each of its classes is."""
    known = np.full(len(pool.y), -1)
    known[shown] = pool.y[shown]
    x = torch.from_numpy(pool.x)
    if len(shown):
        targets = read_targets(known)
        there = torch.from_numpy(targets.known)
        data = dataset_without_test(x[there], torch.from_numpy(targets.numbers)[there], targets.names, x[~there])
        changes, classes = {**setting.changes, "variables.y.classes": None}, targets.classes
    else:
        data = dataset_without_test(x, torch.zeros(len(x), dtype=torch.int64), ("not known",), x[:0])
        changes, classes = dict(NO_LABEL), np.array([])
    changes |= {**ALL_OF_IT, "training.steps": steps, "training.seed": seed}
    changes |= {f"training.{name}_every": steps for name in ("validate", "checkpoint")}
    with tempfile.TemporaryDirectory() as folder:
        run = semivae.train(setting.recipe, set=changes, out=Path(folder) / "run", dataset=data, progress=False)
    return run.with_data(None), classes


def error_of(run: Run, classes: Array, pool: Pool) -> float:
    """The share of the test images that are taken for another class."""
    numbers = run.classifier().probabilities(pool.x_test).argmax(dim=1).numpy()
    return float(np.mean(classes[numbers] != pool.y_test))


class Results:
    """What was measured, one JSON object a line in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.found: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def get(self, **key: Any) -> dict[str, Any] | None:
        """What was measured under a key already."""
        return next((each for each in self.found if key.items() <= each.items()), None)

    def add(self, **result: Any) -> dict[str, Any]:
        """Keeps a result, and prints it."""
        self.found.append(result)
        line = json.dumps(result)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)
        return result


def simulate(
    name: str, rounds: Sequence[int], size: int, steps: int, seed: int, data_root: Path, kept: Results
) -> None:
    """One repetition: suggested labels in rounds, then random ones, up to twice as many."""
    setting = SETTINGS[name]
    pool = Pool.of(setting, size, seed, data_root)
    facts = {"data": name, "steps": steps, "pool": len(pool.y), "seed": seed}

    def measure(arm: str, rows: Array, ask: int) -> list[int]:
        """Trains on the labels of rows, unless that was done; returns them and as many more as are asked for."""
        key = facts | {"arm": arm, "labels": len(rows)}
        there = kept.get(**key)
        if there is None:
            run, classes = trained(setting, pool, rows, steps, seed)
            error = error_of(run, classes, pool) if len(rows) else None
            open_rows = np.setdiff1d(np.arange(len(pool.y)), rows)
            asked = open_rows[run.suggest(pool.x[open_rows], ask).rows] if ask else rows[:0]
            counts = np.bincount(pool.y[rows], minlength=10).tolist()
            there = kept.add(**key, error=error, counts=counts, next=[*rows.tolist(), *asked.tolist()])
        return list(there["next"])

    chosen = np.array([], dtype=np.int64)
    for have, want in zip([0, *rounds], [*rounds, rounds[-1]], strict=True):
        assert len(chosen) == have
        chosen = np.array(measure("suggested", chosen, want - have))
    order = np.random.default_rng(1000 + seed).permutation(len(pool.y))
    for count in sorted({*rounds[1:], 2 * rounds[-1]}):
        measure("random", order[:count], 0)


def table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown: mean test errors over the seeds, %, by data set and number of labels."""
    yield "| data | labels | suggested, % | random, % | random, twice as many, % |"
    yield "|---|---|---|---|---|"

    def cell(data: str, arm: str, labels: int) -> str:
        errors = [100 * e["error"] for e in found if (e["data"], e["arm"], e["labels"]) == (data, arm, labels)]
        if len(errors) < 2:
            return f"{errors[0]:.1f}" if errors else "-"
        return f"{np.mean(errors):.1f} +- {np.std(errors, ddof=1):.1f}"

    for data in dict.fromkeys(str(each["data"]) for each in found):
        counts = {e["labels"] for e in found if e["data"] == data and e["arm"] == "suggested" and e["labels"]}
        for labels in sorted(counts):
            cells = [
                cell(data, arm, n) for arm, n in (("suggested", labels), ("random", labels), ("random", 2 * labels))
            ]
            yield f"| {data} | {labels} | {' | '.join(cells)} |"


def main(
    data: Annotated[str, typer.Argument(help=f"One of {', '.join(SETTINGS)}.")] = "digits",
    rounds: Annotated[str, typer.Option(help="Labels after each round.")] = "10,20,40,80",
    pool: Annotated[int, typer.Option(help="Images without a label, at most.")] = POOL,
    steps: Annotated[int | None, typer.Option(help="Steps of each training.")] = None,
    seeds: Annotated[int, typer.Option(help="Repetitions: pools, random labels and weights.")] = 3,
    out: Annotated[Path, typer.Option(help="Where results are kept.")] = Path("suggesting.jsonl"),
    data_root: Annotated[Path, typer.Option(help="Where the data lie.")] = Path("data"),
) -> None:
    """Simulate, and print a table of test errors."""
    kept = Results(out)
    numbers = [int(count) for count in rounds.split(",")]
    for seed in range(seeds):
        simulate(data, numbers, pool, steps or SETTINGS[data].steps, seed, data_root, kept)
    print("\n".join(table([each for each in kept.found if each["error"] is not None])))
    facts = stamp(torch.device("cpu"))
    print(f"{machine_text(facts['machine'])}; {facts['versions']}; {facts['date']}")


if __name__ == "__main__":
    typer.run(main)
