"""A folder of packed data: arrays for each part, and `packed.json`, which says what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.formats.mapped_arrays import file_digest, opened_array
from semivae.data.packed.arrays import StoredTexts, write_texts
from semivae.errors import DataError
from semivae.files import write_whole
from semivae.recipe.schema import FolderSource, MasksSource
from semivae.text import join_names
from semivae.variables import Sample
from semivae.version import __version__

FORMAT = 1
PACKED_FILE, NAMES_FILE, LOCK_FILE = "packed.json", "names.txt", ".packing.lock"
AGAIN = "pack the data again with semivae pack"

PackableSource = FolderSource | MasksSource


@dataclass(frozen=True)
class _File:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class _Content:
    """What of `packed.json` is read before the arrays are."""

    source: dict[str, Any]
    files: dict[str, _File]


def is_packed(path: Path) -> bool:
    """Returns whether a folder holds packed data."""
    return (path / PACKED_FILE).is_file()


@contextmanager
def only_packer(folder: Path) -> Iterator[None]:
    """Locks a folder for one packing. Raises DataError where another one writes there."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        raise DataError(f"{folder}: another packing writes there; wait for it, or choose another folder") from None
    try:
        yield
    finally:
        lock.release()


def settings_of(source: PackableSource) -> dict[str, Any]:
    """Returns what of a source decides its arrays: all but the place."""
    return source.model_dump(mode="json", exclude={"path"})


def path_of(folder: Path, part: str, key: str) -> Path:
    """Returns the file of an array; one file holds the rows to train on, then the unlabelled ones."""
    return folder / f"{'' if part in ('train', 'unlabelled') else f'{part}_'}{key}.npy"


def finish_packing(folder: Path, dataset: Dataset, source: PackableSource) -> None:
    """Writes what is missing of a data set's arrays, hashes all of them, and then `packed.json`.

    Args:
        folder: where they lie.
        dataset: the data; arrays whose files are there already are not written again.
        source: what they were read from.
    """
    for part, key, array in _arrays(dataset):
        if not path_of(folder, part, key).exists():
            np.save(path_of(folder, part, key), array.numpy())
    if dataset.validation is not None:
        np.save(folder / "validation.npy", dataset.validation.numpy())
    write_texts(folder / NAMES_FILE, dataset.names)
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in sorted(folder.iterdir())
        if path.suffix in (".npy", ".txt")
    }
    content = {
        "format": FORMAT,
        "semivae": __version__,
        "source": settings_of(source),
        "name": dataset.name,
        "labels": {name: asdict(info) for name, info in dataset.labels.items()},
        "inputs": list(dataset.inputs),
        "rows": {"train": len(dataset.train["x"]), "unlabelled": len(dataset.unlabelled.get("x", ()))},
        "unlabelled": sorted(dataset.unlabelled),
        "alone": sorted(dataset.alone),
        "test_origin": dataset.test_origin,
        "warnings": list(dataset.warnings),
        "digest": dataset.digest,
        "digest_beside": dataset.digest_beside(),
        "files": files,
    }
    write_whole(folder / PACKED_FILE, json.dumps(content, indent=1) + "\n")


def _arrays(dataset: Dataset) -> Iterator[tuple[str, str, Tensor]]:
    for key in dataset.train:
        yield "train", key, dataset.of_all(key)
    for key, array in dataset.test.items():
        yield "test", key, array
    for key, array in dataset.alone.items():
        yield "alone", key, array


def source_of(folder: Path) -> dict[str, Any]:
    """Returns the keys of the source that data were packed from, but for the place. Raises DataError if damaged."""
    kept: dict[str, Any] = _content_of(folder)["source"]
    return kept


