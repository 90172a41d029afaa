"""Tables as people write them: read as meant, refused with advice that helps, or warned of; never wrong in silence."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.data.dataset import Dataset
from semivae.data.formats.arrow_tables import has_arrow
from semivae.data.formats.cell_texts import CellStyle, numbers_of, plain_numbers
from semivae.data.formats.csv_cells import read_cells
from semivae.data.inputs.rows import Rows
from semivae.data.inputs.table_encoding import CategoryColumn, NumberColumn
from semivae.data.sources import load_source
from semivae.errors import DataError, DataWarning
from semivae.generative.table_filling import fill_table
from semivae.recipe import read_recipe
from semivae.recipe.schema import TableSource

KINDS = ("a", "b")


def column(name: str, cells: Sequence[str], delimiter: str = ",") -> str:
    """A table of one column beside the label, and beside a number that is different in every row."""
    rows = [(KINDS[row % 2], f"{row * row}.5", cell) for row, cell in enumerate(cells)]
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in rows]
    return "\n".join(delimiter.join(row) for row in [["kind", "other", name], *quoted]) + "\n"


def read(folder: Path, text: str | bytes, **source: object) -> Dataset:
    """The data set of a table that is given as text."""
    (folder / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    asked = {"name": "table", "path": "t.csv", "label": "kind"} | source
    return load_source(TableSource.model_validate(asked), folder)


def fitted(data: Dataset, name: str) -> NumberColumn | CategoryColumn:
    assert data.encoding is not None
    return next(found for found in data.encoding.columns if found.name == name)


def warned(data: Dataset, *words: str) -> bool:
    """Whether one warning holds all words."""
    return any(all(word in warning for word in words) for warning in data.warnings)


# What is a number ----------------------------------------------------------------------------------------------------


def test_decimal_commas_are_numbers_where_the_recipe_says_so(tmp_path: Path) -> None:
    text = column("size", [f"{row},5" for row in range(40)], ";").replace(".5;", ",5;")
    size = fitted(read(tmp_path, text, decimal="comma"), "size")
    assert isinstance(size, NumberColumn) and not size.may_miss and 15 < size.mean < 25
    with pytest.raises(DataError, match=r"'0\.5' is no finite number"):
        (tmp_path / "test.csv").write_text("kind;other;size\na;1,5;0.5\n")
        read(tmp_path, text, decimal="comma", test="test.csv")
    many = column("size", [f"{row},25" for row in range(120)], ";")
    with pytest.raises(DataError, match=r"120 different texts, such as 0,25.* write source.decimal: comma"):
        read(tmp_path, many, test="t.csv")


def test_grouped_thousands_are_numbers_where_the_recipe_says_so_and_warned_of_where_not(tmp_path: Path) -> None:
    text = column("price", [f"1,{100 + row}.50" for row in range(40)])
    assert warned(read(tmp_path, text), "column price is taken for", "1,100.50", "source.thousands: comma")
    price = fitted(read(tmp_path, text, thousands="comma"), "price")
    assert isinstance(price, NumberColumn) and 1100 < price.mean < 1140
    for mark, form in (("space", "1 {}"), ("apostrophe", "1'{}"), ("space", "1\u202f{}")):
        grouped = column("price", [form.format(100 + row) for row in range(40)])
        assert isinstance(fitted(read(tmp_path, grouped, thousands=mark), "price"), NumberColumn)
        assert warned(read(tmp_path, grouped), "column price is taken for", "source.thousands: space")
    german = column("price", [f"1.{100 + row},5" for row in range(40)], ";").replace(".5;", ",5;")
    price = fitted(read(tmp_path, german, decimal="comma", thousands="point"), "price")
    assert isinstance(price, NumberColumn) and 1100 < price.mean < 1140
    with pytest.raises(ValueError, match="a comma cannot both group digits and part fractions"):
        read(tmp_path, text, decimal="comma", thousands="comma")


@pytest.mark.parametrize("wrong", ["1,16", "1,1634", "11,63.5", ",163", "1,163,5"])
def test_groups_of_other_than_three_digits_are_no_number(wrong: str) -> None:
    style = CellStyle(thousands="comma")
    assert style.number(wrong) is None and style.number("-1,234,567.5e3") == -1234567.5e3


@pytest.mark.parametrize("mark", ["None", "-", "#N/A", "<NA>", "#DIV/0!", "unknown", "n.a."])
def test_numbers_with_marks_of_a_missing_one_among_them_stay_numbers(tmp_path: Path, mark: str) -> None:
    data = read(tmp_path, column("size", [mark if row % 4 == 0 else f"{row}" for row in range(40)]))
    size = fitted(data, "size")
    assert isinstance(size, NumberColumn) and size.may_miss and size.mean > 15
    said = warned(data, "column size is of numbers", mark, "missing", "source.categorical")
    assert said == (mark in ("None", "-", "unknown", "n.a."))  # the others can mean nothing else


@pytest.mark.parametrize(
    ("form", "advice"),
    [
        ("{} cm", "its unit in the column's name"),
        ("{}cm", "its unit in the column's name"),
        ("${}.00", "the currency in the column's name"),
        ("{} €", "the currency in the column's name"),
        ("{}%", "the percent sign in the column's name"),
        ("2024-01-{}", "dates and times are not read"),
        ("{}.3.2024", "dates and times are not read"),
        ("{}:30", "dates and times are not read"),
    ],
)
def test_a_text_in_each_cell_that_may_be_a_number_is_warned_of(tmp_path: Path, form: str, advice: str) -> None:
    cells = [form.format(10 + row) for row in range(40)]
    assert warned(read(tmp_path, column("size", cells)), "taken for", "not for numbers", advice)
    assert not warned(read(tmp_path, column("size", cells), categorical=["size"]), "column size")


def test_a_quarter_of_texts_among_numbers_is_warned_of(tmp_path: Path) -> None:
    cells = [f"word{row}" if row % 4 == 0 else f"{row}" for row in range(40)]
    assert warned(read(tmp_path, column("size", cells)), "column size is taken for", "cells such as word")


def test_a_few_categories_that_begin_with_a_digit_are_categories_without_a_word(tmp_path: Path) -> None:
    data = read(tmp_path, column("memory", ["4GB", "8GB", "16GB", "yes"] * 10))
    assert isinstance(fitted(data, "memory"), CategoryColumn) and not warned(data, "memory")


def test_underscores_between_digits_make_a_text(tmp_path: Path) -> None:
    site = fitted(read(tmp_path, column("site", ["1_2", "3_4"] * 20)), "site")
    assert isinstance(site, CategoryColumn) and site.categories == ("1_2", "3_4")
    assert [CellStyle().number(cell) for cell in ("1_2", "٣", "0x10", "1e5", "\u22125", "+.5", "5.", " 7 ")] == [
        None, None, None, 1e5, -5.0, 0.5, 5.0, 7.0,
    ]  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.lists(st.text(alphabet="0123456789+-.eE_ infa\u0663", max_size=8), min_size=1, max_size=3))
@example(["1", "1_2"])
@example(["1", "\u0663"])
@example(["1", "nan"])
def test_numbers_found_quickly_are_those_of_the_grammar(cells: list[str]) -> None:
    quick = plain_numbers(cells, CellStyle())
    if quick is not None:
        for found, expected in zip(quick, numbers_of(cells, CellStyle()), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_texts_of_which_most_occur_once_and_counts_of_rows_are_warned_of(tmp_path: Path) -> None:
    names = column("name", [f"name {chr(97 + row)}" for row in range(26)] + ["of many"] * 4)
    assert warned(read(tmp_path, names), "column name", "different texts, of which", "source.ignore: [name]")
    assert warned(
        read(tmp_path, column("id", [f"{row + 1}" for row in range(40)])), "column id counts the rows", "1, 2, 3"
    )


def test_categories_that_differ_in_capitals_alone_are_warned_of(tmp_path: Path) -> None:
    data = read(tmp_path, column("soil", ["Clay", "clay", "sand", "sand "] * 10))
    assert warned(data, "column soil", "capital letters: Clay, clay") and fitted(data, "soil").width == 3


# How a file is written -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"a;b","c;d;e",kind\n1,2,u\n5,3,v\n', ["a;b", "c;d;e", "kind"]),
        ('"a, in m";b;kind\n1;2;u\n5;3;v\n', ["a, in m", "b", "kind"]),
        ("a, in m;b;kind\n1;2;u\n5;3;v\n", ["a, in m", "b", "kind"]),
        ("x;y;kind\n3,5;2,1;u\n1,5;2,2;v\n", ["x", "y", "kind"]),
        ("sep=;\nx;y;kind\n1;2;u\n", ["x", "y", "kind"]),
        ("\ufeffsep=;\r\nx;y;kind\r\n1;2;u\r\n", ["x", "y", "kind"]),
        ("sep=:\nx:y:kind\n1:2:u\n", ["x", "y", "kind"]),
        ('"sep=;"\n"x";"kind"\n"1";"u, or v"\n', ["x", "kind"]),
        ('"kind";"b, c"\n"u";"1,5"\n', ["kind", "b, c"]),
        ("x|y|kind\n1|2|u\n", ["x", "y", "kind"]),
        ("x\ty, z\tkind\n1\t2\tu\n", ["x", "y, z", "kind"]),
        ('"x ""big""",kind\n1,"u, \n v"\n', ['x "big"', "kind"]),
        ("\r\n\nx,kind\r1,u\r", ["x", "kind"]),
        ("x,kind,\n1,u,\n2,v,\n", ["x", "kind"]),
        ("x,kind,\n1,u\n2,v\n", ["x", "kind"]),
        ("x,kind\n1,u,\n2,v,\n", ["x", "kind"]),
    ],
)
def test_names_and_cells_are_parted_as_written(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "t.csv").write_text(text, newline="")
    cells = read_cells(tmp_path / "t.csv")
    assert list(cells) == names and cells["kind"][0].startswith("u")
    assert next(cells[name][0] for name in names if name != "kind") in ("1", "1,5", "3,5")


