"""Packed data: the same arrays as those that are read, on a disk, whole or refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import semivae
from semivae.data.dataset import Dataset, joined_rows
from semivae.data.formats.image_files import each_picture
from semivae.data.inputs.images import Images
from semivae.data.packed import caching, pictures
from semivae.data.packed.arrays import StoredTexts, write_texts
from semivae.data.packed.packing import pack
from semivae.data.packed.store import PACKED_FILE, verify
from semivae.data.readers.folder import read_folder
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.inspection.inspecting import asked_for, inspect_asked, inspect_source
from semivae.inspection.sheet import sheet
from semivae.recipe.schema import BuiltInSource, FolderSource, MasksSource, Source
from tests.test_processes import rows_without_time


def quiet(text: str) -> None:
    """Says nothing."""


def write_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_pets(root: Path, parts: Sequence[str]) -> Path:
    """Twelve pictures of each of two classes in every part, and eight without a class."""
    for place, part in enumerate(parts):
        for number in range(24):
            write_picture(root / part / ("cat", "dog")[number % 2] / f"{number}é.png", 100 * place + number)
    for number in range(8):
        write_picture(root / "unlabelled" / f"{number}.png", 9000 + number)
    return root


def pets(path: Path, **changes: Any) -> FolderSource:
    return FolderSource.model_validate({"name": "folder", "path": str(path), "size": 8, **changes})


def assert_equal(one: Dataset, other: Dataset) -> None:
    for part in ("train", "test", "unlabelled", "alone"):
        first, second = getattr(one, part), getattr(other, part)
        assert first.keys() == second.keys()
        for key in first:
            assert first[key].dtype == second[key].dtype and torch.equal(first[key], second[key]), (part, key)
    assert (one.name, dict(one.labels), one.warnings, one.test_origin) == (
        other.name, dict(other.labels), other.warnings, other.test_origin,
    )  # fmt: skip
    assert list(one.names) == list(other.names)
    assert (one.validation is None) == (other.validation is None)
    if one.validation is not None and other.validation is not None:
        assert torch.equal(one.validation, other.validation)
    assert (one.digest, one.digest_beside()) == (other.digest, other.digest_beside())


def with_table(root: Path) -> dict[str, Any]:
    """Labels in a table, with a further one that not all pictures have."""
    for number in range(24):
        write_picture(root / f"{number}.png", number)
    rows = [f"{number}.png,{'cat' if number % 2 else 'dog'},{'big' if number % 3 else ''}" for number in range(16)]
    rows += [f"{number}.png,,small" for number in range(16, 24)]
    (root / "labels.csv").write_text("\n".join(["file_name,label,kind", *rows]))
    return {"labels": "labels.csv", "columns": {"c": "kind"}}


def of_parts(root: Path, parts: Sequence[str], **settings: Any) -> dict[str, Any]:
    write_pets(root, parts)
    return settings


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "all parts": lambda root: of_parts(root, ("train", "val", "test")),
    "no test part": lambda root: of_parts(root, ("train",), test_share=0.25),
    "a table": with_table,
}


@pytest.mark.parametrize("name", list(CASES))
def test_packed_pictures_are_those_that_are_read(name: str, tmp_path: Path) -> None:
    source = pets(tmp_path / "pets", **CASES[name](tmp_path / "pets"))
    pack(source, tmp_path / "pets", tmp_path / "packed", quiet)
    packed = load_source(source.model_copy(update={"path": str(tmp_path / "packed")}), tmp_path)
    assert_equal(packed, read_folder(source, tmp_path / "pets"))
    assert packed.of_all("x").data_ptr() == packed.train["x"].data_ptr()  # one array, of which nothing is copied
    kept = json.loads((tmp_path / "packed" / PACKED_FILE).read_text())
    kept["digest"] = "kept"
    (tmp_path / "packed" / PACKED_FILE).write_text(json.dumps(kept))
    assert load_source(source.model_copy(update={"path": str(tmp_path / "packed")}), tmp_path).digest == "kept"


def test_packed_masks_are_those_that_are_read(tmp_path: Path) -> None:
    for number in range(10):
        write_picture(tmp_path / "faces" / "images" / f"{number}.png", number)
        if number < 8:
            mask = np.random.default_rng(number).integers(0, 3, (10, 12), dtype=np.uint8)
            (tmp_path / "faces" / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(tmp_path / "faces" / "masks" / f"{number}.png")
    (tmp_path / "faces" / "palette.txt").write_text("skin\nhair\nrest\n")
    source = MasksSource.model_validate({"name": "masks", "path": "faces", "size": 8, "palette": "palette.txt"})
    pack(source, tmp_path / "faces", tmp_path / "packed", quiet)
    assert_equal(load_source(source.model_copy(update={"path": "packed"}), tmp_path), load_source(source, tmp_path))
    assert (tmp_path / "packed" / "palette.txt").read_text() == "skin\nhair\nrest\n"


@pytest.mark.parametrize("kind", ["folder", "masks"])
def test_packed_data_are_inspected_as_they_were_packed(tmp_path: Path, kind: str) -> None:
    for number in range(24):
        write_picture(
            tmp_path / "own" / ("images" if kind == "masks" else f"class {number % 2}") / f"{number}.png", number
        )
    if kind == "masks":
        (tmp_path / "own" / "masks").mkdir()
        for number in range(24):
            Image.fromarray(np.eye(10, 12, number % 5, dtype=np.uint8)).save(
                tmp_path / "own" / "masks" / f"{number}.png"
            )
    settings = {"name": kind, "path": "own", "size": 8, "channels": 1}  # the templates have other ones
    source = FolderSource.model_validate(settings) if kind == "folder" else MasksSource.model_validate(settings)
    pack(source, tmp_path / "own", tmp_path / "packed", quiet)
    expected = inspect_source(source, tmp_path, None).report
    asked = asked_for(tmp_path / "packed")
    found = inspect_asked(asked).report
    assert (found.kind, found.chosen, found.mistakes) == (kind, "packed data", ())
    assert (found.parts, found.classes) == (expected.parts, expected.classes)
    assert sheet(asked.source, tmp_path).startswith(b"\x89PNG")
    with pytest.raises(DataError, match="size was 8, now 9"):
        semivae.inspect(tmp_path / "packed", set={"source.size": 9})
    with pytest.raises(DataError, match="holds packed data, to train on; give the pictures that were packed"):
        Images((1, 8, 8)).read(tmp_path / "packed")


def test_a_training_on_packed_pictures_is_that_on_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read ahead in a thread, as arrays are that may lie on the disk."""
    write_pets(tmp_path / "pets", ("train", "test"))
    changes = {
        "source.size": 8, "split.labelled": 8, "split.validation": 4, "training.steps": 6, "training.twin": False,
        "training.validate_every": 3, "streams.labelled.batch": 8, "streams.unlabelled.batch": 8,
        "training.precision": "float32", "encoder.y.net": {"name": "mlp", "hidden": [8]},
        "decoder.x.net": {"name": "mlp", "hidden": [8]}, "encoder.h.net": {"name": "mlp", "hidden": [8]},
    }  # fmt: skip
    pack(pets(tmp_path / "pets"), tmp_path / "pets", tmp_path / "packed", quiet)
    trained = []
    for number, place in enumerate(("pets", "packed")):
        if place == "packed":
            monkeypatch.setattr("semivae.data.ahead.LARGE", 0)
        given = changes | {"source.path": str(tmp_path / place)}
        out = tmp_path / f"run{number}"
        trained.append(semivae.train("folder", set=given, out=out, device="cpu", progress=False, data_root=tmp_path))
    one, other = (run.encoder.state_dict() for run in trained)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert rows_without_time(trained[0].path) == rows_without_time(trained[1].path)
    reports = [run.evaluate() for run in trained]  # in memory, and read ahead
    assert reports[0]["last"] == reports[1]["last"]


