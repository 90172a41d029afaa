"""Tables as they come out of other programs: what is joined, quoted, parted or saved in another way than is usual."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from semivae.data.dataset import Dataset
from semivae.data.formats import csv_cells
from semivae.data.formats.csv_cells import read_cells
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import TableSource

ROWS = [f"{row},{row % 7}.5,{'oak' if row % 2 else 'ash'}" for row in range(30)]
NAMES = "a,b,label"


def load(folder: Path, text: str | bytes, **options: object) -> Dataset:
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_source(
        TableSource.model_validate({"name": "table", "path": "t.csv", "label": "label", **options}), folder
    )


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("again", [NAMES, f"\ufeff{NAMES}", " a , b , label "])
def test_names_that_are_repeated_among_the_rows_are_refused(tmp_path: Path, again: str) -> None:
    """As `cat a.csv b.csv` leaves them; else `label` would be a class, and all numbers categories."""
    with pytest.raises(DataError, match=r"row 30 repeats the names of the columns, as where files were joined; remove"):
        load(tmp_path, lines(NAMES, *ROWS, again, *ROWS))
    with pytest.raises(DataError, match=r"row 0 repeats .* and 1 other row too"):
        load(tmp_path, lines("kind,label", "kind,label", "x,a", "kind,label", "y,b"))


def test_a_row_that_holds_one_name_is_a_row(tmp_path: Path) -> None:
    assert load(tmp_path, lines("kind,label", *["kind,x", "other,label"] * 9)).labels["y"].classes == ("label", "x")


def test_repeated_names_are_found_in_large_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which pyarrow reads, where it is there."""
    monkeypatch.setattr(csv_cells, "LARGE", 10)
    with pytest.raises(DataError, match="row 30 repeats the names"):
        load(tmp_path, lines(NAMES, *ROWS, NAMES, *ROWS))


@pytest.mark.parametrize("large", [10, 10**9])
def test_spaces_before_quotes_belong_to_no_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int) -> None:
    monkeypatch.setattr(csv_cells, "LARGE", large)
    rows = [f'{row}, "{row % 3}", "{"oak, red" if row % 2 else "ash"}"' for row in range(30)]
    data = load(tmp_path, lines('a, "b", "label"', *rows))
    assert data.labels["y"].classes == ("ash", "oak, red") and data.encoding is not None
    assert [column.name for column in data.encoding.columns] == ["a", "b"]
    # a comma, a space and a quote within a cell are left as they are
    (tmp_path / "q.csv").write_text('a,b\n"he said, ""no""",1\n')
    assert list(read_cells(tmp_path / "q.csv")["a"]) == ['he said, "no"']


def test_marks_at_the_beginning_and_the_end_are_no_text(tmp_path: Path) -> None:
    mark = "\ufeff".encode()
    for text in (mark * 2 + lines(NAMES, *ROWS).encode(), lines(NAMES, *ROWS).encode() + b"\x1a"):
        data = load(tmp_path, text)
        assert data.encoding is not None and [column.name for column in data.encoding.columns] == ["a", "b"]
        assert len(data.train["y"]) + len(data.test["y"]) == len(ROWS)


@pytest.mark.parametrize("sign", ["^", "~", ":", "#"])
def test_what_parts_cells_can_be_said(tmp_path: Path, sign: str) -> None:
    text = lines(NAMES, *ROWS).replace(",", sign)
    with pytest.raises(DataError, match=r"has no column label .* write the line sep=.* above the names") as error:
        load(tmp_path, text)
    advice = str(error.value).partition("write the line ")[2].removesuffix(" above the names")
    assert load(tmp_path, f"{advice}\n{text}").labels["y"].classes == ("ash", "oak"), "the advice can be followed"


def test_spaces_and_unseen_signs_that_part_cells_are_named(tmp_path: Path) -> None:
    for sign, said in (("  ", "parted by spaces"), ("\x01", r"parted by '\\x01'")):
        with pytest.raises(DataError, match=f"{said}, write commas or tabs in their place"):
            load(tmp_path, lines(NAMES, *ROWS).replace(",", sign))


def test_a_row_of_another_length_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r":4: 1 cell; the first line names 3 columns; if it is a comment, remove it"):
        load(tmp_path, lines(NAMES, *ROWS[:2], "# checked by Ann", *ROWS[2:]))
    rows = [f"{row},{row % 3},'{'oak, red' if row % 2 else 'ash, white'}'" for row in range(30)]
    with pytest.raises(DataError, match="between double quotes: write them in place of the single ones"):
        load(tmp_path, lines(NAMES, *rows))


def test_an_endless_number_is_shown_as_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 3, column b: '1e400' is no finite number"):
        load(tmp_path, lines(NAMES, *ROWS[:3], "3,1e400,oak", *ROWS[4:]))


