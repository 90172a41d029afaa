"""Photographs with few labels: what views, a known p(y), the vote and fine-tuning add to a pretrained network.

    python -m benchmarks.lite0 lite0.safetensors
    python -m benchmarks.photographs DATA WEIGHTS --out DIR [--labels 5 --labels 10] [--splits 3] [--ways both]

DATA is a folder or .zip of images with train/CLASS and test/CLASS; a part for validation counts as test, and nothing is
chosen on either. The recipe is the template `photos`, or for `--ways tuned` the template `photos_tuned`, with as many
labels a class as are asked for and a label-only stream that knows how frequent the classes are. Every cell is kept in
DIR/cells.json as soon as it is measured, so that a stopped benchmark goes on; features are extracted once.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

import semivae
from benchmarks.common.commands import user_errors
from benchmarks.common.machine import machine
from semivae.cli.freed_memory import keep_freed_memory
from semivae.data.dataset import Dataset
from semivae.data.features.attaching import feature_network, with_features
from semivae.data.formats.file_trees import open_files
from semivae.data.sources import load_source
from semivae.data.splits import Split
from semivae.files import write_whole
from semivae.recipe import Recipe, read_recipe
from semivae.tasks.splitting import make_split

Rows = NDArray[np.float32]
Changes = dict[str, object]
# what paints pictures takes most of the time and no part in classification, so it is made small
SMALL: Changes = {
    "decoder.x.net": {"name": "deconv", "channels": [8, 8]},
    "streams.labels.batch": 8,
    "streams.pictures.batch": 4,
}
GAME: dict[str, Changes] = {
    "both": {},
    "views": {"streams.unlabelled.vote": None},
    "vote": {"streams.unlabelled.views": None},
    "tuned": {},
}
EM_ROUNDS, SHRINKAGE = 20, 0.5


def recipe_of(place: Path, weights: Path, labelled: int, seed: int, way: str = "both") -> Recipe:
    """A template for photographs, of some data and a split of theirs."""
    tuned = way == "tuned"
    base: Changes = {
        "source": {"name": "folder", "path": str(place), "size": 128 if tuned else 32},
        "split": {"labelled": labelled, "seed": seed},
        f"{'encoder.y' if tuned else 'features.f'}.net.weights": str(weights.absolute()),
        "streams.labels.values": "hidden",
    }
    small = {} if tuned else SMALL
    return read_recipe("photos_tuned" if tuned else "photos", {**base, **small, **GAME.get(way, {})})


def merged(place: Path, out: Path) -> Path:
    """The data with their part for validation in the test part, as a folder in `out`."""
    folder = out / "data" / place.stem
    if not folder.is_dir():
        writing = folder.with_name(f".{folder.name}")
        shutil.rmtree(writing, ignore_errors=True)
        with open_files(place) as files:
            for name in files.names:
                part, _, rest = name.partition("/")
                target = writing / ("train" if part == "train" else "test") / rest
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files.read(name))
        writing.rename(folder)
    return folder


class Classical:
    """Usual classifiers on the same features.

    Args:
        dataset: with features.
        split: of it.
    """

    def __init__(self, dataset: Dataset, split: Split) -> None:
        x: Rows = dataset.train["f"].float().numpy()
        self.labelled, self.y = x[split.labelled.numpy()], dataset.train["y"][split.labelled].numpy()
        self.unlabelled, self.prior = x[split.unlabelled.numpy()], frequencies(dataset, split)
        self.test, self.truth = dataset.test["f"].float().numpy(), dataset.test["y"].numpy()

    def error(self, answers: NDArray[np.int64]) -> float:
        """The share of the test part that is answered wrongly."""
        return float((answers != self.truth).mean())

    def lr(self) -> float:
        """Logistic regression, with a penalty that was fixed beforehand."""
        return self.error(LogisticRegression(C=0.01, max_iter=300).fit(self.labelled, self.y).predict(self.test))

    def lda(self) -> float:
        """The linear discriminant with a shrunk covariance (Ledoit and Wolf) and the known p(y)."""
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=self.prior)
        return self.error(model.fit(self.labelled, self.y).predict(self.test))

    def em(self) -> float:
        """The generative limit: EM of Gaussians with one shrunk covariance and the known p(y), from the labels."""
        every = np.concatenate([self.labelled, self.unlabelled])
        known = np.eye(len(self.prior), dtype=np.float64)[self.y]
        weights = gaussian(self.labelled, known, self.prior)
        for _ in range(EM_ROUNDS):
            weights = gaussian(every, np.concatenate([known, posterior(self.unlabelled, *weights)]), self.prior)
        return self.error(posterior(self.test, *weights).argmax(axis=1))


def frequencies(dataset: Dataset, split: Split) -> NDArray[np.float64]:
    """How frequent the classes are among the examples whose labels the split hides."""
    counts = np.bincount(dataset.train["y"][split.unlabelled].numpy(), minlength=len(dataset.classes))
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def gaussian(
    x: Rows, shares: NDArray[np.float64], prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights [d, classes] and offsets [classes] of the discriminant of rows with shares in the classes."""
    counts = shares.sum(axis=0)
    means = (shares.T @ x) / counts[:, None]
    inside = (x.T @ x - (means * counts[:, None]).T @ means) / len(x)
    shrunk = (1 - SHRINKAGE) * inside + SHRINKAGE * np.diag(inside).mean() * np.eye(len(inside))
    weights = np.linalg.solve(shrunk, means.T)
    return weights, np.log(prior) - 0.5 * (means * weights.T).sum(axis=1)


