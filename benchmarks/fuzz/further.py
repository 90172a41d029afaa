"""Labels of all kinds, of annotators and in tables beside pictures, and the split that shows some of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from pydantic import ValidationError

from benchmarks.fuzz.damage import damaged, edited, signs
from benchmarks.fuzz.tables import CELLS, odd_array, quoted
from semivae.data.sources import load_source
from semivae.data.splits import load_split, save_split
from semivae.errors import RecipeError
from semivae.recipe.schema import ArraysSource, FolderSource, Source, SplitSpec, TableSource
from semivae.tasks.splitting import make_split

KINDS = ("classes", "candidates", "attributes", "numbers")
GOOD: Mapping[str, tuple[str, ...]] = {
    "kind": ("oak", "ash", "elm"),
    "family": ("leaf", "needle", ""),
    "maybe": ("oak|ash", "elm", "oak|ash|elm", ""),
    "has": ("hat;smile", "hat", "smile", ""),
    "age": ("3.5", "4", "0.25", "1e2", ""),
    "ann1": ("oak", "ash", "elm", ""),
    "hat": ("1", "0", ""),
    "smile": ("1", "0", "1"),
}
FITTING = {"family": "classes", "maybe": "candidates", "has": "attributes", "age": "numbers", "ann1": "classes"}


def label_cell(draw: Random, column: str, odd: float) -> str:
    """A cell of a column of labels, or with chance `odd` one that does not belong there."""
    if draw.random() >= odd:
        return draw.choice(GOOD[column])
    match draw.randrange(5):
        case 0:
            return draw.choice(CELLS)
        case 1:
            return signs(draw, 4)
        case 2:
            return draw.choice(("|", ";", "oak|", "oak|oak", "fir", "hat;;", ";hat", "-1", "2", "OAK", "nan", "True"))
        case 3:
            return draw.choice(GOOD[draw.choice(list(GOOD))])
        case _:
            return edited(draw, draw.choice(GOOD[column]), 1)


def table_text(draw: Random, header: list[str], cell: Callable[[str, int], str], count: int) -> bytes:
    """A table as .csv, with damage now and then."""
    rows = [header, *([cell(name, number) for name in header] for number in range(count))]
    delimiter = draw.choice((",", ",", ",", ";", "\t"))
    text = "\n".join(delimiter.join(quoted(each, delimiter) for each in row) for row in rows) + "\n"
    text = text if draw.random() < 0.75 else edited(draw, text, 2)
    content = text.encode(draw.choice(("utf-8",) * 9 + ("utf-8-sig", "latin-1")), "replace")
    return content if draw.random() < 0.9 else damaged(draw, content, 2)


def columns_asked(draw: Random) -> dict[str, Any]:
    """Further labels as a recipe names them: their columns, and mostly the kinds that fit."""
    asked = draw.sample(list(FITTING), draw.randrange(4))
    columns: dict[str, Any] = {f"l{place}": name for place, name in enumerate(asked)}
    kinds = {
        label: FITTING[name] if draw.random() < 0.85 else draw.choice(KINDS)
        for label, name in columns.items()
        if FITTING[name] != "classes" or draw.random() < 0.2
    }
    if columns and draw.random() < 0.05:
        columns[draw.choice(list(columns))] = draw.choice(("no such column", "kind", "file", ""))
    return {"columns": columns, "kinds": kinds}


def split_asked(draw: Random, further: Sequence[str]) -> SplitSpec:
    """What a recipe asks of a split, within what the data can give or, now and then, beyond it."""
    odd = draw.random() < 0.15
    asked: dict[str, Any] = {
        "labelled": draw.choice((0, 10, 10**6) if odd else (3, 6, "all", "all")),
        "validation": draw.choice((0, 6, 100) if odd else (0, 0, 2)),
        "seed": draw.randrange(3),
    }
    if draw.random() < 0.2:
        asked["balance"] = draw.choice(("balanced", "proportional", {"ratio": 3}))
    names = [*further, "l0", "y"] if odd else further
    asked["also_labelled"] = {
        name: draw.choice((5, 20, 10**5) if odd else (1, 2, "all")) for name in names if draw.random() < 0.5
    }
    spec: SplitSpec = _valid(SplitSpec, asked)
    return spec


def _valid(kind: Any, asked: Mapping[str, Any]) -> Any:
    """A section of a recipe. Raises RecipeError where its checks refuse it, as the reader of recipes does."""
    try:
        return kind.model_validate(asked)
    except ValidationError as error:
        raise RecipeError(str(error.errors()[0]["msg"])) from None


def read_and_split(source: Source, draw: Random, folder: Path) -> None:
    """Reads the data, splits them, and reads the split's manifest back, whole or damaged."""
    dataset = load_source(source, folder, download=False)
    split = make_split(dataset, split_asked(draw, list(dataset.labels)[1:]))
    path = folder / "split.json"
    save_split(split, path)
    again = load_split(path, dataset)
    assert again.digest == split.digest
    for label in dataset.labels:
        assert again.shown(dataset, label).tolist() == split.shown(dataset, label).tolist()
    if draw.random() < 0.3:
        path.write_bytes(damaged(draw, path.read_bytes(), 2))
        load_split(path, dataset)


