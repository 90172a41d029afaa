"""What semivae has written itself and reads again: packed pictures and features, damaged, half copied or mixed up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image

from benchmarks.fuzz.damage import damaged
from semivae.data.features.attaching import feature_network, with_features
from semivae.data.packed.packing import pack
from semivae.data.packed.store import verify
from semivae.data.sources import load_source
from semivae.recipe import Recipe
from semivae.recipe.schema import FolderSource

SOURCE = {"name": "folder", "path": "pets", "size": 4}
CPU = torch.device("cpu")


def write_pets(root: Path) -> None:
    """Eight pictures of each of two classes to train on and four to test on, and three without a class."""
    numbers = np.random.default_rng(0)
    places = [f"{part}/{name}" for part in ("train", "test") for name in ("cat", "dog")]
    for place, count in (*zip(places, (8, 8, 4, 4), strict=True), ("unlabelled", 3)):
        (root / "pets" / place).mkdir(parents=True)
        for number in range(count):
            pixels = numbers.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "pets" / place / f"{number}.png")


def damage_files(draw: Random, folder: Path) -> None:
    """Damages, removes, empties or swaps a few of the files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for _ in range(draw.choice((0, 1, 1, 2))):
        path, other = draw.choice(files), draw.choice(files)
        if not (path.exists() and other.exists()):
            continue
        match draw.randrange(5):
            case 0:
                path.unlink()
            case 1:
                path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size + 1)])
            case 2:
                path.write_bytes(other.read_bytes())
            case _:
                path.write_bytes(damaged(draw, path.read_bytes(), 2))


class Packed:
    """Packed pictures, through their reader."""

    name = "packed"

    def __init__(self, root: Path) -> None:
        self.root = root
        write_pets(root)
        pack(FolderSource.model_validate(SOURCE), root / "pets", root / "packed", lambda _: None)

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        shutil.copytree(self.root / "packed", folder / "packed", copy_function=shutil.copy2)
        damage_files(draw, folder / "packed")
        source = FolderSource.model_validate({**SOURCE, "path": str(folder / "packed")})

        def read() -> None:
            dataset = load_source(source, folder, download=False)
            assert dataset.train["x"].float().sum() > 0 and len(list(dataset.names)) == len(dataset.train["x"])
            verify(folder / "packed")

        return read


class KeptFeatures:
    """Features of pictures below the data root, through what attaches them to the data."""

    name = "features"

    def __init__(self, root: Path, recipe: Recipe) -> None:
        self.root, self.recipe = root, recipe
        write_pets(root)
        self.attach(root)

    def attach(self, root: Path) -> None:
        torch.manual_seed(0)
        networks = {name: feature_network(name, spec, root) for name, spec in self.recipe.features.items()}
        dataset = load_source(self.recipe.source, self.root, download=False)
        found = with_features(dataset, self.recipe, root, CPU, networks, lambda _: None)
        assert len(found.train["f"]) == len(found.train["x"]) and len(found.test["f"]) == len(found.test["x"])

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        shutil.copytree(self.root / "features", folder / "features")
        damage_files(draw, folder / "features")
        return lambda: self.attach(folder)
