"""Tables in .csv files: how columns become numbers, which rows belong where, and whole commands on them."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.data.dataset import Dataset
from semivae.data.formats.cell_texts import CellStyle
from semivae.data.formats.csv_cells import read_cells
from semivae.data.formats.npz import load_arrays
from semivae.data.inputs.table_encoding import CategoryColumn, NumberColumn, TableEncoding
from semivae.data.sources import load_source
from semivae.errors import DataError, RunError
from semivae.generative.table_filling import fill_table
from semivae.recipe.schema import TableSource

SMALL = """colour,size,kind
red,1.5,a
blue,,b
red,4.5,a
green,3,
NA,3,b
"""


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def table(folder: Path, text: str, **source: object) -> Dataset:
    (folder / "t.csv").write_text(text)
    options = {"label": "kind", "test": "t.csv"} | source
    return load_source(TableSource.model_validate({"name": "table", "path": "t.csv", **options}), folder)


def blobs(path: Path, rows: int = 240, labelled: int | None = None, seed: int = 0) -> None:
    """Three kinds of plants, told by two numbers and a text; only the first `labelled` rows say which."""
    generator = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["id", "length", "petals", "soil", "kind"])
        for row in range(rows):
            number = row % 3
            length = generator.normal(10.0 * number, 1.0)
            shown = ["oak", "ash", "elm"][number] if labelled is None or row < labelled else ""
            soil = ["clay", "sand", ""][number] if generator.random() < 0.9 else "loam"
            write.writerow([f"plant{row}", f"{length:.3f}", int(generator.integers(3, 9)), soil, shown])


CHANGES = [
    "source={name: table, path: plants.csv, label: kind, ignore: [id]}",
    "split.labelled=12",
    "training.steps=60",
    "training.learning_rate=0.01",
    "training.validate_every=200",
    "training.twin=false",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("table")
    blobs(folder / "plants.csv")
    return semivae.train("table", set=CHANGES, out=folder / "run", data_root=folder, device="cpu")


# Columns -------------------------------------------------------------------------------------------------------------


def test_numbers_texts_and_missing_cells(tmp_path: Path) -> None:
    data = table(tmp_path, SMALL)
    assert data.encoding is not None and data.classes == ("a", "b")
    colour, size = data.encoding.columns
    assert isinstance(colour, CategoryColumn) and colour.categories == ("blue", "green", "red")
    assert isinstance(size, NumberColumn) and (size.mean, size.may_miss, size.whole) == (3.0, True, False)
    deviation = np.std([1.5, 4.5, 3.0, 3.0])
    expected = [
        [0, 0, 1, -1.5 / deviation, 0],
        [1, 0, 0, 0, 1],
        [0, 0, 1, 1.5 / deviation, 0],
        [0, 0, 0, 0, 0],  # a missing text is no category
    ]
    assert data.train["x"].numpy() == pytest.approx(np.array(expected, np.float32))
    assert data.train["y"].tolist() == [0, 1, 0, 1]
    assert data.unlabelled["x"].tolist() == [[0, 1, 0, 0, 0]]


def test_vectors_are_cells_again(tmp_path: Path) -> None:
    encoding = table(tmp_path, SMALL).encoding
    assert encoding is not None
    cells = {"size": ["1.5", "", "4.5"], "colour": ["red", "green", "blue"]}
    assert encoding.decode(encoding.encode(encoding.read(cells, "cells"), "cells")) == cells
    kept = TableEncoding.model_validate_json(encoding.model_dump_json())
    assert kept == encoding
    unseen = encoding.encode(encoding.read({"size": ["1e3"], "colour": ["black"]}, "cells"), "cells")
    assert unseen[0, :3].tolist() == [0, 0, 0] and unseen[0, 3] > 100


def test_decoded_numbers_have_the_digits_that_float32_holds() -> None:
    """Near zero a cell of a wide column is known to a millionth of the deviation, and no better."""
    style = CellStyle()
    for mean, deviation, whole, text in [
        (5.0, 1.25, False, "-0.004"),
        (5.0, 1.25, False, "0"),
        (3e6, 3e6, True, "1234567"),
        (30.0, 4.0, True, "27"),
        (1e-9, 1e-9, False, "1.5e-09"),
        (0.0, 1e-300, False, "1e-300"),
        (2e9, 1e9, False, "1e+09"),
    ]:
        column = NumberColumn(name="a", mean=mean, deviation=deviation, whole=whole, may_miss=False)
        values = np.array([[(float(text) - mean) / deviation]], dtype=np.float32).astype(np.float64)
        assert column.decode(values, style) == [text]


def test_numbers_may_stand_for_categories_and_idle_columns_are_left_out(tmp_path: Path) -> None:
    text = "zone,same,size,kind\n1,x,2,a\n2,x,3,b\n1,x,4,a\n3,x,5,b\n"
    data = table(tmp_path, text, categorical=["zone"], ignore=["size"])
    assert data.shape == (3,) and data.encoding is not None
    assert [column.name for column in data.encoding.columns] == ["zone"]
    assert "columns of one value are left out: same" in data.warnings[0]


def test_numbers_that_become_categories_by_mistake_are_told(tmp_path: Path) -> None:
    commas = "".join(f"{'ab'[row % 2]};{row},5;{row}\n" for row in range(20))
    warning = table(tmp_path, f"kind;size;age\n{commas}").warnings[0]
    assert "column size is taken for 20 categories, not for numbers" in warning and "cells such as 0,5" in warning
    one = "".join(f"{'ab'[row % 2]},{row}\n" for row in range(20)) + "a,twelve\n"
    warning = table(tmp_path, f"kind,size\n{one}").warnings[0]
    assert "because of cells such as twelve; write numbers as 3.5" in warning
    assert "categories" not in str(table(tmp_path, f"kind,size\n{one}", categorical=["size"]).warnings)


def test_a_class_may_be_called_none(tmp_path: Path) -> None:
    data = table(tmp_path, "size,kind\n1,none\n2,some\n3,None\n4,\n", test="t.csv")
    assert data.classes == ("None", "none", "some") and len(data.unlabelled["x"]) == 1


def test_means_are_of_rows_that_are_not_for_the_test(tmp_path: Path) -> None:
    blobs(tmp_path / "plants.csv", labelled=60)
    source = {"name": "table", "path": "plants.csv", "label": "kind", "ignore": ["id"]}
    data = load_source(TableSource.model_validate(source), tmp_path)
    assert (len(data.train["y"]), len(data.test["y"]), len(data.unlabelled["x"])) == (48, 12, 180)
    assert torch.bincount(data.test["y"]).tolist() == [4, 4, 4]
    assert data.encoding is not None
    place = [column.name for column in data.encoding.columns].index("length")
    seen = torch.cat([data.train["x"], data.unlabelled["x"]])[:, place]
    assert float(seen.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(seen.std(correction=0)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_separators(tmp_path: Path, delimiter: str) -> None:
    assert table(tmp_path, SMALL.replace(",", delimiter)).train["y"].tolist() == [0, 1, 0, 1]


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "source", "message"),
    [
        ("", {}, "holds no rows"),
        ("kind,size\n", {}, "holds no rows"),
        ("kind,,b\na,1,2\n", {}, "column 2 has no name"),
        ("kind,size,size\na,1,2\n", {}, "two columns are called size"),
        ("kind,size\na,1\nb\n", {}, "t.csv:3: 1 cell; the first line names 2 columns"),
        (SMALL, {"label": "sort"}, r"has no column sort \(source.label\); it has colour, size, kind"),
        (SMALL, {"ignore": ["x"]}, r"has no column x \(source.ignore\)"),
        ("kind,size\na,1\na,2\n", {}, "holds only the class a; at least two are needed"),
        ("kind,size\n,1\n,2\n", {}, "column kind: no row has a class; label some rows of at least two classes"),
        ("kind,size\na,1\nb,1\n", {}, "no column beside kind holds two different values"),
        ("kind,size\na,1\nb,inf\n", {}, "column size: 'inf' is no finite number"),
        ("kind,size\na,1\nb,-1e200\n", {}, r"column size holds numbers up to 1e\+200, .* not known, empty these"),
        ("kind,name\n" + "".join(f"{'ab'[row % 2]},n{row}\n" for row in range(101)), {}, "101 different texts"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, source: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, text, **source)


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("kind,größe\na,1\n".encode("latin-1"))
    for name, message in (("latin.csv", "no UTF-8 text"), ("none.csv", "there is no file")):
        with pytest.raises(DataError, match=message):
            load_source(TableSource(name="table", path=name, label="kind"), tmp_path)


def test_a_folder_or_device_is_not_said_to_be_absent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name, message in (("pipe.csv", "is a pipe, a device or a socket; save"), ("folder.csv", "is a folder; give")):
        with pytest.raises(DataError, match=message):
            read_cells(tmp_path / name)
        with pytest.raises(DataError, match=message):
            load_arrays(tmp_path / name)


def test_test_files_must_fit(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("colour,size,kind\nred,2,a\nred,2,\n")
    data = table(tmp_path, SMALL, test="test.csv")
    assert data.test["y"].tolist() == [0] and "1 row has no kind and is not tested on" in data.warnings[0]
    for text, message in (
        ("colour,size,kind\nred,2,c\n", "classes that are not in the training rows: c"),
        ("colour,kind\nred,a\n", "has no column size"),
        ("colour,size,kind\nred,big,a\n", "row 0, column size: 'big' is no finite number"),
        ("colour,size\nred,2\n", "has no column kind"),
        ("colour,size,kind\nred,2,a\nred,-1.797e308,a\n", "row 1, column size: -1.797e308 is 1,000,000,000 or mor"),
    ):
        (tmp_path / "test.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            table(tmp_path, SMALL, test="test.csv")


# Whole commands ------------------------------------------------------------------------------------------------------


def test_other_rows_are_predicted_by_the_same_columns(run: Run, tmp_path: Path) -> None:
    blobs(tmp_path / "new.csv", rows=60, seed=1)
    rows = list(csv.DictReader((tmp_path / "new.csv").read_text().splitlines()))
    with (tmp_path / "turned.csv").open("w", newline="") as file:  # other order, no label, a column more
        write = csv.DictWriter(file, ["soil", "more", "petals", "length"], extrasaction="ignore")
        write.writeheader()
        write.writerows(row | {"more": "?"} for row in rows)
    shown = command("predict", run.path, tmp_path / "turned.csv")
    assert shown.exit_code == 0, shown.output
    found = list(csv.DictReader(shown.stdout.splitlines()))
    right = [row["kind"] == answer["label"] for row, answer in zip(rows, found, strict=True)]
    assert sum(right) >= 57  # kinds lie ten deviations apart
    written = command("predict", run.path, tmp_path / "turned.csv", "--out", tmp_path / "answers.csv")
    assert "answers.csv: 60 examples" in written.stdout.replace("\n", ""), "rows are no images"
    (tmp_path / "lacking.csv").write_text("soil,petals\nclay,3\nclay,4\n")
    refused = command("predict", run.path, tmp_path / "lacking.csv")
    assert refused.exit_code == 1 and "has no column length" in refused.stderr
    assert command("novelty", run.path, tmp_path / "new.csv").exit_code == 0
    embedded = command("embed", run.path, tmp_path / "new.csv", "--out", tmp_path / "f.npz")
    assert embedded.exit_code == 0 and "f.npz: 60 examples" in embedded.stdout.replace("\n", "")


def test_samples_are_a_table_again(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "samples.csv"
    shown = command("sample", run.path, "--given", "y=[ash,oak]", "-n", 20, "--noise", "--seed", 0, "--out", out)
    assert shown.exit_code == 0, shown.output
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["kind", "length", "petals", "soil"]
    assert [row["kind"] for row in rows] == ["ash"] * 10 + ["oak"] * 10
    assert all(row["soil"] in ("clay", "sand", "loam") and float(row["petals"]).is_integer() for row in rows)


def test_only_tables_are_sampled_to_tables(tiny_run: Run, tmp_path: Path) -> None:
    refused = command("sample", tiny_run.path, "--out", tmp_path / "a.csv")
    assert refused.exit_code == 2 and "learnt from a table file" in " ".join(refused.stderr.replace("│", " ").split())


def with_gaps(path: Path) -> dict[str, list[str]]:
    """Six rows, two of each kind: one has lost its length, the other its label and most often its soil."""
    cells = {
        "id": [f"new{row}" for row in range(6)],
        "kind": ["oak", "", "ash", "", "elm", "NA"],
        "soil": ["clay", "", "sand", "", "", "?"],
        "petals": ["4", "5", "6", "7", "5", ""],
        "length": ["", "0.1", "", "10.2", "", "19.8"],
    }
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(cells), *zip(*cells.values(), strict=True)])
    return cells


def test_empty_cells_are_filled_in_the_tables_own_words(run: Run, tmp_path: Path) -> None:
    before = with_gaps(tmp_path / "gaps.csv")
    done = command("impute", run.path, tmp_path / "gaps.csv", "--out", tmp_path / "out", "--rounds", 20, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["filled"] == {"length": 3, "petals": 1, "soil": 4, "kind": 3}
    after = read_cells(tmp_path / "out" / "imputed.csv")
    assert list(after) == list(before)
    for name, column in before.items():  # what was there is there, to the letter
        kept = [(old, new) for old, new in zip(column, after[name], strict=True) if not CellStyle().is_missing(old)]
        assert all(old == new for old, new in kept)
    # kinds lie 10 deviations apart, and soils follow them, but for one in ten
    assert after["kind"] == ["oak", "oak", "ash", "ash", "elm", "elm"]
    assert after["soil"][1] in ("clay", "loam") and after["soil"][3] in ("sand", "loam")
    assert [round(float(length), -1) for length in after["length"]] == [0, 0, 10, 10, 20, 20]
    with np.load(tmp_path / "out" / "imputed.npz") as arrays:
        assert arrays["draws"].shape[:2] == (6, 8) and arrays["labels"].shape == (6, 3)
        given = arrays["labels"][[0, 2, 4]]  # the kinds that were there are sure
        np.testing.assert_array_equal(given, np.eye(3)[[run.classes.index(kind) for kind in ("oak", "ash", "elm")]])


def test_classes_that_are_numbers_are_known_labels_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,grade\n" + "".join(f"{n % 3}.{n:02},{n % 3 + 1}\n" for n in range(60)))
    changes = ["source={name: table, path: t.csv, label: grade}", "split={labelled: all, validation: 0}"]
    changes += ["training.steps=2", "training.twin=false"]
    run = semivae.train("table", set=changes, out=tmp_path / "run", data_root=tmp_path, device="cpu")
    (tmp_path / "gaps.csv").write_text("size,grade\n,2\n,1\n0.5,\n,3\n")
    found = fill_table(run, tmp_path / "gaps.csv", draws=2, rounds=2)
    assert found.filled == {"size": 3, "grade": 1} and found.imputed.labels is not None
    assert found.imputed.labels[[0, 1, 3]].tolist() == [[1] * 2, [0] * 2, [2] * 2]  # the classes are 1, 2, 3


def test_tables_without_a_label_column_or_without_gaps(run: Run, tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("length,petals,soil\n,4,clay\n10,5,sand\n")
    assert list(fill_table(run, tmp_path / "some.csv", rounds=5).filled) == ["length"]
    (tmp_path / "full.csv").write_text("length,petals,soil\n9,4,clay\n")
    with pytest.raises(DataError, match="no cell is empty in the columns length, petals, soil"):
        fill_table(run, tmp_path / "full.csv")
    (tmp_path / "yew.csv").write_text("length,petals,soil,kind\n,4,clay,yew\n")
    with pytest.raises(DataError, match="column kind holds classes that are not in the training rows: yew; those"):
        fill_table(run, tmp_path / "yew.csv")


def test_what_is_missing_of_images_must_be_told(run: Run, tiny_run: Run, tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("length,petals,soil\n,4,clay\n")
    np.save(tmp_path / "images.npy", np.zeros((2, 8, 8), np.uint8))
    done = command("impute", tiny_run.path, tmp_path / "images.npy", "--out", tmp_path / "out")
    assert done.exit_code == 2 and "tell what is missing" in done.output and "--mask" in done.output
    with pytest.raises(RunError, match="did not learn from a table file"):
        fill_table(tiny_run, tmp_path / "some.csv")
    done = command("impute", run.path, tmp_path / "some.csv", "--out", tmp_path / "out", "--given", "y=oak")
    assert done.exit_code == 2 and "--given" in done.output
    np.save(tmp_path / "rows.npy", np.zeros((2, 5), np.float32))  # vectors have no empty cells
    done = command("impute", run.path, tmp_path / "rows.npy", "--out", tmp_path / "out")
    assert done.exit_code == 2 and "--mask" in done.output
    assert not (tmp_path / "out").exists()


def test_a_test_table_is_never_encoded_by_other_rows_than_those_learnt_from(tmp_path: Path) -> None:
    blobs(tmp_path / "train.csv", rows=40, seed=0)
    blobs(tmp_path / "test.csv", rows=20, seed=1)
    changes: dict[str, object] = {
        "source.path": "train.csv",
        "source.test": "test.csv",
        "source.label": "kind",
        "source.ignore": ["id"],
    }
    changes |= {"training.steps": 1, "streams.labelled.batch": 8, "split.validation": 4}
    folder = semivae.train("table", set=changes, out=tmp_path / "run", data_root=tmp_path, twin=False).path
    lines = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join([*lines, lines[-1]]) + "\n")
    with pytest.raises(DataError, match="a column has another mean, deviation or set of categories; put the data back"):
        Run.load(folder).evaluate()


def test_a_run_keeps_how_columns_became_numbers(run: Run, tmp_path: Path) -> None:
    blobs(tmp_path / "new.csv", rows=6, seed=2)
    assert run.encoding is not None and run.encoding == run.dataset().encoding
    rows, names = run.read(tmp_path / "new.csv")
    columns = run.encoding.read(read_cells(tmp_path / "new.csv"), "new.csv")
    expected = run.encoding.encode(columns, "new.csv")
    assert np.array_equal(rows.numpy(), expected) and names[-1] == "5"
    report = json.loads(command("evaluate", run.path, "--json").stdout)
    assert report["last"]["error"] < 0.1
    kept = (run.path / "table.json").read_text()
    (run.path / "table.json").write_text("{}")
    try:
        with pytest.raises(RunError, match=r"table\.json: was changed or damaged"):
            Run.load(run.path).read(tmp_path / "new.csv")
        (run.path / "table.json").unlink()
        with pytest.raises(RunError, match=r"lacks table\.json, by which rows are read: it was copied in part"):
            Run.load(run.path).read(tmp_path / "new.csv")
    finally:
        (run.path / "table.json").write_text(kept)
