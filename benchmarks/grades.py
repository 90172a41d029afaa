"""What the order of classes is worth: the same networks with `family: ordinal` and with `family: categorical`.

    python -m benchmarks.grades [diabetes|turned]

diabetes: how far the disease went in a year, in five grades of equal size, 60 labelled rows of 309 (scikit-learn's
data). turned: digits of 8 x 8 pixels, turned by one of seven angles 15 degrees apart, 140 labelled images of 1,257.
Rows are parted by the seed into 70% to train on and the rest to test on; nothing is chosen on these.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits

from semivae.sklearn import SemiVAEClassifier
from semivae.tasks.ordinal import grade_scores

Array = NDArray[Any]
SEEDS = 5
STEPS = 400
LABELS = {"diabetes": 60, "turned": 140}


def diabetes() -> tuple[Array, Array]:
    """Rows, and the grade of each."""
    rows, progression = load_diabetes(return_X_y=True)
    return rows, np.digitize(progression, np.quantile(progression, [0.2, 0.4, 0.6, 0.8]))


def turned() -> tuple[Array, Array]:
    """Images, and the grade of the angle of each."""
    digits = load_digits().images.astype(np.uint8) * 15
    grades = np.random.default_rng(0).integers(0, 7, len(digits))
    pictures = (Image.fromarray(digit).resize((16, 16)) for digit in digits)
    pairs = zip(pictures, grades.tolist(), strict=True)
    return np.stack([np.asarray(picture.rotate((grade - 3) * 15).resize((8, 8))) for picture, grade in pairs]), grades


def measured(x: Array, grades: Array, labels: int, seed: int, family: str) -> dict[str, float]:
    """Returns the scores of one training on the rows to test on."""
    order = np.random.default_rng(seed).permutation(len(grades))
    train, test = np.split(order, [int(0.7 * len(order))])
    y = np.full(len(train), -1)
    y[:labels] = grades[train[:labels]]
    model = SemiVAEClassifier(steps=STEPS, random_state=seed, set={"variables.y.family": family}).fit(x[train], y)
    probabilities, truth = model.predict_proba(x[test]), grades[test]
    answers = probabilities.argmax(axis=1)
    scores = grade_scores(torch.from_numpy(answers), torch.from_numpy(truth))
    nll = -np.log(probabilities[np.arange(len(test)), truth]).mean()
    return {
        "mae": scores["mae"],
        "kappa": scores["kappa"],
        "error": float((answers != truth).mean()),
        "nll": float(nll),
    }


def main(data: Annotated[str, typer.Argument(help="diabetes or turned")] = "diabetes") -> None:
    """Prints the scores of each seed, and their means and deviations."""
    if data not in LABELS:
        raise typer.BadParameter(f"{data} is neither diabetes nor turned")
    x, grades = diabetes() if data == "diabetes" else turned()
    for family in ("categorical", "ordinal"):
        rows = []
        for seed in range(SEEDS):
            rows.append(measured(x, grades, LABELS[data], seed, family))
            print(data, family, seed, {key: round(value, 3) for key, value in rows[-1].items()}, flush=True)
        for key in rows[0]:
            values = np.array([row[key] for row in rows])
            print(f"{data} {family} {key}: {values.mean():.3f} +- {values.std(ddof=1):.3f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
