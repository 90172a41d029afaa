"""Samples from the decoder, and pictures of them."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from semivae.errors import RunError
from semivae.game.variables import VOID
from semivae.graphs import map_of, roles_of
from semivae.prior_samples import prior_samples
from semivae.recipe.section import LARGEST_SEED

if TYPE_CHECKING:
    from semivae.recipe.schema import VariableSpec
    from semivae.run import Run

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
SMALLEST_SIDE = 28  # of one image in a picture, in pixels: 8x8 digits are enlarged by a whole factor


def sample(run: Run, count: int, /, *, noise: bool = False, seed: int | None = None, **given: Any) -> dict[str, Tensor]:
    """`draw` with the fixed variables as keywords: `sample(run, 16, y=3)`."""
    return draw(run, count, given, noise=noise, seed=seed)


def draw(
    run: Run, count: int, given: Mapping[str, Any], *, noise: bool = False, seed: int | None = None
) -> dict[str, Tensor]:
    """Draw `count` samples of all variables from the decoder, on the CPU.

    `given` fixes variables: `y=3`, `y="cat"`, or a list whose length divides `count` (each value is then used for
    count/length samples in a row); numbers or arrays for the others, of the variable's shape or with one row a sample.
    What is not given is drawn in the decoder's order; where it has no prior of a variable, rows of the recipe's streams
    without images are drawn (`semivae.prior_samples`). The image is the decoder's mean; `noise=True` draws its pixels.
    With a `seed` the draw is repeatable and leaves torch's global generator alone.

    Raises:
        RunError: an unknown variable or class, a value of the wrong shape, a count or seed that is none, or a variable
            that cannot be fixed because the decoder draws others before it (an image, for example).
    """
    if run.checkpoint == "twin":
        raise RunError(
            f"{run.path}: the supervised twin has no decoder to draw from; use the last or selected checkpoint"
        )
    if not isinstance(count, int | np.integer) or count < 1:
        raise RunError(f"cannot draw {count!r} samples; ask for 1 or more")
    if seed is not None and not 0 <= seed <= LARGEST_SEED:
        raise RunError(f"seed {seed}: seeds lie in 0 to {LARGEST_SEED}")
    fixed = {name: given_values(run, name, value, count).to(run.device) for name, value in given.items()}
    refuse_given_descendants(run, fixed)
    fixed |= prior_samples(run, count, fixed, seed)
    with torch.no_grad(), seeded(seed, run.device):
        drawn = run.decoder.complete(fixed, batch=count)
        if run.image not in fixed:
            image = run.decoder[run.image](drawn)
            drawn[run.image] = image.sample() if noise else image.mean
    return {name: value.cpu() for name, value in drawn.items()}


def refuse_given_descendants(run: Run, fixed: dict[str, Tensor]) -> None:
    """Raise `RunError` if a fixed variable has an ancestor that is to be drawn: the draw would ignore what is fixed."""
    parents = {name: [given.name for given in run.decoder[name].given] for name in run.decoder.names}
    for name in fixed:
        waiting = list(parents.get(name, []))
        while waiting:
            ancestor = waiting.pop()
            if ancestor not in fixed:
                raise RunError(
                    f"{name} cannot be given without {ancestor}: the decoder draws {ancestor} first and {name} after "
                    f"it; give {ancestor} too, or leave {name} out"
                )
            waiting.extend(parents.get(ancestor, []))


def given_values(run: Run, name: str, value: Any, count: int) -> Tensor:
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


def mask_files(run: Run, name: str, value: Any, count: int) -> Tensor:
    """Mask files, one or a list whose length divides `count`, as int64 (count, height, width)."""
    from semivae.segmentation.pictures import read_masks_for

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


@contextlib.contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Inside, torch's generators start from `seed`; outside, they are as if nothing had been drawn. None: no change."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def save_grid(images: Tensor, path: str | Path, columns: int | None = None, overwrite: bool = False) -> Path:
    """Save images (n, 1 or 3, H, W) in [0, 1] as one picture, row by row; `columns` is about sqrt(n) by default.

    Small images are enlarged by a whole factor.

    Raises:
        RunError: the file exists and `overwrite` is not set, the folder is missing, the ending is not .png, .jpg or
            .jpeg, or the images are no images.
    """
    path = Path(path)
    refuse_picture_path(path, overwrite)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise RunError(
            f"{path}: only images (n, 1 or 3, height, width) make a picture, these have shape {tuple(images.shape)}; "
            "write them to an .npz file instead"
        )
    columns = columns or math.ceil(math.sqrt(len(images)))
    if columns < 1:
        raise RunError(f"a picture needs 1 column or more, not {columns}")
    factor = max(1, math.ceil(SMALLEST_SIDE / min(images.shape[2:])))
    enlarged = images.detach().cpu().float().clamp(0, 1).repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    grid = make_grid(enlarged, nrow=columns, padding=2, pad_value=1.0)
    pixels = (grid * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix}")
    try:
        Image.fromarray(pixels).save(unfinished, quality=95)
        os.replace(unfinished, path)
    except OSError as reason:
        raise RunError(f"{path} cannot be written: {reason.strerror or reason}") from reason
    return path


def refuse_picture_path(path: Path, overwrite: bool) -> None:
    """Raise `RunError` if no picture can or may be written there; call it before long work."""
    if path.suffix.lower() not in PICTURE_ENDINGS:
        raise RunError(f"{path}: pictures end in {', '.join(PICTURE_ENDINGS)}")
    if not path.parent.is_dir():
        raise RunError(f"the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise RunError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise RunError(f"{path} exists; choose another name or allow overwriting")
