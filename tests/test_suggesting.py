"""Which images to label next: the rule by hand, then the command on a tiny run."""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner, Result

import semivae
from benchmarks.suggesting import Results, simulate, table
from semivae.api import Run
from semivae.classification.suggesting import entropy, nearest_unsure, pick
from semivae.cli import app
from semivae.cli.copying import names_a_folder
from semivae.errors import DataError

UNSUPERVISED: dict[str, object] = {
    "streams": {"images": {"observe": ["x"], "batch": 16}, "prior": {"observe": [], "batch": 16}},
    "views": {},
    "variables": {"x": {"family": "bernoulli"}, "h": {"family": "bernoulli", "shape": [4]}},
    "decoder": {"h": "uniform", "x": {"given": ["h"], "net": {"name": "mlp"}}},
    "encoder": {"h": {"given": ["x"], "net": {"name": "mlp"}}},
    "training.steps": 4,
    "training.validate_every": 2,
    "training.twin": False,
}


TABLE = """
source: {name: arrays, path: mine.npz}
split: {labelled: 20, validation: 20}
variables:
  x: {family: gaussian, shape: [3]}
  y: {family: categorical, classes: 2}
decoder: {y: uniform, x: {given: [y], net: {name: mlp, hidden: [8]}}}
encoder: {y: {given: [x], net: {name: mlp, hidden: [8]}}}
streams:
  labelled: {observe: [x, y], batch: 20}
  unlabelled: {observe: [x], batch: 50}
  labels: {observe: [y], batch: 20}
training: {steps: 5, validate_every: 5}
"""


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["suggest", *map(str, arguments)])


