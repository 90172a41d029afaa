"""What `inspect` finds in masks, tables and arrays; and data as `check`, `show` and `train` speak of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner, Result

import semivae
from semivae.cli import app
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.inspection.facts import NO_LABEL, ColumnFacts, Pair
from semivae.inspection.inspecting import asked_for
from semivae.inspection.sheet import drawn
from semivae.tasks.number_ranges import ranges

SIDE = 16


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def square(value: int = 1, side: int = 8) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:side, :side] = value
    return mask


# Masks ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Ten pairs with masks of 0 and 1, an image without a mask, and three unlabelled ones."""
    root = tmp_path / "shapes"
    for row in range(10):
        write(root / "train" / "images" / f"{row}.png", picture(row))
        write(root / "train" / "masks" / f"{row}.png", square())
    write(root / "train" / "images" / "lone.png", picture(50))
    for row in range(3):
        write(root / "unlabelled" / f"{row}.png", picture(60 + row))
    return root


SMALL = {"source.size": SIDE}


def test_masks_are_paired_counted_and_measured(shapes: Path) -> None:
    report = semivae.inspect(shapes, set=SMALL)
    assert report.kind == "masks" and "10 pairs of one name" in report.chosen
    assert report.parts == {"labelled": 8, "validation": 0, "unlabelled": 4, "test": 2}
    assert report.classes["1"] == {"labelled": 8, "validation": 0, "unlabelled": 0, "test": 2}
    assert report.classes[NO_LABEL]["unlabelled"] == 4
    masks = report.masks
    assert masks is not None and masks.count == 10 and masks.units == "class numbers from 0 to 1" and masks.void == 0
    assert masks.shown == {"0": 10, "1": 10} and masks.area == {"0": 0.75, "1": 0.25}
    assert report.mistakes == () and report.warnings == ()


def test_a_palette_names_classes_and_those_that_no_mask_has(shapes: Path) -> None:
    (shapes / "palette.txt").write_text("ground\nthing\nrare\n")
    report = semivae.inspect(shapes, set=SMALL)
    assert report.chosen.endswith("with palette.txt") and report.masks is not None
    assert report.masks.shown == {"ground": 10, "thing": 10, "rare": 0} and not report.unused
    assert report.classes["rare"] == {"labelled": 0, "validation": 0, "unlabelled": 0, "test": 0}
    assert any("show no place of class 2 (rare)" in warning for warning in report.warnings)
    write(shapes / "train" / "masks" / "3.png", square(2))
    assert semivae.inspect(shapes, set=SMALL).masks.shown["rare"] == 1  # type: ignore[union-attr]


def test_void_is_measured(shapes: Path) -> None:
    for row in range(5):
        write(shapes / "train" / "masks" / f"{row}.png", np.maximum(square(), square(255, 4)))
    report = semivae.inspect(shapes, set=SMALL | {"source.void": 255})
    assert report.masks is not None and report.masks.void == pytest.approx(16 / 256 / 2)


def test_masks_of_black_and_white_are_recognised(shapes: Path) -> None:
    for row in range(10):
        write(shapes / "train" / "masks" / f"{row}.png", square(255))
    report = semivae.inspect(shapes, set=SMALL)
    assert report.masks is not None and report.masks.units.startswith("0 and 255, black and white")
    (mistake,) = report.mistakes
    assert "hold the numbers 0, 255" in mistake and report.parts == {}
    with pytest.raises(DataError, match="hold the numbers 0, 255"):
        load_source(asked_for(shapes, SMALL).source, shapes)


