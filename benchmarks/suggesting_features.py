"""Suggested labels on features of a pretrained network, against random ones.

Of Fashion-MNIST 7,000 training images are drawn (seed 7), enlarged to 96 pixels, and read by tf_efficientnet_lite0;
64 principal components of its standardised features are kept. A repetition divides them into a pool of 3,000 and 4,000
to measure on. Labels are suggested in rounds by the rule of `semivae suggest`, first without any; the classifier is a
logistic regression (C = 0.1) on the components.

    python -m benchmarks.suggesting_features --data-root DATA --weights lite0.safetensors --features features.npy
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from semivae.classification.suggesting import entropy, pick
from semivae.data.sources import load_source
from semivae.recipe import read_recipe

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
IMAGES, POOL, COMPONENTS, SIDE = 7000, 3000, 64, 96
ROUNDS = (10, 20, 40, 80)


def features_of(images: NDArray[np.uint8], weights: Path) -> NDArray[np.float32]:
    """What the pretrained network makes of grey images [n, 28, 28]: [n, 1280]."""
    import timm
    from safetensors.torch import load_file

    net: Any = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    net.load_state_dict({name: value for name, value in load_file(weights).items() if "classifier" not in name})
    scales = cast(dict[str, list[float]], net.default_cfg)
    mean, deviation = (torch.tensor(scales[key])[:, None, None] for key in ("mean", "std"))
    found = []
    with torch.no_grad():
        for part in torch.split(torch.from_numpy(images).float().div(255)[:, None], 100):
            large = torch.nn.functional.interpolate(part, size=SIDE, mode="bicubic").clamp(0, 1)
            found.append(net((large.expand(-1, 3, -1, -1) - mean) / deviation).numpy())
    return np.concatenate(found)


def components(features: NDArray[np.float32]) -> Floats:
    """The principal components of standardised features, [n, COMPONENTS]."""
    from sklearn.decomposition import PCA

    standard = (features - features.mean(0)) / (features.std(0) + 1e-6)
    return np.asarray(PCA(COMPONENTS, random_state=0).fit_transform(standard), dtype=np.float64)


def repetition(x: Floats, y: Numbers, seed: int) -> Iterator[tuple[str, int, float]]:
    """The test errors of one division: of suggested labels and of random ones, up to twice as many."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize

    rows = np.random.default_rng(seed).permutation(len(x))
    pool, test = rows[:POOL], rows[POOL:]

    def trained(shown: Numbers) -> LogisticRegression:
        return LogisticRegression(C=0.1, max_iter=300).fit(x[shown], y[shown])

    def error(shown: Numbers) -> float:
        return float(np.mean(trained(shown).predict(x[test]) != y[test]))

    for count in (*ROUNDS, 2 * ROUNDS[-1]):
        yield "random", count, error(np.random.default_rng(1000 + seed).permutation(pool)[:count])
    chosen = pool[:0]
    for count in ROUNDS:
        rest = np.setdiff1d(pool, chosen)
        unsure = entropy(trained(chosen).predict_log_proba(x[rest])) if len(chosen) else np.zeros(len(rest))
        chosen = np.concatenate([chosen, rest[pick(normalize(x[rest]), unsure, count - len(chosen), seed).rows]])
        yield "suggested", count, error(chosen)


def main() -> None:
    """Measures, and prints a table of mean errors with standard deviations."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="of timm's tf_efficientnet_lite0")
    parser.add_argument("--features", type=Path, required=True, help="an .npy file: they are kept here, and used again")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10, 20)))
    given = parser.parse_args()
    source = read_recipe("mnist_100labels", {"source.name": "fashion_mnist"}).source
    train = load_source(source, given.data_root).train
    rows = np.random.default_rng(7).permutation(len(train["y"]))[:IMAGES]
    if not given.features.exists():
        images = train["x"][torch.from_numpy(rows)]
        found = features_of(np.asarray(images, dtype=np.uint8)[:, 0], given.weights)
        with given.features.open("wb") as file:  # of just this name: by a path, NumPy adds an ending
            np.save(file, found)
    x, y = components(np.load(given.features)), train["y"][torch.from_numpy(rows)].numpy().astype(np.int64)
    errors: dict[tuple[str, int], list[float]] = {}
    for seed in given.seeds:
        for arm, count, error in repetition(x, y, seed):
            errors.setdefault((arm, count), []).append(100 * error)
    print("| labels | suggested, % | random, % | random, twice as many, % |\n|---|---|---|---|")
    for count in ROUNDS:
        cells = [errors["suggested", count], errors["random", count], errors["random", 2 * count]]
        print(
            f"| {count} | " + " | ".join(f"{np.mean(cell):.1f} ± {np.std(cell, ddof=1):.1f}" for cell in cells) + " |"
        )


if __name__ == "__main__":
    main()