def test_a_packing_that_was_stopped_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pets(tmp_path / "pets", ("train", "test"))
    source, folder = pets(tmp_path / "pets"), tmp_path / "packed"
    decoded: list[str] = []
    each = each_picture

    def counted(files: Any, names: Sequence[str], *rest: Any) -> Any:
        if len(decoded) >= 30 and stops:
            raise KeyboardInterrupt
        decoded.extend(names)
        return each(files, names, *rest)

    monkeypatch.setattr(pictures, "each_picture", counted)
    monkeypatch.setattr(pictures, "AT_A_TIME", 10)
    monkeypatch.setattr(pictures, "EVERY", 0.0)
    stops = True
    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "pets", folder, quiet)
    assert not (folder / PACKED_FILE).exists()
    with pytest.raises(DataError, match="holds no folder"):
        load_source(pets(folder), tmp_path)
    stops = False
    said: list[str] = []
    pack(source, tmp_path / "pets", folder, said.append)
    assert len(decoded) == len(set(decoded)) == 56 and "going on after 30 of 56 pictures" in said
    assert_equal(load_source(pets(folder), tmp_path), read_folder(source, tmp_path / "pets"))


def test_files_that_cannot_be_read_are_named_and_read_again_when_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pets(tmp_path / "pets", ("train", "test"))
    broken = tmp_path / "pets" / "train" / "cat" / "4é.png"
    whole = broken.read_bytes()
    broken.write_bytes(b"no picture")
    source = pets(tmp_path / "pets")
    with pytest.raises(DataError, match=r"1 of 56 image files .* cannot be read: train/cat/4.*Repair or remove"):
        pack(source, tmp_path / "pets", tmp_path / "packed", quiet)
    broken.write_bytes(whole)
    decoded: list[str] = []
    each = each_picture

    def counted(files: Any, names: Sequence[str], *rest: Any) -> Any:
        decoded.extend(names)
        return each(files, names, *rest)

    monkeypatch.setattr(pictures, "each_picture", counted)
    pack(source, tmp_path / "pets", tmp_path / "packed", quiet)
    assert decoded == ["train/cat/4é.png"]
    assert_equal(load_source(pets(tmp_path / "packed"), tmp_path), read_folder(source, tmp_path / "pets"))


