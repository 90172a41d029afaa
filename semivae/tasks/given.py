"""What a user gives for a variable: classes by name or number, mask files, numbers; as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semivae.data.formats.image_files import reason_of
from semivae.data.formats.mask_files import decode_map
from semivae.data.formats.palettes import Palette
from semivae.data.formats.regular_files import read_regular
from semivae.errors import RunError
from semivae.recipe.schema import VariableSpec
from semivae.recipe.sources import Fit
from semivae.text import shown
from semivae.variables import VOID


@dataclass(frozen=True)
class Given:
    """A value that somebody gave.

    Attributes:
        name: of the variable.
        value: as it was given: a number, a text, a list, an array.
        count: how many samples it is for.
        variable: the recipe's, as resolved.
        classes: class names, where the data name them.
        palette: reads what masks mean, where the variable is the label; None elsewhere.
        fit: how masks are brought to the variable's size.
    """

    name: str
    value: Any
    count: int
    variable: VariableSpec
    classes: Sequence[str] = ()
    palette: Callable[[], Palette] | None = None
    fit: Fit = "crop"


# Classes -------------------------------------------------------------------------------------------------------------


def class_numbers(given: Given) -> Tensor:
    """Classes, given by number or name, alone or as a list (text: joined by commas), as int64 (count,).

    Raises:
        RunError: an unknown class, a number that could mean two, or a list whose length does not divide the count.
    """
    value, names, count = given.value, given.classes, given.count
    if isinstance(value, str) and value not in names:
        value = [entry.strip() for entry in value.split(",")]
    values = value.tolist() if isinstance(value, Tensor | np.ndarray) else value
    entries = list(values) if isinstance(values, Sequence | range) and not isinstance(values, str) else [values]
    if not entries or count % len(entries):
        raise RunError(
            f"{given.name}: {len(entries)} classes do not divide {count} samples; give one class, or {count}"
        )
    if values is value:  # an array of labels speaks of numbers, a number that somebody wrote may mean a name
        refuse_ambiguous(given.name, entries, names)
    classes = given.variable.classes or len(names)
    chosen = torch.tensor([class_number(given.name, entry, classes, names) for entry in entries])
    return chosen.repeat_interleave(count // len(entries))


def refuse_ambiguous(name: str, entries: Sequence[Any], names: Sequence[str]) -> None:
    """Raise `RunError` for a number that is one class's number and another one's name."""
    for entry in entries:
        if not isinstance(entry, int) or entry.bit_length() > 64:  # Python writes no number of thousands of digits
            continue
        if str(entry) in names and list(names).index(str(entry)) != entry:
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
        number = int(entry) if entry.isdecimal() and len(entry) < 20 else None
    elif isinstance(entry, int | np.integer) and not isinstance(entry, bool):
        number = int(entry)
    if number is None or not 0 <= number < classes:
        known = ", ".join(names) if names else f"0 to {classes - 1}"
        raise RunError(f"{name}: unknown class {shown(entry)}; the classes are {known}")
    return number


# Classes at places ---------------------------------------------------------------------------------------------------


def class_maps(given: Given) -> Tensor:
    """Mask files, one or a list whose length divides the count, or class numbers, as int64 (count, height, width).

    Places are `VOID` where a mask says that they are not known, or a number is -1.

    Raises:
        RunError: a file that is missing, no image, or holds what is no class; or numbers that are no classes.
    """
    paths = given.value if isinstance(given.value, list | tuple) else [given.value]
    if given.palette is None or not all(isinstance(path, str | Path) for path in paths):
        return class_places(given, smallest=VOID)
    if not paths or given.count % len(paths):
        raise RunError(
            f"{given.name}: {len(paths)} masks do not divide {given.count} samples; give one mask, or -n {len(paths)}"
        )
    return read_masks(given, paths, given.palette()).repeat_interleave(given.count // len(paths), dim=0)


def read_masks(given: Given, paths: Sequence[str | Path], palette: Palette) -> Tensor:
    """Mask files at the variable's size, int64 [n, height, width], `VOID` where they say so.

    Raises:
        RunError: a file that is missing, no image, or holds what is no class.
    """
    height, width = given.variable.shape or (0, 0)
    maps = []
    for path in map(Path, paths):
        if not path.is_file():
            raise RunError(f"{given.name}: there is no mask file {path.absolute()}")
        try:
            maps.append(decode_map(read_regular(path), palette, height, width, given.fit))
        except Exception as error:  # ours for a number or colour that is no class; Pillow raises much
            known = ", ".join(f"{number} {name}" for number, name in enumerate(given.classes[:12]))
            raise RunError(
                f"{path}: no mask for this run: {reason_of(error)}; a mask holds class numbers, {known}"
            ) from error
    return torch.from_numpy(np.stack(maps)).long()


def class_places(given: Given, smallest: int = 0) -> Tensor:
    """Class numbers for a categorical variable of several places, as int64 (count, *shape).

    Raises:
        RunError: numbers that are no classes; those below 0 down to `smallest` may be.
    """
    values, classes = numbers(given), given.variable.classes or 0
    if not ((values == values.long()) & (values >= smallest) & (values < classes)).all():
        void = f", {VOID} stands for: not known" if smallest == VOID else ""
        raise RunError(f"{given.name}: unknown class; the classes are 0 to {classes - 1}{void}")
    return values.long()


# Numbers -------------------------------------------------------------------------------------------------------------


def plain_values(given: Given) -> Tensor:
    """Values of a code: class numbers where it is categorical, else numbers, (count, *shape)."""
    return class_places(given) if given.variable.family == "categorical" else numbers(given)


def numbers(given: Given) -> Tensor:
    """Numbers for a variable of some shape, as float32 (count, *shape).

    Raises:
        RunError: no numbers, of another shape, not finite, or beyond what a Bernoulli variable takes.
    """
    name, value, count, shape = given.name, given.value, given.count, given.variable.shape or ()
    try:
        values = torch.as_tensor(float(value) if isinstance(value, str) else value, dtype=torch.float32)
    except (TypeError, ValueError, OverflowError, RuntimeError) as reason:  # the last two from torch
        raise RunError(f"{name}: {shown(value)} is not a number or an array of numbers") from reason
    if values.shape not in {(), shape, (count, *shape)}:
        raise RunError(f"{name}: expected one number, shape {shape} or {(count, *shape)}; given {tuple(values.shape)}")
    if not values.isfinite().all():
        raise RunError(f"{name}: values must be finite numbers")
    if given.variable.family == "bernoulli" and (values.min() < 0 or values.max() > 1):
        raise RunError(f"{name}: values of a Bernoulli variable lie in 0 to 1")
    return values.expand(count, *shape).clone()
