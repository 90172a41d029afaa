"""Measures SemiVAEClassifier beside scikit-learn on its tables: `python -m benchmarks.sklearn_tables`.

A third of the rows, the same on each split, is for the test. Of the others few show their label: one of each class, the
rest by chance, drawn anew on each split; all of them are given, with -1 where the label is hidden. All methods see the
same rows, standardised alike, and none is tuned on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from benchmarks.common.machine import machine_text, stamp
from semivae.sklearn import SemiVAEClassifier

Array = NDArray[Any]
TABLES: Mapping[str, tuple[Callable[..., Any], int]] = {
    "wine": (load_wine, 20),
    "breast cancer": (load_breast_cancer, 20),
    "digits as rows": (load_digits, 50),
}
TEST_SHARE = 1 / 3
TEST_SEED = 12345


class OnLabels:
    """A supervised classifier: fits the rows that have a label, and leaves the others."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(self, x: Array, y: Array) -> Any:
        return self.classifier.fit(x[y >= 0], y[y >= 0])


METHODS: Mapping[str, Callable[[int], Any]] = {
    "semivae": lambda seed: SemiVAEClassifier(random_state=seed),
    "support vector machine": lambda seed: OnLabels(SVC()),
    "logistic regression": lambda seed: OnLabels(LogisticRegression(max_iter=1000)),
    "label spreading, 7 neighbours": lambda seed: LabelSpreading(kernel="knn", n_neighbors=7, max_iter=100),
    "self-training of logistic regression": lambda seed: SelfTrainingClassifier(
        LogisticRegression(max_iter=1000), threshold=0.9
    ),
}


def rows_of_test(count: int) -> Array:
    """The rows that are for the test on each split; what was tuned never saw them."""
    return np.sort(np.random.default_rng(TEST_SEED).permutation(count)[: int(count * TEST_SHARE)])


def hidden(y: Array, labels: int, seed: int) -> Array:
    """The classes of rows with -1 where they are hidden: one of each class is shown, and further ones by chance."""
    order = np.random.default_rng(seed).permutation(len(y))
    first = [order[y[order] == number][0] for number in np.unique(y)]
    others = [row for row in order if row not in set(first)]
    shown = np.array([*first, *others[: labels - len(first)]])
    found = np.full(len(y), -1)
    found[shown] = y[shown]
    return found


def errors_of(table: str, method: str, splits: int) -> Array:
    """Test errors on each split, fractions."""
    load, labels = TABLES[table]
    x, y = load(return_X_y=True)
    test = np.isin(np.arange(len(y)), rows_of_test(len(y)))
    scaler = StandardScaler().fit(x[~test])
    x = scaler.transform(x)
    errors = []
    for seed in range(splits):
        classifier = METHODS[method](seed).fit(x[~test], hidden(y[~test], labels, seed))
        errors.append(float(np.mean(classifier.predict(x[test]) != y[test])))
    return np.array(errors)


def main(
    splits: Annotated[int, typer.Option(help="How many draws of the labelled rows.")] = 5,
    tables: Annotated[str, typer.Option(help="Tables, joined by commas.")] = ",".join(TABLES),
    methods: Annotated[str, typer.Option(help="Methods, joined by semicolons.")] = ";".join(METHODS),
) -> None:
    """Print a table of mean test errors and their standard deviations, %."""
    for table in tables.split(","):
        print(f"{table}, {TABLES[table][1]} labels")
        for method in methods.split(";"):
            errors = 100 * errors_of(table, method, splits)
            print(f"  {method}: {errors.mean():.1f} +- {errors.std(ddof=1):.1f}", flush=True)
    facts = stamp(torch.device("cpu"))
    print(f"{machine_text(facts['machine'])}; {facts['versions']}; {facts['date']}")


if __name__ == "__main__":
    typer.run(main)
