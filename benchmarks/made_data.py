"""Small made data sets in the layouts that shipped recipes read, from fixed seeds: for trials, not for figures."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
CLASSES = 10


def smooth_images(labels: NDArray[np.int64], side: int, generator: np.random.Generator) -> Bytes:
    """Colour images, [n, side, side, 3]: each class has a pattern of its own, and every image some noise."""
    waves = generator.uniform(0.5, 3.0, size=(int(labels.max()) + 1, 2, 3))
    phases = generator.uniform(0.0, 2.0 * np.pi, size=(len(labels), 1, 1, 3))
    rows, columns = np.meshgrid(np.linspace(0, np.pi, side), np.linspace(0, np.pi, side), indexing="ij")
    down, across = waves[labels, 0][:, None, None], waves[labels, 1][:, None, None]
    values = np.sin(down * rows[..., None] + across * columns[..., None] + phases)
    noise = generator.normal(0.0, 12.0, size=values.shape)
    images: Bytes = np.clip(127.5 + 90.0 * values + noise, 0, 255).astype(np.uint8)
    return images


def write_cifar10(root: Path) -> None:
    """CIFAR-10's official python layout with 400 images to train on and 50 to test on."""
    generator = np.random.default_rng(0)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, count in {**{f"data_batch_{number}": 80 for number in range(1, 6)}, "test_batch": 50}.items():
        labels = np.arange(count) % CLASSES
        images = smooth_images(labels, 32, generator).transpose(0, 3, 1, 2).reshape(count, -1)
        (folder / name).write_bytes(pickle.dumps({"data": images, "labels": labels.tolist()}))


def write_folder(root: Path) -> None:
    """The `folder` source's layout: three classes, 60 labelled images, 60 unlabelled ones, 12 to test on."""
    generator = np.random.default_rng(1)
    for part, count in {"train": 60, "unlabelled": 60, "test": 12}.items():
        labels = np.arange(count) % 3
        for number, image in enumerate(smooth_images(labels, 40, generator)):
            class_folder = "" if part == "unlabelled" else f"class{labels[number]}"
            folder = root / "images" / part / class_folder
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:03d}.png")


def write_table(root: Path) -> None:
    """A table of numbers, categories and gaps: 240 rows, every second one without a label."""
    generator = np.random.default_rng(2)
    with (root / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["length", "width", "site", "label"])
        for number in range(240):
            kind = number // 2 % 3
            length, width = generator.normal((4.0 + kind, 2.0 - kind), 0.5)
            site = "abc"[int(generator.integers(3))]
            gap = number % 17 == 0
            label = f"kind{kind}" if number % 2 else ""
            writer.writerow([f"{length:.4f}", "" if gap else f"{width:.4f}", site, label])


def write_digits_codes(root: Path) -> None:
    """Pairs of a label and 16 bits, as `semivae codes` writes them for digits_50labels."""
    generator = np.random.default_rng(3)
    labels = np.arange(200) % CLASSES
    bits = generator.integers(0, 2, size=(200, 16)).astype(np.float32)
    np.savez(root / "digits_codes.npz", y=labels, h=bits)


MADE: dict[str, Callable[[Path], None]] = {
    "cifar-10-batches-py": write_cifar10,
    "images": write_folder,
    "table.csv": write_table,
    "digits_codes.npz": write_digits_codes,
}


def lay_out_data(folder: Path, data_root: Path) -> None:
    """Fills a data root with the made data sets, and links to what else lies in the user's."""
    folder.mkdir(parents=True)
    for write in MADE.values():
        write(folder)
    for path in data_root.iterdir() if data_root.is_dir() else ():
        if path.name not in MADE:
            (folder / path.name).symlink_to(path.absolute())