def test_utf_16_with_its_mark_is_read_and_other_encodings_are_refused_with_the_way_out(tmp_path: Path) -> None:
    text = "größe\tkind\n1\tu\n2\tv\n"
    for encoding in ("utf-16", "utf-8", "utf-8-sig"):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        assert list(read_cells(tmp_path / "t.csv")) == ["größe", "kind"]
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"no UTF-8 text; .* iconv -f WINDOWS-1252 -t UTF-8 t.csv"):
        read_cells(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(text.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"no UTF-8 text|zero bytes"):
        read_cells(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04...", "a workbook or an archive; save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0...", "an old Excel workbook"),
        (b"\x1f\x8b...", "compressed by gzip; unpack it"),
        (b"PAR1\x15\0", "a Parquet file; call it so"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"x,kind\n1,u\n\n2,v\n", "t.csv:3 is an empty line among the rows; remove it, or"),
        (b'x,kind\n"1,u\n2,v\n', "t.csv:2: the quotes of the row that starts here do not match"),
        (b'x,kind\n"5" pipe,u\n2,v\n', "t.csv:2: the quotes .* write a quote within a cell twice"),
        (b"x,kind\n1,2,u\n3,4,v\n", "each row has 3 cells, but the first line names 2 columns; .* names of rows"),
        (b"x,kind\n1,u\n2\n", "t.csv:3: 1 cell; the first line names 2 columns$"),
        (b"# made by hand\nx,kind\n1,u\n", "t.csv:2: 2 cells; the first line names 1 column; remove the lines above"),
        (b"x,kind,,z\n1,u,3,4\n", "column 3 has no name"),
        (b"5.1,3.5,3.5\n4.9,3.0,a\n", "two columns are called 3.5.* the first line seems to be a row"),
    ],
)
def test_files_that_cannot_be_read_are_refused_with_advice(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_cells(tmp_path / "t.csv")


@pytest.mark.skipif(has_arrow(), reason="pyarrow is installed")
def test_parquet_without_pyarrow_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"takes pyarrow; install it with pip install 'semivae\[tables\]', or save the"):
        read_cells(tmp_path / "t.parquet")


