"""Folders of other tools that are no classes, and tables beside images as people write them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semivae.cli import app
from semivae.data.dataset import Dataset
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource


def write(root: Path, *folders: str, count: int = 6) -> None:
    for place, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for row in range(count):
            pixels = np.random.default_rng([place, row]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{row}.png")


def load(root: Path, **options: object) -> Dataset:
    return load_source(
        FolderSource.model_validate({"name": "folder", "path": root.name, "size": 8, **options}), root.parent
    )


@pytest.mark.parametrize(
    "folders",
    [
        ("images", "labels"),  # YOLO, with masks among the labels
        ("JPEGImages", "SegmentationClass", "SegmentationObject"),  # Pascal VOC
        ("img", "label"),
        ("train/images", "train/labels", "test/images"),
    ],
)
def test_folders_of_tools_for_masks_are_no_classes(tmp_path: Path, folders: tuple[str, ...]) -> None:
    write(tmp_path / "own", *folders)
    with pytest.raises(DataError, match="are no classes but images and what belongs to them"):
        load(tmp_path / "own")


def test_folders_with_ordinary_names_are_classes(tmp_path: Path) -> None:
    write(tmp_path / "own", "photos", "drawings")
    assert load(tmp_path / "own").labels["y"].classes == ("drawings", "photos")


def test_folders_within_every_class_may_be_the_classes(tmp_path: Path) -> None:
    write(tmp_path / "own", "animals/cat", "animals/dog", "plants/oak", "plants/elm")
    (said,) = [text for text in load(tmp_path / "own").warnings if "if those are the classes, move them up" in text]
    assert "the classes are animals, plants" in said and "such as cat, dog in animals" in said
    write(tmp_path / "b", "cat", "cat/siamese", "dog/poodle", "dog/beagle")  # cats lie in their folder, too
    write(tmp_path / "c", "cat/1", "dog/1")  # one folder each
    for name in ("b", "c"):
        assert not any("move them up" in text for text in load(tmp_path / name).warnings)


@pytest.mark.parametrize(("name", "doubtful"), [("-1", True), ("nan", True), ("Unknown", True), ("note", False)])
def test_folders_that_may_mean_no_label_are_warned_of(tmp_path: Path, name: str, doubtful: bool) -> None:
    write(tmp_path / "own", "oak", "ash", name)
    for warnings in (
        load(tmp_path / "own").warnings,
        [CliRunner().invoke(app, ["inspect", str(tmp_path / "own")]).output],
    ):
        text = " ".join(" ".join(warnings).split())
        assert (f"{name} is read as a class; if it means that there is no label, move" in text) is doubtful
        assert text.count("is read as a class") == doubtful, "once"


def write_table(root: Path, content: str | bytes) -> None:
    (root / "l.csv").write_bytes(content if isinstance(content, bytes) else content.encode())


def table(*names: str, head: str = "file_name,label") -> str:
    return "\n".join([head, *(f"{name},{'oak' if row % 2 else 'ash'}" for row, name in enumerate(names))]) + "\n"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    write(tmp_path, "own")
    return tmp_path / "own"


def test_a_table_beside_images_is_read_as_any_table(pictures: Path) -> None:
    """UTF-16 with its mark, as Excel's Unicode text; what is no table is refused by what it is."""
    good = table(*(f"{row}.png" for row in range(6)))
    for content in (good.replace(",", "\t").encode("utf-16"), good.replace(",", ";").encode("utf-8-sig")):
        write_table(pictures, content)
        assert load(pictures, labels="l.csv").labels["y"].classes == ("ash", "oak")
    for content, message in (
        (b'{"images": [{"file_name": "0.png"}]}', "l.csv is JSON"),
        (b"PK\x03\x04" + bytes(50), "l.csv is a workbook"),
        (good.encode("utf-16-le"), "holds zero bytes"),
        (good.replace("ash", "a\0h").encode(), "holds zero bytes"),
    ):
        write_table(pictures, content)
        with pytest.raises(DataError, match=message):
            load(pictures, labels="l.csv")


