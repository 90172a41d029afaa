"""Many image files a piece at a time: the same images, names and remarks as all at once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from semivae.api import Run
from semivae.classification.posterior import batches
from semivae.cli import app
from semivae.data.formats.file_trees import Files
from semivae.data.formats.image_files import each_picture
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.inputs import pieces
from semivae.data.inputs.images import Images
from semivae.data.inputs.pieces import in_batches
from semivae.errors import DataError, DataWarning

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


def test_batches_are_those_of_all_images_wherever_pieces_end(folder: Path) -> None:
    images = Images(HOW.shape, preprocessing=HOW)
    whole = images.read(folder).values
    for size in (1, 4, 5, 7, 12, 100):
        found = images.pieces(folder)
        assert found is not None
        ours, theirs = list(in_batches(found, size)), list(in_batches(whole, size))
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and torch.equal(one, other)


@pytest.mark.parametrize("broken", [[], ["0/2.png", "1/11.png"]])
def test_kept_pieces_are_looked_at_again_and_picked_from(folder: Path, broken: list[str]) -> None:
    for name in broken:
        (folder / name).write_bytes(b"no picture")
    images = Images(HOW.shape, preprocessing=HOW)
    whole = images.read(folder, skip_unreadable=True)
    found = images.pieces(folder, skip_unreadable=True, kept=True)
    assert found is not None
    for _ in range(2):
        assert torch.equal(torch.cat(list(found)), whole.values)
    rows = torch.tensor([9, 0, 3])
    assert torch.equal(found[rows], whole.values[rows]) and torch.equal(found.reading().values, whole.values)


class Watch:
    """When the reading of each piece began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.begun = [threading.Event() for _ in range(count)]
        self.used = 0
        waiting = iter(self.begun)

        def watched(*given: Any) -> Any:
            next(waiting).set()
            return each_picture(*given)

        monkeypatch.setattr(pieces, "each_picture", watched)

    def use(self) -> None:
        """Asserts that the next piece is being read while this one is used, and that none after it is."""
        self.used += 1
        if self.used < len(self.begun):
            assert self.begun[self.used].wait(20)
        assert not any(later.is_set() for later in self.begun[self.used + 1 :])


def test_the_next_piece_is_read_while_one_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, watch = Images(HOW.shape, preprocessing=HOW).pieces(folder), Watch(monkeypatch, 3)
    assert found is not None
    for _ in found:
        watch.use()
    assert watch.used == 3