def posterior(x: Rows, weights: NDArray[np.float64], offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """p(y | f), [n, classes]."""
    logits = x @ weights + offsets
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return result


def played(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """A training of the game and of its twin: errors at the last checkpoint and the seconds it took."""
    started = time.monotonic()
    run = semivae.train(recipe, out=folder, data_root=folder.parents[1], overwrite=folder.exists(), progress=False)
    report = run.evaluate()
    errors = {which: report[which]["error"] for which in ("last", "twin") if report[which]}
    shutil.rmtree(folder)
    return {"error": errors["last"], "twin": errors.get("twin"), "seconds": time.monotonic() - started}


def cells_of(path: Path) -> dict[str, Any]:
    """What was measured already."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def entry(errors: list[float]) -> str:
    """Mean and deviation in percent, and of how many splits."""
    if not errors:
        return "-"
    deviation = np.std(errors, ddof=min(1, len(errors) - 1))
    return f"{100 * np.mean(errors):.1f} ± {100 * deviation:.1f} ({len(errors)})"


def table(cells: dict[str, Any], labels: list[int], ways: list[str]) -> str:
    """Means and deviations of the test error over splits, in percent, as Markdown."""
    lines = ["| way | " + " | ".join(f"{count} a class" for count in labels) + " |", "|---" * (len(labels) + 1) + "|"]
    twins = {f"{way}'s twin": way for way in ("both", "tuned") if way in ways}
    for way in [*ways, *twins]:
        entries = []
        for count in labels:
            key, field = (twins[way], "twin") if way in twins else (way, "error")
            found = [cell[field] for name, cell in cells.items() if name.startswith(f"{key}/{count}/")]
            entries.append(entry(found))
        lines.append(f"| {way} | " + " | ".join(entries) + " |")
    return "\n".join(lines)


def main(
    place: Annotated[Path, typer.Argument(metavar="DATA", exists=True)],
    weights: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR")],
    labels: Annotated[list[int], typer.Option(help="Labels a class.")] = [5, 10, 20],  # noqa: B006
    splits: Annotated[int, typer.Option(min=1)] = 3,
    ways: Annotated[list[str], typer.Option()] = ["lr", "lda", "em", "both", "views", "vote"],  # noqa: B006
) -> None:
    """Measures, and prints the table."""
    keep_freed_memory()  # as `semivae train` does
    path = out / "cells.json"
    data = merged(place, out)
    first = recipe_of(data, weights, 1, 0)
    dataset = load_source(first.source, out)
    full = dataset
    if set(ways) != {"tuned"}:
        network = feature_network("f", first.features["f"], out)
        full = with_features(dataset, first, out, torch.device("cpu"), {"f": network}, typer.echo)
    classes = len(dataset.classes)
    for seed in range(splits):
        for count in labels:
            for way in ways:
                name, cells = f"{way}/{count}/{seed}", cells_of(path)
                if name in cells:
                    continue
                recipe = recipe_of(data, weights, count * classes, seed, way)
                classical: Callable[[], float] | None = None
                if way not in GAME:
                    classical = getattr(Classical(full, make_split(full, recipe.split)), way)
                folder = out / "runs" / name.replace("/", "_")
                cells[name] = {"error": classical()} if classical else played(recipe, folder)
                cells["machine"] = machine(torch.device("cpu"))
                write_whole(path, json.dumps(cells, indent=1) + "\n")
                typer.echo(f"{name}: {cells[name]}")
    typer.echo(table(cells_of(path), labels, ways))


if __name__ == "__main__":
    with user_errors():
        typer.run(main)
