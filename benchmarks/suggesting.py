"""Measures what suggested labels are worth beside random ones: `python -m benchmarks.suggesting`.

Digits of scikit-learn, a third for the test. Of the others few show their label: one of each class, the rest by chance,
drawn anew on each split. A first run is trained on them; as many labels again are shown, those that it suggests or
random ones, and a second run is trained on all, with the same seed.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import typer
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from benchmarks.common.machine import machine_text, stamp
from benchmarks.sklearn_tables import Array, hidden, rows_of_test
from semivae.sklearn import SemiVAEClassifier


def shown_too(y: Array, known: Array, rows: Array) -> Array:
    """The known classes, [n], -1 where they are hidden, with those of further rows."""
    found = known.copy()
    found[rows] = y[rows]
    return found


def errors_of(labels: int, steps: int, seed: int) -> dict[str, float]:
    """Test errors on one split, fractions, by which labels were shown and what was trained on them."""
    x, y = load_digits().images / 16.0, load_digits().target
    test = np.isin(np.arange(len(y)), rows_of_test(len(y)))
    x, y, x_test, y_test = x[~test], y[~test], x[test], y[test]

    def fitted(known: Array) -> SemiVAEClassifier:
        return SemiVAEClassifier("digits_50labels", steps=steps, random_state=seed).fit(x, known)

    known = hidden(y, labels, seed)
    first = fitted(known)
    errors = {"first": 1 - first.score(x_test, y_test)}
    pool = np.flatnonzero(known < 0)
    chosen = {
        "suggested": pool[first.run_.suggest(x[pool], labels).rows],
        "random": np.random.default_rng(1000 + seed).choice(pool, labels, replace=False),
    }
    for name, rows in chosen.items():
        more = shown_too(y, known, rows)
        errors[name] = 1 - fitted(more).score(x_test, y_test)
        features = LogisticRegression(max_iter=2000).fit(first.transform(x[more >= 0]), more[more >= 0])
        errors[f"{name}, logistic regression on the first run's features"] = 1 - features.score(
            first.transform(x_test), y_test
        )
    return errors


def main(
    labels: Annotated[int, typer.Option(help="Labels shown at first, and again as many.")] = 20,
    steps: Annotated[int, typer.Option(help="Steps of each training.")] = 300,
    splits: Annotated[int, typer.Option(help="How many draws of the first labels.")] = 3,
) -> None:
    """Print test errors on each split and their means, %."""
    found = []
    for seed in range(splits):
        found.append(errors_of(labels, steps, seed))
        print(
            f"split {seed}: " + "; ".join(f"{name} {100 * error:.1f}" for name, error in found[-1].items()), flush=True
        )
    for name in found[0]:
        print(f"{name}: mean {100 * np.mean([errors[name] for errors in found]):.1f}")
    facts = stamp(torch.device("cpu"))
    print(f"{machine_text(facts['machine'])}; {facts['versions']}; {facts['date']}")


if __name__ == "__main__":
    typer.run(main)
