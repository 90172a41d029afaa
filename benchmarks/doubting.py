"""Measures how well wrong labels are found, beside confident learning: `python -m benchmarks.doubting`.

In a share of all examples, labelled and for validation, the label is exchanged for another class, each as likely. A run
is trained on them, and `semivae doubts` ranks its labelled examples. The baseline is confident learning (Northcutt et
al., "Confident learning: estimating uncertainty in dataset labels", JAIR 2021), by logistic regression on the pixels,
which is what its authors' package takes from users: any classifier's probabilities out of fold. Nothing is tuned here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import semivae
from benchmarks.common.machine import machine_text, stamp
from semivae.api import Run
from semivae.data.dataset import Dataset
from semivae.data.sources import data_root, load_source
from semivae.label_errors.doubts import FOLDS
from semivae.recipe import change_recipe, read_recipe

Array = NDArray[Any]


def exchanged(labels: Array, classes: int, noise: float, seed: int) -> Array:
    """Labels, [n], of which a share `noise` is replaced by one of the other classes."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(len(labels)) < noise
    return np.where(wrong, (labels + generator.integers(1, classes, len(labels))) % classes, labels)


def confident_learning(posterior: Array, labels: Array) -> tuple[Array, Array]:
    """The examples that confident learning finds, bool [n], and the doubt by which it ranks all of them, [n].

    An example is found where, among the classes whose probability reaches their threshold, the likeliest is not the
    given one; the threshold of a class is the mean probability of that class among the examples that are given it.
    They are ranked by self-confidence, the probability of the given label.

    Args:
        posterior: p(y | x) out of fold, [n, K].
        labels: class numbers, [n].
    """
    classes = posterior.shape[1]
    means = [posterior[labels == each, each].mean() if (labels == each).any() else np.inf for each in range(classes)]
    above = posterior >= np.array(means)
    found = above.any(axis=1) & (np.where(above, posterior, -1.0).argmax(axis=1) != labels)
    return found, 1.0 - posterior[np.arange(len(labels)), labels]


def scores_of(wrong: Array, found: Array, doubt: Array) -> dict[str, float]:
    """How well the wrong ones, bool [n], are found and ranked, fractions; `first`: among as many as there are."""
    first = np.argsort(-doubt, kind="stable")[: wrong.sum()]
    return {
        "listed": int(found.sum()),
        "precision": float(wrong[found].mean()) if found.any() else float("nan"),
        "recall": float(found[wrong].mean()),
        "first": float(wrong[first].mean()),
        "average precision": float(average_precision_score(wrong, doubt)),
    }


def measured(run: Run, dataset: Dataset, wrong: Array, retrain: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """The scores of each method on the labelled examples of a run; `wrong`: of all examples, bool [n]."""
    rows = run.split().labelled.numpy()
    place = {row: number for number, row in enumerate(rows.tolist())}
    labels, pixels = dataset.train["y"].numpy()[rows], dataset.train["x"][rows].flatten(1).numpy() / 255.0
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for name, examples in (("pixels", pixels), ("the run's features", run.embed(dataset.train["x"][rows]))):
        model = LogisticRegression(max_iter=1000)
        posterior = cross_val_predict(model, examples, labels, cv=folds, method="predict_proba")
        yield f"confident learning, {name}", scores_of(wrong[rows], *confident_learning(posterior, labels))
    for again in (False, True)[: 1 + retrain]:
        found = run.doubts(retrain=again, progress=False)
        doubt = np.zeros(len(rows))
        for row, value in zip(found.rows.tolist(), found.doubt.tolist(), strict=True):
            if row in place:
                doubt[place[row]] = value
        scores = scores_of(wrong[rows], doubt >= 0.5, doubt)
        yield f"semivae doubts{' --retrain' if again else ''}", scores | {"expected": float(doubt.sum())}


def main(
    recipe: Annotated[str, typer.Argument(help="A recipe whose label is a class.")] = "digits_50labels",
    labels: Annotated[int, typer.Option(help="Labelled examples.")] = 300,
    steps: Annotated[int, typer.Option(help="Steps of the run.")] = 600,
    noise: Annotated[list[float], typer.Option(help="Shares of wrong labels.")] = [0.0, 0.05, 0.1],  # noqa: B006
    splits: Annotated[int, typer.Option(help="How many splits.")] = 3,
    first: Annotated[int, typer.Option(help="Seed of the first one; 0 to 2 chose the penalty of the regression.")] = 3,
    retrain: Annotated[bool, typer.Option("--retrain", help="Measure --retrain too.")] = False,
    root: Annotated[Path | None, typer.Option("--data-root", help="Folder of the data.")] = None,
) -> None:
    """Print the scores of each method, on each split."""
    for share in noise:
        for seed in range(first, first + splits):
            changes = {
                "split.labelled": labels,
                "split.seed": seed,
                "training.seed": seed,
                "training.steps": steps,
                "training.validate_every": steps,
                "training.twin": False,
            }
            chosen = change_recipe(read_recipe(recipe), changes)
            clean = load_source(chosen.source, data_root(root))
            given = exchanged(clean.train["y"].numpy(), len(clean.classes), share, seed)
            dataset = replace(clean, train=clean.train | {"y": torch.from_numpy(given)})
            with tempfile.TemporaryDirectory() as scratch:
                run = semivae.train(chosen, dataset=dataset, out=Path(scratch) / "run", progress=False)
                wrong = given != clean.train["y"].numpy()
                print(
                    f"{share:.0%} wrong, split {seed}: {int(wrong[run.split().labelled].sum())} of {labels}", flush=True
                )
                if not wrong[run.split().labelled].any():
                    found = run.doubts()
                    print(f"  expected {found.expected_wrong:.1f} of {len(found)}, listed {len(found.above(0.5))}")
                    continue
                for name, scores in measured(run, dataset, wrong, retrain):
                    print(f"  {name}: " + ", ".join(f"{key} {value:.3g}" for key, value in scores.items()), flush=True)
    facts = stamp(torch.device("cpu"))
    print(f"{machine_text(facts['machine'])}; {facts['versions']}; {facts['date']}")


if __name__ == "__main__":
    typer.run(main)
