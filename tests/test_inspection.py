"""What `inspect` finds in small data made for it: every statement of the report, and what training would say too."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import semivae
from semivae.cli import app
from semivae.data.formats.levels import Levels
from semivae.data.sources import load_source
from semivae.errors import DataError, RecipeError
from semivae.inspection import likeness
from semivae.inspection.facts import NO_LABEL, Pair
from semivae.inspection.inspecting import asked_for
from semivae.inspection.likeness import Likeness
from semivae.inspection.pictures import as_is, look_at
from semivae.inspection.report import DataReport

SIDE = 32


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def picture(seed: int, side: int = SIDE, colour: bool = True) -> np.ndarray:
    """A picture of 8x8 patches, so that it looks alike at any size."""
    shape = (8, 8, 3) if colour else (8, 8)
    patches = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return patches.repeat(side // 8, 0).repeat(side // 8, 1)


def write(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Three classes of ten images to train on and two to test on, and six without a class."""
    root = tmp_path / "pets"
    for number, name in enumerate(("ant", "bee", "cat")):
        for row in range(12):
            write(root / ("train" if row < 10 else "Test") / name / f"{row}.png", picture(100 * number + row))
    for row in range(6):
        write(root / "unlabeled" / f"{row}.png", picture(900 + row))
    return root


def test_folder_counts_each_class_in_each_part(pets: Path) -> None:
    report = semivae.inspect(pets)
    assert report.kind == "folder" and "folders of images" in report.chosen
    assert report.parts == {"labelled": 30, "validation": 0, "unlabelled": 6, "test": 6}
    each = {"labelled": 10, "validation": 0, "unlabelled": 0, "test": 2}
    without = {"labelled": 0, "validation": 0, "unlabelled": 6, "test": 0}
    assert report.classes == {"ant": each, "bee": each, "cat": each, NO_LABEL: without}
    assert report.mistakes == () and report.warnings == () and report.duplicates.copies == 0
    shutil.move(pets / "unlabeled" / "0.png", pets / "train" / "cat" / "more.png")
    assert semivae.inspect(pets).classes["cat"]["labelled"] == 11


def test_a_part_for_validation_is_counted_and_compared(pets: Path) -> None:
    for name in ("ant", "bee", "cat"):
        write(pets / "valid" / name / "0.png", picture(500 + ord(name[0])))
    shutil.copy(pets / "train" / "bee" / "1.png", pets / "valid" / "bee" / "again.png")
    report = semivae.inspect(pets)
    assert report.parts == {"labelled": 30, "validation": 4, "unlabelled": 6, "test": 6}
    assert report.classes["bee"] == {"labelled": 10, "validation": 2, "unlabelled": 0, "test": 2}
    assert report.duplicates.across_parts == (Pair("valid/bee/again.png", "train/bee/1.png"),)
    asked = semivae.inspect(asked_for(pets).recipe, set={"split.validation": 0})
    assert asked.parts == report.parts and asked.classes == report.classes
    assert any("1 of 4 validation examples is also among those to train on" in each for each in report.warnings)