def column(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)[:, None]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Thirty digits in two folders; some names occur in both."""
    folder = tmp_path / "images"
    for row, digit in enumerate(load_digits().images[:30]):
        file = folder / "ab"[row % 2] / f"{row // 2}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digit / 16 * 255).astype(np.uint8)).save(file)
    return folder


# The rule -------------------------------------------------------------------------------------------------------------


def test_entropy_in_nats() -> None:
    posterior = np.array([[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]])
    with np.errstate(divide="ignore"):
        found = entropy(np.log(posterior))
    assert found == pytest.approx([math.log(2), 0.0, math.log(4) - 0.75 * math.log(3)])


def test_of_equally_unsure_examples_the_typical_ones_are_picked() -> None:
    for uncertainty in (0.0, 0.7):
        found = pick(column(0, 1, 2, 10, 11, 12, 13, 14), np.full(8, uncertainty), 2)
        assert found.rows.tolist() == [5, 1]  # the larger group first
        assert found.groups.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def test_one_unsure_example_draws_the_centre_of_its_cluster_and_puts_it_first() -> None:
    found = pick(column(0, 1, 2, 10, 11, 12), np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]), 2)
    assert found.rows.tolist() == [5, 1]


def test_the_sure_half_of_a_group_is_never_picked() -> None:
    """The weighted centre is about 1.45: row 1 is nearest, but sure; of the others row 0 is nearer."""
    assert pick(column(0, 1, 3), np.array([0.5, 0.1, 0.5]), 1).rows.tolist() == [0]
    everyone = np.ones(3, dtype=bool)
    assert nearest_unsure(column(0, 1, 3), np.array([0.5, 0.5, 0.5]), everyone, np.array([1.45])) == 1
    assert nearest_unsure(column(0, 1, 3), np.array([0.9, 0.1, 0.2]), everyone, np.array([3.0])) == 2


def test_uncertainty_decides_where_groups_are() -> None:
    """Three clusters, of which two groups can be made: the sure cluster gets none of its own."""
    features = column(0, 0.1, 4, 4.1, 10, 10.1)
    found = pick(features, np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]), 2)
    assert set(found.rows.tolist()) <= {0, 1, 2, 3}
    assert found.groups[0] != found.groups[2] == found.groups[4]


@pytest.mark.parametrize("seed", range(5))
def test_each_group_gives_one_and_a_seed_repeats_them(seed: int) -> None:
    generator = np.random.default_rng(seed)
    features, uncertainty = generator.normal(size=(60, 3)), generator.uniform(size=60)
    found, again = (pick(features, uncertainty, 12, seed) for _ in range(2))
    assert found.groups[found.rows].tolist() == list(range(12))
    assert found.rows.tolist() == again.rows.tolist() and found.groups.tolist() == again.groups.tolist()
    weights = np.bincount(found.groups, uncertainty + 1e-3)
    assert (np.diff(weights) <= 0).all()
    assert sorted(pick(features, uncertainty, 60).rows.tolist()) == list(range(60))


def test_too_few_examples_are_refused() -> None:
    some = column(0, 1, 1)
    with pytest.raises(DataError, match="4 suggestions are asked for, but there are 3 examples; ask for 3 or fewer"):
        pick(some, np.zeros(3), 4)
    with pytest.raises(DataError, match="the features of only 2 of the 3 examples differ; ask for 2 or fewer"):
        pick(some, np.zeros(3), 3)
    with pytest.raises(DataError, match="0 suggestions are asked for; ask for 1 or more"):
        pick(some, np.zeros(3), 0)
    with pytest.raises(DataError, match="the seed is -1; give one from 0 to"):
        pick(some, np.zeros(3), 1, seed=-1)


# The command ----------------------------------------------------------------------------------------------------------


def test_a_list_a_sheet_and_copies_by_class(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    out, sheet, copies = tmp_path / "next.csv", tmp_path / "sheet.png", tmp_path / "copies"
    result = command(tiny_run.path, images, "-n", 12, "--out", out, "--sheet", sheet, "--copy-to", copies)
    assert result.exit_code == 0, result.stderr
    assert "12 of 30 examples, one from each group" in result.stdout
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    found = tiny_run.suggest(images, 12)
    assert [row["name"] for row in rows] == list(found.names) and len(set(found.names)) == 12
    assert [row["label"] for row in rows] == list(found.labels)
    assert [int(row["group"]) for row in rows] == list(range(12)) == found.groups[found.rows].tolist()
    probabilities = tiny_run.classifier().probabilities(images)[found.rows].numpy()
    assert [tiny_run.classes[number] for number in probabilities.argmax(1)] == list(found.labels)
    assert [float(row["probability"]) for row in rows] == pytest.approx(probabilities.max(1), abs=1e-5)
    unsure = -(probabilities * np.log(probabilities)).sum(1)
    assert [float(row["uncertainty"]) for row in rows] == pytest.approx(unsure, abs=1e-4)
    assert found.sizes.sum() == 30 and found.sizes.min() > 0
    with Image.open(sheet) as picture:
        lines = sum(-(-count // 10) for count in Counter(found.labels).values())  # ten of a class in each
        assert picture.height == 4 + lines * 68  # 8 x 8 pixels are enlarged to 64
    copied = {path.relative_to(copies).as_posix(): path.read_bytes() for path in copies.rglob("*.png")}
    places = [f"{row['label']}/{row['group']}-{Path(row['name']).name}" for row in rows]  # 3.png lies in both folders
    assert copied == {place: (images / row["name"]).read_bytes() for place, row in zip(places, rows, strict=True)}


def test_standard_output_and_json_hold_the_same_rows(tiny_run: Run, images: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(command(tiny_run.path, images, "-n", 4).stdout)))
    report = json.loads(command(tiny_run.path, images, "-n", 4, "--json").stdout)
    assert report["count"] == 4 and report["examples"] == 30
    assert [{key: str(value) for key, value in row.items()} for row in report["images"]] == rows


def test_a_zip_is_copied_flat_with_its_names(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted((images / "a").iterdir()):
            archive.write(path, f"deep/{path.name}")
    (tmp_path / "flat").mkdir()
    result = command(tiny_run.path, tmp_path / "images.zip", "-n", 3, "--copy-to", tmp_path / "flat", "--flat")
    assert result.exit_code == 0, result.stderr
    names = [Path(row["name"]).name for row in csv.DictReader(io.StringIO(result.stdout))]
    assert sorted(path.name for path in (tmp_path / "flat").iterdir()) == sorted(names)
    assert (tmp_path / "flat" / names[0]).read_bytes() == (images / "a" / names[0]).read_bytes()


def test_nothing_is_copied_over_anything(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    for folder, message in (
        (kept.parent, "exists and is not empty"),
        (kept, "this is a file; give the name of a folder"),
        (images / "copies", "whose images it would double"),
    ):
        result = command(
            tiny_run.path, images, "-n", 2, "--out", tmp_path / "o.csv", "--copy-to", folder, "--overwrite"
        )
        assert result.exit_code == 1 and message in result.stderr and not (tmp_path / "o.csv").exists()
    assert [path.name for path in kept.parent.iterdir()] == ["mine.txt"] and not (images / "copies").exists()


def test_names_of_classes_that_can_be_no_folder() -> None:
    assert all(map(names_a_folder, ("0", "cat", "Rote Beete", "été", "a.b")))
    assert not any(map(names_a_folder, ("", ".", "..", "a/b", "a\\b", ".hidden", "end.", "a\nb", "a:b")))


def test_a_run_without_labels_suggests_typical_images(images: Path, tmp_path: Path) -> None:
    run = semivae.train("digits_50labels", set=UNSUPERVISED, out=tmp_path / "run", device="cpu")
    found = run.suggest(images, 5)
    assert found.labels == ("",) * 5 and np.isnan(found.probabilities).all() and np.isnan(found.uncertainty).all()
    assert found.groups[found.rows].tolist() == list(range(5)) and (np.diff(found.sizes) <= 0).all()
    out, sheet, copies = tmp_path / "next.csv", tmp_path / "sheet.jpg", tmp_path / "copies"
    result = command(run.path, images, "-n", 5, "--out", out, "--sheet", sheet, "--copy-to", copies)
    assert result.exit_code == 0, result.stderr
    assert "has learnt no label, so they are typical examples by its features alone" in result.stdout
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["name"] for row in rows] == list(found.names) and {
        row["label"] + row["uncertainty"] for row in rows
    } == {""}
    assert len(list((copies / "unknown").iterdir())) == 5 and sheet.exists()


def test_rows_of_a_table_are_suggested_without_a_sheet(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=generator.normal(size=(300, 3)).astype(np.float32), y=np.arange(300) % 2)
    (tmp_path / "mine.yaml").write_text(TABLE)
    run = semivae.train(tmp_path / "mine.yaml", out=tmp_path / "run", data_root=tmp_path, device="cpu")
    np.save(tmp_path / "rows.npy", generator.normal(size=(50, 3)).astype(np.float32))
    result = command(run.path, tmp_path / "rows.npy", "-n", 3)
    assert result.exit_code == 0 and len(result.stdout.splitlines()) == 4
    result = command(run.path, tmp_path / "rows.npy", "-n", 3, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 1 and "examples of shape [3] are no pictures; leave out --sheet" in result.stderr


def test_bad_input_is_refused_by_message(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "some.npy", np.zeros((3, 8, 8), np.float32))
    for arguments, message in (
        ((images, "-n", 31), "31 suggestions are asked for, but there are 30 examples"),
        ((tmp_path / "empty",), "holds no image files"),
        ((tmp_path / "none",), "there is no file or folder"),
        ((tmp_path / "some.npy", "-n", 2), "the features of only 1 of the 3 examples differ"),
        ((tmp_path / "some.npy", "-n", 1, "--copy-to", tmp_path / "c"), "no folder or .zip of image files"),
        ((images, "--sheet", tmp_path / "sheet.gif"), "must end in .png, .jpg, .jpeg"),
        ((images, "--flat"), "give the folder of the copies too"),
    ):
        result = command(tiny_run.path, *arguments)
        shown = " ".join(result.stderr.replace("│", " ").split())
        assert result.exit_code and message in shown and not result.stdout, shown
        assert "Traceback" not in result.stderr


def test_broken_files_are_named_and_not_suggested(tiny_run: Run, images: Path) -> None:
    (images / "a" / "0.png").write_bytes(b"")
    assert "1 of 30 image files" in command(tiny_run.path, images, "-n", 29).stderr
    result = command(tiny_run.path, images, "-n", 29, "--skip-unreadable")
    assert result.exit_code == 0 and "a/0.png" in result.stderr and "a/0.png" not in result.stdout


# The benchmark --------------------------------------------------------------------------------------------------------


def test_the_simulation_shows_labels_in_rounds_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    kept = Results(tmp_path / "results.jsonl")
    simulate("digits", [10, 14], 60, 2, 0, tmp_path, kept)
    arms = [(each["arm"], each["labels"]) for each in kept.found]
    assert arms == [("suggested", 0), ("suggested", 10), ("suggested", 14), ("random", 14), ("random", 28)]
    for each in kept.found:
        assert sum(each["counts"]) == each["labels"] and len(set(each["next"])) == len(each["next"])
    first, second, third, *_, last = (each["next"] for each in kept.found)
    assert first == second[:10] and second == third and len(third) == 14  # what was chosen is labelled next
    assert last[:14] == kept.found[3]["next"]  # random labels are added to those before
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    (tmp_path / "results.jsonl").write_text("\n".join(lines[:3]) + "\n")
    again = Results(tmp_path / "results.jsonl")
    simulate("digits", [10, 14], 60, 2, 0, tmp_path, again)
    assert again.found == kept.found
    assert [row.count("|") for row in table([each for each in kept.found if each["error"] is not None])] == [6] * 4
