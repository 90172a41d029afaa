"""Pictures with a table beside them that gives each a number: the label, its parts, what is wrong, packing, a run."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import semivae
from semivae.data.dataset import LabelInfo
from semivae.data.packed.packing import pack
from semivae.data.readers.folder import read_folder
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.inspection.inspecting import inspect_source
from semivae.inspection.sheet import _of_folder
from semivae.recipe.schema import FolderSource, SplitSpec
from tests.test_data_packed import assert_equal, quiet
from tests.test_numbers import recipe

COUNT = 66


def source(path: Path, **changes: Any) -> FolderSource:
    fixed = {"name": "folder", "path": str(path), "size": 8, "channels": 1, "labels": "ages.csv"}
    return FolderSource.model_validate({**fixed, "kinds": {"y": "numbers"}, **changes})


def pictures(root: Path, rows: list[str], parts: tuple[str, ...] = ("",)) -> Path:
    """Pictures 0.png to 65.png in each part, as light as twice their number, and a table of some rows in each."""
    for part in parts:
        (root / part).mkdir(parents=True, exist_ok=True)
        for number in range(COUNT):
            Image.fromarray(np.full((8, 8), 2 * number, np.uint8)).save(root / part / f"{number}.png")
        (root / part / "ages.csv").write_text("\n".join(["file_name,label", *rows]) + "\n")
    return root


def all_rows(unknown: int = 6) -> list[str]:
    """Half of its number for each picture; nothing for the last."""
    return [f"{number}.png,{number / 2 if number < COUNT - unknown else ''}" for number in range(COUNT)]


def test_numbers_of_a_table_are_the_label(tmp_path: Path) -> None:
    data = read_folder(source(tmp_path), pictures(tmp_path, all_rows()))
    assert data.labels == {"y": LabelInfo("numbers")} and data.classes == ()
    for part in (data.train, data.test):
        assert part["y"].dtype == torch.float32
        assert part["y"].tolist() == [level / 4 for level in part["x"][:, 0, 0, 0].tolist()]
    assert (len(data.train["x"]), len(data.test["x"]), len(data.unlabelled["x"])) == (50, 10, 6)
    assert data.unlabelled["x"][:, 0, 0, 0].tolist() == [2 * number for number in range(60, 66)]
    low, high = data.test["y"].aminmax()
    assert low < 3.0 and high >= 27.0, "the test part covers the range: its groups are of near numbers"
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(tmp_path.glob("*.*")):
            if path.suffix != ".zip":
                archive.write(path, path.name)
    zipped = load_source(source(tmp_path / "all.zip"), tmp_path)
    assert torch.equal(zipped.train["y"], data.train["y"]) and torch.equal(zipped.test["x"], data.test["x"])


def test_parts_bring_their_own_numbers(tmp_path: Path) -> None:
    data = read_folder(source(tmp_path), pictures(tmp_path, all_rows(), ("train", "val", "test")))
    assert (len(data.train["y"]), len(data.test["y"]), len(data.unlabelled["x"])) == (120, 60, 6)
    assert data.validation is not None and data.validation.tolist() == list(range(60, 120))
    assert any("60 of 60 test examples are also among those to train on" in warning for warning in data.warnings)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*all_rows(), "3.png,7"], r"3\.png has 1\.5 and 7 in column label; give it one"),
        ([*all_rows()[:5], "5.png,old"], "holds numbers as labels, but 'old' in row 5 is none"),
        (all_rows(COUNT), "no row has a number"),
        (["0.png,inf", *all_rows()[1:]], "inf"),
    ],
)
def test_what_is_wrong_with_numbers_is_refused(rows: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_folder(source(tmp_path), pictures(tmp_path, rows))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_column": ["a", "b"]}, "several columns hold attributes; name one column, or correct kinds.y"),
        ({"labels": None}, "kinds: speaks of a table of labels"),
    ],
)
def test_sections_that_contradict_themselves_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        source(tmp_path, **changes)


def test_texts_may_mean_that_a_number_is_not_known(tmp_path: Path) -> None:
    rows = [*all_rows()[:20], "20.png,unsure"]
    data = read_folder(source(tmp_path, unlabelled=["unsure"]), pictures(tmp_path, rows))
    assert len(data.unlabelled["x"]) == 46


def test_inspection_counts_and_draws_them(tmp_path: Path) -> None:
    given = source(pictures(tmp_path, all_rows()))
    report = inspect_source(given, tmp_path, SplitSpec(labelled=10, validation=2)).report
    assert report.mistakes == () and report.parts == {"labelled": 10, "validation": 2, "unlabelled": 44, "test": 10}
    assert list(report.numbers) == [f"{low} to {low + 5}" for low in range(0, 30, 5)]
    assert sum(counts["labelled"] for counts in report.numbers.values()) == 10
    (name, pixels), (without, _) = _of_folder(given, tmp_path)
    assert (name, without) == ("with a number", "(no label)") and len(pixels) > 5


@pytest.mark.parametrize("kind", ["numbers", "attributes"])
def test_packed_pictures_have_the_labels_that_are_read(kind: str, tmp_path: Path) -> None:
    rows = all_rows() if kind == "numbers" else [f"{n}.png,{'hat;old' if n % 2 else 'hat'}" for n in range(60)]
    given = source(pictures(tmp_path / "own", rows), kinds={"y": kind})
    pack(given, tmp_path / "own", tmp_path / "packed", quiet)
    packed = load_source(given.model_copy(update={"path": str(tmp_path / "packed")}), tmp_path)
    own = read_folder(given, tmp_path / "own")
    assert packed.labels == own.labels
    assert_equal(packed, own)


def test_a_run_learns_from_a_folder_of_numbers(tmp_path: Path) -> None:
    given = source(pictures(tmp_path / "own", all_rows()))
    asked = recipe(
        source=given,
        split={"labelled": 10, "validation": 2},
        variables={**recipe().variables, "y": {"family": "gaussian", "unit": "years"}},
        training={"steps": 3, "validate_every": 3},
    )
    run = semivae.train(asked, out=tmp_path / "run", data_root=tmp_path, progress=False)
    assert run.task.name == "numbers" and run.dataset().labels["y"].kind == "numbers"
    found = run.predict_numbers(str(tmp_path / "own" / "3.png"))
    assert found.means.shape == (1,) and np.isfinite(found.means).all() and found.unit == "years"
