"""What `--prior estimate` does to error and NLL where class frequencies have changed strongly, mildly or not at all.

    python -m benchmarks.prior_shift RUN ...      runs of one recipe of classes; prints the table in Markdown

From each run's test images parts are drawn without replacement: `strong` takes 50 images of three classes and 3 of
each other, `mild` falls from 40 to 10 images a class, `none` takes 25 of each; which classes are common is drawn anew
each time. All rows use the calibrated posterior of the same images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

import semivae
from benchmarks.common.commands import user_errors
from benchmarks.common.machine import machine_text, stamp
from semivae.classification.priors import change_prior
from semivae.classification.shift import estimate_prior

Floats = NDArray[np.float64]
Shares = Callable[[Floats, Floats], Floats]  # of the calibrated log posterior and the training prior

METHODS: dict[str, Shares | None] = {
    "prior of training": None,
    "estimate, maximum likelihood": lambda log_posterior, trained: (
        estimate_prior(log_posterior, trained, 0.0).probabilities
    ),
    "estimate, one pseudo-image a class": lambda log_posterior, trained: (
        estimate_prior(log_posterior, trained).probabilities
    ),
}
TRUE = "true frequencies"


def counts_of(shift: str, classes: int) -> NDArray[np.int64]:
    """Images of each class that are drawn, [classes], commonest first."""
    if shift == "strong":
        return np.array([50] * 3 + [3] * (classes - 3))
    if shift == "mild":
        return np.rint(np.geomspace(40, 10, classes)).astype(np.int64)
    return np.full(classes, 25)


def draw(labels: NDArray[np.int64], shift: str, classes: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a part with another choice of common classes."""
    wanted = generator.permutation(counts_of(shift, classes))
    rows = [generator.permutation(np.flatnonzero(labels == number))[:count] for number, count in enumerate(wanted)]
    return np.concatenate(rows)


def scores(log_posterior: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
    """Error, and NLL in nats per image; a probability of 0 counts as the smallest number that there is."""
    wrong = log_posterior.argmax(1) != labels
    true = np.maximum(log_posterior[np.arange(len(labels)), labels], np.log(np.finfo(np.float64).tiny))
    return float(wrong.mean()), float(-true.mean())


def measure(folder: Path, draws: int, found: dict[tuple[str, str], list[tuple[float, float]]]) -> None:
    """Adds error and NLL of each draw from a run's test images to what was `found`, by shift and method."""
    run = semivae.load(folder, device="cpu")
    test = run.dataset().test
    labels = test[run.label].numpy()
    classifier = run.classifier(prior="estimate")
    assert classifier.trained_prior is not None
    trained, log_posterior = classifier.trained_prior, classifier.log_posterior(test[run.image])
    for shift in ("strong", "mild", "none"):
        generator = np.random.default_rng(0)
        for _ in range(draws):
            rows = draw(labels, shift, len(run.classes), generator)
            part, true = log_posterior[rows], np.bincount(labels[rows], minlength=len(run.classes)) / len(rows)
            for method, shares in {**METHODS, TRUE: lambda *_, true=true: true}.items():
                changed = part
                if shares is not None:
                    with np.errstate(divide="ignore"):
                        changed = change_prior(part, trained, shares(part, trained), run.classes)
                found[shift, method].append(scores(changed, labels[rows]))


def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN ...", help="Folders of trained runs.")],
    draws: Annotated[int, typer.Option(min=2, help="Parts drawn from each run's test images, for each shift.")] = 20,
) -> None:
    """Print error and NLL under each shift, without and with estimated class frequencies."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    with user_errors():
        for folder in runs:
            measure(folder, draws, found)
    print(f"| shift | class frequencies | error | NLL, nats | largest NLL of a part |\n|{'---|' * 5}")
    for (shift, method), values in found.items():
        (error, nll), worst = np.mean(values, axis=0), max(value for _, value in values)
        print(f"| {shift} | {method} | {error:.2%} | {nll:.4f} | {worst:.3f} |")
    facts = stamp(torch.device("cpu"))
    print(f"\n{len(runs)} runs, {draws} parts each. {machine_text(facts['machine'])}, {facts['date']}.")


if __name__ == "__main__":
    typer.run(main)
