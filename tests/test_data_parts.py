"""Users' folders: which folders are parts, which are classes and which are nobody's, and the order of the classes."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semivae.cli.impute_command import partners
from semivae.data.dataset import Dataset, class_label
from semivae.data.former_readings import as_recorded
from semivae.data.sources import load_source
from semivae.data.splits import load_split, save_split
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource, FolderSource, MasksSource, SplitSpec
from semivae.tasks.splitting import make_split

SIDE = 8


def write_image(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((SIDE, SIDE), level, np.uint8)).save(path)


def write_classes(root: Path, classes: dict[str, int], count: int = 5) -> None:
    """Images of a class have its level, and the tens of the next one."""
    for name, level in classes.items():
        for row in range(count):
            write_image(root / name / f"{row}.png", level * 10 + row)


def read(root: Path, **options: object) -> Dataset:
    source = FolderSource.model_validate({"name": "folder", "path": "own", "size": SIDE, "channels": 1, **options})
    return load_source(source, root)


def levels(x: torch.Tensor) -> list[int]:
    return sorted(set((x[:, 0, 0, 0] // 10).tolist()))


# Classes -------------------------------------------------------------------------------------------------------------


def test_classes_called_by_numbers_are_in_their_order_like_those_of_arrays(tmp_path: Path) -> None:
    write_classes(tmp_path / "own", {str(number): number for number in range(12)})
    data = read(tmp_path)
    assert data.classes == tuple(str(number) for number in range(12))
    assert torch.equal(data.train["x"][:, 0, 0, 0].long() // 10, data.train["y"])
    assert torch.equal(data.test["x"][:, 0, 0, 0].long() // 10, data.test["y"])
    every = {key: torch.cat([data.train[key], data.test[key]]).numpy() for key in ("x", "y")}
    np.savez(tmp_path / "same.npz", x=every["x"][:, 0], y=every["y"].astype(str))
    assert load_source(ArraysSource(name="arrays", path="same.npz"), tmp_path).classes == data.classes


def test_names_and_numbers_together_are_in_the_order_of_texts(tmp_path: Path) -> None:
    write_classes(tmp_path / "own", {"10": 1, "2": 2, "cat": 3})
    assert read(tmp_path).classes == ("10", "2", "cat")


def test_names_of_macos_are_those_of_other_systems(tmp_path: Path) -> None:
    """é as one sign or as two."""
    one, two = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write_classes(tmp_path / "own" / "train", {one: 1, "tea": 2})
    write_classes(tmp_path / "own" / "test", {two: 1, "tea": 2})
    data = read(tmp_path)
    assert data.classes == (one, "tea") and torch.equal(data.test["x"][:, 0, 0, 0].long() // 10 - 1, data.test["y"])


# Folders of systems --------------------------------------------------------------------------------------------------

SYSTEMS = ["@eaDir", "$RECYCLE.BIN", "__MACOSX", "#recycle", "System Volume Information", "lost+found", ".Trashes"]


@pytest.mark.parametrize("name", [*SYSTEMS, "@EADIR", "__pycache__"])
@pytest.mark.parametrize("parted", [False, True])
def test_folders_that_systems_leave_are_no_classes_and_hold_no_examples(
    tmp_path: Path, name: str, parted: bool
) -> None:
    top = tmp_path / "own" / ("train" if parted else "")
    write_classes(top, {"ant": 1, "cat": 2})
    before = read(tmp_path)
    for place in (tmp_path / "own", top, top / "cat"):
        write_image(place / name / "x.png" / "SYNOPHOTO_THUMB_M.jpg", 200)
    after = read(tmp_path)
    assert after.classes == ("ant", "cat") and after.warnings == () and after.digest == before.digest


@pytest.mark.parametrize("name", ["Thumbs.db", "thumbs.db", "ehthumbs.db", "Desktop.ini", ".DS_Store", "Icon\r"])
def test_files_that_systems_leave_are_not_told(tmp_path: Path, name: str) -> None:
    write_classes(tmp_path / "own", {"ant": 1, "cat": 2})
    (tmp_path / "own" / "cat" / name).write_text("x")
    assert read(tmp_path).warnings == ()


# Parts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "val", "test", "unlabelled"),
    [
        ("train", "val", "test", "unlabelled"),
        ("Train", "Valid", "Test", "Unlabeled"),
        ("training", "validation", "testing", "unlabeled"),
        ("TRAIN", "VAL", "TEST", "UNLABELLED"),
    ],
)
def test_parts_are_known_by_all_their_names(tmp_path: Path, train: str, val: str, test: str, unlabelled: str) -> None:
    for first, part in enumerate((train, val, test)):
        write_classes(tmp_path / "own" / part, {"ant": 2 * first, "cat": 2 * first + 1}, count=5 - first)
    write_image(tmp_path / "own" / unlabelled / "deep" / "1.png", 60)
    data = read(tmp_path)
    assert data.classes == ("ant", "cat") and data.warnings == () and data.test_origin == "given"
    assert data.validation is not None and data.validation.tolist() == list(range(10, 18))
    assert levels(data.train["x"][:10]) == [0, 1] and levels(data.train["x"][10:]) == [2, 3]
    assert levels(data.test["x"]) == [4, 5] and levels(data.unlabelled["x"]) == [6]
    assert data.train["y"].tolist() == [0] * 5 + [1] * 5 + [0] * 4 + [1] * 4


def test_a_validation_folder_is_validated_on_and_never_trained_on_or_tested_on(tmp_path: Path) -> None:
    write_classes(tmp_path / "own" / "train", {"ant": 0, "cat": 1})
    write_classes(tmp_path / "own" / "val", {"ant": 2, "cat": 3}, count=2)
    data = read(tmp_path)
    assert data.test_origin.startswith("test split off") and levels(data.test["x"]) == [0, 1]
    for labelled in ("all", 2):
        split = make_split(data, SplitSpec(labelled=labelled))
        assert split.validation.tolist() == [8, 9, 10, 11] and levels(data.train["x"][split.validation]) == [2, 3]
        assert sorted(split.labelled.tolist() + split.unlabelled.tolist()) == list(range(8))
    with pytest.raises(DataError, match=r"split.validation is 2, but folder:own has its own 4 examples for validation"):
        make_split(data, SplitSpec(labelled=2, validation=2))


def test_a_validation_folder_changes_no_other_choice(tmp_path: Path) -> None:
    write_classes(tmp_path / "own" / "train", {"ant": 0, "cat": 1}, count=9)
    without = make_split(read(tmp_path), SplitSpec(labelled=4, seed=3))
    write_classes(tmp_path / "own" / "val", {"ant": 2, "cat": 3}, count=2)
    assert torch.equal(make_split(read(tmp_path), SplitSpec(labelled=4, seed=3)).labelled, without.labelled)


@pytest.mark.parametrize("name", ["unlabeled", "unlabelled", "Unlabeled", "test", "Testing"])
def test_parts_beside_classes_are_refused(tmp_path: Path, name: str) -> None:
    write_classes(tmp_path / "own", {"ant": 0, "cat": 1, name: 2})
    with pytest.raises(
        DataError, match=rf"own has {name} but no train; add train/CLASS/... The parts are called train"
    ):
        read(tmp_path)


def test_valid_is_a_class_where_it_holds_images_and_a_part_where_it_holds_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "own", {"invalid": 0, "valid": 1})
    assert read(tmp_path).classes == ("invalid", "valid")
    write_classes(tmp_path / "own" / "valid", {"invalid": 0, "fine": 1})
    with pytest.raises(DataError, match="own has valid but no train"):
        read(tmp_path)


def test_two_folders_of_one_part_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path / "own" / "train", {"ant": 0, "cat": 1})
    write_classes(tmp_path / "own" / "valid", {"ant": 0, "cat": 1})
    write_classes(tmp_path / "own" / "validation", {"ant": 0, "cat": 1})
    with pytest.raises(DataError, match="own has valid and validation, which are both the part val; join them"):
        read(tmp_path)


def test_a_folder_that_is_no_part_is_told_with_the_names_of_parts(tmp_path: Path) -> None:
    write_classes(tmp_path / "own" / "train", {"ant": 0, "cat": 1})
    write_image(tmp_path / "own" / "dev" / "ant" / "1.png", 0)
    (warning,) = read(tmp_path).warnings
    assert "1 file in" in warning and "is not used: dev/ant/1.png" in warning
    assert warning.endswith("parts are train, val, test, unlabelled")


def test_the_val_folder_has_classes_of_train_alone(tmp_path: Path) -> None:
    write_classes(tmp_path / "own" / "train", {"ant": 0, "cat": 1})
    write_classes(tmp_path / "own" / "val", {"ant": 0, "dog": 1})
    with pytest.raises(DataError, match="own/val has classes that train has not: dog"):
        read(tmp_path)


@pytest.mark.parametrize("parts", [("train", "val", "test"), ("Training", "valid", "Testing")])
def test_masks_have_the_same_parts(tmp_path: Path, parts: tuple[str, str, str]) -> None:
    for first, part in enumerate(parts):
        for row in range(3):
            for kind, level in (("images", first * 10 + row), ("masks", row % 2)):
                write_image(tmp_path / "deep" / part / kind / f"{row}.png", level)
    write_image(tmp_path / "deep" / "Unlabeled" / "1.png", 60)
    data = load_source(MasksSource(name="masks", path=".", size=SIDE, channels=1), tmp_path)
    assert data.validation is not None and data.validation.tolist() == [3, 4, 5] and data.warnings == ()
    assert levels(data.train["x"][:3]) == [0] and levels(data.train["x"][3:]) == [1]
    assert levels(data.test["x"]) == [2] and levels(data.unlabelled["x"]) == [6]


def test_masks_are_tested_on_some_pairs_of_train_where_there_is_a_val_folder_and_no_test(tmp_path: Path) -> None:
    for first, part in enumerate(("train", "val")):
        for row in range(5):
            for kind, level in (("images", first * 10 + row), ("masks", row % 2)):
                write_image(tmp_path / part / kind / f"{row}.png", level)
    write_image(tmp_path / "dev" / "images" / "0.png", 3)
    data = load_source(MasksSource(name="masks", path=".", size=SIDE, channels=1), tmp_path)
    assert data.validation is not None and data.validation.tolist() == [4, 5, 6, 7, 8]
    assert levels(data.train["x"][4:]) == [1] and levels(data.test["x"]) == [0] and len(data.test["x"]) == 1
    assert "1 file in" in data.warnings[0] and "dev/images/0.png" in data.warnings[0]


# Readings of version 0.1 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tested", [False, True])
def test_splits_of_folders_as_they_were_read_before_are_still_theirs(tmp_path: Path, tested: bool) -> None:
    """Classes were in the order of texts, and the folder val was not used."""
    write_classes(tmp_path / "own" / "train", {"1": 1, "10": 10, "2": 2})
    if tested:
        write_classes(tmp_path / "own" / "test", {"1": 1, "10": 10, "2": 2}, count=1)
    former = read(tmp_path)
    order = torch.tensor([0, 2, 1])  # numbers of "1", "2", "10" among the texts "1", "10", "2"
    train, test = ({**part, "y": order[part["y"]]} for part in (former.train, former.test))
    former = replace(former, labels=class_label(("1", "10", "2")), train=train, test=test)
    save_split(make_split(former, SplitSpec(labelled=3)), tmp_path / "split.json")
    write_classes(tmp_path / "own" / "val", {"1": 1, "10": 10, "2": 2}, count=2)
    present = read(tmp_path)
    assert present.classes == ("1", "2", "10") and present.validation is not None
    found = as_recorded(present, tmp_path / "split.json")
    assert found.classes == ("1", "10", "2") and found.validation is None and found.digest == former.digest
    assert torch.equal(found.test["y"], former.test["y"])
    assert len(load_split(tmp_path / "split.json", found).labelled) == 3
    save_split(make_split(present, SplitSpec(labelled=3)), tmp_path / "new.json")
    assert as_recorded(present, tmp_path / "new.json") is present
    assert as_recorded(present, tmp_path / "none.json") is present


def test_masks_of_what_is_missing_belong_to_images_by_their_names_on_any_system() -> None:
    names = [unicodedata.normalize("NFC", name) for name in ("é.png", "a.png")]
    masks = [unicodedata.normalize("NFD", name) for name in ("a.jpg", "é.jpg")]
    assert partners(names, masks, Path("masks")) == [1, 0]
