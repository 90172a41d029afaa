"""Commands that take images name every file that they leave out, and go on without broken ones if asked to."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from semivae.api import Run
from semivae.cli import app


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three pictures with different endings, two broken files among them, and two that are no pictures."""
    folder = tmp_path / "images"
    (folder / "@eaDir").mkdir(parents=True)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8))
    for name in ("a.png", "d.jfif", "e.jpe"):
        picture.save(folder / name, "png" if name == "a.png" else "jpeg")
    picture.save(folder / "@eaDir" / "a.png")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "c.jpg").write_text("<html>")
    (folder / "notes.txt").write_text("x")
    (folder / "scene.cr2").write_text("x")
    return folder


READ, BROKEN, OTHERS = ["a.png", "d.jfif", "e.jpe"], ["b.png", "c.jpg"], ["notes.txt", "scene.cr2"]


def test_broken_files_stop_what_is_not_told_to_pass_over_them(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mask = tmp_path / "mask.png"
    Image.new("L", (8, 8), 255).save(mask)
    for command in (
        ["predict"],
        ["embed", "--out", f"{out}.npz"],
        ["novelty"],
        ["impute", "--mask", mask, "--out", out],
    ):
        result = run_command(command[0], tiny_run.path, images, *command[1:])
        assert result.exit_code and not out.exists() and not out.with_suffix(".npz").exists()
        assert "2 of 5 image files" in result.stderr and "b.png (" in result.stderr
        assert "Repair or remove them, or pass over them (--skip-unreadable)" in result.stderr


def test_predict_names_what_it_leaves_out_in_its_answer(tiny_run: Run, images: Path) -> None:
    result = run_command("predict", tiny_run.path, images, "--skip-unreadable")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["name"] for row in rows] == READ + BROKEN
    assert [bool(row["label"]) for row in rows] == [True] * 3 + [False] * 2 and not rows[-1]["prob_0"]
    assert "note: 2 image files cannot be read and are left out: b.png (" in result.stderr
    assert (
        "note: 2 other files are left out: notes.txt (.txt is no ending of an image that is read), scene"
        in result.stderr
    )
    report = json.loads(run_command("predict", tiny_run.path, images, "--skip-unreadable", "--json").stdout)
    assert report["count"] == 3 and [row["name"] for row in report["images"]] == READ
    assert list(report["unreadable"]) == BROKEN and report["unreadable_count"] == 2
    assert list(report["left_out"]) == OTHERS and report["left_out_count"] == 2
    assert report["unreadable"]["c.jpg"].startswith("not a PNG")


def test_files_that_are_no_images_are_named_without_being_asked_for(tiny_run: Run, images: Path) -> None:
    for name in BROKEN:
        (images / name).unlink()
    result = run_command("predict", tiny_run.path, images)
    assert result.exit_code == 0 and "note: 2 other files are left out: notes.txt" in result.stderr
    for name in OTHERS:
        (images / name).unlink()
    result = run_command("predict", tiny_run.path, images)
    assert result.exit_code == 0 and not result.stderr
    assert "left_out" not in json.loads(run_command("predict", tiny_run.path, images, "--json").stdout)


def test_embed_novelty_and_impute_name_them_too(tiny_run: Run, images: Path, tmp_path: Path) -> None:
    command: list[object] = ["embed", tiny_run.path, images, "--skip-unreadable", "--out", tmp_path / "f.npz", "--json"]
    report = json.loads(run_command(*command).stdout)
    with np.load(tmp_path / "f.npz") as arrays:
        assert len(arrays["features"]) == 3 == report["count"] and report["unreadable_count"] == 2
        assert arrays["names"].tolist() == READ and arrays["unreadable"].tolist() == BROKEN
    command = ["novelty", tiny_run.path, images, "--skip-unreadable", "--out", tmp_path / "n.csv", "-n", 20, "--json"]
    report = json.loads(run_command(*command).stdout)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "n.csv").read_text())))
    assert [row["name"] for row in rows] == READ + BROKEN and rows[-1]["decoder"] == "" != rows[0]["decoder"]
    assert report["count"] == 3 and list(report["unreadable"]) == BROKEN
    Image.fromarray(np.repeat(np.array([[0] * 4 + [255] * 4], np.uint8), 8, axis=0)).save(tmp_path / "mask.png")
    command = ["impute", tiny_run.path, images, "--skip-unreadable", "--mask", tmp_path / "mask.png", "--json"]
    report = json.loads(run_command(*command, "--out", tmp_path / "i", "--draws", 1, "--rounds", 1).stdout)
    with np.load(tmp_path / "i" / "imputed.npz") as arrays:
        assert arrays["names"].tolist() == READ and arrays["unreadable"].tolist() == BROKEN
    assert report["count"] == 3 and list(report["left_out"]) == OTHERS


def test_nothing_but_broken_files_is_an_error(tiny_run: Run, images: Path) -> None:
    for name in READ:
        (images / name).unlink()
    result = run_command("predict", tiny_run.path, images, "--skip-unreadable")
    assert "2 of 2 image files" in result.stderr


def test_a_single_file_that_is_no_image_says_which_ending_it_has(tiny_run: Run, images: Path) -> None:
    result = run_command("predict", tiny_run.path, images / "scene.cr2")
    assert "scene.cr2 is not read: .cr2 is no ending of an image that is read" in result.stderr
    for name in READ:
        assert run_command("predict", tiny_run.path, images / name).exit_code == 0
