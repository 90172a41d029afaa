"""Many image files a piece at a time: the same images, names and remarks as all at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from semivae.api import Run
from semivae.cli import app
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.inputs import pieces
from semivae.data.inputs.images import Images
from semivae.errors import DataError

HOW = Preprocessing(1, 8, 8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pieces, "PIECE", 5)
    place = tmp_path / "images"
    for number in range(12):
        (place / str(number % 2)).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 10), dtype=np.uint8)
        Image.fromarray(pixels).save(place / str(number % 2) / f"{number}.png")
    (place / "notes.txt").write_text("no image")
    return place


def test_pieces_are_the_images_that_are_read_at_once(folder: Path) -> None:
    images = Images(HOW.shape, preprocessing=HOW)
    for given in (folder, Path(shutil.make_archive(str(folder), "zip", folder))):
        whole = images.read(given)
        found = images.pieces(given)
        assert found is not None
        parts = list(found)
        assert [len(part) for part in parts] == [5, 5, 2]
        assert torch.equal(torch.cat(parts), whole.values)
        reading = found.reading()
        assert len(reading.values) == 0 and reading.names == whole.names and reading.sizes == whole.sizes
        assert reading.remarks() == whole.remarks() != []
    assert images.pieces(folder / "0" / "0.png") is None and images.pieces(torch.zeros(9, 1, 8, 8)) is None
    shutil.rmtree(folder / "1")
    (folder / "0" / "0.png").unlink()
    assert images.pieces(folder) is None  # five are one piece


def test_files_that_cannot_be_read_are_refused_or_passed_over_as_at_once(folder: Path) -> None:
    images = Images(HOW.shape, preprocessing=HOW)
    for name in ("0/2.png", "1/11.png"):
        (folder / name).write_bytes(b"no picture")
    with pytest.raises(DataError) as at_once:
        images.read(folder)
    found = images.pieces(folder)
    assert found is not None
    with pytest.raises(DataError) as in_pieces:
        list(found)
    assert str(in_pieces.value) == str(at_once.value) and "2 of 12 image files" in str(in_pieces.value)
    whole, skipping = images.read(folder, skip_unreadable=True), images.pieces(folder, skip_unreadable=True)
    assert skipping is not None and torch.equal(torch.cat(list(skipping)), whole.values)
    assert skipping.reading().names == whole.names and skipping.reading().unreadable == whole.unreadable
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"no picture")
    none = images.pieces(folder, skip_unreadable=True)
    assert none is not None
    with pytest.raises(DataError, match="12 of 12 image files"):
        list(none)


@pytest.mark.parametrize("words", [["predict"], ["predict", "--calibrate", "--prior", "uniform"], ["embed"]])
def test_commands_say_the_same_of_pieces(
    words: list[str], folder: Path, tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    (folder / "0" / "2.png").write_bytes(b"no picture")
    for size in (5, 100):
        monkeypatch.setattr(pieces, "PIECE", size)
        out = tmp_path / f"{size}.{'npz' if words == ['embed'] else 'csv'}"
        command = [words[0], str(tiny_run.path), str(folder), *words[1:], "--skip-unreadable", "--out", str(out)]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        answers.append((done.output.replace(out.name, ""), out))
    assert answers[0][0] == answers[1][0] and "1 image file cannot be read" in answers[0][0]
    first, second = (path for _, path in answers)
    if first.suffix == ".csv":
        assert first.read_text() == second.read_text()
        return
    for key in ("features", "names", "unreadable"):
        one, other = np.load(first)[key], np.load(second)[key]
        assert (one == other).all() if key != "features" else np.allclose(one, other, rtol=1e-5, atol=1e-6)
