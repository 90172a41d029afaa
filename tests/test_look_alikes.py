"""Names that people see as one, several labels in one cell, and numbers that leave the others no spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.formats.look_alikes import look_alikes, several_doubts, yes_or_no_doubts
from semivae.data.inputs.further_labels import spelling_doubts
from semivae.data.inputs.table_encoding import NumberColumn
from semivae.data.sources import load_source
from semivae.recipe.schema import FolderSource, TableSource

TWO_CODES = ("caf\u00e9", "cafe\u0301")  # one accent as one sign, and as two


def table(folder: Path, columns: dict[str, list[str]]) -> Dataset:
    rows = zip(*columns.values(), strict=True)
    (folder / "t.csv").write_text("\n".join(map(",".join, [list(columns), *rows])) + "\n", encoding="utf-8")
    return load_source(TableSource(name="table", path="t.csv", label=list(columns)[-1]), folder)


def of_classes(folder: Path, names: list[str]) -> Dataset:
    """A table of one column of numbers, each class ten times."""
    kinds = [name for name in names for _ in range(10)]
    return table(folder, {"size": [f"{row}.5" for row in range(len(kinds))], "kind": kinds})


@pytest.mark.parametrize(
    "names",
    [
        TWO_CODES,
        ("big elm", "big  elm"),
        ("big elm", "big_elm"),
        ("elm", "elm\u200b"),
        ("oak", "o\u0430k"),  # a Cyrillic letter
        ("1", "01"),
        ("m2", "m\u00b2"),
    ],
)
def test_names_that_look_alike_are_warned_of(tmp_path: Path, names: tuple[str, str]) -> None:
    assert look_alikes([*names, "ash"]) == [names]
    said = [warning for warning in of_classes(tmp_path, [*names, "ash"]).warnings if "look alike" in warning]
    assert len(said) == 1 and "column kind: classes look alike but are different texts" in said[0]
    assert all(ascii(name) in said[0] for name in names), "what hides the difference is written by its number"


@pytest.mark.parametrize("names", [("elm", "elms"), ("1", "-1"), ("1", "10"), ("a-b", "ab"), ("neu", "nev"), ("0", "")])
def test_names_that_look_different_are_not(names: tuple[str, str]) -> None:
    assert look_alikes(names) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("true", "1", "no"), "classes 1, true may stand for one answer, yes; write them alike if they do"),
        (("Y", "N", "false"), "classes N, false may stand for one answer, no;"),
    ],
)
def test_several_words_for_yes_or_no_are_warned_of(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    found = [warning for warning in of_classes(tmp_path, list(names)).warnings if "one answer" in warning]
    assert len(found) == 1 and f"column kind: {said}" in found[0]


@pytest.mark.parametrize("names", [("yes", "no"), ("0", "1"), ("t", "y", "x"), ("true", "1", "maybe"), ("True", "F")])
def test_words_for_different_answers_are_not(names: tuple[str, ...]) -> None:
    assert yes_or_no_doubts(names, "", "classes") == []


def test_folders_and_categories_that_look_alike_are_warned_of(tmp_path: Path) -> None:
    for number, name in enumerate((*TWO_CODES, "ash")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for row in range(4):
            pixels = np.random.default_rng(4 * number + row).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{row}.png")
    said = load_source(FolderSource(name="folder", path="own", size=8, channels=1), tmp_path).warnings
    assert any("classes look alike but are different texts: " in warning for warning in said)
    columns = {"wood": ["big elm", "big  elm", "ash"] * 10, "kind": ["x", "y"] * 15}
    assert any("column wood: categories look alike" in each for each in table(tmp_path, columns).warnings)


def test_several_labels_in_one_cell_are_warned_of(tmp_path: Path) -> None:
    said = of_classes(tmp_path, ["elm", "elm;tall", "ash"]).warnings
    assert any("column kind: elm;tall is read as one class; if an example may have several" in each for each in said)
    for sign in ("|", ", "):
        assert several_doubts(["elm", f"elm{sign}tall"], "", "")
    assert several_doubts(["elm; old", "ash; old"], "", "") == [], "no part of them is a class"


def test_an_annotator_of_a_table_who_spells_a_class_otherwise_is_warned_of(tmp_path: Path) -> None:
    rows = [f"{row}.5,{('zebar', 'horse')[row % 2]},{('zebra', 'horse')[row % 2]}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["size,ann,kind", *rows, ""]), encoding="utf-8")
    source = TableSource(name="table", path="t.csv", label="kind", columns={"ann": "ann"})
    assert any(
        "ann may hold misspelt classes: zebar (zebra?)" in each for each in load_source(source, tmp_path).warnings
    )


def test_numbers_are_never_taken_for_misspelt_classes() -> None:
    labels = {"y": LabelInfo("classes", ("1000000", "2000000")), "ann": LabelInfo("classes", ("1000000", "2000001"))}
    assert spelling_doubts(labels, "t.csv") == []


def test_a_number_that_leaves_the_others_no_spread_is_warned_of(tmp_path: Path) -> None:
    usual = [f"{value:.3f}" for value in np.random.default_rng(0).normal(size=40)]
    kinds = ["x", "y"] * 20
    assert not table(tmp_path, {"a": usual, "kind": kinds}).warnings
    shifted = [f"{1e6 + float(value)}" for value in usual[1:]]
    assert table(tmp_path, {"a": ["1.1e6", *shifted], "kind": kinds}).warnings, "far is by the spread, not by zero"
    few = ["1e30", *usual[1:18]]
    assert not any("so far" in each for each in table(tmp_path, {"a": few, "kind": kinds[:18]}).warnings), "too few"
    assert not table(tmp_path, {"a": ["1000", *usual[1:]], "kind": kinds}).warnings, "a high price is one"
    said = table(tmp_path, {"a": ["1e30", *usual[1:]], "kind": kinds}).warnings
    assert any("column a: 1 number lies so far from the others" in each and "1e+30" in each for each in said)


def test_very_small_numbers_are_no_column_of_one_value(tmp_path: Path) -> None:
    """Their squares are 0, so that the usual deviation is, too."""
    values = np.random.default_rng(0).normal(size=40)
    data = table(tmp_path, {"a": [f"{value:.6f}e-300" for value in values], "kind": ["x", "y"] * 20})
    assert data.encoding is not None and isinstance(column := data.encoding.columns[0], NumberColumn)
    assert not data.warnings and 0.5e-300 < column.deviation < 2e-300
    assert 0.8 < float(data.train["x"].std()) < 1.25


@pytest.mark.parametrize(
    ("names", "doubt"),
    [
        (("-0.285", "1.293", "2.1", "x"), True),  # the label is called as one of its classes is
        (("3.1", "1.293", "2.1", "kind"), True),
        (("400.5", "401", "402.5", "kind"), False),  # a spectrum
        (("402.5", "401", "400.5", "kind"), False),
        (("a", "b", "c", "2.1", "3.5", "1.2", "kind"), False),  # as many texts as numbers
        (("a", "b", "1.293", "kind"), False),
    ],
)
def test_a_row_in_the_place_of_the_names_is_warned_of(tmp_path: Path, names: tuple[str, ...], doubt: bool) -> None:
    values = np.random.default_rng(0).normal(size=(len(names) - 1, 40))
    columns = [*([f"{value:.3f}" for value in row] for row in values), ["x", "y"] * 20]
    said = table(tmp_path, dict(zip(names, columns, strict=True))).warnings
    assert [each for each in said if "if it is a row, write a line of names above it" in each] == list(said)
    assert bool(said) == doubt