def test_slips_in_names_are_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column Kind \(source.label\); it has x, kind; did you mean kind\?"):
        read(tmp_path, labelled(["a", "b"]), label="Kind")
    with pytest.raises(DataError, match=r"there is no file .*/T.csv \(source.path\); t.csv lies there; correct it"):
        read(tmp_path, labelled(["a", "b"]), path="T.csv")
    with pytest.raises(DataError, match=r"\(source.test\); correct it, or give --data-root"):
        read(tmp_path, labelled(["a", "b"]), test="nothing/like/it.csv")


def test_a_file_without_a_line_of_names_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column kind .* the first line seems to be a row: add a line of names"):
        read(tmp_path, "5.1,3.5,setosa\n4.9,3.0,setosa\n")


def test_the_index_that_pandas_writes_is_left_out_with_a_warning_unless_the_recipe_names_it(tmp_path: Path) -> None:
    rows = "".join(f"{row},{row % 7},{KINDS[row % 2]}\n" for row in range(40))
    for first in ("", '""'):
        data = read(tmp_path, f"{first},x,kind\n{rows}")
        assert data.shape == (1,) and warned(data, "first column has no name and is left out", 'source.ignore: [""]')
    assert not warned(read(tmp_path, f",x,kind\n{rows}", ignore=[""]), "first column")
    again = read(tmp_path, f"Unnamed: 0,x,kind\n{rows}")  # read and written once more
    assert warned(again, "column Unnamed: 0 counts the rows")


