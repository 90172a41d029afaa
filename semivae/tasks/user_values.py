"""Values that users give for variables (classes by name or number, mask files, numbers), as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semivae.data.formats.image_files import reason_of
from semivae.data.formats.mask_files import decode_map
from semivae.data.formats.palettes import Palette
from semivae.data.formats.regular_files import read_regular
from semivae.data.paths import reachable
from semivae.errors import RunError
from semivae.recipe.folder_source import Fit
from semivae.recipe.schema import VariableSpec
from semivae.text import count_of, join_names, nearest, short_repr
from semivae.variables import VOID


@dataclass(frozen=True)
class UserValue:
    """A value that a user gives for a variable.

    Attributes:
        name: the name of the variable.
        value: the value, a number, a text, a list or an array.
        count: the number of samples that it is for.
        variable: the variable of the resolved recipe.
        classes: class names, if the data have them.
        palette: reads the palette of the run's masks, if the variable is the label; otherwise None.
        fit: how masks are resized to the variable's shape.
    """

    name: str
    value: Any
    count: int
    variable: VariableSpec
    classes: Sequence[str] = ()
    palette: Callable[[], Palette] | None = None
    fit: Fit = "crop"


# Classes -------------------------------------------------------------------------------------------------------------


def class_numbers(given: UserValue) -> Tensor:
    """Returns classes given by number or name, one or a list (as text: separated by commas), as int64 (count,).

    Raises:
        RunError: an unknown class, an ambiguous number, or a list whose length does not divide the count.
    """
    value, names, count = given.value, given.classes, given.count
    if isinstance(value, str) and value not in names:
        value = [entry.strip() for entry in value.split(",")]
    values = value.tolist() if isinstance(value, Tensor | np.ndarray) else value
    entries = list(values) if isinstance(values, Sequence | range) and not isinstance(values, str) else [values]
    if not entries or count % len(entries):
        raise RunError(
            f"{given.name}: {count_of(len(entries), 'class does', 'classes do')} not divide "
            f"{count_of(count, 'sample', 'samples')}; give one class, or {count}"
        )
    if values is value:  # an array holds class numbers, but a number that a user types may be a class name
        refuse_ambiguous_number(given.name, entries, names)
    classes = given.variable.classes or len(names)
    chosen = torch.tensor([class_number(given.name, entry, classes, names) for entry in entries])
    return chosen.repeat_interleave(count // len(entries))


def refuse_ambiguous_number(name: str, entries: Sequence[Any], names: Sequence[str]) -> None:
    """Raises `RunError` for a number that is the number of one class and the name of another."""
    for entry in entries:
        if (
            not isinstance(entry, int) or isinstance(entry, bool) or entry.bit_length() > 64
        ):  # Python refuses to print thousands of digits
            continue
        if 0 <= entry < len(names) and str(entry) in names and list(names).index(str(entry)) != entry:
            raise RunError(
                f"{name}: {entry} could be a class number or the class called {str(entry)!r}, which has another "
                f"number; give the name of the class as text, {name}='\"{entry}\"'"
            )


def class_number(name: str, entry: Any, classes: int, names: Sequence[str]) -> int:
    """Returns the number of a class given by its name or else its number; otherwise raises `RunError`."""
    if isinstance(entry, str) and entry in names:
        return list(names).index(entry)
    number = None
    if isinstance(entry, bool):  # YAML's word for it, in whatever case it was written
        alike = [place for place, known in enumerate(names) if known.lower() == str(entry).lower()]
        number = alike[0] if len(alike) == 1 else None
    elif isinstance(entry, str):
        number = int(entry) if entry.isdecimal() and len(entry) < 20 else None
    elif isinstance(entry, int | np.integer):
        number = int(entry)
        if names and not 0 <= number < classes and number.bit_length() <= 64 and str(number) in names:
            return list(names).index(str(number))
    if number is None or not 0 <= number < classes:
        known = ", ".join(names) if names else f"0 to {classes - 1}"
        raise RunError(f"{name}: class {short_repr(entry)} is unknown{_meant(entry, names)}; the classes are {known}")
    return number


def _meant(entry: Any, names: Sequence[str]) -> str:
    """Returns `; did you mean NAME?` for a text that is nearly one of the names; otherwise nothing."""
    near = nearest(entry, names) if isinstance(entry, str) else None
    return f"; did you mean {near}?" if near else ""


# Attributes ----------------------------------------------------------------------------------------------------------

ABSENT, OPEN = "!", "?"  # before a name: the attribute is absent; alone: all that are not named are unknown


def attribute_values(given: UserValue) -> Tensor:
    """Returns attributes given by name or as numbers, as float32 (count, K) of 0, 1 and `VOID`.

    Names, as a list or a text separated by commas, are those of one vector for all samples: what is named is present,
    `!name` absent, and all others are absent or, where one of the entries is `?`, unknown. Numbers are one value for
    all attributes, one for each, or one for each sample and attribute; -1 is unknown.

    Raises:
        RunError: an unknown name, or numbers of another shape or value.
    """
    value, names = given.value, given.classes
    entries = [entry.strip() for entry in value.split(",")] if isinstance(value, str) else value
    texts = isinstance(entries, list | tuple) and all(isinstance(entry, str) for entry in entries)
    if not (names and texts) or (isinstance(value, str) and _is_number(value) and value not in names):
        return _attribute_numbers(given)
    vector = torch.full((len(names),), float(VOID) if OPEN in entries else 0.0)
    for entry in entries:
        name = entry.removeprefix(ABSENT) if entry not in names else entry
        if name in names:
            vector[list(names).index(name)] = 1.0 if name == entry else 0.0
        elif entry not in ("", OPEN):
            raise RunError(
                f"{given.name}: attribute {short_repr(name)} is unknown{_meant(name, names)}; the attributes are "
                f"{join_names(names, 20)}; {ABSENT}NAME says that one is absent, and {OPEN} that those not named are "
                "unknown"
            )
    return vector.expand(given.count, -1).clone()


def _attribute_numbers(given: UserValue) -> Tensor:
    unknown = replace(given, variable=given.variable.model_copy(update={"family": "gaussian"}))
    values = numbers(unknown)  # which refuses numbers below 0 of a Bernoulli variable
    if not ((values == VOID) | ((values >= 0) & (values <= 1))).all():
        raise RunError(f"{given.name}: attributes are 0, 1, or {VOID} where they are unknown")
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# Segmentation maps ---------------------------------------------------------------------------------------------------


def class_maps(given: UserValue) -> Tensor:
    """Returns maps given as mask files (one, or a list whose length divides the count) or as class numbers.

    They are int64 (count, height, width). Pixels that a mask leaves unknown, and numbers of -1, are `VOID`.

    Raises:
        RunError: a mask file is missing, is not an image or holds unknown classes; or a number is not a class.
    """
    paths = given.value if isinstance(given.value, list | tuple) else [given.value]
    if given.palette is None or not all(isinstance(path, str | Path) for path in paths):
        return class_places(given, smallest=VOID)
    if not paths or given.count % len(paths):
        raise RunError(
            f"{given.name}: {len(paths)} masks do not divide {given.count} samples; give one mask, or -n {len(paths)}"
        )
    return read_masks(given, paths, given.palette()).repeat_interleave(given.count // len(paths), dim=0)


def read_masks(given: UserValue, paths: Sequence[str | Path], palette: Palette) -> Tensor:
    """Reads mask files at the variable's size, int64 [n, height, width], with `VOID` for unknown pixels.

    Raises:
        RunError: a file is missing, is not an image or holds unknown classes.
    """
    height, width = given.variable.shape or (0, 0)
    maps = []
    for path in map(Path, paths):
        if not reachable(path).is_file():
            raise RunError(f"{given.name}: there is no mask file {path.absolute()}")
        try:
            maps.append(decode_map(read_regular(path), palette, height, width, given.fit))
        except Exception as error:  # ours for unknown classes; Pillow raises many kinds
            known = ", ".join(f"{number} {name}" for number, name in enumerate(given.classes[:12]))
            raise RunError(
                f"{path} is not a mask for this run: {reason_of(error)}; a mask holds class numbers, {known}"
            ) from error
    return torch.from_numpy(np.stack(maps)).long()


def class_places(given: UserValue, smallest: int = 0) -> Tensor:
    """Returns class numbers for a categorical variable with several values, as int64 (count, *shape).

    Raises:
        RunError: a number is not a class, and not one of those from `smallest` to -1.
    """
    values, classes = numbers(given), given.variable.classes or 0
    if not ((values == values.long()) & (values >= smallest) & (values < classes)).all():
        void = f", and {VOID} stands for an unknown pixel" if smallest == VOID else ""
        raise RunError(f"{given.name}: a number is not a class; the classes are 0 to {classes - 1}{void}")
    return values.long()


# Numbers -------------------------------------------------------------------------------------------------------------


def plain_values(given: UserValue) -> Tensor:
    """Returns values of a code, (count, *shape): class numbers if it is categorical, otherwise numbers."""
    return class_places(given) if given.variable.has_classes else numbers(given)


def _read_texts(value: Any) -> Any:
    """Returns a value with numbers in place of texts, in lists too: 1e3 and 01 come as they were written."""
    if isinstance(value, list):
        return [_read_texts(each) for each in value]
    return float(value) if isinstance(value, str) else value


def numbers(given: UserValue) -> Tensor:
    """Returns numbers for a variable of any shape, as float32 (count, *shape).

    Raises:
        RunError: the value is not numeric, has another shape, is not finite, or lies outside [0, 1] for a Bernoulli
            variable.
    """
    name, value, count, shape = given.name, given.value, given.count, given.variable.shape or ()
    try:
        values = torch.as_tensor(_read_texts(value), dtype=torch.float32)
    except (TypeError, ValueError, OverflowError, RuntimeError) as reason:  # the last two from torch
        raise RunError(f"{name}: {short_repr(value)} is not a number or an array of numbers") from reason
    if values.shape not in {(), shape, (count, *shape)}:
        raise RunError(
            f"{name}: the value has shape {tuple(values.shape)}; give one number, or shape {shape} or {(count, *shape)}"
        )
    if not values.isfinite().all():
        raise RunError(f"{name}: the values must be finite numbers")
    if given.variable.family == "bernoulli" and (values.min() < 0 or values.max() > 1):
        raise RunError(f"{name}: the values of a Bernoulli variable must lie between 0 and 1")
    return values.expand(count, *shape).clone()
