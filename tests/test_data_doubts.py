"""Warnings of data sets whose test says less than it seems to: classes that are not in it, images that were seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semivae.data.dataset import Dataset
from semivae.data.sources import load_source
from semivae.recipe.schema import FolderSource, MasksSource

SIDE = 8


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def folder(root: Path, **options: object) -> Dataset:
    source = FolderSource.model_validate({"name": "folder", "path": "own", "size": SIDE, "channels": 1, **options})
    return load_source(source, root)


def test_a_class_that_is_never_tested_is_told_whoever_made_the_test_part(tmp_path: Path) -> None:
    for row in range(30):
        write(tmp_path / "own" / "cat" / f"{row}.png", picture(row))
    write(tmp_path / "own" / "dog" / "0.png", picture(30))
    ending = "the test part has no example of dog, so nothing is measured of it"
    assert folder(tmp_path).warnings == (f"{tmp_path}/own: {ending}",)
    write(tmp_path / "own" / "dog" / "1.png", picture(31))
    assert folder(tmp_path).warnings == ()
    (tmp_path / "own").rename(tmp_path / "train")
    for part in ("test", "val"):
        write(tmp_path / "own" / part / "cat" / "0.png", picture(40 + len(part)))
    (tmp_path / "train").rename(tmp_path / "own" / "train")
    assert [warning.partition(": ")[2] for warning in folder(tmp_path).warnings] == [
        ending,
        ending.replace("test", "validation"),
    ]


def test_images_of_the_test_that_are_learnt_from_are_told_by_their_names(tmp_path: Path) -> None:
    for part, first in (("train", 0), ("val", 20), ("test", 40)):
        for number, name in enumerate(("ant", "cat")):
            for row in range(3):
                write(tmp_path / "own" / part / name / f"{row}.png", picture(first + 10 * number + row))
    write(tmp_path / "own" / "unlabelled" / "0.png", picture(60))
    assert folder(tmp_path).warnings == ()
    write(tmp_path / "own" / "test" / "ant" / "copy.bmp", picture(1))
    write(tmp_path / "own" / "unlabelled" / "test.png", picture(50))
    write(tmp_path / "own" / "val" / "cat" / "again.png", picture(10))
    of_test, of_val = folder(tmp_path).warnings
    assert of_test.startswith(f"{tmp_path}/own: 2 of 7 test examples are also among those to train on, so the test err")
    assert of_test.endswith("test/ant/copy.bmp = train/ant/1.png, test/cat/0.png = unlabelled/test.png")
    assert "1 of 7 validation examples is also among those to train on, so the validation error" in of_val
    assert of_val.endswith(": val/cat/again.png = train/cat/0.png")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_names_are_those_of_the_files_where_a_test_part_is_set_aside(tmp_path: Path, share: float) -> None:
    for number, name in enumerate(("ant", "cat")):
        for row in range(10):
            write(tmp_path / "own" / name / f"{row}.png", picture(10 * number + row // 2))  # each one twice
    data = folder(tmp_path, test_share=share)
    (warning,) = data.warnings
    for both in warning.partition("duplicates out: ")[2].removesuffix(", ...").split(", "):
        (one, first), (other, again) = (name[:-4].split("/") for name in both.split(" = "))
        assert one == other and int(first) // 2 == int(again) // 2 and first != again


def test_images_in_two_classes_are_told(tmp_path: Path) -> None:
    for number, name in enumerate(("ant", "cat", "dog")):
        for row in range(5):
            write(tmp_path / "own" / "train" / name / f"{row}.png", picture(10 * number + row))
        write(tmp_path / "own" / "test" / name / "9.png", picture(10 * number + 9))
    write(tmp_path / "own" / "train" / "dog" / "x.png", picture(3))
    (warning,) = folder(tmp_path).warnings
    assert "2 labelled examples are equal to one of another class, such as ant, dog; nothing can tell" in warning
    assert warning.endswith("check their labels: train/ant/3.png = train/dog/x.png")
    write(tmp_path / "own" / "train" / "cat" / "x.png", picture(29))  # of the test part's dog
    warnings = folder(tmp_path).warnings
    assert warnings[0].endswith("test/dog/9.png = train/cat/x.png") and "4 labelled examples" in warnings[1]
    assert warnings[1].endswith("train/ant/3.png = train/dog/x.png, train/cat/x.png = test/dog/9.png")


def test_images_are_equal_by_their_pixels_and_not_by_their_files(tmp_path: Path) -> None:
    for name, seed in (("ant", 0), ("cat", 10)):
        for part in ("train", "test"):
            for row in range(3):
                write(tmp_path / "own" / part / name / f"{row}.png", picture(seed + row + 100 * (part == "test")))
    nearly = picture(0).copy()
    nearly[0, 0] ^= 1
    write(tmp_path / "own" / "test" / "ant" / "nearly.png", nearly)
    assert folder(tmp_path).warnings == ()
    Image.fromarray(picture(0)).save(tmp_path / "own" / "test" / "ant" / "same.tif", compression="tiff_lzw")
    assert "test/ant/same.tif = train/ant/0.png" in folder(tmp_path).warnings[0]


def test_images_of_masks_are_compared_too(tmp_path: Path) -> None:
    for row in range(6):
        write(tmp_path / "own" / "images" / f"{row}.png", picture(row % 3))
        write(tmp_path / "own" / "masks" / f"{row}.png", picture(row) % 2)
    (warning,) = load_source(MasksSource(name="masks", path="own", size=SIDE, channels=1), tmp_path).warnings
    one, other = warning.rpartition(": ")[2].split(" = ")
    assert int(Path(one).stem) % 3 == int(Path(other).stem) % 3 and "1 of 1 test examples" in warning