def test_a_zip_holds_what_its_folder_holds(pets: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for file in sorted(pets.rglob("*.png")):
            archive.write(file, Path("pets") / file.relative_to(pets))
    packed, plain = semivae.inspect(tmp_path / "pets.zip"), semivae.inspect(pets)
    assert packed.parts == plain.parts and packed.classes == plain.classes and packed.images == plain.images


def test_a_recipe_counts_what_its_split_shows_hides_and_keeps(pets: Path) -> None:
    recipe = asked_for(pets).recipe
    report = semivae.inspect(recipe, set={"split.labelled": 6, "split.validation": 3})
    assert report.parts == {"labelled": 6, "validation": 3, "unlabelled": 27, "test": 6}
    assert report.classes["bee"] == {"labelled": 2, "validation": 1, "unlabelled": 7, "test": 2}
    wrong = semivae.inspect(recipe, set={"split.labelled": 60, "split.validation": 0})
    assert len(wrong.mistakes) == 1 and "asks for 60 labels, but only 30 exist" in wrong.mistakes[0]
    assert wrong.classes["bee"]["labelled"] == 10  # counts of all labels are still shown


def test_a_share_is_set_aside_like_in_training(pets: Path) -> None:
    shutil.rmtree(pets / "Test")
    report = semivae.inspect(pets)
    dataset = load_source(asked_for(pets).source, pets)
    assert report.parts["labelled"] == len(dataset.train["x"]) == 24 and report.parts["test"] == len(dataset.test["x"])


def test_data_with_nothing_to_test_on_are_a_mistake(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        write(tmp_path / "own" / name / "0.png", picture(ord(name[0])))
    report = semivae.inspect(tmp_path / "own")
    assert len(report.mistakes) == 1 and "no example can be set aside to test on" in report.mistakes[0]
    assert report.parts["labelled"] == 2 and report.classes["bee"]["labelled"] == 1


def test_images_before_and_after(pets: Path) -> None:
    write(pets / "train" / "ant" / "wide.png", np.hstack([picture(1), picture(2)]))
    write(pets / "train" / "ant" / "small.png", picture(3, 16))
    write(pets / "train" / "ant" / "grey.png", picture(4, colour=False))
    write(pets / "train" / "ant" / "flat.png", np.full((SIDE, SIDE, 3), 77, np.uint8))
    shown = np.dstack([picture(5), np.full((SIDE, SIDE), 100, np.uint8)])
    write(pets / "train" / "ant" / "glass.png", shown)
    deep = Image.fromarray(picture(6, colour=False).astype(np.uint16) * 257)
    deep.save(pets / "train" / "ant" / "deep.png")
    report = semivae.inspect(pets)
    images = report.images
    assert images is not None and images.count == 48
    assert images.sizes == (((32, 32), 46), ((16, 16), 1), ((64, 32), 1))
    assert images.size == (32, 32) and images.channels == 3
    assert images.grey == 3 and images.enlarged == 1 and images.transparent == 1 and images.deep == 1
    assert images.most_loss == 0.5 and images.most_cropped == "train/ant/wide.png" and images.cropped == 1
    assert images.mean_loss == pytest.approx(0.5 / 48)
    assert images.blank == ("train/ant/flat.png",)
    assert (images.low, images.high) == (0, 255)
    assert any("1 image is of one level alone" in warning for warning in report.warnings)
    padded = semivae.inspect(pets, set={"source.fit": "pad", "source.channels": 1, "source.size": [8, 16]})
    assert padded.images is not None and padded.images.most_loss == 0 and padded.images.grey is None
    assert padded.images.size == (16, 8)
    wide = {"source.size": [24, 40]}  # 32x32 pixels become 24x24 of them, or 40x40 that are cropped
    for fit, enlarged in (("pad", 1), ("crop", 47), ("stretch", 47)):
        images = semivae.inspect(pets, set={"source.fit": fit, **wide}).images
        assert images is not None and images.enlarged == enlarged


def test_grey_and_enlarged_data_are_advised_of(tmp_path: Path) -> None:
    for row in range(20):
        write(tmp_path / "own" / "ab"[row % 2] / f"{row}.png", picture(row, 16, colour=False))
    warnings = semivae.inspect(tmp_path / "own").warnings
    assert any("all images are grey; source.channels: 1" in warning for warning in warnings)
    assert any("20 of 20 images are smaller than source.size" in warning and "16x16" in warning for warning in warnings)


def test_equal_and_nearly_equal_images_are_found_across_parts_and_classes(pets: Path) -> None:
    shutil.copy(pets / "train" / "ant" / "0.png", pets / "Test" / "ant" / "same.bmp")
    shutil.copy(pets / "train" / "bee" / "1.png", pets / "train" / "cat" / "other.png")
    larger, brighter = picture(2, 64), (picture(203).astype(float) * 0.8 + 30).astype(np.uint8)
    write(pets / "Test" / "ant" / "near.jpg", larger, quality=80)
    write(pets / "train" / "bee" / "near.png", brighter)
    report = semivae.inspect(pets)
    found = report.duplicates
    assert found.copies == 2
    assert found.across_parts == (Pair("Test/ant/same.bmp", "train/ant/0.png"),)
    assert found.across_classes == (Pair("train/bee/1.png", "train/cat/other.png"),)
    assert found.near_across_parts == (Pair("Test/ant/near.jpg", "train/ant/2.png"),)
    assert found.near_across_classes == (Pair("train/bee/near.png", "train/cat/3.png"),)
    assert any("1 of 8 test examples is also among those to train on" in warning for warning in report.warnings)
    assert any("different labels; check them: train/bee/near.png = train/cat/3.png" in each for each in report.warnings)


def test_flat_pictures_are_not_called_alike(tmp_path: Path) -> None:
    for row in range(20):
        pixels = np.full((SIDE, SIDE, 3), 10 * row, np.uint8)
        pixels[:8, :8] += 2  # a speck of the sensor that all have
        write(tmp_path / "own" / "ab"[row % 2] / f"{row}.png", pixels)
    found = semivae.inspect(tmp_path / "own").duplicates
    assert found.copies == 0 and not found.near_across_parts and not found.near_across_classes


def test_unused_files_are_named_with_what_was_probably_meant(pets: Path) -> None:
    for name in ("val images/cat/0.png", "lone.png", "train/ant.png", "Test/dog/0.png", "more/0.png"):
        write(pets / name, picture(7))
    for name in ("clip.mp4", "notes.txt", "old.tar", "labels.csv", "scan.dcm", "noending"):
        (pets / name).write_text("x")
    groups = {name: (group.reason, group.advice) for group in semivae.inspect(pets).unused for name in group.names}
    assert set(groups) == {
        *("val images/cat/0.png", "lone.png", "train/ant.png", "Test/dog/0.png", "more/0.png"),
        *("clip.mp4", "notes.txt", "old.tar", "labels.csv", "scan.dcm", "noending"),
    }
    assert groups["val images/cat/0.png"][1] == "if it is the part val, call it val"
    assert groups["lone.png"] == groups["train/ant.png"]
    assert groups["lone.png"][1] == "move to one, or to unlabelled where no class is known"
    assert groups["Test/dog/0.png"] == ("the folder dog is no class of train", "rename it, or add the class to train")
    assert "the folder more is no part" in groups["more/0.png"][0]
    assert groups["clip.mp4"][1] == "save its frames as images" and groups["old.tar"][1] == "unpack it"
    assert "source.labels" in groups["labels.csv"][1] and "16 bits" in groups["scan.dcm"][1]
    assert groups["notes.txt"][1] == "" and groups["noending"][0] == "it has no ending, such as .png"


def test_a_class_that_is_probably_a_part_is_warned_of(tmp_path: Path) -> None:
    for name in ("ant", "bee", "test_images", "crash test"):
        for row in range(5):
            write(tmp_path / "own" / name / f"{row}.png", picture(hash(name) % 1000 + row))
    (warning,) = (each for each in semivae.inspect(tmp_path / "own").warnings if "is read as a class" in each)
    assert warning.endswith("the folder test_images is read as a class; if it is the part test, call it test")


def test_all_mistakes_of_a_folder_are_listed_at_once_and_training_refuses_each(pets: Path) -> None:
    good = asked_for(pets).source
    load_source(good, pets)
    (pets / "train" / "emu").mkdir()
    write(pets / "Test" / "fox" / "0.png", picture(1))
    (pets / "train" / "ant" / "broken.png").write_bytes(b"x")
    (pets / "Test" / "bee" / "cut.png").write_bytes((pets / "Test" / "bee" / "10.png").read_bytes()[:90])
    report = semivae.inspect(pets)
    empty, unknown, broken = report.mistakes
    assert (
        "train has classes with no image to train on: emu" in empty
        and "Test has classes that train has not: fox" in unknown
    )
    assert "2 of 44 image files" in broken and set(report.unreadable) == {"train/ant/broken.png", "Test/bee/cut.png"}
    for mistake in report.mistakes:
        with pytest.raises(DataError) as refused:
            load_source(good, pets)
        if mistake != broken:
            assert str(refused.value).partition("; train has ")[0] == mistake.partition("; train has ")[0]
        if mistake == empty:
            (pets / "train" / "emu").rmdir()
        elif mistake == unknown:
            shutil.rmtree(pets / "Test" / "fox")
    assert "1 of 31 image files" in str(refused.value)  # training stops at the first part with broken files
    assert report.classes["emu"]["labelled"] == 0 and report.classes["ant"]["labelled"] == 11


def test_labels_in_a_table_are_found(tmp_path: Path) -> None:
    rows = ["file_name,label"]
    for row in range(20):
        write(tmp_path / "own" / "images" / f"{row}.png", picture(row))
        rows.append(f"images/{row}.png,{'ab'[row % 2]}")
    (tmp_path / "own" / "metadata.csv").write_text("\n".join(rows[:-4]) + "\n")
    report = semivae.inspect(tmp_path / "own")
    assert "with the table of labels metadata.csv" in report.chosen
    assert report.parts["unlabelled"] == 4 and report.parts["labelled"] + report.parts["test"] == 16
    assert not report.unused and not report.mistakes


def test_label_names_the_column_of_a_table_beside_images(tmp_path: Path) -> None:
    rows = ["file,shade,label"]
    for row in range(20):
        write(tmp_path / "own" / ("even", "odd")[row % 2] / f"{row}.png", picture(row))
        rows.append(f"{('even', 'odd')[row % 2]}/{row}.png,{'cd'[row // 10]},{'ab'[row % 2]}")
    (tmp_path / "own" / "labels.csv").write_text("\n".join(rows) + "\n")
    assert list(semivae.inspect(tmp_path / "own").classes) == ["even", "odd"]
    assert list(semivae.inspect(tmp_path / "own", label="shade").classes) == ["c", "d"]
    for label in ("shape", "file_name"):
        with pytest.raises(DataError, match=rf"holds no table with a column {label} and one of files.*correct --label"):
            semivae.inspect(tmp_path / "own", label=label)
    np.savez(tmp_path / "own.npz", x=np.zeros((4, 2, 2), np.uint8), y=np.arange(4) % 2)
    with pytest.raises(DataError, match="holds arrays and no columns; leave --label shade out"):
        semivae.inspect(tmp_path / "own.npz", label="shade")
    with pytest.raises(RecipeError, match="folder is a recipe, which names the label itself; leave --label shade out"):
        semivae.inspect("folder", label="shade")


def test_warnings_are_those_of_training(pets: Path) -> None:
    shutil.copy(pets / "train" / "ant" / "0.png", pets / "Test" / "ant" / "same.png")
    shutil.copy(pets / "train" / "bee" / "1.png", pets / "unlabeled" / "same.png")
    write(pets / "train" / "cat" / "wide.png", np.hstack([picture(1), picture(2)]))
    warned = load_source(asked_for(pets).source, pets).warnings
    assert len(warned) == 2 and set(warned) <= set(semivae.inspect(pets).warnings)


# The command ---------------------------------------------------------------------------------------------------------


def test_command_prints_a_page_or_json_and_draws_a_sheet(pets: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = run_command("inspect", pets, "--out", out)
    assert result.exit_code == 0, result.output
    assert "30 labelled, 0 validation, 6 unlabelled, 6 test" in result.stdout and "no mistakes" in result.stdout
    assert repr(semivae.inspect(pets)).splitlines()[:12] == result.stdout.splitlines()[:12]
    with Image.open(out) as sheet:  # three classes and those without, at twice their size, ten in a row
        assert sheet.height == 4 + 4 * (64 + 4) and sheet.width > 10 * (64 + 4)
    report = json.loads(run_command("inspect", pets, "--json").stdout)
    assert report["parts"]["labelled"] == 30 and report["images"]["size"] == [32, 32]
    refused = run_command("inspect", pets, "--out", out)
    assert refused.exit_code == 1 and "exists" in refused.stderr
    assert run_command("inspect", pets, "--out", tmp_path / "sheet.gif").exit_code == 2


def test_command_ends_with_1_where_training_would_refuse(pets: Path) -> None:
    (pets / "train" / "ant" / "broken.png").write_bytes(b"x")
    result = run_command("inspect", pets)
    assert result.exit_code == 1 and "mistake: 1 of 43 image files" in result.stdout
    assert "1 mistake, which training refuses" in result.stdout and not result.stderr


def test_command_reads_recipes_by_name_and_by_file(pets: Path, tmp_path: Path) -> None:
    shown = run_command("inspect", "digits_50labels", "--json")
    assert json.loads(shown.stdout)["parts"] == {"labelled": 50, "validation": 200, "unlabelled": 1047, "test": 500}
    recipe = tmp_path / "mine.yaml"
    text = (Path(__file__).parents[1] / "recipes" / "folder.yaml").read_text().replace("path: images", "path: pets")
    recipe.write_text(text.replace("validation: 50", "validation: 6"))
    report = json.loads(run_command("inspect", recipe, "--data-root", tmp_path, "--json").stdout)
    assert report["parts"] == {"labelled": 24, "validation": 6, "unlabelled": 6, "test": 6} and report["chosen"] == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing", None, "there is no file or folder"),
        ("a.docx", b"x", "is no data that are read"),
        ("a.zip", b"x", "is no .zip file that can be read"),
        ("a.npz", b"x", "is no .npy or .npz file that can be read"),
        ("a.csv", b"", "holds no rows"),
        ("a.csv", b"a,b\n\xff\xfe\n", "no UTF-8 text"),
        ("a.csv", b"a,b\n1\n", "1 cell; the first line names 2 columns"),
    ],
)
def test_odd_places_are_refused_by_a_message(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = run_command("inspect", tmp_path / name)
    assert result.exit_code == 1 and message in result.stderr and "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_an_empty_folder_is_refused_by_a_message(tmp_path: Path) -> None:
    result = run_command("inspect", tmp_path)
    assert result.exit_code == 1 and "holds no image files" in result.stderr


def test_reports_are_typed_and_readable(pets: Path) -> None:
    report = semivae.inspect(str(pets))
    assert isinstance(report, DataReport) and "labelled  validation  unlabelled  test" in repr(report)


@pytest.mark.parametrize("kind", ["folder", "masks"])
def test_files_of_which_none_can_be_read_are_one_mistake(tmp_path: Path, kind: str) -> None:
    parts = ["train/a", "train/b"] if kind == "folder" else ["images", "masks"]
    for part in parts:
        (tmp_path / "own" / part).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "own" / part / f"{number}.png").write_text("no picture")
    result = run_command("inspect", tmp_path / "own")
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    shown = " ".join(result.output.split())
    count = "8 of 8" if kind == "folder" else "4 of 4"
    assert f"{count} image files" in shown and shown.count("not a PNG, JPEG") == len(set(parts)) - (kind == "folder")


def test_links_to_nothing_are_named_together_without_a_number_of_the_system(pets: Path) -> None:
    for name in ("a", "b"):
        (pets / "train" / "ant" / f"{name}.png").symlink_to(f"gone {name}.png")
    (pets / "train" / "ant" / "c.png").symlink_to("c.png")
    (mistake,) = semivae.inspect(pets).mistakes
    assert "train/ant/a.png, train/ant/b.png (a link to a file that is not there)" in mistake
    assert "train/ant/c.png (Too many levels of symbolic links)" in mistake


def test_likeness_is_the_same_however_many_pictures_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    how = as_is(np.zeros((1, 3, SIDE, SIDE), np.uint8))
    pixels = [picture(row % 9).transpose(2, 0, 1) for row in range(20)]
    for row, each in enumerate(pixels):
        pixels[row] = np.clip(each.astype(int) + row, 0, 255).astype(np.uint8)  # nearly alike, and not equal
    looks = [look_at(each, (SIDE, SIDE), Levels(how)) for each in pixels]
    rows = np.arange(20)
    expected = Likeness(looks).partners(rows, rows, rows)
    assert len(expected) == 20 and all(one % 9 == other % 9 for one, other in expected)
    monkeypatch.setattr(likeness, "AT_ONCE", 50)  # two rows of twenty
    monkeypatch.setattr(likeness, "CHUNK", 3)
    assert Likeness(looks).partners(rows, rows, rows) == expected
