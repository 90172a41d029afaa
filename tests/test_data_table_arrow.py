"""Tables read with pyarrow are, cell for cell, those read without it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import semivae.data.formats.arrow_tables as arrow_tables
import semivae.data.formats.csv_cells as csv_cells
from semivae.data.formats.arrow_tables import ArrowCells, quick_cells
from semivae.data.formats.cell_texts import CellStyle, distinct_cells, joined_rows, numbers_of, plain_numbers
from semivae.data.inputs.columns import Column
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import TableSource

pyarrow = pytest.importorskip("pyarrow")

CELLS = ["", " ", "NA", "nan", "None", "0", "-0", "1.5", "+1.5", " 7 ", ".5", "5.", "1e5", "1e400", "inf", "1_2", "1,5"]
CELLS += ["0.30000000000000004", "9007199254740993", "4.9e-324", "٣", "\u22125", "oak", "a;b", "a\nb", 'a "b"', "Größe"]


def slowly(text: str, delimiter: str) -> tuple[list[str], list[list[str]]] | str:
    """What is read without pyarrow, or the error."""
    try:
        names, columns = csv_cells._slow_cells(text, delimiter, 0, Path("t.csv"))
    except (DataError, OSError, csv.Error) as error:
        return str(error)
    return names, [list(column) for column in columns]


def same_columns(cells: ArrowCells, texts: list[str]) -> None:
    """All questions that are asked of a column are answered alike."""
    assert list(cells) == texts and len(cells) == len(texts) and cells[-1] == texts[-1] and cells[:1] == texts[:1]
    (quick_texts, quick_codes), (slow_texts, slow_codes) = distinct_cells(cells), distinct_cells(texts)
    assert quick_texts == slow_texts and quick_codes.tolist() == slow_codes.tolist()
    for style in (CellStyle(), CellStyle(decimal="comma"), CellStyle(missing=())):
        quick, slow = Column(cells, style), Column(texts, style)
        np.testing.assert_array_equal(quick.numbers.values, slow.numbers.values)
        np.testing.assert_array_equal(np.signbit(quick.numbers.values), np.signbit(slow.numbers.values))
        np.testing.assert_array_equal(quick.numbers.kinds, slow.numbers.kinds)
        assert quick.coded.texts == slow.coded.texts and quick.coded.codes.tolist() == slow.coded.codes.tolist()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(CELLS), min_size=2, max_size=2), min_size=1, max_size=6),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_cells_are_the_same_with_and_without_pyarrow(
    rows: list[list[str]], delimiter: str, end: str, quoting: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([["x", "kind"], *rows])
    slow = slowly(text.getvalue(), delimiter)
    quick = quick_cells(text.getvalue(), delimiter)
    assert not isinstance(slow, str)
    if quick is None:  # pyarrow is not asked where lines end in two ways, one of them within a cell
        assert end == "\r\n" and any("\n" in cell for row in rows for cell in row)
        return
    assert quick[0] == slow[0]
    for cells, texts in zip(quick[1], slow[1], strict=True):
        assert isinstance(cells, ArrowCells)
        same_columns(cells, texts)
    assert joined_rows(quick[1], "\x1f") == joined_rows(slow[1], "\x1f")


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet='a1,"\n\r .;', max_size=24), st.sampled_from(",;"))
@example('a,b\n1,"5"x\n', ",")
@example('a,b\n1,"abc', ",")
@example("a,b\n\n1,2", ",")
@example('"a""",b\n"",""\n', ",")
@example('a,b\n""1"",2\n', ",")
@example('a,b\n"1""",2\n', ",")
@example("a,b\r1,2\r", ",")
@example("\r\n;", ";")
@example("a,b\n1,2\n ,\n \n", ",")
def test_whatever_pyarrow_reads_is_what_is_read_without_it(body: str, delimiter: str) -> None:
    for text in (body, f"x{delimiter}y\n{body}"):
        quick = quick_cells(text, delimiter)
        if quick is not None and len(quick[1][0]):
            names, columns = quick
            assert slowly(text, delimiter) == (names, [list(column) for column in columns])