def test_names_of_columns_are_quoted_where_yaml_asks_for_it(tmp_path: Path) -> None:
    data = load(tmp_path, lines("Unnamed: 0,b,label", *ROWS))
    (advice,) = [warning for warning in data.warnings if "counts the rows" in warning]
    said = YAML(typ="safe").load("{" + advice.partition("source.")[2] + "}")
    assert said == {"ignore": ["Unnamed: 0"]}
    assert not any(
        "counts" in warning for warning in load(tmp_path, lines("Unnamed: 0,b,label", *ROWS), **said).warnings
    )


@pytest.mark.parametrize("name", ["M\ufffdnchen", "M\u00c3\u00bcnchen", "na\u00c3\u00afve"])
def test_letters_of_a_wrong_encoding_are_warned_of(tmp_path: Path, name: str) -> None:
    rows = [f"{row % 9},{kind}" for kind in (name, "M\u00fcnster", "\u00c3") for row in range(9)]
    (said,) = [text for text in load(tmp_path, lines("a,label", *rows)).warnings if "wrong encoding" in text]
    assert name in said and "M\u00fcnster" not in said


@pytest.mark.parametrize(
    ("names", "doubtful"),
    [
        (("0", "1", "255"), "255"),
        (("1", "2", "99"), "99"),
        (("0", "255"), ""),
        (("5", "6", "99"), ""),
        (("0", "1", "98"), ""),
    ],
)
def test_a_class_far_from_the_others_may_mean_no_label(tmp_path: Path, names: tuple[str, ...], doubtful: str) -> None:
    rows = [f"{row % 9}.5,{name}" for name in names for row in range(9)]
    said = [text for text in load(tmp_path, lines("a,label", *rows)).warnings if "is read as a class" in text]
    assert bool(said) is bool(doubtful) and all(f": {doubtful} is read" in text for text in said)


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        ([f"/home/me/cat_{row}.png" for row in range(9)], "or choose another label"),
        ([f"{row}.25" for row in range(9)], "If they are numbers that measure something"),
    ],
)
def test_labels_of_which_each_occurs_once_are_refused_with_what_fits(
    tmp_path: Path, names: list[str], advice: str
) -> None:
    with pytest.raises(DataError, match=rf"every class has only one, such as {names[0][:3]}.*{advice}"):
        load(tmp_path, lines("a,label", *(f"{row},{name}" for row, name in enumerate(names))))


@pytest.mark.parametrize("name", ["label_code", "is oak"])
def test_a_column_that_says_the_label_is_warned_of(tmp_path: Path, name: str) -> None:
    """Nothing but the label is learnt from it, and new rows lack it."""
    rows = [f"{row % 3},{row % 7},{['oak', 'ash', 'elm'][row % 3]}" for row in range(30)]
    (said,) = [text for text in load(tmp_path, lines(f"{name},b,label", *rows)).warnings if "in other words" in text]
    ignore = YAML(typ="safe").load("{" + said.partition("source.")[2].partition(" if ")[0] + "}")
    assert ignore == {"ignore": [name]}
    other = [*rows, "2,1,oak"]  # one row in which it says another class
    for few in (other, rows[:15], [row.replace("2,", "1,", 1) for row in rows], [f",{row}" for row in other]):
        head = f"{name},b,label" if not few[0].startswith(",") else f"k,{name},b,label"
        assert not any("in other words" in text for text in load(tmp_path, lines(head, *few)).warnings)


@pytest.mark.parametrize(
    ("cell", "advice"),
    [
        ("2024-01-05", "write a number, such as days"),
        ('"1,5"', "write numbers as 3.5, with a point"),
        ("5 cm", "write the number alone, and its unit in the column's name"),
        ("5%", "write the number alone, and the percent sign"),
        ("x", "correct it, or name it in source.unlabelled"),
        ("1e400", "'1e400' is no finite number; empty the cell"),
    ],
)
def test_labels_that_are_no_numbers_are_refused_with_what_helps(tmp_path: Path, cell: str, advice: str) -> None:
    rows = [f"{row % 7},{row}.5" for row in range(30)]
    with pytest.raises(DataError, match=rf"row 30.*{advice}"):
        load(tmp_path, lines("a,label", *rows, f"1,{cell}"), kinds={"y": "numbers"})


@pytest.mark.parametrize(
    ("head", "hint"),
    [("A,b", r"did you mean A\?"), ("1,2", "the first line seems to be a row"), ("a^b", r"parted by '\^'")],
)
def test_rows_to_predict_without_a_column_say_what_may_be_meant(tmp_path: Path, head: str, hint: str) -> None:
    encoding = load(tmp_path, lines(NAMES, *ROWS)).encoding
    assert encoding is not None
    (tmp_path / "p.csv").write_text(lines(head, re.sub(r"\w+", "3", head)))
    with pytest.raises(DataError, match=f"has no column .*; {hint}|{hint}"):
        encoding.read(read_cells(tmp_path / "p.csv"), "p.csv")