def test_what_was_changed_or_lost_since_a_packing_was_stopped_is_read_again(tmp_path: Path) -> None:
    write_pets(tmp_path / "pets", ("train", "test"))
    source, folder = pets(tmp_path / "pets"), tmp_path / "packed"
    broken = tmp_path / "pets" / "train" / "cat" / "4é.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match="Repair or remove"):
        pack(source, tmp_path / "pets", folder, quiet)
    write_picture(broken, 77)
    other = tmp_path / "pets" / "train" / "dog" / "5é.png"
    write_picture(other, 78)  # read well before, and turned by its owner since
    later = (folder / pictures.PROGRESS_FILE).stat().st_mtime_ns + 10**9
    os.utime(other, ns=(later, later))
    (folder / "test_x.npy").unlink()
    shutil.copytree(folder, tmp_path / "half")
    pack(source, tmp_path / "pets", folder, quiet)
    assert_equal(load_source(pets(folder), tmp_path), read_folder(source, tmp_path / "pets"))
    (tmp_path / "half" / "test_x.npy").write_bytes((folder / "test_x.npy").read_bytes())
    pack(source, tmp_path / "pets", tmp_path / "half", quiet)  # the arrays are there; one picture is newer
    assert_equal(load_source(pets(tmp_path / "half"), tmp_path), read_folder(source, tmp_path / "pets"))


