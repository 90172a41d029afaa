"""Photographs with few labels, among whose unlabelled ones are strangers: what they cost, and whether they are found.

    python -m benchmarks.lite0 lite0.safetensors
    python -m benchmarks.strangers DATA WEIGHTS --out DIR [--labels 20] [--splits 3] [--stranger pants ...]

DATA is as for `benchmarks.photographs`. Four trainings learn from the same labelled photographs of the known classes:

- none: the strangers are not among the unlabelled photographs;
- ignored: they are, and the recipe says nothing of it;
- declared: the recipe says what share of them are strangers, to two digits;
- estimated: the recipe estimates the share.

All have the test error on the photographs of known classes; the last two the AUROC of strangers on the test part. The
strangers are three classes that make 30% of the unlabelled photographs, chosen before anything was measured. Features
are extracted once, for all photographs. Every cell is kept in DIR/cells.json, so that a stopped benchmark goes on.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

import semivae
from benchmarks.common.commands import user_errors
from benchmarks.common.machine import machine
from benchmarks.photographs import SMALL, cells_of, entry, merged
from semivae.data.dataset import Dataset
from semivae.data.features.attaching import feature_network, feature_preprocessing, with_features
from semivae.data.features.pictures import PARTS, pictures_digest
from semivae.data.features.store import SCALE_FILE, Store
from semivae.data.sources import load_source
from semivae.data.splits import save_split
from semivae.files import write_whole
from semivae.recipe import Recipe, read_recipe
from semivae.tasks.splitting import make_split, prepared

STRANGERS = ("pants", "shoes", "shorts")
WAYS = ("none", "ignored", "declared", "estimated")


@dataclass(frozen=True)
class Bench:
    """What all trainings share.

    Attributes:
        out: where everything is kept.
        place: the photographs, all classes in folders.
        weights: of the network.
        strangers: names of classes.
        twin: whether the twin of each model is trained.
    """

    out: Path
    place: Path
    weights: Path
    strangers: tuple[str, ...]
    twin: bool = False

    def recipe(self, way: str, labelled: int, seed: int, share: float | str) -> Recipe:
        """The recipe of a way; `labelled` photographs in all."""
        strangers = {"share": share, "classes": list(self.strangers)} if way in ("declared", "estimated") else None
        changes: dict[str, object] = {
            **SMALL,
            "source.path": str(self.folder(way)),
            "split": {"labelled": labelled, "seed": seed},
            "features.f.net.weights": str(self.weights.absolute()),
            "variables.y.strangers": strangers,
            "streams.pictures.batch": 4,
            "training.twin": self.twin,
        }
        return read_recipe("clothing_strangers", changes)

    def folder(self, way: str) -> Path:
        """The photographs as a way sees them: without the strangers, with them unlabelled, or all in their classes."""
        if way in ("declared", "estimated"):
            return self.place
        folder = self.place.with_name(f"{self.place.name}_{way}_{'_'.join(self.strangers)}")
        if not folder.is_dir():
            writing = folder.with_name(f".{folder.name}")
            shutil.rmtree(writing, ignore_errors=True)
            for path in sorted(self.place.glob("*/*/*")):
                part, name = path.parts[-3:-1]
                target = writing / part / name / path.name
                if name in self.strangers:
                    target = writing / "unlabelled" / f"{name}+{path.name}"
                    if part != "train" or way == "none":
                        continue
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
            writing.rename(folder)
        return folder


def share_features(full: Dataset, part: Dataset, recipe: Recipe, root: Path) -> None:
    """Keeps the features of all photographs also for a data set that holds some of them."""
    spec = recipe.features["f"]
    stores = []
    for dataset in (full, part):
        network = feature_network("f", spec, root)
        network.channels.fill_(dataset.shape[0])
        how = feature_preprocessing(spec, recipe.source, dataset.shape[0])
        seen = [how.height, how.width, how.fit, how.background, how.white]
        key: dict[str, object] = {"pictures": pictures_digest(dataset), "network": network.digest(), "seen": seen}
        stores.append(Store(root, dataset.name, key))
    theirs, ours = (store.folder for store in stores)
    if (ours / SCALE_FILE).is_file():
        return
    ours.mkdir(parents=True, exist_ok=True)
    numbers = {name: row for row, name in enumerate(names_of(full))}
    rows = np.array([numbers[name] for name in names_of(part)])
    drawn = len(rows) - len(part.test["x"])
    for path in theirs.glob("*.npy"):
        values = np.load(path)
        np.save(ours / path.name, values[rows if len(values) == len(numbers) else rows[:drawn]])
    shutil.copy(theirs / SCALE_FILE, ours / SCALE_FILE)


def names_of(dataset: Dataset) -> list[str]:
    """The photographs in the order of rows of features, unlabelled ones by where they were in their classes."""
    assert dataset.files is not None
    names = [name for part in PARTS for name in dataset.files.names[part]]
    return [name.replace("unlabelled/", "train/").replace("+", "/") for name in names]


def same_labels(full: Dataset, labelled: list[int], part: Dataset, recipe: Recipe, path: Path) -> None:
    """Writes a split of some photographs by which the same ones are labelled as among all."""
    shown = {full.names[row] for row in labelled}
    rows = [row for row, name in enumerate(part.names) if name in shown]
    split = make_split(part, recipe.split)
    others = sorted(set(range(len(part.train["x"]))) - set(rows))
    numbers = {"labelled": torch.tensor(rows), "unlabelled": torch.tensor(others)}
    save_split(type(split)(**{**vars(split), **numbers}), path)


def played(bench: Bench, full: Dataset, way: str, count: int, seed: int) -> dict[str, Any]:
    """A training: the error on known classes at the last checkpoint, and what is known of strangers."""
    classes = len(full.classes) - len(bench.strangers)
    opened = bench.recipe("declared", count * classes, seed, 0.5)
    data = prepared(full, opened)
    split = make_split(data, opened.split)
    true = float((data.train["y"][split.unlabelled] == classes).double().mean())
    recipe = bench.recipe(way, count * classes, seed, round(true, 2) if way == "declared" else "estimate")
    manifest = None
    if way in ("none", "ignored"):
        part = load_source(recipe.source, bench.out)
        share_features(full, part, recipe, bench.out)
        manifest = bench.out / "manifest.json"
        same_labels(full, split.labelled.tolist(), part, recipe, manifest)
    folder, started = bench.out / "runs" / f"{way}_{count}_{seed}", time.monotonic()
    run = semivae.train(
        recipe, out=folder, data_root=bench.out, split=manifest, overwrite=folder.exists(), progress=False
    )
    seconds = time.monotonic() - started
    report = run.evaluate()
    found = {"true_share": true, "seconds": seconds, "error": report["last"]["error"]}
    found |= {f"twin_{key}": value for key, value in (report["twin"] or {}).items() if key == "error"}
    if way in ("declared", "estimated"):
        strangers = run.recipe.variables["y"].strangers
        found["share"] = strangers and strangers.share
        keys = ("strangers_auroc", "strangers_found", "known_lost")
        found |= {key: report["last"][key] for key in keys}
    return found


def table(cells: dict[str, Any], labels: list[int]) -> str:
    """Means and deviations over splits of the errors in percent, and of the AUROC, as Markdown."""
    lines = ["| way | " + " | ".join(f"{count} a class" for count in labels) + " |", "|---" * (len(labels) + 1) + "|"]
    for way in WAYS:
        for field in ("error", "strangers_auroc"):
            found = [
                [cell[field] for name, cell in cells.items() if name.startswith(f"{way}/{count}/") and field in cell]
                for count in labels
            ]
            if any(found):
                lines.append(f"| {way}, {field} | " + " | ".join(map(entry, found)) + " |")
    return "\n".join(lines)


def main(
    place: Annotated[Path, typer.Argument(metavar="DATA", exists=True)],
    weights: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR")],
    labels: Annotated[list[int], typer.Option(help="Labels a class.")] = [20],  # noqa: B006
    splits: Annotated[int, typer.Option(min=1)] = 3,
    stranger: Annotated[list[str], typer.Option(help="A class that is a stranger.")] = list(STRANGERS),  # noqa: B006
    ways: Annotated[list[str], typer.Option(help="Which trainings.")] = list(WAYS),  # noqa: B006
    twin: Annotated[bool, typer.Option(help="Train the twins, too.")] = False,
) -> None:
    """Measures, and prints the table."""
    out = out.absolute()
    bench = Bench(out, merged(place, out), weights, tuple(stranger), twin)
    path = out / f"cells_{'_'.join(stranger)}.json"
    first = bench.recipe("declared", 100, 0, 0.3)
    full = load_source(first.source, out)
    with_features(
        full, first, out, torch.device("cpu"), {"f": feature_network("f", first.features["f"], out)}, typer.echo
    )
    for count in labels:
        for seed in range(splits):
            for way in ways:
                name, cells = f"{way}/{count}/{seed}", cells_of(path)
                if name in cells:
                    continue
                cells[name] = played(bench, full, way, count, seed)
                cells["machine"] = machine(torch.device("cpu"))
                write_whole(path, json.dumps(cells, indent=1) + "\n")
                typer.echo(f"{name}: {cells[name]}")
    typer.echo(table(cells_of(path), labels))


if __name__ == "__main__":
    with user_errors():
        typer.run(main)
