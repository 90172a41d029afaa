"""Images that a user gives to a trained model: as files or as arrays, in whatever common layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from semivae.data.formats.image_files import Files, is_image, open_files, read_pixels
from semivae.data.formats.npz import load_arrays
from semivae.data.inputs.pixels import Array, pixels_as_floats, table_as_floats
from semivae.errors import DataError
from semivae.text import join_names

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def read_images(path: Path, shape: tuple[int, ...]) -> tuple[Tensor, list[str]]:
    """Read what `path` names: an image file, a folder or .zip of them (searched to any depth), an .npy, or an .npz.

    Image files are resized (shorter side) and centre-cropped; arrays must have the model's size already. Of an .npz,
    the array x or the only one is taken.

    Args:
        path: the file or folder.
        shape: (channels, height, width), or (columns,) for a table.

    Returns:
        uint8 [n, *shape] from image files, float32 [n, *shape] from arrays (see `as_images`); and n names, in order:
        the files' names relative to the folder, or the rows' numbers.

    Raises:
        DataError: nothing there, no image in it, files that are no images, or arrays of another size.
    """
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz") and not path.is_dir():
        arrays = load_arrays(path)
        if "x" not in arrays and len(arrays) != 1:
            raise DataError(
                f"{path} has several arrays, {join_names(sorted(arrays))}, and none is called x; name one x"
            )
        array = arrays["x"] if "x" in arrays else next(iter(arrays.values()))
        images = as_images(array, shape, str(path))
        return images, [str(row) for row in range(len(images))]
    if not path.exists():
        raise DataError(f"there is no file or folder {path.absolute()}")
    if len(shape) != 3:
        raise DataError(f"the model takes rows of {shape[0]} numbers, not images; give them in an .npy or .npz file")
    size = (shape[0], shape[1], shape[2])
    if path.is_file() and is_image(path.name):
        files = Files(path.parent, (path.name,), (), lambda name: (path.parent / name).read_bytes())
        return read_pixels(files, [path.name], size), [path.name]
    with open_files(path) as files:
        names = [name for name in files.names if is_image(name)]
        if not names:
            raise DataError(f"{path.absolute()} holds no image files (.png, .jpg and so on)")
        return read_pixels(files, names, size), names


def as_images(array: ArrayLike | Tensor, shape: tuple[int, ...], what: str = "the array") -> Tensor:
    """Arrays of images in the model's form.

    Args:
        array: bytes, booleans or floats in [0, 1]: [n, channels, height, width], [n, height, width, channels], or
            [n, height, width] for one channel; or a single image without n. For tables [n, columns] or [columns].
        shape: the model's (channels, height, width) or (columns,).
        what: a name for messages.

    Returns:
        float32 [n, *shape], images in [0, 1]; n is 1 for a single image.

    Raises:
        DataError: another size, type or range of values, or no images at all.
    """
    try:
        if isinstance(array, Tensor):  # NumPy has no bfloat16
            array = (array.float() if array.dtype == torch.bfloat16 else array).detach().cpu().numpy()
        values: Array = np.asarray(array)
    except ValueError as error:
        raise DataError(f"{what} is no regular array; expected is {_expected(shape)}") from error
    ordered = _ordered(values, shape)
    if ordered is None:
        raise DataError(f"{what} has shape {list(values.shape)}; expected is {_expected(shape)}")
    if not len(ordered):
        raise DataError(f"{what} is empty (shape {list(values.shape)})")
    floats = pixels_as_floats(ordered, what) if len(shape) == 3 else table_as_floats(ordered, what)
    return torch.from_numpy(np.ascontiguousarray(floats))


def _ordered(values: Array, shape: tuple[int, ...]) -> Array | None:
    """`values` as [n, *shape], or None if no layout fits."""
    if values.shape == shape or values.shape[1:] == shape:
        return values.reshape(-1, *shape)
    if len(shape) != 3:
        return None
    channels, height, width = shape
    last = (height, width, channels)
    if values.shape == last or values.shape[1:] == last:
        return values.reshape(-1, *last).transpose(0, 3, 1, 2)
    if channels == 1 and values.ndim in (2, 3) and values.shape[-2:] == (height, width):
        return values.reshape(-1, *shape)
    return None


def _expected(shape: tuple[int, ...]) -> str:
    if len(shape) != 3:
        return f"[n, {shape[0]}]"
    channels, height, width = shape
    grey = f" or [n, {height}, {width}]" if channels == 1 else ""
    return f"[n, {channels}, {height}, {width}] or [n, {height}, {width}, {channels}]{grey}, or one such image"