def test_all_mistakes_of_masks_are_listed_at_once(shapes: Path) -> None:
    colour = np.zeros((SIDE, SIDE, 3), np.uint8)
    colour[0] = (9, 8, 7)
    write(shapes / "train" / "masks" / "0.png", colour)
    write(shapes / "train" / "masks" / "1.png", np.zeros((SIDE, 2 * SIDE), np.uint8))
    (shapes / "train" / "images" / "2.png").write_bytes(b"x")
    write(shapes / "train" / "label" / "5.png", square())
    report = semivae.inspect(shapes, set=SMALL)
    images, masks, ratio = report.mistakes
    assert "1 of 14 image files" in images and "train/images/2.png (" in images
    assert "1 of 10 masks" in masks and "no palette says what its colours mean" in masks
    assert "has another ratio of sides" in ratio and "train/masks/1.png is 32x16, its image 16x16" in ratio
    assert report.masks is not None and report.masks.colours == ("0 0 0", "9 8 7")
    assert set(report.unreadable) == {"train/images/2.png", "train/masks/0.png"}
    (group,) = report.unused
    assert group.names == ("train/label/5.png",) and group.advice == "if it holds the masks, call it masks"


def test_equal_images_of_masks_are_found(shapes: Path) -> None:
    for row in range(3):
        write(shapes / "test" / "images" / f"t{row}.png", picture(row if row == 1 else 80 + row))
        write(shapes / "test" / "masks" / f"t{row}.png", square())
    report = semivae.inspect(shapes, set=SMALL)
    assert report.duplicates.across_parts == (Pair("test/images/t1.png", "train/images/1.png"),)
    assert set(load_source(asked_for(shapes, SMALL).source, shapes).warnings) <= set(report.warnings)


def test_folders_of_masks_alone_say_what_lacks(shapes: Path) -> None:
    shutil.rmtree(shapes / "train" / "images")
    (shapes / "train" / "images").mkdir()
    assert "has no image files in train/images" in semivae.inspect(shapes, set=SMALL).mistakes[0]


# Tables --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = ["id,length,soil,name,always,code,person,kind"]
    for row in range(60):
        length = "" if row % 10 == 0 else f"{row / 4}"
        soil = ("clay", "sand", "")[row % 3]
        kind = ("oak", "elm", "")[row % 3]
        lines.append(f"{row},{length},{soil},n{row},7,{row % 4},{1000 + row * 37 % 61},{kind}")
    path = tmp_path / "plants.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_columns_are_told_by_kind_with_what_looks_wrong(table: Path) -> None:
    report = semivae.inspect(table)
    assert report.kind == "table" and "kind is taken for the label, by its name" in report.chosen
    found = {column.name: column for column in report.columns}
    assert found["length"] == ColumnFacts("length", "numbers", 6, 54, ("0.25", "0.5", "0.75"), 0.25, 14.75)
    assert found["soil"] == ColumnFacts("soil", "categories", 20, 2, ("clay", "sand"))
    assert found["always"].kind == "constant" and found["always"].distinct == 1
    assert found["id"].remark == "counts the rows"
    assert found["name"].kind == "categories" and "nearly every row has its own" in found["name"].remark
    assert "few whole numbers" in found["code"].remark and "of its own in each row" in found["person"].remark
    assert found["kind"] == ColumnFacts("kind", "label", 20, 2, ("oak", "elm"))
    assert report.parts["unlabelled"] == 20 and report.parts["labelled"] + report.parts["test"] == 40
    assert report.classes[NO_LABEL]["unlabelled"] == 20
    assert set(load_source(asked_for(table).source, table.parent).warnings) <= set(report.warnings)
    page = repr(report)
    assert "0.25 to 14.75" in page and "counts the rows" in page


def test_ignored_and_categorical_columns_are_told(table: Path) -> None:
    report = semivae.inspect(table, set={"source.ignore": ["id"], "source.categorical": ["code"]}, label="kind")
    kinds = {column.name: column.kind for column in report.columns}
    assert kinds["id"] == "ignored" and kinds["code"] == "categories" and "as asked for" in report.chosen