def test_arrays_that_may_lie_on_a_disk_are_read_one_batch_ahead(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tiny_run.dataset().test[tiny_run.image][:12]
    in_memory = [batch[tiny_run.image] for batch in batches(tiny_run, given, 5)]
    begun, values = [threading.Event() for _ in range(3)], type(tiny_run).values
    waiting = iter(begun)

    def watched(run: Run, raw: torch.Tensor) -> Any:
        next(waiting).set()
        return values(run, raw)

    monkeypatch.setattr(type(tiny_run), "values", watched)
    monkeypatch.setattr("semivae.data.ahead.LARGE", 0)
    for number, batch in enumerate(batches(tiny_run, given, 5)):
        assert torch.equal(batch[tiny_run.image], in_memory[number])
        assert number == 2 or begun[number + 1].wait(20)
        assert not any(later.is_set() for later in begun[number + 2 :])


@pytest.fixture(scope="module")
def copied(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which answers may keep their calibration."""
    return Run.load(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("copied") / "run"), device="cpu")


COMMANDS = [
    ["predict"],
    ["predict", "--calibrate", "--prior", "uniform"],
    ["predict", "--vote"],
    ["predict", "--coverage", "0.9", "--novelty"],
    ["embed"],
    ["novelty"],
    ["suggest", "-n", "3"],
    ["codes", "--images"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_compute_while_the_next_piece_is_read(
    words: list[str], folder: Path, copied: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch, 3)
    for size in ("classification.posterior.IMAGES", "generative.codes.BATCH"):
        monkeypatch.setattr(f"semivae.{size}", 5)
    monkeypatch.setattr("semivae.generative.likelihood.ROWS", 20)  # of four draws
    values = Images.values

    def counted(images: Images, raw: torch.Tensor) -> torch.Tensor:
        if watch.used < 3 and folder_rows(raw):
            watch.use()
        return values(images, raw)

    known = Images(HOW.shape, preprocessing=HOW).read(folder).values

    def folder_rows(raw: torch.Tensor) -> bool:
        """Whether a batch is of the folder, and not of the run's own data."""
        return raw.dtype == torch.uint8 and bool((known == raw[:1]).flatten(1).all(dim=1).any())

    monkeypatch.setattr(Images, "values", counted)
    answer(words, copied, folder, tmp_path / "out")
    assert watch.used == 3


def test_an_error_in_the_middle_is_the_error_of_reading_at_once(
    folder: Path, copied: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "0" / "8.png").write_bytes(b"no picture")
    for words in COMMANDS:
        messages = []
        for size in (5, 100):
            monkeypatch.setattr(pieces, "PIECE", size)
            out = tmp_path / "out"
            done = CliRunner().invoke(app, command_of(words, copied, folder, out))
            assert done.exit_code == 1 and not list(tmp_path.glob("out*")), words
            messages.append(done.output)
        assert messages[0] == messages[1] and "1 of 12 image files" in messages[0], words


def test_nothing_more_is_read_when_nobody_waits_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when Ctrl-C stops what computes: the files of the next piece need not all be read before it ends."""
    monkeypatch.setattr(pieces, "PIECE", 6)
    found = Images(HOW.shape, preprocessing=HOW).pieces(folder)
    assert found is not None
    closed, first = threading.Event(), threading.Event()
    decoded: list[int] = []

    def watched(files: Files, names: Sequence[str], how: Preprocessing, use: Any) -> Any:
        def slowly(row: int, picture: Any) -> Any:
            if names[0] != first_name:
                first.set()
                assert closed.wait(20)
                decoded.append(row)
            return use(row, picture)

        return each_picture(files, names, how, slowly)

    first_name = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*.png"))[0]
    monkeypatch.setattr(pieces, "each_picture", watched)
    parts = iter(found)
    next(parts)
    assert first.wait(20)
    stopped = found._stopped.set

    def stop() -> None:
        stopped()
        closed.set()

    monkeypatch.setattr(found._stopped, "set", stop)
    parts.close()  # type: ignore[attr-defined]
    assert decoded == [0]


def command_of(words: list[str], run: Run, folder: Path, out: Path) -> list[str]:
    """A command's words, with the run and the images in their places."""
    given = [*words[1:], str(folder)] if words[-1] == "--images" else [str(folder), *words[1:]]
    ending = "npz" if words[0] in ("embed", "codes") else "csv"
    return [words[0], str(run.path), *given, "--out", f"{out}.{ending}"]


def answer(words: list[str], run: Run, folder: Path, out: Path, *more: str) -> tuple[str, Path]:
    """What a command says, and the file that it writes."""
    command = [*command_of(words, run, folder, out), *more]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    path = Path(command[command.index("--out") + 1])
    return done.output.replace(path.name, ""), path


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_say_the_same_of_pieces(
    words: list[str], folder: Path, copied: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    skipping = [] if words[0] == "codes" else ["--skip-unreadable"]
    if skipping:
        (folder / "0" / "2.png").write_bytes(b"no picture")
    for size in (5, 100):
        monkeypatch.setattr(pieces, "PIECE", size)
        answers.append(answer(words, copied, folder, tmp_path / str(size), *skipping))
    (said, first), (also, second) = answers
    assert said == also and ("1 image file cannot be read" in said or not skipping)
    if first.suffix == ".csv":
        assert first.read_text() == second.read_text()
        return
    one, other = np.load(first), np.load(second)
    assert set(one) == set(other) and all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("words", ["predict", "predict_sets", "embed", "suggest", "novelty"])
def test_runs_answer_the_same_of_pieces(
    words: str, folder: Path, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = []
    more = {"n": 3} if words == "suggest" else {}
    for size in (5, 100):
        monkeypatch.setattr(pieces, "PIECE", size)
        with pytest.warns(DataWarning, match="1 other file is left out: notes.txt"):
            found = getattr(tiny_run, words)(folder, **more)
        if words == "novelty":
            found = np.stack(list(found.p_values.values()))
        answers.append(np.asarray(found.names) if words == "suggest" else found)
    assert np.array_equal(answers[0], answers[1])
