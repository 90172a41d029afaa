"""Tables, arrays and rows: odd cells, odd types, then damage to their bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.fuzz.damage import PIECES, damaged, edited, signs
from semivae.data.sources import load_source
from semivae.recipe.schema import ArraysSource, TableSource

if TYPE_CHECKING:
    from semivae.api import Run

CELLS = ("", " ", "NA", "nan", "?", "0", "-0", "1.5", "+7", " 7 ", ".5", "1e5", "1e400", "inf", "1,5", "1.163,50",
         "1_2", "\u22125", "\u0663", "oak", "a;b", "a\nb", 'a "b"', "Größe", "#N/A", "TRUE", "2026-11-28",
         "01")  # fmt: skip
NAMES = ("length", "width", "site", "é", "a b", "Kind", "1", "null", "age", "", "kind ")
TYPES = ("u1", "i1", "i2", "i8", "u8", "f2", "f4", "f8", "?", "U3", "S3", "c8", "M8[D]", ">f4", "O")


def table(draw: Random) -> str:
    """The text of a table: columns of numbers, words and anything, in any dialect."""
    columns = draw.sample(NAMES if draw.random() < 0.2 else NAMES[:-2], draw.randrange(1, 5))
    columns += ["kind"] if draw.random() < 0.97 else []
    rows = [columns]
    odd = draw.choice((0.0, 0.0, 0.02, 0.3))
    few = draw.choice((0.0, 0.0, 0.0, 0.01))
    for number in range(draw.choice((0, 1, 3, 20, 40, 40, 40, 60))):
        row = [_cell(draw, name, number) if draw.random() >= odd else draw.choice(CELLS) for name in columns]
        rows.append(row if draw.random() >= few else row[: draw.randrange(len(row) + 1)])
    delimiter, ending = draw.choice((",", ",", ";", "\t", "|")), draw.choice(("\n", "\n", "\r\n", "\r"))
    quote = draw.random() < 0.9
    return ending.join(delimiter.join(quoted(cell, delimiter) if quote else cell for cell in row) for row in rows)


def _cell(draw: Random, name: str, number: int) -> str:
    if name == "kind":
        return draw.choice(("oak", "ash", "elm", ""))
    return draw.choice("abc") if name == "site" else f"{draw.gauss(3, 1):.{number % 4}f}"


def quoted(cell: str, delimiter: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in (delimiter, '"', "\n")) else cell


def table_file(draw: Random, path: Path) -> None:
    """Writes a table as .csv, with damage half the time."""
    text = table(draw)
    text = text if draw.random() < 0.5 else edited(draw, text, 3)
    content = text.encode(draw.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "latin-1")), errors="replace")
    path.write_bytes(content if draw.random() < 0.8 else damaged(draw, content, 3))


class Tables:
    """Tables as .csv through their reader, with options of the source."""

    name = "tables"

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        table_file(draw, folder / "table.csv")
        options: dict[str, Any] = {}
        if draw.random() < 0.2:
            options["ignore"] = tuple(draw.sample([name for name in NAMES if name != "kind"], 2))
        if draw.random() < 0.2:
            options["categorical"] = (draw.choice(NAMES),)
        if draw.random() < 0.2:
            options |= draw.choice(
                ({"decimal": "comma"}, {"decimal": "comma", "thousands": "point"}, {"thousands": "space"})
            )
        if draw.random() < 0.1:
            options |= {"missing": (draw.choice(CELLS),), "unlabelled": ("oak", draw.choice(CELLS))}
        if draw.random() < 0.2:
            table_file(draw, folder / "test.csv")
            options["test"] = "test.csv"
        source = TableSource(name="table", path="table.csv", label="kind", **options)
        (folder / "source.txt").write_text(repr(source), encoding="utf-8")
        return lambda: _loaded(source, folder)


class ParquetTables:
    """Tables as .parquet through their reader."""

    name = "parquet"

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        import pyarrow
        import pyarrow.parquet

        count = draw.choice((0, 1, 30, 40, 60))
        columns: dict[str, Any] = {name: self._column(draw, count) for name in draw.sample(NAMES[:-2], 3)}
        columns["kind"] = pyarrow.array([draw.choice(("oak", "ash", None)) for _ in range(count)], "string")
        if draw.random() < 0.2:
            columns["kind"] = self._column(draw, count)
        content = io.BytesIO()
        pyarrow.parquet.write_table(
            pyarrow.table(columns), content, compression=draw.choice(("none", "snappy", "gzip", "zstd"))
        )
        (folder / "table.parquet").write_bytes(damaged(draw, content.getvalue(), draw.choice((0, 1, 2))))
        source = TableSource(name="table", path="table.parquet", label="kind")
        return lambda: _loaded(source, folder)

    def _column(self, draw: Random, count: int) -> Any:
        """A column of some type, some of it missing."""
        import pyarrow

        missing = draw.choice((0.0, 0.0, 0.2, 1.0))
        numbers = [None if draw.random() < missing else draw.randrange(100) for _ in range(count)]

        def made(change: Callable[[int], Any], kind: Any) -> Any:
            return pyarrow.array([None if each is None else change(each) for each in numbers], kind)

        kinds: list[Callable[[], Any]] = [
            lambda: made(int, draw.choice(("int8", "int64", "uint64", "float32", "date32"))),
            lambda: made(np.float16, pyarrow.float16()),
            lambda: made(lambda each: draw.choice((each / 7, float("nan"), float("inf"), 1e300)), "float64"),
            lambda: made(bool, "bool"),
            lambda: made(lambda _: draw.choice(CELLS), draw.choice(("string", "large_string"))),
            lambda: made(lambda _: draw.choice(CELLS), "string").dictionary_encode(),
            lambda: made(lambda each: bytes([each]), "binary"),
            lambda: made(lambda each: [each], pyarrow.list_(pyarrow.int8())),
            lambda: made(int, pyarrow.timestamp(draw.choice(("s", "ns")))),
            lambda: pyarrow.nulls(count),
        ]
        return draw.choice(kinds)()


class Arrays:
    """NumPy's .npz through its reader."""

    name = "arrays"

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        count, side = draw.choice((0, 1, 3, 20, 30, 30)), draw.choice((1, 4, 8))
        shape = draw.choice(
            ((count, side, side), (count, side, side, 3), (count, 3, side, side), (count, side), (count,))
        )
        arrays = {"x": odd_array(draw, shape)}
        label = draw.choice(("y", "y", "y", "s"))
        arrays[label] = odd_array(draw, (count,) if label == "y" else (count, side, side), labels=True)
        more = [["x_test", f"{label}_test"], ["x_unlabelled"], ["s_alone"], ["more"], ["x_test"], [f"{label}_test"]]
        for name in [name for names in draw.sample(more, draw.choice((0, 0, 0, 1, 2))) for name in names]:
            arrays[name] = odd_array(draw, shape if name.startswith("x") else (count,), labels=name[0] in "ys")
        content = io.BytesIO()
        (np.savez if draw.random() < 0.7 else np.savez_compressed)(content, **arrays)
        (folder / "arrays.npz").write_bytes(damaged(draw, content.getvalue(), draw.choice((0, 0, 2, 5))))
        options: dict[str, Any] = {}
        if draw.random() < 0.2:
            options = draw.choice(
                ({"size": 4}, {"void": 255}, {"classes": ("a", "b", "c")}, {"keys": {"x": ("x", "x_test")}})
            )
        source = ArraysSource(name="arrays", path="arrays.npz", **options)
        (folder / "source.txt").write_text(repr(source), encoding="utf-8")
        return lambda: _loaded(source, folder)