def test_the_last_column_is_the_label_where_none_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n" + "".join(f"{row},{row % 3},{row % 2}\n" for row in range(30)))
    report = semivae.inspect(tmp_path / "t.csv")
    assert "c is taken for the label, as the last column" in report.chosen and set(report.classes) == {"0", "1"}


def test_all_mistakes_of_a_table_are_listed_at_once(tmp_path: Path) -> None:
    lines = ["long,endless,x,label"]
    lines += [f"text number {row},{'inf' if row == 3 else row},{row / 3},{'only'}" for row in range(150)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    report = semivae.inspect(tmp_path / "t.csv")
    text, infinite, classes = report.mistakes
    assert "column long: 150 different texts, of which at most 100 can be categories" in text
    assert "column endless: inf is no finite number" in infinite
    assert "holds only the class only; at least two are needed" in classes and report.parts == {}
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text().replace("0,only", "0,other"))
    assert len(semivae.inspect(tmp_path / "t.csv").mistakes) == 2


def test_equal_rows_are_counted(tmp_path: Path) -> None:
    rows = [f"{row % 20},{row % 7},{row % 2}" for row in range(60)]
    (tmp_path / "t.csv").write_text("a,b,label\n" + "\n".join([*rows, *rows[:5]]) + "\n")
    assert semivae.inspect(tmp_path / "t.csv").duplicates.copies == 5


def test_a_table_has_no_sheet(table: Path, tmp_path: Path) -> None:
    result = run_command("inspect", table, "--out", tmp_path / "sheet.png")
    assert (
        result.exit_code == 1 and "a table has no pictures" in result.stderr and not (tmp_path / "sheet.png").exists()
    )


# Arrays --------------------------------------------------------------------------------------------------------------


def test_arrays_of_images_rows_and_maps(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (30, 8, 8), dtype=np.uint8)
    images[7] = images[3]
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(30) % 3, x_unlabelled=images[:2], extra=np.zeros(3))
    report = semivae.inspect(tmp_path / "a.npz")
    assert report.kind == "arrays" and "x [30, 8, 8]" in report.chosen
    assert report.parts["unlabelled"] == 2 and report.parts["labelled"] + report.parts["test"] == 30
    assert report.images is not None and report.images.sizes == (((8, 8), 32),) and report.images.channels == 1
    assert report.duplicates.copies == 3 and any("not used: extra" in warning for warning in report.warnings)
    np.savez(tmp_path / "b.npz", x=generator.normal(size=(30, 4)), y=np.arange(30) % 3)
    rows = semivae.inspect(tmp_path / "b.npz")
    assert rows.images is None and set(rows.classes) == {"0", "1", "2"}
    np.savez(tmp_path / "c.npz", x=images, s=(images > 127).astype(np.uint8))
    maps = semivae.inspect(tmp_path / "c.npz")
    assert maps.masks is not None and maps.masks.count == 30 and maps.classes["1"]["test"] == 6


def test_arrays_that_training_refuses_are_named_with_their_shapes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=np.zeros((30, 8, 8)), kinds=np.zeros(30, int))
    report = semivae.inspect(tmp_path / "a.npz")
    assert "has no array x; it has kinds, pictures" in report.mistakes[0]
    assert "pictures [30, 8, 8] of float64" in report.chosen
    np.save(tmp_path / "b.npy", np.zeros((30, 8, 8)))
    assert "is a single array" in semivae.inspect(tmp_path / "b.npy").mistakes[0]


# Sheets --------------------------------------------------------------------------------------------------------------


