"""Checkpoints: one safetensors file each, written whole or not at all. No pickled code.

A checkpoint holds named tensors (weights, averages, optimiser moments) and a few words of metadata. Batches, views and
draws are functions of (seed, step), so the step is all that exact resuming needs beside the tensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from semivae.errors import RunError
from semivae.files import whole_file
from semivae.runs.upgrade import present_format, refuse_newer, upgrade_from
from semivae.version import __version__

FORMAT = "semivae-checkpoint-"  # the number of the format follows


class Facts(BaseModel):
    """What a checkpoint says of itself.

    Attributes:
        phase: "model" or "twin".
        step, steps: how many steps were made, of how many.
        seconds: of training, in wall-clock.
        best_error: the lowest validation error so far, a fraction; None before the first validation.
        classes: class names, in the order of class numbers.
        labelled_counts: labelled examples of each class; empty where the label is a map, or there is none.
        beside: SHA-256 of the data that come without a label (`Dataset.digest_beside`).
        counts: by name of a loss, how many steps its running sum holds.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    phase: str = "model"
    step: NonNegativeInt = 0
    steps: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    best_error: NonNegativeFloat | None = None
    classes: list[str] = []
    labelled_counts: list[NonNegativeInt] = []
    beside: str | None = None
    counts: dict[str, NonNegativeInt] = {}


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Facts) -> None:
    """Writes a checkpoint atomically: to a temporary name in the same folder, then moved into place.

    Raises:
        RunError: the disk is full or the folder cannot be written; an earlier checkpoint stays as it was.
    """
    repeated = repeated_names(tensors)
    cloned = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()
              if name not in repeated}  # fmt: skip
    metadata = {
        "format": f"{FORMAT}{present_format()}",
        "semivae": __version__,
        "facts": facts.model_dump_json(),
        "repeated": json.dumps(repeated),
    }
    try:
        with whole_file(path) as temporary:
            save_file(cloned, temporary, metadata=metadata)
    except (SafetensorError, OSError) as error:
        raise RunError(
            f"{path}: the checkpoint cannot be written ({error}); make room and go on with --resume"
        ) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Facts]:
    """Reads the tensors, on the CPU, and the facts, both in the present format.

    Raises:
        RunError: the file is missing or damaged, is no checkpoint, or was written by a newer version of semivae.
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
        raise RunError(f"{path}: the checkpoint is damaged ({error}); train again with --overwrite") from None
    upgrade = upgrade_from(_format_of(path, metadata))
    try:
        repeated: dict[str, str] = json.loads(metadata.get("repeated", "{}"))
        tensors |= {name: tensors[kept] for name, kept in repeated.items()}
        facts = Facts.model_validate(upgrade.facts(json.loads(metadata["facts"])))
    except (ValidationError, ValueError, KeyError, AttributeError) as error:
        raise RunError(f"{path}: the checkpoint is damaged (its metadata); train again with --overwrite") from error
    return upgrade.tensors(tensors), facts


def _format_of(path: Path, metadata: Mapping[str, str]) -> int:
    name = metadata.get("format", "")
    number = name.removeprefix(FORMAT)
    if not name.startswith(FORMAT) or not number.isdecimal() or number == "0":
        raise RunError(f"{path}: no checkpoint of semivae; put the right file back, or train again with --overwrite")
    refuse_newer(str(path), int(number), metadata.get("semivae", "of a later version"))
    return int(number)


def repeated_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that an earlier name holds too, with that name: a ladder's levels share one network."""
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
