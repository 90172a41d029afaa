"""Users' images in folders: both structures, as a folder and as a .zip, and each way to get it wrong."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semivae.data.dataset import Dataset
from semivae.data.formats.image_files import decode_image
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource


def write_image(path: Path, level: int, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 0, 255 - level)).save(path)


def write_parts(root: Path) -> None:
    for number, name in enumerate(["cat", "ant"]):
        for index in range(5):
            write_image(root / "train" / name / f"{index}.png", 10 * number + index)
        write_image(root / "test" / name / "a.png", 100 + number)
    write_image(root / "unlabelled" / "any" / "b.png", 200)


def read(root: Path, path: str, **options: object) -> Dataset:
    source = FolderSource.model_validate({"name": "folder", "path": path, "size": 8, **options})
    return load_source(source, root)


def zipped(root: Path, inside: str = "") -> str:
    with zipfile.ZipFile(root.parent / "images.zip", "w") as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, inside + path.relative_to(root).as_posix())
    return "images.zip"


def test_parts_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    write_parts(tmp_path / "pets")
    data = read(tmp_path, "pets")
    assert data.classes == ("ant", "cat") and data.train["y"].tolist() == [0] * 5 + [1] * 5
    assert data.train["x"].shape == (10, 3, 8, 8) and data.train["x"].dtype == torch.uint8
    assert data.train["x"][:, 0, 0, 0].tolist() == [10, 11, 12, 13, 14, 0, 1, 2, 3, 4]
    assert data.test["x"][:, 0, 0, 0].tolist() == [101, 100] and data.test_origin == "given"
    assert data.unlabelled["x"].shape == (1, 3, 8, 8) and data.warnings == ()
    assert read(tmp_path, "pets", channels=1).train["x"].shape == (10, 1, 8, 8)


@pytest.mark.parametrize("inside", ["", "pets/", "__MACOSX/../pets/deep/"])
def test_a_zip_is_read_like_the_folder_also_below_a_folder_of_its_own(tmp_path: Path, inside: str) -> None:
    write_parts(tmp_path / "pets")
    folder = read(tmp_path, "pets")
    archive = read(tmp_path, zipped(tmp_path / "pets", inside.removeprefix("__MACOSX/../")))
    assert folder.digest == archive.digest and torch.equal(folder.test["x"], archive.test["x"])


def test_without_a_test_part_a_share_of_each_class_is_set_aside(tmp_path: Path) -> None:
    for name, count in (("cat", 10), ("ant", 20)):
        for index in range(count):
            write_image(tmp_path / "pets" / name / f"{index:02}.png", index)
    data = read(tmp_path, "pets")
    assert data.test["y"].bincount().tolist() == [4, 2] and data.train["y"].bincount().tolist() == [16, 8]
    assert data.test_origin == "test split off by hash, 20%"
    again = read(tmp_path, zipped(tmp_path / "pets", "wrapped/"))
    assert torch.equal(data.test["x"], again.test["x"])
    together = [
        (int(x[0, 0, 0]), int(y)) for part in (data.train, data.test) for x, y in zip(*part.values(), strict=True)
    ]
    assert sorted(together) == sorted([(n, 1) for n in range(10)] + [(n, 0) for n in range(20)])


def test_images_are_scaled_by_the_shorter_side_and_cropped_in_the_middle(tmp_path: Path) -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    content = io.BytesIO()
    Image.fromarray(wide).save(content, "png")
    assert decode_image(content.getvalue(), Preprocessing(3, 4, 4)).min() == 255


def test_pictures_are_turned_upright_and_sixteen_bits_keep_their_grey() -> None:
    picture = np.zeros((8, 8), np.uint8)
    picture[:4] = 255
    image, content = Image.fromarray(picture), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = 3  # turned by 180 degrees
    image.save(content, "png", exif=exif)
    assert np.array_equal(decode_image(content.getvalue(), Preprocessing(1, 8, 8))[0], picture[::-1])
    content = io.BytesIO()
    Image.fromarray(picture.astype(np.uint16) * 128).save(content, "png")
    assert decode_image(content.getvalue(), Preprocessing(1, 8, 8))[0, 0, 0] == 127


@pytest.mark.parametrize("pixels", [np.full((8, 8), 0.5, np.float32), np.full((8, 8), 200, np.int32)])
def test_pixels_of_32_bits_are_refused_and_not_black(pixels: np.ndarray) -> None:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "tiff")
    with pytest.raises(ValueError, match="32-bit pixels, which have no white; save them with 8 or 16 bits"):
        decode_image(content.getvalue(), Preprocessing(1, 8, 8))


def test_files_that_are_no_images_are_told_and_those_of_systems_are_not(tmp_path: Path) -> None:
    write_parts(tmp_path / "pets")
    for name in (".DS_Store", "train/cat/Thumbs.db", "train/.git/config"):
        (tmp_path / "pets" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "pets" / name).write_text("x")
    assert read(tmp_path, "pets").warnings == ()
    (tmp_path / "pets" / "train" / "cat" / "notes.txt").write_text("x")
    write_image(tmp_path / "pets" / "dev" / "cat" / "1.png", 1)
    (tmp_path / "pets" / "test" / "ant" / "a.png").unlink()
    first, second = read(tmp_path, "pets").warnings
    assert (
        "2 files" in first
        and "dev/cat/1.png, train/cat/notes.txt" in first
        and second.endswith("the test part has no example of ant, so nothing is measured of it")
    )


def test_corrupt_images_are_named(tmp_path: Path) -> None:
    write_parts(tmp_path / "pets")
    (tmp_path / "pets/train/ant/3.png").write_bytes(b"<html>")
    whole = (tmp_path / "pets/train/cat/1.png").read_bytes()
    (tmp_path / "pets/train/cat/1.png").write_bytes(whole[:50])
    with pytest.raises(
        DataError,
        match=r"2 of 10 image files .*train/ant/3.png \(not a PNG.* image but a web page.*\), train/cat/1.png \(",
    ):
        read(tmp_path, "pets")


def test_wrong_structures_are_refused(tmp_path: Path) -> None:
    write_parts(tmp_path / "pets")
    pets = tmp_path / "pets"
    (pets / "train" / "bee").mkdir()
    with pytest.raises(DataError, match="train has classes with no image to train on: bee"):
        read(tmp_path, "pets")
    (pets / "train" / "bee").rmdir()
    write_image(pets / "test" / "dog" / "1.png", 0)
    with pytest.raises(DataError, match="test has classes that train has not: dog; train has ant, cat"):
        read(tmp_path, "pets")
    (pets / "train").rename(pets / "learn")
    with pytest.raises(DataError, match="has test and unlabelled but no train"):
        read(tmp_path, "pets")
    write_image(tmp_path / "flat" / "1.png", 0)
    with pytest.raises(DataError, match="flat holds no folder"):
        read(tmp_path, "flat")
    write_image(tmp_path / "one" / "cat" / "1.png", 0)
    with pytest.raises(DataError, match="only the folder cat"):
        read(tmp_path, "one")
    for name in ("ant", "cat"):
        write_image(tmp_path / "few" / name / "1.png", 0)
    with pytest.raises(DataError, match="no example can be set aside"):
        read(tmp_path, "few")


def test_places_that_are_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file or folder .*nowhere"):
        read(tmp_path, "nowhere")
    (tmp_path / "images.zip").write_bytes(b"PK not really")
    with pytest.raises(DataError, match=r"no .zip file that can be read"):
        read(tmp_path, "images.zip")
    write_image(tmp_path / "one.png", 0)
    with pytest.raises(DataError, match=r"neither a folder nor a .zip"):
        read(tmp_path, "one.png")
    os.mkfifo(tmp_path / "pipe.zip")
    for name in ("pipe.zip", os.devnull):
        with pytest.raises(DataError, match=r"is a pipe, a device or a socket; save what it gives as a file"):
            read(tmp_path, name)