def test_a_sheet_shows_each_example_in_its_row_and_place() -> None:
    red, blue = (np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    sheet = np.asarray(drawn([("one", [red, blue]), ("two", [blue])]))
    height, width = 4 + 2 * 68, sheet.shape[1]
    assert sheet.shape[0] == height
    assert (sheet[4:68, width - 4 - 64 - 68 : width - 4 - 68] == (255, 0, 0)).all()
    assert (sheet[4:68, width - 4 - 64 : width - 4] == (0, 0, 255)).all()
    assert (sheet[72:136, width - 4 - 64 - 68 : width - 4 - 68] == (0, 0, 255)).all()
    assert (sheet[72:136, width - 4 - 64 :] == 255).all()


def test_sheets_of_masks_and_arrays_are_drawn(shapes: Path, tmp_path: Path) -> None:
    for place in (shapes, "digits_50labels"):
        assert run_command("inspect", place, "--out", tmp_path / "s.jpg", "--overwrite").exit_code == 0
        with Image.open(tmp_path / "s.jpg") as sheet:
            assert sheet.format == "JPEG" and sheet.width > 600


# Other commands ------------------------------------------------------------------------------------------------------


def recipe_of(tmp_path: Path, template: str, **changes: str) -> Path:
    text = (Path(__file__).parents[1] / "recipes" / f"{template}.yaml").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_check_lists_what_is_wrong_with_the_data_if_it_is_told_where_they_are(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        for row in range(20):
            write(tmp_path / "images" / "train" / name / f"{row}.png", picture(row + 100 * (name == "bee")))
    recipe = recipe_of(tmp_path, "folder")
    assert run_command("check", recipe).exit_code == 0
    result = run_command("check", recipe, "--data-root", tmp_path)
    assert result.exit_code == 1 and "split.validation asks for 50 examples" in result.stdout
    fine = ["--set", "split.validation=4"]
    assert run_command("check", recipe, "--data-root", tmp_path, *fine).stdout == f"{recipe}: ok\n"
    large = run_command(
        "check", recipe, "--data-root", tmp_path, *fine, "--set", "streams.labelled.batch=1000000000000"
    )
    assert large.exit_code == 1 and "make the batch smaller" in large.stdout, "only the data say the shape"
    (tmp_path / "images" / "train" / "emu").mkdir()
    (tmp_path / "images" / "train" / "ant" / "0.png").write_bytes(b"x")
    lines = run_command("check", recipe, "--data-root", tmp_path, *fine).stdout.splitlines()
    assert len(lines) == 2 and "with no image to train on: emu" in lines[0] and "cannot be read" in lines[1]
    odd = run_command("check", recipe, "--data-root", tmp_path, *fine, "--set", "encoder.y.net.nam=conv", "--json")
    assert odd.exit_code == 2 and len(json.loads(odd.stdout)["recipes"][0]["errors"]) == 1  # the recipe's come first
    nothing = run_command("check", recipe, "--data-root", tmp_path / "none")
    assert nothing.exit_code == 1 and "there is no file or folder" in nothing.stdout


def test_check_finds_networks_that_do_not_fit_the_size_of_the_data(shapes: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "masks", **{", palette: palette.txt": "", "validation: 8": "validation: 0"})
    assert run_command("check", recipe, "--data-root", tmp_path).exit_code == 0
    odd = run_command("check", recipe, "--data-root", tmp_path, "--set", "source.size=20")
    assert odd.exit_code == 1 and "encoder.s.net" in odd.stdout


def test_show_says_what_the_data_hold(table: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "table", **{"path: table.csv, label: label": "path: plants.csv, label: kind"})
    shown = run_command("show", recipe, "--data-root", tmp_path).stdout
    assert "data: table:plants.csv, 32 labelled, 20 unlabelled, 0 validation, 8 test" in shown
    assert "labelled: elm 16, oak 16" in shown


@pytest.mark.slow
def test_train_says_what_the_data_hold_before_the_first_step(tmp_path: Path) -> None:
    result = run_command(
        "train",
        "digits_50labels",
        "--no-twin",
        "--set",
        "training.steps=2",
        "--device",
        "cpu",
        "--out",
        tmp_path / "run",
    )
    head = result.stdout.partition("model 2/2")[0]
    assert "data: digits, 50 labelled, 1,047 unlabelled, 200 validation, 500 test" in head
    assert "labelled: 0 5, 1 5, 2 5, 3 5, 4 5, 5 5, 6 5, 7 5, 8 5, 9 5" in head


# Numbers -------------------------------------------------------------------------------------------------------------


def test_numbers_are_counted_in_ranges(tmp_path: Path) -> None:
    y = np.array([0.0, 9.5, 10.0, 11.0, 25.0, 30.0, np.nan, np.nan])
    np.savez(tmp_path / "ages.npz", x=np.random.default_rng(0).random((8, 6, 6)), y=y,
             x_test=np.random.default_rng(1).random((2, 6, 6)), y_test=np.array([12.0, 29.0]))  # fmt: skip
    report = semivae.inspect(tmp_path / "ages.npz")
    assert set(report.classes) == {NO_LABEL} and report.mistakes == ()
    labelled = {text: counts["labelled"] for text, counts in report.numbers.items()}
    assert labelled == {"0 to 5": 1, "5 to 10": 1, "10 to 15": 2, "15 to 20": 0, "20 to 25": 0, "25 to 30": 2}
    assert [counts["test"] for counts in report.numbers.values()] == [0, 0, 1, 0, 0, 1]
    assert sum(counts["unlabelled"] for counts in report.numbers.values()) == 0, "what is not known is not counted"
    lines = repr(report).splitlines()
    assert "10 to 15           2           0           0     1  ####################" in lines
    assert "15 to 20           0           0           0     0" in lines
    assert "(no label)         0           0           2     0" in lines
    assert json.loads(json.dumps(report.to_dict()))["numbers"]["0 to 5"]["labelled"] == 1
    assert not any(line.startswith("class ") for line in lines), "numbers have no classes"


@pytest.mark.parametrize("columns", [(), (2,)])
def test_nothing_is_counted_in_ranges_where_there_are_none(columns: tuple[int, ...], tmp_path: Path) -> None:
    y = np.zeros((9, *columns), np.int64 if not columns else np.float64) + np.arange(9).reshape(9, *[1] * len(columns))
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).random((9, 6, 6)), y=y % 3)
    assert not semivae.inspect(tmp_path / "data.npz").numbers


