"""Several folders as one source: each sorts images by a label of its own, and equal files are one image."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

import semivae
from semivae.cli import app
from semivae.data.dataset import Dataset
from semivae.data.packed.packing import pack
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe import read_recipe
from semivae.recipe.schema import FolderSource
from semivae.variables import VOID

FOLDERS = {"y": "breeds", "c": "families", "ann": "ann"}
GROUPS = {"lion": "cats", "lynx": "cats", "wolf": "dogs"}


def image(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), level).save(path)
    return path


def copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, to)


def remove(*folders: Path) -> bool:
    for folder in folders:
        shutil.rmtree(folder)
    return True


def source(**options: object) -> FolderSource:
    return FolderSource.model_validate(
        {"name": "folder", "path": "pets", "size": 8, "channels": 1, "folders": FOLDERS, **options}
    )


def read(root: Path, **options: object) -> Dataset:
    return load_source(source(**options), root)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Breeds of images 0 to 11, families of every other and of 20 to 25, and Ann's word on 0, 1 and 2."""
    root = tmp_path / "pets"
    for number in range(12):
        breed = list(GROUPS)[number % 3]
        path = image(root / "breeds" / breed / f"{number}.png", number)
        if number % 2 == 0:
            copy(path, root / "families" / GROUPS[breed] / f"same_{number}.png")
        if number < 3:
            copy(path, root / "ann" / ["lynx", "lynx", "wolf"][number] / f"{number}.png")
    for number in range(20, 26):
        image(root / "families" / ("cats" if number % 2 else "dogs") / f"{number}.png", number)
    image(root / "unlabelled" / "30.png", 30)
    return root


def known(data: Dataset, name: str, part: str = "train") -> dict[int, str]:
    """By the level of each image of a part, the class that a label gives it."""
    sample = getattr(data, part)
    levels, values = sample["x"][:, 0, 0, 0].tolist(), sample[name].tolist()
    classes = data.labels[name].classes
    return {level: classes[value] for level, value in zip(levels, values, strict=True) if value != VOID}


def test_equal_files_are_one_image_with_several_labels(pets: Path) -> None:
    data = read(pets.parent, test_share=0.1)
    assert data.classes == tuple(GROUPS) and data.labels["c"].classes == ("cats", "dogs")
    assert data.labels["ann"].classes == tuple(GROUPS), "an annotator writes the label's classes"
    every = known(data, "y") | known(data, "y", "test")
    assert every == {number: list(GROUPS)[number % 3] for number in range(12)}
    assert len(data.train["x"]) + len(data.test["x"]) == 12, "copies are no further examples"
    families = known(data, "c") | known(data, "c", "test")
    assert families == {number: GROUPS[every[number]] for number in range(0, 12, 2)}
    assert known(data, "ann") | known(data, "ann", "test") == {0: "lynx", 1: "lynx", 2: "wolf"}
    assert known(data, "c", "unlabelled") == {number: "cats" if number % 2 else "dogs" for number in range(20, 26)}
    assert sorted(data.unlabelled["x"][:, 0, 0, 0].tolist()) == [*range(20, 26), 30]
    assert data.warnings == ()


def test_the_test_part_is_that_of_the_folder_of_y_alone(pets: Path) -> None:
    alone = load_source(
        FolderSource.model_validate({"name": "folder", "path": "pets/breeds", "size": 8, "channels": 1}), pets.parent
    )
    assert known(read(pets.parent), "y", "test") == known(alone, "y", "test")


def test_a_zip_and_packed_data_are_read_alike(pets: Path) -> None:
    def same(data: Dataset) -> None:
        for part in ("train", "test", "unlabelled"):
            now, then = getattr(data, part), getattr(plain, part)
            assert now.keys() == then.keys() and all(torch.equal(now[key], then[key]) for key in now)

    plain = read(pets.parent)
    with zipfile.ZipFile(pets.parent / "pets.zip", "w") as archive:
        for path in sorted(pets.rglob("*.png")):
            archive.write(path, path.relative_to(pets.parent).as_posix())
    same(read(pets.parent, path="pets.zip"))
    pack(source(), pets, pets.parent / "packed", lambda _: None)
    same(read(pets.parent, path="packed"))