def read_packed(source: PackableSource, folder: Path) -> Dataset:
    """Returns packed data, whose images stay on the disk until they are used.

    Args:
        source: the recipe's section, whose path is the folder.
        folder: where the data lie.

    Raises:
        DataError: the data were packed with other settings, or are not whole; a file that is newer than
            `packed.json` is hashed, and refused where it was changed.
    """
    content = _content_of(folder)
    _refuse_other_settings(folder, content["source"], source)
    _refuse_changed_files(folder, content["files"])
    try:
        return _dataset(folder, content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: its packed data are damaged ({error}); {AGAIN}") from error


def _dataset(folder: Path, content: dict[str, Any]) -> Dataset:
    labels = {name: TypeAdapter(LabelInfo).validate_python(info) for name, info in content["labels"].items()}
    keys = [*content["inputs"], *labels]
    whole = {key: opened_array(path_of(folder, "train", key)) for key in keys}
    rows = content["rows"]
    train = {key: array[: rows["train"]] for key, array in whole.items()}
    unlabelled: Sample = {key: whole[key][rows["train"] :] for key in content["unlabelled"]}
    validation = folder / "validation.npy"
    dataset = Dataset(
        content["name"],
        labels,
        train,
        {key: opened_array(path_of(folder, "test", key)) for key in keys},
        unlabelled,
        tuple(content["warnings"]),
        content["test_origin"],
        {key: opened_array(path_of(folder, "alone", key)) for key in content["alone"]},
        torch.from_numpy(np.load(validation)) if validation.exists() else None,
        names=StoredTexts(folder / NAMES_FILE, AGAIN),
    )
    # hashed when they were packed; a data set that is made from this one hashes its own
    vars(dataset).update(digest=content["digest"], _digest_beside=content["digest_beside"])
    return dataset


def verify(folder: Path) -> None:
    """Hashes all packed files. Raises DataError for those that were changed."""
    files = _content_of(folder)["files"]
    _refuse_wrong(folder, [name for name, kept in files.items() if _differs(folder / name, kept, hashed=True)])


def _content_of(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / PACKED_FILE).read_text(encoding="utf-8"))
        number = content["format"]
        if number == FORMAT:
            TypeAdapter(_Content).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{folder / PACKED_FILE} is damaged ({where}: {first['msg']}); {AGAIN}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{folder / PACKED_FILE} is damaged ({error}); {AGAIN}") from error
    if number != FORMAT:
        raise DataError(
            f"{folder}: data of format {number}, which version {content.get('semivae')} of semivae packed; this one "
            f"reads format {FORMAT}: {AGAIN}, or use that version"
        )
    found: dict[str, Any] = content
    return found


def _refuse_other_settings(folder: Path, kept: dict[str, Any], source: PackableSource) -> None:
    try:
        before = settings_of(type(source).model_validate({**kept, "path": source.path}))
    except ValidationError as error:
        if kept.get("name") == source.name:
            raise DataError(
                f"{folder / PACKED_FILE} is damaged (source: {error.errors()[0]['msg']}); {AGAIN}"
            ) from None
        raise DataError(
            f"{folder} holds data packed from a source: {kept.get('name')}, and the recipe's is {source.name}; "
            "write the name with which they were packed"
        ) from None
    now = settings_of(source)
    differing = [f"{key} was {before[key]}, now {now[key]}" for key in now if before[key] != now[key]]
    if differing:
        raise DataError(
            f"{folder} was packed with other settings than the recipe's source: {join_names(differing)}. Write those, "
            "or pack the data again"
        )


def _refuse_changed_files(folder: Path, files: dict[str, Any]) -> None:
    packed = (folder / PACKED_FILE).stat().st_mtime_ns
    wrong = []
    for name, kept in files.items():
        path = folder / name
        newer = path.exists() and path.stat().st_mtime_ns > packed  # changed; or copied, one file after the other
        if _differs(path, kept, hashed=newer):
            wrong.append(name)
    _refuse_wrong(folder, wrong)


def _differs(path: Path, kept: dict[str, Any], hashed: bool) -> bool:
    if not path.is_file() or path.stat().st_size != kept["bytes"]:
        return True
    return hashed and file_digest(path) != kept["sha256"]


def _refuse_wrong(folder: Path, names: list[str]) -> None:
    if names:
        raise DataError(f"{folder}: {join_names(names)} is missing, or was changed since the data were packed; {AGAIN}")