def test_a_record_of_more_pictures_than_there_are_does_not_count(tmp_path: Path) -> None:
    source, folder = pets(write_pets(tmp_path / "pets", ("train", "test"))), tmp_path / "packed"
    broken = tmp_path / "pets" / "train" / "cat" / "4é.png"
    whole = broken.read_bytes()
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match="Repair or remove"):
        pack(source, tmp_path / "pets", folder, quiet)
    broken.write_bytes(whole)
    np.lib.format.open_memmap(folder / "x.npy", mode="r+")[:] = 0  # as if nothing had been decoded yet
    record = json.loads((folder / pictures.PROGRESS_FILE).read_text())
    (folder / pictures.PROGRESS_FILE).write_text(json.dumps({**record, "count": 57, "unreadable": {}}))
    pack(source, tmp_path / "pets", folder, quiet)
    assert_equal(load_source(pets(folder), tmp_path), read_folder(source, tmp_path / "pets"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    pack(pets(write_pets(root / "pets", ("train", "test"))), root / "pets", root / "packed", quiet)
    return root


def test_other_settings_than_those_of_the_packing_are_refused(packed: Path) -> None:
    with pytest.raises(DataError, match=r"other settings than the recipe's source: size was 8, now 16, channels was 3"):
        load_source(pets(packed / "packed", size=16, channels=1), packed)
    masks = MasksSource.model_validate({"name": "masks", "path": str(packed / "packed")})
    with pytest.raises(DataError, match="packed from a source: folder, and the recipe's is masks"):
        load_source(masks, packed)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"source"', '"so5rce"', r"packed\.json is damaged \(source: Field required\); pack the data again"),
        ('"files"', '"fi1es"', r"packed\.json is damaged \(files: Field required\)"),
        ('"sha256"', '"sha25"', r"packed\.json is damaged \(files\..*sha256: Field required\)"),
        ('"bytes": ', '"bytes": -0.5', r"packed\.json is damaged \(files\..*bytes: Input should be a valid integer"),
        ('"labels": null', '"lab3ls": null', r"packed\.json is damaged \(source: "),
        ('"labels": {', '"lab3ls": {', "its packed data are damaged"),
    ],
)
def test_a_damaged_record_of_a_packing_is_refused(
    packed: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    folder = Path(shutil.copytree(packed / "packed", tmp_path / "packed"))
    text = (folder / PACKED_FILE).read_text(encoding="utf-8")
    assert old in text
    (folder / PACKED_FILE).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_source(pets(folder), tmp_path)


@pytest.mark.parametrize("line", [b'"\x01', b"[1]", b'"\xff"'])
def test_a_damaged_name_is_refused_when_it_is_read(packed: Path, tmp_path: Path, line: bytes) -> None:
    folder = Path(shutil.copytree(packed / "packed", tmp_path / "packed"))
    first = (folder / "names.txt").read_bytes().split(b"\n", 1)[0]
    damaged = (folder / "names.txt").read_bytes().replace(first, line.ljust(len(first)), 1)
    (folder / "names.txt").write_bytes(damaged)
    os.utime(folder / "names.txt", ns=(0, 0))  # older than the record, so that it is not hashed
    names = load_source(pets(folder), tmp_path).names
    with pytest.raises(DataError, match=r"names\.txt: line 1 (is damaged|holds no text).*pack the data again"):
        list(names)


def test_files_that_were_changed_are_refused_and_copies_are_not(packed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(packed / "packed", tmp_path / "packed"))
    verify(folder)
    content = bytearray((folder / "x.npy").read_bytes())
    later = (folder / PACKED_FILE).stat().st_mtime_ns + 10**9
    os.utime(folder / "x.npy", ns=(later, later))  # copied later: hashed, and found whole
    load_source(pets(folder), tmp_path)
    content[-1] ^= 1
    (folder / "x.npy").write_bytes(content)
    os.utime(folder / "x.npy", ns=(later, later))
    with pytest.raises(DataError, match=r"x\.npy is missing, or was changed since the data were packed; pack the data"):
        load_source(pets(folder), tmp_path)
    os.utime(folder / "x.npy", ns=(0, 0))  # a change that hides is found where all is hashed
    load_source(pets(folder), tmp_path)
    with pytest.raises(DataError, match=r"x\.npy is missing, or was changed"):
        verify(folder)
    (folder / "test_y.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"test_y\.npy is missing, or was changed"):
        load_source(pets(folder), tmp_path)
    (folder / PACKED_FILE).write_text('{"format": 9, "semivae": "7.0"}')
    with pytest.raises(DataError, match=r"format 9, which version 7\.0 of semivae packed; this one reads format 1"):
        load_source(pets(folder), tmp_path)


def test_what_cannot_be_packed_is_refused(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = pets(packed / "pets")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds other files; choose a new folder"):
        pack(source, packed / "pets", tmp_path, quiet)
    with pytest.raises(DataError, match="holds packed data; remove it, or choose another"):
        pack(source, packed / "pets", packed / "packed", quiet)
    with pytest.raises(DataError, match="is packed already"):
        pack(source, packed / "packed", tmp_path / "twice", quiet)
    digits: Source = BuiltInSource(name="digits")
    with pytest.raises(DataError, match="source: digits is read in seconds and not packed"):
        pack(digits, tmp_path, tmp_path / "digits", quiet)
    full = shutil.disk_usage(tmp_path)._replace(free=2**27 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    with pytest.raises(DataError, match=r"56 pictures of 8 x 8 take 0 MB in .*, but 134 MB are free there"):
        pack(source, packed / "pets", tmp_path / "new", quiet)


def test_large_pictures_are_packed_once_and_again_when_they_change(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(shutil.copytree(packed / "pets", tmp_path / "pets"))
    source, said = pets(place), list[str]()
    load_source(source, tmp_path, tell=said.append)
    assert said == [] and not (tmp_path / "packed").exists()  # small: decoded each time
    monkeypatch.setattr(caching, "LARGE", 1)
    monkeypatch.setattr(caching, "THREADS_PAY", 1)
    first = load_source(source, tmp_path, tell=said.append)
    assert "56 pictures" in said[0] and str(tmp_path / "packed") in said[0] and "MB" in said[0]
    assert_equal(first, read_folder(source, place))
    said.clear()
    monkeypatch.setattr(pictures, "each_picture", lambda *_: pytest.fail("decoded again"))
    assert_equal(load_source(source, tmp_path, tell=said.append), first)
    assert said == []
    monkeypatch.undo()
    monkeypatch.setattr(caching, "LARGE", 1)
    monkeypatch.setattr(caching, "THREADS_PAY", 1)
    write_picture(place / "train" / "cat" / "0é.png", 77)
    changed = load_source(source, tmp_path, tell=said.append)
    assert len(said) == 1 and not torch.equal(changed.train["x"], first.train["x"])


def test_rows_that_lie_one_after_the_other_are_joined_without_a_copy() -> None:
    whole = torch.arange(24).view(6, 4)
    joined = joined_rows([whole[1:3], whole[3:5]])
    assert torch.equal(joined, whole[1:5]) and joined.data_ptr() == whole[1:].data_ptr()
    assert torch.equal(joined_rows([whole[3:5], whole[1:3]]), whole[[3, 4, 1, 2]])
    assert torch.equal(joined_rows([whole[1:3], whole[3:5].clone()]), whole[1:5])
    assert torch.equal(joined_rows([whole[:2, :2], whole[2:4, :2]]), whole[:4, :2])


def test_texts_are_read_one_at_a_time(tmp_path: Path) -> None:
    texts = ["a.png", "größer/b\n.png", "", "c"]
    write_texts(tmp_path / "names.txt", texts)
    stored = StoredTexts(tmp_path / "names.txt", "pack again")
    assert list(stored) == texts and stored[-2] == "" and stored[1:3] == ("größer/b\n.png", "") and len(stored) == 4
    write_texts(tmp_path / "none.txt", [])
    assert list(StoredTexts(tmp_path / "none.txt", "pack again")) == []