@pytest.mark.parametrize(
    ("low", "high", "first", "last", "count"),
    [
        (-59.9, 59.9, "-60 to -50", "50 to 60", 12),
        (0.0101, 0.0311, "0.010 to 0.012", "0.030 to 0.032", 11),
        (1e9, 1e9 + 3, "1000000000.0 to 1000000000.5", "1000000002.5 to 1000000003.0", 6),
        (5.0, 5.0, "5", "5", 1),
        (0.95, 11.9, "0 to 1", "11 to 12", 12),
        (0.95, 12.05, "0 to 2", "12 to 14", 7),
    ],
)
def test_ranges_are_few_and_between_round_numbers(low: float, high: float, first: str, last: str, count: int) -> None:
    edges, texts = ranges(low, high)
    assert (texts[0], texts[-1], len(texts)) == (first, last, count) and len(edges) == count + 1
    assert edges[0] <= low and high <= edges[-1]


@given(st.floats(-1e9, 1e9), st.floats(0.001, 1e9))
def test_ranges_hold_every_number_and_have_different_texts(low: float, span: float) -> None:
    edges, texts = ranges(low, low + span)
    slack = 1e-9 * max(abs(low), span)
    assert edges[0] <= low + slack and low + span <= edges[-1] + slack
    assert len(set(texts)) == len(texts) == len(edges) - 1 <= 12


def test_one_number_alone_is_no_class_with_one_example(tmp_path: Path) -> None:
    rows = ["size,y", "0.5,3.25", *(f"{row}," for row in range(9))]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    report = semivae.inspect(tmp_path / "t.csv", set={"source.kinds.y": "numbers"})
    assert any("only one has a label; label more, or give a test part" in mistake for mistake in report.mistakes)