def test_zero_bytes_move_no_attribute_to_another_column(pictures: Path) -> None:
    """Cells of several columns were once joined by zero bytes, and then parted at those within cells."""
    write_table(pictures, "file_name,hat,red\n" + "".join(f"{row}.png,1\0\0000,{row % 2}\n" for row in range(6)))
    with pytest.raises(DataError, match="holds zero bytes"):
        load(pictures, labels="l.csv", label_column=["hat", "red"], kinds={"y": "attributes"})


@pytest.mark.parametrize(
    "name",
    ["{}.PNG", "https://a.b/{}.png?raw=1#x", "C:\\data\\own\\{}.png", "{}", "/data/own/{}.png"],
)
def test_names_of_files_that_are_nearly_right_are_explained(pictures: Path, name: str) -> None:
    write_table(pictures, table(*(name.format(row) for row in range(6))))
    with pytest.raises(DataError, match=r"6 of 6 files .* there is 0\.png: write names relative to the table"):
        load(pictures, labels="l.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table("1.png", "2.png", head="0.png,ash"), "it has 0.png, ash; the first line seems to be a row"),
        (table("0.png", head="File_Name,label"), r"has no column file_name .* did you mean File_Name\?"),
        (table("0.png").replace(",", "^"), r"parted by '\^', write the line sep=\^"),
    ],
)
def test_a_column_that_is_not_there_is_explained(pictures: Path, content: str, message: str) -> None:
    write_table(pictures, content)
    with pytest.raises(DataError, match=message):
        load(pictures, labels="l.csv")


@pytest.mark.parametrize(
    ("folders", "instead"),
    [(("train/train/cat", "train/train/dog"), "own/train"), (("train/data/cat", "train/data/dog"), "own/train/data")],
)
def test_a_folder_packed_into_itself_is_pointed_out(tmp_path: Path, folders: tuple[str, ...], instead: str) -> None:
    write(tmp_path / "own", *folders)
    with pytest.raises(DataError, match=f"In (train|data) lie cat, dog: .*, give {tmp_path}/{instead} instead$"):
        load(tmp_path / "own")
    assert load(tmp_path / instead).labels["y"].classes == ("cat", "dog")


@pytest.mark.parametrize("folder", ["train", "train/train"])
def test_classes_in_the_names_of_files_are_pointed_out(tmp_path: Path, folder: str) -> None:
    write(tmp_path / "own", folder)
    for row in range(6):
        (tmp_path / "own" / folder / f"{row}.png").rename(
            tmp_path / "own" / folder / f"{'cat' if row % 2 else 'dog'}.{row}.png"
        )
    with pytest.raises(DataError, match="If the names of images begin with their classes, as cat, dog, move them"):
        load(tmp_path / "own")
    (tmp_path / "own" / folder / "cat.1.png").rename(tmp_path / "own" / folder / "1.png")  # its name begins otherwise
    with pytest.raises(DataError, match=r"at least two classes$"):
        load(tmp_path / "own")


def test_names_that_are_all_different_are_not_offered_as_classes(tmp_path: Path) -> None:
    write(tmp_path / "own", "train", count=3)
    for row, word in enumerate(("beach", "beach_again", "garden")):
        (tmp_path / "own/train" / f"{row}.png").rename(tmp_path / "own/train" / f"{word}.png")
    with pytest.raises(DataError, match=r"at least two classes$"):
        load(tmp_path / "own")


@pytest.mark.parametrize("words", [("IMG_", "DSC-"), ("Screenshot ", "WhatsApp Image "), ("cat.", "img")])
def test_names_by_cameras_are_not_offered_as_classes(tmp_path: Path, words: tuple[str, str]) -> None:
    write(tmp_path / "own", "train")
    for row in range(6):
        (tmp_path / "own/train" / f"{row}.png").rename(tmp_path / "own/train" / f"{words[row % 2]}{row:04d}.png")
    with pytest.raises(DataError, match=r"at least two classes$"):
        load(tmp_path / "own")


def test_an_archive_packed_into_itself_is_unpacked_first(tmp_path: Path) -> None:
    """A path into an archive is no path that a command takes."""
    write(tmp_path / "own", "train/train/cat", "train/train/dog")
    archive = Path(shutil.make_archive(str(tmp_path / "own"), "zip", tmp_path / "own"))
    with pytest.raises(DataError, match=r"unpack the archive, and give train instead$"):
        load(archive)