class FurtherTables:
    """Tables as .csv with further labels, and their splits."""

    name = "labels of tables"

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        odd, count = draw.choice((0.0, 0.0, 0.0, 0.01, 0.2)), draw.choice((12, 40, 60))
        header = ["length", *GOOD]
        draw.shuffle(header)

        def cell(name: str, _: int) -> str:
            return f"{draw.gauss(3, 1):.3f}" if name == "length" else label_cell(draw, name, odd)

        (folder / "table.csv").write_bytes(table_text(draw, header, cell, count))
        asked = columns_asked(draw)
        if draw.random() < 0.2:
            asked["kinds"] = {**asked["kinds"], "y": draw.choice(KINDS)}
        asked |= {"name": "table", "path": "table.csv", "label": draw.choice(("kind",) * 9 + ("age", "has", ""))}
        if draw.random() < 0.2:
            asked |= {"unlabelled": ["oak"], "missing": ["?", "0"]}
        (folder / "source.txt").write_text(repr(asked), encoding="utf-8", errors="replace")
        return lambda: read_and_split(_valid(TableSource, asked), draw, folder)


class LabelTables:
    """Folders of pictures with a table of labels, of attributes and of what annotators wrote, and their splits."""

    name = "tables of labels"
    names = tuple(f"{place}.png" for place in range(16))

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        for number, name in enumerate(self.names):
            Image.fromarray(np.full((4, 4), 10 * number, np.uint8)).save(folder / name)
        odd = draw.choice((0.0, 0.0, 0.02, 0.2))

        def cell(name: str, number: int) -> str:
            if name != "file":
                return label_cell(draw, name, odd)
            named = self.names[number % len(self.names)]
            return named if draw.random() >= odd / 4 else draw.choice(("", f"./{named}", f" {named}", "no.png", "../0"))

        count = draw.choice((16, 16, 16, 20, 8, 1, 0))
        (folder / "labels.csv").write_bytes(table_text(draw, ["file", *GOOD], cell, count))
        asked = columns_asked(draw)
        asked |= {"name": "folder", "path": ".", "size": 4, "labels": "labels.csv", "file_column": "file"}
        asked["label_column"] = draw.choice(("kind", "kind", "kind", "age", ["hat", "smile"], "has", ["hat"], []))
        if asked["label_column"] == "has" and draw.random() < 0.9:
            asked["kinds"] = {**asked["kinds"], "y": "attributes"}
        if draw.random() < 0.2:
            asked["columns"] = {**asked["columns"], "l9": ["hat", "smile"]}
        if draw.random() < 0.1:
            asked["unlabelled"] = ["oak"]
        (folder / "source.txt").write_text(repr(asked), encoding="utf-8", errors="replace")
        return lambda: read_and_split(_valid(FolderSource, asked), draw, folder)


class FurtherArrays:
    """NumPy's .npz with attributes, numbers and further labels, and their splits."""

    name = "labels of arrays"

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        count, k = draw.choice((12, 30, 30)), draw.choice((1, 2, 3, 5))
        arrays: dict[str, Any] = {
            "x": odd_array(draw, (count, 4, 4)) if draw.random() < 0.2 else self._bytes(draw, count)
        }
        y = draw.choice(("classes", "classes", "attributes", "numbers"))
        arrays["y"] = self._labels(draw, y, count, k)
        asked: dict[str, Any] = {"name": "arrays", "path": "arrays.npz", "kinds": {}, "keys": {}}
        asked["kinds"] |= {"y": y} if y == "numbers" or draw.random() < 0.1 else {}
        if draw.random() < 0.3:
            arrays["y_names"] = np.array([f"a{place}" for place in range(k if draw.random() < 0.9 else k + 1)])
        for label in ("l0", "l1")[: draw.randrange(3)]:
            kind = draw.choice(("classes", *KINDS))
            asked["keys"][label] = f"their_{label}"
            arrays[f"their_{label}"] = self._labels(draw, kind, count, 3 if kind == "candidates" else k)
            asked["kinds"] |= {label: kind if draw.random() < 0.9 else draw.choice(KINDS)}
            if draw.random() < 0.1:
                asked["keys"][f"{label}_unlabelled"] = f"their_{label}"
        if draw.random() < 0.2:
            arrays["x_unlabelled"] = self._bytes(draw, 6)
        if asked["keys"] and draw.random() < 0.9:
            asked["keys"] |= {name: name for name in arrays if not name.startswith("their")}
        content = io.BytesIO()
        np.savez(content, **arrays)
        (folder / "arrays.npz").write_bytes(damaged(draw, content.getvalue(), draw.choice((0, 0, 0, 2))))
        (folder / "source.txt").write_text(repr(asked), encoding="utf-8")
        return lambda: read_and_split(_valid(ArraysSource, asked), draw, folder)

    def _bytes(self, draw: Random, count: int) -> Any:
        return np.frombuffer(draw.randbytes(count * 16), np.uint8).reshape(count, 4, 4)

    def _labels(self, draw: Random, kind: str, count: int, k: int) -> Any:
        if draw.random() < 0.1:
            return odd_array(draw, (count, k) if draw.random() < 0.5 else (count,), labels=True)
        numbers = np.array([draw.randrange(6) for _ in range(count * k)])
        if kind == "numbers":
            values = numbers[:count] / 7
            values[draw.randrange(count)] = draw.choice((0.5,) * 6 + (np.nan, np.inf, 1e300))
            with np.errstate(all="ignore"):
                return values.astype(draw.choice(("f4", "f8", "f2", "i8")))
        if kind == "classes":
            return (numbers[:count] % 3) - (draw.random() < 0.2)
        return (numbers.reshape(count, k) % 2 - (draw.random() < 0.1)).astype(draw.choice(("i8", "i1", "f4")))