def odd_array(draw: Random, shape: Sequence[int], labels: bool = False) -> Any:
    """An array of this shape, or nearly, of any type; of labels, a few numbers or names."""
    if draw.random() < 0.05:
        shape = (*shape, draw.choice((0, 1, 2)))
    size = int(np.prod(shape))
    kind = draw.choice(("u1", "i8", "U3") if labels and draw.random() < 0.7 else ("u1", "f4") * 9 + TYPES)
    bytes_ = np.frombuffer(draw.randbytes(size), np.uint8)
    letter = np.dtype(kind).kind
    if letter in "US":
        return np.array(["abc"[each % 3] for each in bytes_], kind).reshape(shape)
    values = (bytes_ % 3 if labels else bytes_).astype(np.float64)
    values = values / 255 if letter == "f" and draw.random() < 0.7 else values
    if letter == "f" and size and draw.random() < 0.1:
        values[draw.randrange(size)] = draw.choice((np.nan, np.inf, -1e30, 1e300))
    with np.errstate(all="ignore"):
        return (values.astype("i8") if letter == "M" else values).astype(kind).reshape(shape)


class Rows:
    """Tables and arrays that are given to a trained run, through `Run.reading`."""

    name = "rows"

    def __init__(self, run: Run, examples: str) -> None:
        self.run, self.examples = run, examples

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        path = folder / draw.choice(("rows.csv", "rows.csv", "rows.npy"))
        if path.suffix == ".npy":
            content = io.BytesIO()
            np.save(content, odd_array(draw, (draw.choice((0, 1, 5)), draw.choice((1, 3, 5)))), allow_pickle=True)
            path.write_bytes(damaged(draw, content.getvalue(), 2))
        else:
            text = edited(draw, self.examples, 4) if draw.random() < 0.8 else table(draw)
            path.write_bytes(text.encode(errors="replace"))
        if draw.random() < 0.02:
            path = folder / draw.choice((*PIECES, signs(draw, 8)))[:80].replace("\0", "")
        return lambda: self._read(path)

    def _read(self, path: Path) -> None:
        found = self.run.reading(path)
        assert len(found.names) == len(found.values)
        found.remarks()


def _loaded(source: TableSource | ArraysSource, folder: Path) -> None:
    found = load_source(source, folder, download=False)
    assert len(found.train["x"]) == len(next(iter(value for name, value in found.train.items() if name != "x")))
