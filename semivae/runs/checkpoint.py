"""Checkpoints: one safetensors file each, written whole or not at all, with a checksum. No pickled code.

A checkpoint holds named tensors (weights, averages, optimiser moments) and a few words of metadata. Batches, views and
draws are functions of (seed, step), so the step is all that exact resuming needs beside the tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from semivae.devices import is_out_of_memory
from semivae.errors import RunError, TrainingError
from semivae.files import whole_file
from semivae.runs.upgrade import present_format, refuse_newer, upgrade_from
from semivae.version import __version__

FORMAT = "semivae-checkpoint-"  # the number of the format follows
CHECKSUM = "sha256"  # key of the metadata; checkpoints of earlier versions have none
Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Facts(BaseModel):
    """What a checkpoint says of itself.

    Attributes:
        phase: "model", "twin" or "painter".
        step, steps: how many steps were made, of how many.
        seconds: of training, in wall-clock.
        best_error: the lowest validation error so far, a fraction; None before the first validation.
        classes: class names, in the order of class numbers.
        further: by further label, the names of its classes or attributes.
        labelled_counts: labelled examples of each class; empty where the label is a map, or there is none.
        beside: SHA-256 of the data that come without a label (`Dataset.digest_beside`).
        counts: by name of a loss, how many steps its running sum holds.
        threads: how many threads torch computed with on a CPU, which decides the order of its sums; None of a run of
            an earlier version, and where a GPU computed.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    phase: str = "model"
    step: Count = 0
    steps: Count = 0
    seconds: Number = 0.0
    best_error: Number | None = None
    classes: list[str] = []
    further: dict[str, list[str]] = {}
    labelled_counts: list[Count] = []
    beside: str | None = None
    counts: dict[str, Count] = {}
    threads: Count | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.labelled_counts and len(self.labelled_counts) != len(self.classes):
            raise ValueError("labelled_counts and classes differ in length")
        return self


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Facts) -> None:
    """Writes a checkpoint atomically: to a temporary name in the same folder, then moved into place.

    Raises:
        TrainingError: a tensor holds NaN or infinity.
        RunError: the disk is full or the folder cannot be written.

    An earlier checkpoint then stays as it was.
    """
    repeated = repeated_names(tensors)
    cloned = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()
              if name not in repeated}  # fmt: skip
    if name := _not_finite(cloned):
        raise TrainingError(
            f"step {facts.step}: training has diverged: {name} is not finite, so no checkpoint was written; the one "
            "before stays. Try a smaller training.learning_rate, or training.clip: 1.0"
        )
    metadata = {
        "format": f"{FORMAT}{present_format()}",
        "semivae": __version__,
        "facts": facts.model_dump_json(),
        "repeated": json.dumps(repeated),
    }
    metadata[CHECKSUM] = content_digest(cloned, metadata)
    try:
        with whole_file(path) as temporary:
            save_file(cloned, temporary, metadata=metadata)
    except (SafetensorError, OSError) as error:
        full = any(word in str(error) for word in ("No space left", "quota"))
        advice = "make room" if full else "make its folder writable"
        raise RunError(
            f"{path}: the checkpoint cannot be written ({error}); {advice} and go on with --resume"
        ) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Facts]:
    """Reads the tensors, on the CPU, and the facts, both in the present format.

    Raises:
        RunError: the file is missing or damaged, is no checkpoint, holds NaN or infinity, or was written by a newer
            version of semivae.
    """
    if not path.is_file():
        raise RunError(
            f"{path}: no such checkpoint; the run was stopped before it wrote one, or the folder is not whole"
        )
    if not os.access(path, os.R_OK):
        raise RunError(f"{path}: permission denied; ask its owner to let you read it")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        if is_out_of_memory(error):  # the file is mapped, for which no room was left
            raise MemoryError(str(error)) from error
        raise RunError(f"{path}: the checkpoint is damaged ({error}); train again with --overwrite") from None
    upgrade = upgrade_from(_format_of(path, metadata))
    if metadata.get(CHECKSUM) not in (None, content_digest(tensors, metadata)):
        raise RunError(
            f"{path}: the checkpoint is damaged: its content does not have the checksum that it was written with; put "
            "a copy back, or train again with --overwrite"
        )
    try:
        repeated: dict[str, str] = json.loads(metadata.get("repeated", "{}"))
        tensors |= {name: tensors[kept] for name, kept in repeated.items()}
        facts = Facts.model_validate(upgrade.facts(json.loads(metadata["facts"])))
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: the checkpoint is damaged (its metadata); train again with --overwrite") from error
    if name := _not_finite(tensors):
        raise RunError(
            f"{path}: {name} holds NaN or infinity, so nothing can be computed with this checkpoint; put a copy back, "
            "or train again with --overwrite"
        )
    return upgrade.tensors(tensors), facts


def content_digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Returns SHA-256 (hex) of names, types, shapes and bytes of tensors on the CPU, and of all other metadata."""
    digest = hashlib.sha256()
    digest.update(json.dumps({key: metadata[key] for key in sorted(metadata) if key != CHECKSUM}).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Returns the name of the first tensor that holds NaN or infinity, if there is one."""
    return next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)


def _format_of(path: Path, metadata: Mapping[str, str]) -> int:
    name = metadata.get("format", "")
    number = name.removeprefix(FORMAT)
    if not name.startswith(FORMAT) or not number.isdecimal() or number == "0":
        raise RunError(f"{path}: no checkpoint of semivae; put the right file back, or train again with --overwrite")
    refuse_newer(str(path), int(number), metadata.get("semivae", "of a later version"))
    return int(number)


def repeated_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns, by name, which earlier name holds the same tensor: a ladder's levels share one network."""
    first: dict[tuple[object, ...], str] = {}
    repeated: dict[str, str] = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and place in first:
            repeated[name] = first[place]
        else:
            first[place] = name
    return repeated


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }
