"""Attributes from tables beside pictures, and beside a class: from columns of 0 and 1, or from names in one cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.readers.arrays import dataset_of_arrays
from semivae.data.readers.folder import read_folder
from semivae.errors import DataError
from semivae.inspection.inspecting import inspect_source
from semivae.recipe.schema import ArraysSource, FolderSource, SplitSpec
from semivae.variables import VOID

ROWS = {  # file -> smiling, hat, glasses
    "a": "1,0,yes", "b": "0,1,", "c": ",,", "d": "0,0,0", "e": "1,1,NO", "f": "true,0,", "g": "0,0,1",
}  # fmt: skip
VECTORS = {
    "a": [1, 0, 1], "b": [0, 1, VOID], "c": [VOID] * 3, "d": [0, 0, 0], "e": [1, 1, 0], "f": [1, 0, VOID],
    "g": [0, 0, 1],
}  # fmt: skip


def pictures(folder: Path, table: str) -> Path:
    for number, name in enumerate([*ROWS, "unlisted"]):
        Image.fromarray(np.full((4, 4), 10 + 20 * number, np.uint8)).save(folder / f"{name}.png")
    (folder / "people.csv").write_text(table)
    return folder


def columns_table() -> str:
    return "file_name,smiling,hat,glasses\n" + "".join(f"{name}.png,{cells}\n" for name, cells in ROWS.items())


def source(**changes: Any) -> FolderSource:
    content = {"name": "folder", "path": "p", "labels": "people.csv", "size": 4, "channels": 1, **changes}
    return FolderSource.model_validate(content)


def vectors(data: Dataset) -> dict[str, list[int]]:
    """What each picture that is told by its grey value has."""
    parts = [part for part in (data.train, data.test) if len(part["x"])]
    return {
        [*ROWS][(int(x[0, 0, 0]) - 10) // 20]: y.tolist()
        for part in parts
        for x, y in zip(part["x"], part["y"], strict=True)
    }


def test_a_column_for_each_attribute(tmp_path: Path) -> None:
    data = read_folder(source(label_column=["smiling", "hat", "glasses"]), pictures(tmp_path, columns_table()))
    assert data.labels == {"y": LabelInfo("attributes", ("smiling", "hat", "glasses"))}
    assert data.train["y"].dtype == torch.int8 and len(data.test["y"]) == 1
    assert vectors(data) == {name: vector for name, vector in VECTORS.items() if name != "c"}
    assert data.unlabelled["x"][:, 0, 0, 0].tolist() == [50, 150], "of c nothing is known, and one is not listed"


def test_names_in_one_cell(tmp_path: Path) -> None:
    """Who is listed lacks what is not named; an empty cell says nothing, a semicolon alone that there is none."""
    table = "file_name,tags\na.png,smiling; hat\nb.png,\nc.png,;\nd.png,glasses\ne.png,none known\n"
    given = source(label_column="tags", kinds={"y": "attributes"}, unlabelled=["none known"])
    data = read_folder(given, pictures(tmp_path, table))
    assert data.classes == ("glasses", "hat", "smiling"), "by alphabet"
    assert vectors(data) == {"a": [0, 1, 1], "c": [0, 0, 0], "d": [1, 0, 0]}
    assert len(data.unlabelled["x"]) == 5


def test_attributes_beside_a_class(tmp_path: Path) -> None:
    table = "file_name,kind,smiling,hat\na.png,cat,1,0\nb.png,cat,,1\nc.png,dog,0,0\nd.png,dog,1,1\ne.png,cat,,\n"
    given = source(label_column="kind", columns={"a": ["smiling", "hat"]}, test_share=0.3)
    data = read_folder(given, pictures(tmp_path, table))
    assert [info.kind for info in data.labels.values()] == ["classes", "attributes"]
    parts = (data.train, data.test)
    found = {int(x[0, 0, 0]): a.tolist() for part in parts for x, a in zip(part["x"], part["a"], strict=True)}
    assert found == {10: [1, 0], 30: [VOID, 1], 50: [0, 0], 70: [1, 1], 90: [VOID, VOID]}


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        ("file_name,s,h\na.png,1,-1\n", {"label_column": ["s", "h"]}, "'-1' in column h .is -1 absent, or unknown"),
        ("file_name,s,h\na.png,1,maybe\n", {"label_column": ["s", "h"]}, "'maybe' in column h; write 1 where"),
        ("file_name,s,h\na.png,,\n", {"label_column": ["s", "h"]}, "gives no image an attribute; label some"),
        ("file_name,s\na.png,1\n", {"label_column": ["s", "h"]}, "has no column h .source.label_column."),
        ("file_name,s\na.png,;\n", {"label_column": "s", "kinds": {"y": "attributes"}}, "names no attribute"),
        (
            "file_name,s,h\na.png,1,0\na.png,1,1\n",
            {"label_column": ["s", "h"]},
            "a.png stands in people.csv twice, with different attributes",
        ),
    ],
)
def test_tables_that_hold_no_attributes(tmp_path: Path, table: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_folder(source(**changes), pictures(tmp_path, table))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {"a": ["s", "h"]}, "kinds": {"a": "classes"}}, "several columns hold attributes; correct kinds.a"),
        ({"kinds": {"y": "candidates"}}, "y is a class, a number or a vector of attributes"),
    ],
)
def test_kinds_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(**changes)


def test_inspection_counts_attributes(tmp_path: Path) -> None:
    pictures(tmp_path, columns_table())
    given = source(path=str(tmp_path), label_column=["smiling", "hat", "glasses"])
    report = inspect_source(given, tmp_path, SplitSpec(labelled=3)).report
    assert report.mistakes == ()
    counts = {name: sum(parts.values()) for name, parts in report.classes.items()}
    assert counts == {"smiling": 3, "hat": 2, "glasses": 2, "(no label)": 2}


def test_arrays_hold_attributes_beside_a_class() -> None:
    arrays: dict[str, NDArray[Any]] = {
        "x": np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4), "y": np.arange(10) % 2,
        "a": np.tile([[1, 0, -1], [0, 1, 1]], (5, 1)), "a_names": np.array(["p", "q", "r"]),
    }  # fmt: skip
    given = ArraysSource.model_validate(
        {"name": "arrays", "path": "a.npz", "kinds": {"a": "attributes"},
         "keys": {"x": "x", "y": "y", "a": "a", "a_names": "a_names"}}
    )  # fmt: skip
    data = dataset_of_arrays(arrays, given, Path("a.npz"))
    assert data.labels["a"] == LabelInfo("attributes", ("p", "q", "r")) and not data.warnings
    for part in (data.train, data.test):
        assert [a.tolist() for a in part["a"]] == [[[1, 0, VOID], [0, 1, 1]][y] for y in part["y"].tolist()]
    with pytest.raises(DataError, match="a holds 2; an attribute is 0 or 1"):
        dataset_of_arrays({**arrays, "a": np.full((10, 3), 2)}, given, Path("a.npz"))