@settings(max_examples=120, deadline=None)
@given(st.lists(st.text(alphabet="0123456789+-.eE_ infa\u0663", max_size=8), min_size=1, max_size=3))
def test_numbers_found_by_pyarrow_are_those_of_the_grammar(cells: list[str]) -> None:
    quick = plain_numbers(ArrowCells(pyarrow.array(cells)), CellStyle())
    if quick is not None:
        for found, expected in zip(quick, numbers_of(cells, CellStyle()), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_table_and_its_parquet_file_are_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as parquet

    generator = np.random.default_rng(0)
    count = 200
    numbers = generator.normal(size=count)
    whole = generator.integers(0, 50, count)
    soils, kinds = (generator.choice(names, count) for names in (["clay", "sand, wet"], ["oak", "ash"]))
    columns = {
        "x": pyarrow.array([None if row % 7 == 0 else float(number) for row, number in enumerate(numbers)]),
        "whole": pyarrow.array(whole.astype(np.int16)),
        "yes": pyarrow.array(whole > 25),
        "soil": pyarrow.array(soils.tolist()).dictionary_encode(),
        "kind": pyarrow.array([None if row % 5 == 0 else str(kind) for row, kind in enumerate(kinds)]),
    }
    parquet.write_table(pyarrow.table(columns | {"__index_level_0__": list(range(count))}), tmp_path / "t.parquet")
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "n"])
        for row in range(count):
            cells = [column[row].as_py() for column in columns.values()]
            writer.writerow(["" if cell is None else cell for cell in cells] + [row])
    source = {"name": "table", "label": "kind", "ignore": ["n"]}
    slow = load_source(TableSource.model_validate(source | {"path": "t.csv"}), tmp_path)
    monkeypatch.setattr(csv_cells, "LARGE", 0)
    quick = load_source(TableSource.model_validate(source | {"path": "t.csv"}), tmp_path)
    packed = load_source(TableSource.model_validate(source | {"path": "t.parquet", "ignore": [""]}), tmp_path)
    for other in (quick, packed):
        assert other.encoding == slow.encoding and other.classes == slow.classes
        assert all(torch.equal(other.train[name], slow.train[name]) for name in ("x", "y"))
        assert torch.equal(other.test["x"], slow.test["x"])
        assert torch.equal(other.unlabelled["x"], slow.unlabelled["x"])
    assert slow.encoding is not None and slow.encoding.columns[2].categories == ("False", "True")  # type: ignore[union-attr]


def test_parquet_files_that_cannot_be_used_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.table({"x": [[1], [2]], "kind": ["a", "b"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"column x holds list<.*>; a table holds numbers and texts"):
        csv_cells.read_cells(tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be read as a Parquet file"):
        csv_cells.read_cells(tmp_path / "t.parquet")
    monkeypatch.setattr(arrow_tables, "free_memory", lambda: 20)
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(DataError, match="unpacks to more than fits into the memory that is free, 20 bytes"):
        csv_cells.read_cells(tmp_path / "t.parquet")


def test_texts_of_parquet_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    """Damage within a page is nobody's to notice but the reader's: pages carry no checksums."""
    import pyarrow.parquet as parquet

    table = pyarrow.table({"x": [1, 2, 3], "kind": ["oak", "ash", "oak"]})
    parquet.write_table(table, tmp_path / "t.parquet", compression="none", write_statistics=False)
    content = (tmp_path / "t.parquet").read_bytes()
    assert content.count(b"ash") == 1
    (tmp_path / "t.parquet").write_bytes(content.replace(b"ash", b"as\xff"))
    with pytest.raises(DataError, match="cannot be read as a Parquet file: Invalid UTF8"):
        csv_cells.read_cells(tmp_path / "t.parquet")


def test_damaged_parquet_files_are_an_error_for_users_or_still_tables(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    columns = {"x": [row / 7 for row in range(60)], "kind": [f"k{row % 3}" for row in range(60)]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 3).tolist():
            damaged[place] = int(generator.integers(256))
        (tmp_path / "t.parquet").write_bytes(damaged)
        try:
            csv_cells.read_cells(tmp_path / "t.parquet")
        except DataError:
            refused += 1
    assert refused > 20