@pytest.mark.parametrize("outside", [False, True])
def test_parts_lie_within_the_folders_or_around_them(tmp_path: Path, outside: bool) -> None:
    def place(part: str, folder: str) -> Path:
        return tmp_path / "pets" / part / folder if outside else tmp_path / "pets" / folder / part

    for number in range(12):
        part = ("train", "train", "val", "test")[number // 3]
        path = image(place(part, "breeds") / list(GROUPS)[number % 3] / f"{number}.png", number)
        copy(path, place(part, "families") / list(GROUPS.values())[number % 3] / f"{number}.png")
    image(place("test", "families") / "cats" / "50.png", 50)
    image(place("unlabelled", "breeds") / "60.png", 60)
    data = read(tmp_path, folders={"y": "breeds", "c": "families"})
    assert sorted(known(data, "y")) == list(range(9)) and data.validation is not None
    assert sorted(data.train["x"][data.validation, 0, 0, 0].tolist()) == [6, 7, 8]
    assert sorted(known(data, "y", "test")) == [9, 10, 11] == sorted(known(data, "c", "test"))
    assert data.unlabelled["x"][:, 0, 0, 0].tolist() == [60]
    (warning,) = data.warnings
    assert "50.png" in warning and "needs a class by breeds" in warning


def test_an_image_of_several_parts_counts_in_the_strictest(pets: Path) -> None:
    for number, part in ((0, "test"), (1, "val"), (2, "test")):
        path = next((pets / "breeds").rglob(f"{number}.png"))
        copy(path, pets / part / "families" / GROUPS[path.parent.name] / f"{number}.png")
    data = read(pets.parent)
    assert sorted(known(data, "y", "test")) == [0, 2] and data.test_origin == "given"
    assert data.validation is not None and data.train["x"][data.validation, 0, 0, 0].tolist() == [1]
    assert any(text.startswith("3 images lie in several parts") for text in data.warnings)


def test_an_image_in_two_classes_of_a_folder_has_no_label_by_it(pets: Path) -> None:
    copy(pets / "breeds" / "lion" / "0.png", pets / "breeds" / "wolf" / "again.png")
    copy(pets / "breeds" / "lion" / "3.png", pets / "ann" / "lion" / "3.png")
    copy(pets / "breeds" / "lion" / "3.png", pets / "ann" / "wolf" / "3.png")
    data = read(pets.parent)
    assert 0 not in known(data, "y") | known(data, "y", "test") and known(data, "ann", "unlabelled") == {0: "lynx"}
    assert 3 not in known(data, "ann") | known(data, "ann", "test")
    assert sum("in two classes of" in text for text in data.warnings) == 2
    assert any("breeds/lion/0.png (in lion and wolf)" in text for text in data.warnings)


def test_several_classes_are_attributes_or_candidates_where_the_recipe_says_so(pets: Path) -> None:
    copy(pets / "breeds" / "lion" / "3.png", pets / "ann" / "lion" / "3.png")
    copy(pets / "breeds" / "lion" / "3.png", pets / "ann" / "wolf" / "3.png")
    for kind, held in (("attributes", [1, 0, 1]), ("candidates", [1, 0, 1])):
        data = read(pets.parent, kinds={"ann": kind})
        rows = torch.cat([data.train["x"], data.test["x"]])[:, 0, 0, 0].tolist()
        values = torch.cat([data.train["ann"], data.test["ann"]])
        assert data.labels["ann"].kind == kind and values[rows.index(3)].tolist() == held
        assert not any("two classes" in text for text in data.warnings)


def test_folders_may_hold_numbers(pets: Path) -> None:
    for number in range(4):
        copy(next((pets / "breeds").rglob(f"{number}.png")), pets / "age" / f"{number}.5" / "a.png")
    data = read(pets.parent, folders={"y": "breeds", "age": "age"}, kinds={"age": "numbers"})
    rows = torch.cat([data.train["x"], data.test["x"]])[:, 0, 0, 0].tolist()
    ages = torch.cat([data.train["age"], data.test["age"]])
    assert [ages[rows.index(number)].item() for number in range(4)] == [0.5, 1.5, 2.5, 3.5]
    assert int(ages.isnan().sum()) == 8


def test_files_of_one_name_with_other_content_are_warned_of(pets: Path) -> None:
    image(pets / "ann" / "lion" / "7.png", 99)
    (warning,) = read(pets.parent).warnings
    assert "1 file of one name is in breeds and ann with other content" in warning and "7.png" in warning


def test_empty_classes_of_a_further_label_are_warned_of_but_for_those_of_y(pets: Path) -> None:
    (pets / "families" / "bears").mkdir()
    (pets / "ann" / "lion").mkdir()
    (warning,) = read(pets.parent).warnings
    assert warning == "families has classes with no image, which c then lacks: bears"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "families").rename(root / "familes"), "no folder families .*c.*; is familes meant"),
        (lambda root: remove(root / "breeds" / "lion", root / "breeds" / "lynx"), "only the folder wolf"),
        (lambda root: (root / "breeds" / "bear").mkdir(), "classes with no image to train on: bear"),
        (lambda root: remove(root / "ann" / "lynx"), "folder ann holds only the class wolf"),
        (lambda root: image(root / "breeds" / "test" / "cat" / "0.png", 1), "breeds has test but no train"),
        (lambda root: [remove(root / "ann"), image(root / "ann" / "0.png", 1)], "ann.* has no image in a folder"),
        (
            lambda root: image(root / "test" / "breeds" / "bear" / "9.png", 77),
            "part test of breeds has .* train has not: bear",
        ),
    ],
)
def test_mistakes_of_the_folders_are_refused(pets: Path, change: object, message: str) -> None:
    change(pets)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        read(pets.parent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folders": {"c": "families", "ann": "ann"}}, "none holds the label y"),
        ({"folders": {"y": "breeds"}}, "of one alone is the path"),
        ({"labels": "labels.csv"}, "remove labels, or folders"),
        ({"folders": {"y": "breeds", "c": "../families"}}, "folders.c: name a folder below path"),
        ({"folders": {"y": "breeds", "c": "breeds/lion"}}, "breeds also holds c"),
        ({"folders": {"y": "breeds", "c": "./breeds/"}}, "also holds"),
        ({"folders": {"y": "breeds", "x": "families"}}, "x is what data call their own"),
        ({"kinds": {"y": "attributes"}}, "here y is classes"),
        ({"kinds": {"z": "numbers"}}, "z is not among folders"),
        ({"label_column": "kind"}, "label_column: speaks of a table"),
    ],
)
def test_mistakes_of_the_recipe_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        source(**options)


