"""Images with a table of labels beside them: which file is of which class and part, and what a table gets wrong."""

from __future__ import annotations

import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import semivae
from semivae.data.dataset import Dataset
from semivae.data.formats import csv_cells
from semivae.data.sources import load_source
from semivae.errors import DataError, RecipeError
from semivae.recipe import read_recipe
from semivae.recipe.schema import FolderSource, TableSource

SIDE = 8


def write(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((SIDE, SIDE), level, np.uint8)
    Image.fromarray(pixels).save(path)


def read(root: Path, path: str = "own", labels: str = "metadata.csv", **options: object) -> Dataset:
    fixed = {"name": "folder", "path": path, "size": SIDE, "channels": 1, "labels": labels}
    return load_source(FolderSource.model_validate({**fixed, **options}), root)


def levels(data: Dataset, part: str) -> dict[int, str]:
    """The class of each level in a part, "" where there are none."""
    rows = getattr(data, part)
    labels = [data.classes[number] for number in rows["y"].tolist()] if "y" in rows else [""] * len(rows["x"])
    return dict(zip(rows["x"][:, 0, 0, 0].tolist(), labels, strict=True))


def write_table(root: Path, rows: list[str], name: str = "metadata.csv", header: str = "file_name,label") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Images 0 to 9 in a folder that is no class; even ones are cats."""
    for row in range(10):
        write(tmp_path / "own" / "images" / f"{row}.png", row)
    write_table(tmp_path / "own", [f"images/{row}.png,{'dog' if row % 2 else 'cat'}" for row in range(10)])
    return tmp_path / "own"


@pytest.mark.parametrize("packed", [False, True])
def test_classes_are_those_of_the_table(own: Path, packed: bool) -> None:
    if packed:
        with zipfile.ZipFile(own.parent / "own.zip", "w") as archive:
            for path in sorted(own.rglob("*.*")):
                archive.write(path, f"deep/{path.relative_to(own).as_posix()}")
    data = read(own.parent, "own.zip" if packed else "own")
    assert data.classes == ("cat", "dog") and data.warnings == () and data.unlabelled == {}
    every = levels(data, "train") | levels(data, "test")
    assert every == {row: "dog" if row % 2 else "cat" for row in range(10)} and len(data.test["y"]) == 2


def test_columns_and_the_file_are_called_as_the_recipe_says(own: Path) -> None:
    (own / "metadata.csv").unlink()
    rows = [f"{row};{row % 3};images\\{row}.png" for row in range(10)]
    write_table(own, rows, "info.tsv", "id;kind;path")
    data = read(own.parent, labels="info.tsv", file_column="path", label_column="kind")
    assert data.classes == ("0", "1", "2")
    assert levels(data, "train") | levels(data, "test") == {row: str(row % 3) for row in range(10)}


def test_classes_called_by_numbers_are_in_their_order(own: Path) -> None:
    write_table(own, [f"images/{row}.png,{[10, 9, 1][row % 3]}" for row in range(9)])
    assert read(own.parent).classes == ("1", "9", "10")


def test_images_without_a_class_are_unlabelled_and_those_that_are_not_listed_are_told(own: Path) -> None:
    write_table(own, ["images/0.png,cat", "images/1.png,dog", "images/2.png,cat", "images/3.png,", "images/4.png,NA"])
    data = read(own.parent)
    assert set(levels(data, "unlabelled")) == {3, 4, 5, 6, 7, 8, 9}
    assert any("rows whose label is NA are read as unlabelled" in warning for warning in data.warnings)
    assert (
        "5 image files are not listed in metadata.csv and used as unlabelled: images/5.png, images/6.png, "
        "images/7.png, images/8.png, images/9.png"
    ) in data.warnings
    write_table(own, [f"images/{row}.png,{[-1, 0, 1][row % 3]}" for row in range(10)])
    assert any("-1" in warning for warning in read(own.parent).warnings)
    data = read(own.parent, unlabelled=["-1"])
    assert data.classes == ("0", "1") and set(levels(data, "unlabelled")) == {0, 3, 6, 9}


def test_one_table_for_all_parts(tmp_path: Path) -> None:
    rows = []
    for first, part in enumerate(("train", "val", "test", "unlabelled")):
        for row in range(4):
            write(tmp_path / "own" / part / f"{row}.png", 10 * first + row)
            rows.append(f"{part}/{row}.png,{'ab'[row % 2]}")
    write_table(tmp_path / "own", [*rows[:11], rows[12]])  # not test/3.png
    data = read(tmp_path)
    assert levels(data, "test") == {20: "a", 21: "b", 22: "a"} and data.test_origin == "given"
    assert data.validation is not None and data.validation.tolist() == [4, 5, 6, 7]
    assert levels(data, "train") == {10 * part + row: "ab"[row % 2] for part in (0, 1) for row in range(4)}
    assert set(levels(data, "unlabelled")) == {30, 31, 32, 33}, "whatever the table says of them"
    assert any("is not used: test/3.png" in warning for warning in data.warnings)


def test_a_table_in_each_part_as_on_the_hugging_face_hub(tmp_path: Path) -> None:
    for first, part in enumerate(("train", "validation", "test")):
        for row in range(4):
            write(tmp_path / "own" / part / "deep" / f"{row}.png", 10 * first + row)
        write_table(tmp_path / "own" / part, [f"deep/{row}.png,{'ab'[row % 2]}" for row in range(4)])
    data = read(tmp_path)
    assert data.warnings == () and set(levels(data, "test")) == {20, 21, 22, 23}
    assert data.validation is not None and len(data.validation) == 4


def test_names_of_macos_are_those_of_other_systems(tmp_path: Path) -> None:
    for row, name in enumerate(("é", "ö", "o", "e")):
        write(tmp_path / "own" / f"{unicodedata.normalize('NFD', name)}.png", row)
    names = [unicodedata.normalize("NFD" if row % 2 else "NFC", name) for row, name in enumerate("éöoe")]
    write_table(tmp_path / "own", [f"./{name}.png,{row % 2}" for row, name in enumerate(names)])
    data = read(tmp_path)
    assert levels(data, "train") | levels(data, "test") == {0: "0", 1: "1", 2: "0", 3: "1"}


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["images/0.png,cat"], "name,label", r"metadata.csv has no column file_name \(source.file_column\)"),
        (["images/0.png,cat"], "file_name,kind", r"no column label \(source.label_column\); it has file_name, kind"),
        (["0.png,cat", "images/1.png,dog"], None, r"1 of 2 files that metadata.csv names is no image in .*own: 0.png"
         r"; there is images/0.png: write names relative to the table, with their ending"),
        (["images/0,cat", "images/1,dog"], None, "2 of 2 files .*: images/0, images/1; there is images/0.png"),
        (["images/0.png,cat", "images/0.png,dog"], None, "images/0.png is labelled cat and dog; give it one label"),
        (["images/0.png,cat", "images/1.png,cat"], None, "only the class cat; at least two are needed"),
        (["images/0.png,", "images/1.png,"], None, "no class; at least two are needed"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used(own: Path, rows: list[str], header: str | None, message: str) -> None:
    write_table(own, rows, header=header or "file_name,label")
    with pytest.raises(DataError, match=message):
        read(own.parent)


def test_a_table_that_is_not_there_or_no_text(own: Path) -> None:
    with pytest.raises(
        DataError, match=r"has no file labels.csv \(source.labels\), nor have its parts; it has metadata"
    ):
        read(own.parent, labels="labels.csv")
    (own / "metadata.csv").write_bytes("file_name,label\nimages/0.png,ä".encode("latin-1"))
    with pytest.raises(DataError, match=r"metadata.csv is no UTF-8 text"):
        read(own.parent)
    (own / "metadata.csv").unlink()
    with pytest.raises(DataError, match=r"it holds no .csv or .tsv file"):
        read(own.parent)


def test_a_table_that_would_not_fit_into_memory_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_cells, "free_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"metadata.csv has 186 bytes and takes 10 times as many in memory; 1,000 are"):
        read(own.parent)


def test_a_class_that_is_tested_and_not_learnt_is_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for row in range(3):
            write(tmp_path / "own" / part / f"{row}.png", row)
    rows = ["train/0.png,a", "train/1.png,b", "test/0.png,a", "test/1.png,c"]
    write_table(tmp_path / "own", rows)
    with pytest.raises(DataError, match=r"in the part test of .*own classes that train has not: c; train has a, b"):
        read(tmp_path)


def test_a_folder_with_a_table_and_no_classes_says_how_to_use_it(own: Path) -> None:
    source = FolderSource(name="folder", path="own", size=SIDE, channels=1)
    with pytest.raises(DataError, match=r"If metadata.csv says the class of each image, write source.labels: metadata"):
        load_source(source, own.parent)


def test_columns_without_a_table_are_a_mistake_of_the_recipe() -> None:
    with pytest.raises(RecipeError, match="label_column: speaks of a table of labels; name it as labels, or remove"):
        read_recipe("folder", ["source.label_column=kind"])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (("horse", "zebar"), "ann may hold misspelt classes: zebar (zebra?); correct the data if it does"),
        (("horse", "zebra"), ""),
        (("horses", "zebras"), ""),  # no class of the label is among them: they are coarse ones
        (("horse", "unsure"), ""),
    ],
)
def test_a_class_that_an_annotator_has_nearly_spelt_is_asked_about(
    tmp_path: Path, written: tuple[str, str], said: str
) -> None:
    rows = ["file_name,label,who"]
    for row in range(12):
        write(tmp_path / "own" / f"{row}.png", 20 * row)
        rows.append(f"{row}.png,{('horse', 'zebra')[row % 2]},{written[row % 2]}")
    (tmp_path / "own" / "labels.csv").write_text("\n".join(rows) + "\n")
    asked = {"name": "folder", "path": "own", "size": SIDE, "labels": "labels.csv", "columns": {"ann": "who"}}
    recipe = read_recipe("folder", {"source": asked})
    table = [f"{number},{line.partition(',')[2]}" for number, line in enumerate(rows[1:])]
    (tmp_path / "t.csv").write_text("\n".join(["width,label,who", *table]) + "\n")
    of_table = TableSource.model_validate(
        {"name": "table", "path": "t.csv", "label": "label", "columns": {"ann": "who"}}
    )
    for warnings in (
        load_source(of_table, tmp_path).warnings,
        load_source(recipe.source, tmp_path).warnings,
        semivae.inspect(recipe, data_root=tmp_path).warnings,
    ):
        found = [warning for warning in warnings if "misspelt" in warning]
        assert bool(found) == bool(said) and all(said in warning for warning in found)