# Which rows there are ------------------------------------------------------------------------------------------------


def test_rows_that_hold_nothing_are_rows_and_left_out_of_training_with_a_warning(tmp_path: Path) -> None:
    text = "a,b,kind\n0,0,u\n,,\n5,-3,v\n1,1,u\n2,2,v\n,,\n"
    (tmp_path / "t.csv").write_text(text)
    assert [list(column) for column in read_cells(tmp_path / "t.csv").values()] == [
        ["0", "", "5", "1", "2", ""], ["0", "", "-3", "1", "2", ""], ["u", "", "v", "u", "v", ""],
    ]  # fmt: skip
    data = read(tmp_path, text)
    assert data.unlabelled == {} and warned(data, "2 rows hold nothing (the first is row 1) and are left out")
    (tmp_path / "t.csv").write_text("a\tkind\n1\tu\n\t\n \n\n")
    assert list(read_cells(tmp_path / "t.csv")["a"]) == ["1", ""]
    (tmp_path / "t.csv").write_text('x\n1\n""\n3\n')
    assert list(read_cells(tmp_path / "t.csv")["x"]) == ["1", "", "3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("meaning")
    rows = [f"{row % 2 * 9},{row:02};{'clay' if row % 3 else 'sand'};{KINDS[row % 2]}" for row in range(60)]
    (folder / "t.csv").write_text("\n".join(["size;soil;kind", *rows]) + "\n")
    recipe = read_recipe("table", [
        "source={name: table, path: t.csv, label: kind, decimal: comma}", "training.steps=2", "training.twin=false",
    ])  # fmt: skip
    return semivae.train(recipe, out=folder / "run", data_root=folder, device="cpu")


def command(*arguments: object) -> tuple[list[dict[str, str]], str]:
    shown = CliRunner().invoke(app, [*map(str, arguments)])
    assert shown.exit_code == 0, shown.output
    return list(csv.DictReader(shown.stdout.splitlines())), shown.stderr


def test_predictions_are_as_many_as_rows_and_carry_their_numbers(run: Run, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("size;soil\n0,5;clay\n;\n9,5;sand\n")
    rows, said = command("predict", run.path, tmp_path / "new.csv")
    assert [row["name"] for row in rows] == ["0", "1", "2"] and {row["label"] for row in rows} <= set(KINDS)
    assert "note:" in said and "all cells that were learnt from are missing in row 1;" in said
    assert "column size: cells are missing in 1 row, as none was in training" in said
    filled = fill_table(run, tmp_path / "new.csv", draws=2, rounds=2)
    assert filled.filled == {"size": 1, "soil": 1} and len(filled.cells["size"]) == 3
    assert filled.cells["size"][1].replace(",", "").lstrip("-").isdigit()  # with a comma, as the table has it


def test_a_decimal_comma_in_predict_is_answered_with_what_can_be_done_then(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,kind\n" + "".join(f"{row}.5,{'ab'[row % 2]}\n" for row in range(20)))
    encoding = load_source(TableSource(name="table", path="t.csv", label="kind"), tmp_path).encoding
    assert encoding is not None
    (tmp_path / "new.csv").write_text("size;more\n1,5;2\n")
    with pytest.raises(
        DataError, match=r"'1,5' is no finite number; if the comma is a decimal one, train with source.dec"
    ):
        Rows((1,), encoding).read(tmp_path / "new.csv")
    (tmp_path / "x.png").write_bytes(b"")
    for images in (tmp_path / "x.png", tmp_path):
        with pytest.raises(
            DataError, match=r"the model takes rows of a table, not images; give a .csv, .npy or .npz file"
        ):
            Rows((1,), encoding).read(images)


def test_texts_that_were_in_no_training_row_are_warned_of_in_predict(run: Run, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("size;soil\n0,5;Clay\n-;peat\n9,5;sand\n")
    _, said = command("predict", run.path, tmp_path / "new.csv")
    assert "2 rows hold texts of no training row" in said and "Clay, peat; those are clay, sand" in said
    assert "- (in 1 row) is read as a missing number" in said
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        run.read(tmp_path / "new.csv")
        fill_table(run, tmp_path / "new.csv", draws=2, rounds=2)
    assert len(found) == 5 and all(issubclass(each.category, DataWarning) for each in found)
    (tmp_path / "new.csv").write_text("size;soil\n0.5;clay\n")
    with pytest.raises(DataError, match=r"row 0, column size: '0\.5' is no finite number"):
        run.read(tmp_path / "new.csv")


# Labels --------------------------------------------------------------------------------------------------------------


def test_what_is_to_be_known_of_the_data_is_warned_of_in_python_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(labelled(["cat"] * 30 + ["dog"]))
    changes = ["source={name: table, path: t.csv, label: kind}", "training.steps=1", "training.twin=false"]
    with pytest.warns(DataWarning, match="the test part has no example of dog"):
        semivae.train("table", set=changes, out=tmp_path / "run", data_root=tmp_path, device="cpu")


def labelled(labels: Sequence[str]) -> str:
    return "x,kind\n" + "".join(f"{row * row},{label}\n" for row, label in enumerate(labels))


@pytest.mark.parametrize("mark", ["NA", "null", "NaN"])
def test_a_class_that_reads_as_missing_is_said_and_can_be_one(tmp_path: Path, mark: str) -> None:
    text = labelled(["oak", "ash", mark] * 10)
    data = read(tmp_path, text)
    assert data.classes == ("ash", "oak") and len(data.unlabelled["x"]) == 10
    assert warned(data, f"rows whose kind is {mark} are read as unlabelled", "source.missing")
    data = read(tmp_path, text, missing=["?"])
    assert mark in data.classes and not data.unlabelled and not warned(data, "unlabelled")


@pytest.mark.parametrize("mark", ["-1", "unknown", "Unlabelled", "None", "-"])
def test_marks_of_no_label_are_warned_of_and_can_be_named(tmp_path: Path, mark: str) -> None:
    text = labelled(["0", "1", mark] * 10)
    data = read(tmp_path, text)
    assert mark in data.classes and warned(data, f"{mark} is read as a class", "source.unlabelled")
    data = read(tmp_path, text, unlabelled=[mark])
    assert data.classes == ("0", "1") and len(data.unlabelled["x"]) == 10 and not warned(data, "is read as a class")
    assert not warned(read(tmp_path, text, unlabelled=[]), "is read as a class")
    (tmp_path / "test.csv").write_text(f"x,kind\n0.5,1\n1.5,{mark}\n")
    data = read(tmp_path, text, unlabelled=[mark], test="test.csv")
    assert data.test["y"].tolist() == [1] and warned(data, "1 row has no kind and is not tested on")


def test_two_classes_called_minus_one_and_one_are_classes_without_a_word(tmp_path: Path) -> None:
    data = read(tmp_path, labelled(["-1", "1"] * 10))
    assert data.classes == ("-1", "1") and data.warnings == ()


def test_whole_numbers_that_pandas_wrote_with_a_point_are_called_by_the_number(tmp_path: Path) -> None:
    data = read(tmp_path, labelled(["1.0", "2.0", ""] * 10))
    assert data.classes == ("1", "2") and warned(data, "1.0 is called class 1")
    assert read(tmp_path, labelled(["0.5", "1.0"] * 10)).classes == ("0.5", "1.0")


def test_classes_that_differ_in_capitals_alone_are_warned_of(tmp_path: Path) -> None:
    assert warned(read(tmp_path, labelled(["Oak", "oak", "ash"] * 10)), "differ only in capital letters: Oak, oak")


def test_a_rare_class_that_is_never_tested_is_warned_of(tmp_path: Path) -> None:
    data = read(tmp_path, labelled(["cat"] * 30 + ["dog"]))
    assert warned(data, "the test part has no example of dog")


def test_examples_in_train_and_test_or_in_two_classes_are_warned_of(tmp_path: Path) -> None:
    text = labelled(["cat", "dog"] * 10)
    assert read(tmp_path, text).warnings == ()
    assert warned(read(tmp_path, text, test="t.csv"), "20 of 20 test examples are also among those to train on")
    data = read(tmp_path, text + "0,dog\n4,cat\n9,cat\n")
    assert warned(data, "labelled examples are equal to one of another class, such as cat, dog")
    assert np.isin(data.test["x"].numpy(), data.train["x"].numpy()).sum() == 0 or warned(data, "test examples are also")
