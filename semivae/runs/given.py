"""What a user gives for a variable: classes by name or number, mask files, numbers; as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semivae.data.formats.image_files import reason_of
from semivae.data.formats.palettes import decode_map
from semivae.data.formats.regular_files import read_regular
from semivae.errors import RunError
from semivae.recipe.schema import VariableSpec
from semivae.runs.model import TrainedModel, run_palette
from semivae.scenario.plan import map_of, roles_of
from semivae.variables import VOID


def read_masks_for(run: TrainedModel, paths: Sequence[str | Path]) -> Tensor:
    """Mask files at the run's size, int64 [n, height, width], `VOID` where they say so.

    Raises:
        RunError: a file that is missing, no image, or holds what is no class.
    """
    height, width = run.recipe.variables[run.label].shape or (0, 0)
    palette, maps = run_palette(run), []
    for path in map(Path, paths):
        if not path.is_file():
            raise RunError(f"{run.label}: there is no mask file {path.absolute()}")
        try:
            maps.append(decode_map(read_regular(path), palette, height, width))
        except Exception as error:  # ours for a number or colour that is no class; Pillow raises much
            known = ", ".join(f"{number} {name}" for number, name in enumerate(run.classes[:12]))
            raise RunError(
                f"{path}: no mask for this run: {reason_of(error)}; a mask holds class numbers, {known}"
            ) from error
    return torch.from_numpy(np.stack(maps)).long()


def given_values(run: TrainedModel, name: str, value: Any, count: int) -> Tensor:
    """What a user gave for a variable as a tensor (count, *shape): int64 classes or float32 numbers."""
    variables = run.recipe.variables
    if name not in variables:
        raise RunError(f"{name}: unknown variable; this run has {', '.join(variables)}")
    entries = value if isinstance(value, list | tuple) else [value]
    if name == map_of(run.recipe) and all(isinstance(entry, str | Path) for entry in entries):
        return mask_files(run, name, value, count)
    if variables[name].family == "categorical" and variables[name].shape:
        return class_maps(name, value, count, variables[name])
    if variables[name].family == "categorical":
        names = run.classes if name == roles_of(run.recipe).label else ()
        return class_numbers(name, value, count, variables[name].classes, names)
    return numbers(name, value, count, variables[name])


def class_numbers(name: str, value: Any, count: int, classes: int | None, names: Sequence[str]) -> Tensor:
    """Classes, given by number or name, alone or as a list (text: joined by commas), as int64 (count,)."""
    if isinstance(value, str) and value not in names:
        value = [entry.strip() for entry in value.split(",")]
    values = value.tolist() if isinstance(value, Tensor | np.ndarray) else value
    entries = list(values) if isinstance(values, Sequence | range) and not isinstance(values, str) else [values]
    if not entries or count % len(entries):
        raise RunError(f"{name}: {len(entries)} classes do not divide {count} samples; give one class, or {count}")
    if values is value:  # an array of labels speaks of numbers, a number that somebody wrote may mean a name
        refuse_ambiguous(name, entries, names)
    chosen = torch.tensor([class_number(name, entry, classes or len(names), names) for entry in entries])
    return chosen.repeat_interleave(count // len(entries))


def refuse_ambiguous(name: str, entries: Sequence[Any], names: Sequence[str]) -> None:
    """Raise `RunError` for a number that is one class's number and another one's name."""
    for entry in entries:
        if isinstance(entry, int) and str(entry) in names and list(names).index(str(entry)) != entry:
            raise RunError(
                f"{name}: {entry} could be a class's number or the class called {str(entry)!r}, of another number; "
                f"give the class's name as text, {name}='\"{entry}\"'"
            )


def class_number(name: str, entry: Any, classes: int, names: Sequence[str]) -> int:
    """One class by its name (first) or number. Raises `RunError` that lists what there is."""
    if isinstance(entry, str) and entry in names:
        return list(names).index(entry)
    number = None
    if isinstance(entry, str):
        number = int(entry) if entry.isdecimal() else None
    elif isinstance(entry, int | np.integer) and not isinstance(entry, bool):
        number = int(entry)
    if number is None or not 0 <= number < classes:
        known = ", ".join(names) if names else f"0 to {classes - 1}"
        raise RunError(f"{name}: unknown class {entry!r}; the classes are {known}")
    return number


def mask_files(run: TrainedModel, name: str, value: Any, count: int) -> Tensor:
    """Mask files, one or a list whose length divides `count`, as int64 (count, height, width)."""
    pass

    paths = [value] if isinstance(value, str | Path) else list(value)
    if not paths or count % len(paths):
        raise RunError(f"{name}: {len(paths)} masks do not divide {count} samples; give one mask, or -n {len(paths)}")
    return read_masks_for(run, paths).repeat_interleave(count // len(paths), dim=0)


def class_maps(name: str, value: Any, count: int, spec: VariableSpec) -> Tensor:
    """Class numbers for a categorical variable of several places, as int64 (count, *shape); `VOID` in maps alone."""
    values, is_map = numbers(name, value, count, spec), len(spec.shape or ()) == 2
    smallest = VOID if is_map else 0
    if not ((values == values.long()) & (values >= smallest) & (values < (spec.classes or 0))).all():
        void = f", {VOID} stands for: not known" if is_map else ""
        raise RunError(f"{name}: unknown class; the classes are 0 to {(spec.classes or 0) - 1}{void}")
    return values.long()


def numbers(name: str, value: Any, count: int, spec: VariableSpec) -> Tensor:
    """Numbers for a variable of some shape, as float32 (count, *shape)."""
    shape = spec.shape or ()
    try:
        values = torch.as_tensor(float(value) if isinstance(value, str) else value, dtype=torch.float32)
    except (TypeError, ValueError) as reason:
        raise RunError(f"{name}: {value!r} is not a number or an array of numbers") from reason
    if values.shape not in {(), shape, (count, *shape)}:
        raise RunError(f"{name}: expected one number, shape {shape} or {(count, *shape)}; given {tuple(values.shape)}")
    if not values.isfinite().all():
        raise RunError(f"{name}: values must be finite numbers")
    if spec.family == "bernoulli" and (values.min() < 0 or values.max() > 1):
        raise RunError(f"{name}: values of a Bernoulli variable lie in 0 to 1")
    return values.expand(count, *shape).clone()
