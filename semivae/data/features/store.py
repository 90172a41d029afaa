"""Where features are kept: a folder for each pictures and network, a file for each pass, and its checksum."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from semivae.data.features.network import FeatureNetwork
from semivae.data.formats.mapped_arrays import file_digest, opened_array
from semivae.errors import DataError
from semivae.files import whole_file, write_whole
from semivae.recipe.schema import ViewSpec

FORMAT = 1  # of the files; another one is extracted anew
FOLDER = "features"  # below the data root
SCALE_FILE = "scale.safetensors"
TYPE = np.float16  # standardised features are about 1; 11 bits of them are more than networks agree in


@dataclass(frozen=True)
class Pass:
    """One pass of pictures through the network: as they are, or one random draw of a view.

    Args:
        name: of its file, without ending.
        view: the augmentation; None for the pictures as they are.
        seed_parts: what its random draws depend on, beside the chunk of pictures.
    """

    name: str
    view: ViewSpec | None = None
    seed_parts: tuple[object, ...] = ()


PLAIN = Pass("plain")


def draw_of(name: str, view: ViewSpec, index: int) -> Pass:
    """The pass of one random draw of a view."""
    spec = json.dumps(view.model_dump(mode="json", exclude_none=True), sort_keys=True)
    return Pass(f"{name}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}-{index}", view, (spec, index))


class Store:
    """The folder of one combination of pictures and network.

    Args:
        root: the data root.
        name: what the data are called, for people who look into the folder.
        key: all that the features depend on, but for the views, JSON-serialisable.
    """

    def __init__(self, root: Path, name: str, key: dict[str, object]) -> None:
        text = json.dumps({"format": FORMAT, **key}, sort_keys=True)
        safe = "".join(sign if sign.isalnum() else "_" for sign in name)[:40]
        self.folder = root / FOLDER / f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def path(self, one: Pass) -> Path:
        """The file of a pass."""
        return self.folder / f"{one.name}.npy"

    def has(self, one: Pass) -> bool:
        """Whether a pass was finished."""
        return self.path(one).is_file()

    def writing(self, one: Pass) -> Path:
        """The file of a pass until it is finished."""
        return self.folder / f"{one.name}.writing.npy"

    def finish(self, one: Pass) -> None:
        """Gives a pass that is written its checksum, as `sha256sum` writes it, and then its name."""
        _write_checksum(self.path(one), self.writing(one))
        os.replace(self.writing(one), self.path(one))

    def read(self, one: Pass, shape: tuple[int, int]) -> Tensor:
        """Returns the features of a finished pass, float16 [n, size], mapped from disk.

        The first time in a process, the file is compared with its checksum; features of earlier versions have none.

        Raises:
            DataError: the file is damaged, was changed, or has not this shape.
        """
        try:
            found = opened_array(self.path(one))
            same = _has_its_checksum(self.path(one))
        except Exception as error:  # NumPy raises much, by the byte that is wrong
            raise self._damaged(f"{one.name}.npy", error) from error
        if tuple(found.shape) != shape or found.dtype != torch.float16:
            raise self._damaged(f"{one.name}.npy", f"{list(found.shape)} of {found.dtype}")
        if not same:
            raise self._damaged(f"{one.name}.npy", "it has not the checksum with which it was written")
        return found

    def _damaged(self, name: str, reason: object) -> DataError:
        return DataError(f"{self.folder}: {name} is damaged ({reason}); delete this folder, and it is computed again")

    def has_scale(self) -> bool:
        """Whether a standardisation is kept."""
        return (self.folder / SCALE_FILE).is_file()

    def read_scale(self, network: FeatureNetwork) -> bool:
        """Gives a network the standardisation that is kept; returns whether there is one.

        Raises:
            DataError: the file is damaged, or was changed.
        """
        path = self.folder / SCALE_FILE
        if not path.is_file():
            return False
        try:
            if not _has_its_checksum(path):
                raise ValueError("it has not the checksum with which it was written")
            with safe_open(path, "pt") as tensors:
                for name in ("mean", "deviation", *(("basis",) if network.basis is not None else ())):
                    kept = tensors.get_tensor(name)
                    if not torch.isfinite(kept).all() or kept.shape != getattr(network, name).shape:
                        raise ValueError(f"{name} is {list(kept.shape)}, or not finite")
                    getattr(network, name).copy_(kept)
        except Exception as error:  # safetensors raises its own
            raise self._damaged(SCALE_FILE, error) from error
        network.fitted = True
        return True

    def write_scale(self, network: FeatureNetwork) -> None:
        """Keeps the standardisation of a network."""
        with whole_file(self.folder / SCALE_FILE) as path:
            kept = {"mean": network.mean, "deviation": network.deviation}
            kept |= {} if network.basis is None else {"basis": network.basis}
            save_file({name: tensor.cpu().contiguous() for name, tensor in kept.items()}, path)
            _write_checksum(self.folder / SCALE_FILE, path)


def _checksum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _write_checksum(path: Path, written: Path) -> None:
    """Keeps the checksum of what is `written` and will be called `path`, as `sha256sum` writes it."""
    write_whole(_checksum_of(path), f"{file_digest(written)}  {path.name}\n")


def _has_its_checksum(path: Path) -> bool:
    """Returns whether a file is as it was written; files of earlier versions have no checksum and are believed."""
    if not (kept := _checksum_of(path)).exists():
        return True
    state = path.stat()
    return kept.read_bytes().split()[:1] == [_digest_once(path, state.st_size, state.st_mtime_ns).encode()]


@cache
def _digest_once(path: Path, size: int, changed: int) -> str:
    """Returns the SHA-256 of a file; once for as long as it has this size and this time of change, in nanoseconds."""
    del size, changed
    return file_digest(path)