# Inspect and start ---------------------------------------------------------------------------------------------------


def test_inspect_asks_about_spellings_as_training_does(pets: Path) -> None:
    copy(pets / "breeds" / "lynx" / "4.png", pets / "ann" / "lyxn" / "4.png")
    for level in range(50, 55):
        image(pets / "breeds" / "Wolf" / f"{level}.png", level)
    for warnings in (semivae.inspect(pets).warnings, read(pets.parent).warnings):
        assert any("ann may hold misspelt classes: lyxn (lynx?)" in each for each in warnings)
        assert any("classes differ only in capital letters: Wolf, wolf" in each for each in warnings)


def test_inspect_says_truly_why_images_of_a_test_part_are_not_used(pets: Path) -> None:
    image(pets / "test" / "breeds" / "lion" / "40.png", 40)
    image(pets / "test" / "breeds" / "puma" / "41.png", 41)
    image(pets / "test" / "families" / "cats" / "42.png", 42)
    report = semivae.inspect(pets)
    (why,) = report.unused
    assert why.names == ("test/breeds/puma/41.png", "test/families/cats/42.png")
    assert why.reason == "without a class of y to train on, in a part to validate or test on"
    assert any("the part test of breeds has classes that train has not: puma" in mistake for mistake in report.mistakes)


def test_inspect_says_what_is_known_of_what(pets: Path) -> None:
    report = semivae.inspect(pets)
    assert [(each.label, each.folder, each.images, each.shared) for each in report.folders] == [
        ("y", "breeds", 12, 7), ("ann", "ann", 3, 3), ("families", "families", 12, 6),
    ]  # fmt: skip
    assert report.further["families"].shown["unlabelled"] == 6 and report.unused == () and report.mistakes == ()
    assert "breeds (y): 12 images, of which another folder labels 7 too" in str(report)
    assert report.parts["unlabelled"] == 7 and sum(report.parts.values()) == 19


def test_label_says_which_folder_is_y(pets: Path) -> None:
    report = semivae.inspect(pets, label="families")
    assert list(report.classes)[:2] == ["cats", "dogs"]
    with pytest.raises(DataError, match="one called family; correct --label"):
        semivae.inspect(pets, label="family")


def test_folders_within_classes_are_no_labels(tmp_path: Path) -> None:
    for number in range(8):
        image(tmp_path / "pets" / ["cat", "dog"][number % 2] / f"20{number // 2 % 2}" / f"{number}.png", number)
    report = semivae.inspect(tmp_path / "pets")
    assert list(report.classes) == ["cat", "dog"] and report.folders == ()
    for name in ("fine", "coarse"):
        for number in range(8):
            image(tmp_path / "named" / name / "ab"[number % 2] / f"{name}_{number}.png", number + 8 * (name == "fine"))
    assert [each.folder for each in semivae.inspect(tmp_path / "named").folders] == ["fine", "coarse"]


def test_start_writes_the_factors_of_further_labels(pets: Path) -> None:
    path = pets.parent / "mine.yaml"
    result = CliRunner().invoke(app, ["start", str(pets), str(path)])
    assert result.exit_code == 0, result.output
    recipe = read_recipe(path)
    decoder = {name: factor for name, factor in recipe.decoder.items() if name in ("ann", "families")}
    assert decoder["families"].groups == {"cats": ("lion", "lynx"), "dogs": ("wolf",)}  # type: ignore[union-attr]
    assert decoder["families"].learn is False  # type: ignore[union-attr]
    assert decoder["ann"].confusion.per == "annotator"  # type: ignore[union-attr]
    assert recipe.streams["further"].observe == ("x", "ann", "families")
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 0, result.output


def test_start_asks_where_nothing_tells_the_group_of_a_class(pets: Path) -> None:
    for path in (pets / "families").rglob("same_*.png"):
        if path.parent.name == "dogs":
            path.unlink()
    result = CliRunner().invoke(app, ["start", str(pets), str(pets.parent / "mine.yaml")])
    assert result.exit_code != 0 and "no image shows both y and families for wolf" in " ".join(result.output.split())
