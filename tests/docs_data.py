"""The data that the pages for users speak of, small, for `tests/test_docs_run.py`: made here, in the current folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torchvision import models

import semivae


def drawing(shape: str, seed: int, side: int = 32) -> Image.Image:
    """A disc ("cat") or a square ("dog") somewhere on a coloured ground."""
    random = np.random.default_rng(seed)
    ground, colour = (tuple(int(value) for value in random.integers(low, low + 100, 3)) for low in (0, 150))
    image = Image.new("RGB", (side, side), ground)
    left, top = (int(value) for value in random.integers(2, side // 2, 2))
    box = (left, top, left + side // 3, top + side // 3)
    draw = ImageDraw.Draw(image)
    (draw.ellipse if shape == "cat" else draw.rectangle)(box, fill=colour)
    return image


def save(image: Image.Image, *place: str) -> None:
    path = Path(*place)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def folders_of_images(classes: Iterable[str] = ("cat", "dog")) -> None:
    """images/ with train, unlabelled and test; new_images/, damaged/ and mask.png beside it."""
    for number, name in enumerate(classes):
        for image in range(60):
            save(drawing(name, 1000 * number + image), "images", "train", name, f"{image}.png")
        for image in range(20):
            save(drawing(name, 1000 * number + 500 + image), "images", "test", name, f"{image}.png")
        for image in range(20):
            save(drawing(name, 1000 * number + 700 + image), "images", "unlabelled", f"{name}{image}.png")
        for folder, start in (("new_images", 800), ("damaged", 900)):
            for image in range(4):
                save(drawing(name, 1000 * number + start + image), folder, f"{name}{image}.png")
    hole = Image.new("L", (32, 32), 0)
    hole.paste(255, (8, 8, 16, 16))
    hole.save("mask.png")


def digit_files() -> None:
    """Digits as files in my_images/, and mask.png for them."""
    for number, image in enumerate(load_digits().images[1297:1317]):
        save(Image.fromarray((image * 15.9).astype(np.uint8)), "my_images", f"{1297 + number}.png")
    hole = Image.new("L", (8, 8), 0)
    hole.paste(255, (2, 2, 5, 5))
    hole.save("mask.png")


def trees() -> None:
    """table.csv, new_rows.csv and gaps.csv: leaves of three kinds of trees, some cells and labels missing."""
    random = np.random.default_rng(0)
    kinds = np.array(["oak", "elm", "ash"])

    def row(number: int, label: bool, gaps: bool) -> str:
        kind = number % 3
        cells = [f"{random.normal(3 * kind, 1):.2f}", f"{random.normal(5 - kind, 1):.2f}", "sand" if kind else "clay"]
        if gaps:
            cells[number % 2] = ""
        return ",".join([*cells, kinds[kind] if label else ""])

    for name, count, labels, gaps in (("table", 300, 150, 0), ("new_rows", 9, 0, 0), ("gaps", 10, 5, 10)):
        rows = [row(number, number < labels, number < gaps) for number in range(count)]
        Path(f"{name}.csv").write_text("\n".join(["length,width,soil,label", *rows, ""]), encoding="utf-8")


def people() -> None:
    """people/ with people.csv, and new_people/: faces that smile (a disc), wear a hat (a bar) or glasses, or none."""
    random = np.random.default_rng(0)
    rows = ["file_name,smiling,hat,glasses"]
    for number in range(230):
        has = random.random(3) < 0.4
        image = drawing("cat" if has[0] else "dog", number)
        for present, box in ((has[1], (0, 0, 31, 4)), (has[2], (0, 26, 31, 31))):
            if present:
                ImageDraw.Draw(image).rectangle(box, fill=(0, 0, 0))
        save(image, "people" if number < 220 else "new_people", f"{number}.png")
        cells = ["" if random.random() < 0.2 else str(int(value)) for value in has]
        if number < 180:
            rows.append(f"{number}.png,{','.join(cells)}")
    Path("people", "people.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")


def leaves() -> None:
    """table.csv and new_numbers.csv: leaves whose age, in the column `label`, is a number that half of them lack."""
    random = np.random.default_rng(0)
    for name, count, known in (("table", 240, 120), ("new_numbers", 9, 0)):
        ages = random.uniform(1, 9, count)
        rows = [
            f"{age + random.normal():.2f},{random.normal():.2f},{f'{age:.1f}' if number < known else ''}"
            for number, age in enumerate(ages)
        ]
        Path(f"{name}.csv").write_text("\n".join(["length,width,label", *rows, ""]), encoding="utf-8")


def marks() -> None:
    """table.csv and new_rows.csv: leaves with a mark from 1 to 5, in the column `label`, that half of them lack."""
    random = np.random.default_rng(0)
    for name, count, known in (("table", 240, 120), ("new_rows", 9, 0)):
        grades = random.integers(1, 6, count)
        rows = [
            f"{grade + random.normal():.2f},{random.normal():.2f},{grade if number < known else ''}"
            for number, grade in enumerate(grades)
        ]
        Path(f"{name}.csv").write_text("\n".join(["length,width,label", *rows, ""]), encoding="utf-8")


def masks() -> None:
    """shapes/ as the template reads it, my_images/ to segment, and mask.png, missing.png and half.png."""

    def mask_of(image: Image.Image) -> Image.Image:
        return image.convert("L").point(lambda value: 255 if value > 127 else 0).convert("RGB")

    for number in range(40):
        image = drawing("cat", number, 64)
        save(image, "shapes", "train", "images", f"{number}.png")
        save(mask_of(image), "shapes", "train", "masks", f"{number}.png")
        save(drawing("cat", 100 + number, 64), "shapes", "unlabelled", f"{number}.png")
    Path("shapes", "palette.txt").write_text(
        "background 0 0 0\nthing 255 255 255\nvoid 128 128 128\n", encoding="utf-8"
    )
    for number in range(3):
        save(drawing("cat", 200 + number, 64), "my_images", f"{number}.png")
    mask_of(drawing("cat", 300, 64)).save("mask.png")
    half = mask_of(drawing("cat", 300, 64))
    half.paste((128, 128, 128), (0, 0, 32, 64))
    half.save("half.png")
    missing = Image.new("L", (64, 64), 0)
    missing.paste(255, (0, 0, 32, 64))
    missing.save("missing.png")


def readme() -> None:
    folders_of_images()
    trees()


def own_data() -> None:
    folders_of_images()
    trees()
    masks()


def pretrained_networks() -> None:
    """images/ and new_images/, and body.safetensors: weights of the smallest model of torchvision, random ones."""
    folders_of_images()
    save_file(models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), "body.safetensors")


def command_line() -> None:
    trees()
    folders_of_images()
    shutil.copytree("images", "pets")
    digit_files()  # its mask.png in place of that of the pets
    changes: dict[str, object] = {"training.steps": 4, "training.validate_every": 2}
    semivae.train("table", set=changes, out="runs/my_table", data_root=".")
    semivae.train("digits_50labels", set=changes | {"split.labelled": 100}, out="runs/digits_100labels")
    semivae.train("digits_50labels", set=changes, out="runs/another_run")
    np.save("images.npy", np.uint8(load_digits().images[:40] * 15))
    opened: dict[str, object] = {"variables.y": {"family": "categorical", "strangers": {"classes": [8, 9]}}}
    opened |= {"split.labelled": 80, "streams.unlabelled.views.align": True}
    semivae.train("digits_50labels", set=changes | opened, out="runs/clothing_strangers")
    shutil.copytree("my_images", "my_photographs")


def python() -> None:
    folders_of_images()
    Path("images").rename("pets")
    digit_files()


def names() -> dict[str, Any]:
    """What the Python of a page may use without saying where it comes from: arrays of digits."""
    found = load_digits()
    images: NDArray[np.float64] = found.images / 16.0
    missing = np.zeros((20, 1, 8, 8), dtype=bool)
    missing[:, :, :4] = True
    return {
        "np": np,
        "images": images[:300],
        "more_images": images[400:500],
        "labels": found.target[:300],
        "missing": torch.from_numpy(missing),
    }


def photographs() -> None:
    """photographs/ and new_photographs/ in colour, and lite0.safetensors with weights that know nothing."""
    from safetensors.torch import save_file
    from timm import create_model

    for number, name in enumerate(("cat", "dog")):
        for image in range(16):
            picture = drawing(name, 1000 * number + image, 100)
            save(picture, "photographs", "train" if image < 6 else "test", name, f"{image}.jpg")
            save(picture, "new_photographs", f"{name}{image}.jpg")
    hole = Image.new("L", (96, 96), 0)
    hole.paste(255, (30, 30, 60, 60))
    hole.save("hole.png")
    save_file(create_model("tf_efficientnet_lite0").state_dict(), "lite0.safetensors")


PREPARATIONS: dict[str, Callable[[], None]] = {
    "README.md": readme,
    "docs/own-data.md": own_data,
    "docs/command-line.md": command_line,
    "docs/python.md": python,
    "docs/scale.md": folders_of_images,
    "docs/tasks/attributes.md": people,
    "docs/tasks/calibration.md": digit_files,
    "docs/tasks/imbalance.md": digit_files,
    "docs/tasks/masks.md": masks,
    "docs/tasks/novelty.md": digit_files,
    "docs/tasks/strangers.md": folders_of_images,
    "docs/tasks/pretrained-networks.md": pretrained_networks,
    "docs/tasks/photographs.md": photographs,
    "docs/tasks/tables.md": trees,
    "docs/tasks/numbers.md": leaves,
    "docs/tasks/grades.md": marks,
}
