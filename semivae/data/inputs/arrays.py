"""Examples that a user gives as arrays, in whatever common layout, type and size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semivae.data.formats.npz import load_arrays
from semivae.data.formats.preprocessing import Preprocessing, Size, fitted_picture
from semivae.data.inputs.pixels import (
    Array,
    channels_first,
    pixels_as_bytes,
    pixels_as_floats,
    table_as_floats,
)
from semivae.errors import DataError
from semivae.text import join_names

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def read_array_file(path: Path) -> Array:
    """The array of an .npy, or of an .npz the one called x, or the only one.

    Raises:
        DataError: no such file, or several arrays of which none is called x.
    """
    arrays = load_arrays(path)
    if "x" not in arrays and len(arrays) != 1:
        raise DataError(f"{path} has several arrays, {join_names(sorted(arrays))}, and none is called x; name one x")
    return arrays["x"] if "x" in arrays else next(iter(arrays.values()))


def as_examples(
    array: ArrayLike | Tensor | object,
    shape: tuple[int, ...],
    what: str = "the array",
    preprocessing: Preprocessing | None = None,
) -> Tensor:
    """Arrays of images or rows in the model's form.

    Images of another size are fitted like image files, and become bytes for it.

    Args:
        array: bytes, booleans or floats in [0, 1]: [n, channels, height, width], [n, height, width, channels], or
            [n, height, width] for one channel; or a single image without n. For tables [n, columns] or [columns].
        shape: the model's (channels, height, width) or (columns,).
        what: a name for messages.
        preprocessing: how images are fitted; None: cropped.

    Returns:
        float32 [n, *shape], images in [0, 1]; n is 1 for a single image.

    Raises:
        DataError: another number of channels or columns, type or range of values, or nothing at all.
    """
    values = as_array(array, shape, what)
    ordered = _ordered(values, shape)
    if ordered is None:
        ordered = _resized(values, shape, preprocessing, what)
    if ordered is None:
        raise DataError(f"{what} has shape {list(values.shape)}; expected is {_expected(shape)}")
    if not len(ordered):
        raise DataError(f"{what} is empty (shape {list(values.shape)})")
    floats = pixels_as_floats(ordered, what) if len(shape) == 3 else table_as_floats(ordered, what)
    return torch.from_numpy(np.ascontiguousarray(floats))


def as_array(given: ArrayLike | Tensor | object, shape: tuple[int, ...], what: str) -> Array:
    """What a user gives as an array, as one of NumPy. Raises DataError if it is none; arguments as of `as_examples`."""
    try:
        if isinstance(given, Tensor):  # NumPy has no bfloat16
            given = (given.float() if given.dtype == torch.bfloat16 else given).detach().cpu().numpy()
        return np.asarray(given)
    except ValueError as error:
        raise DataError(f"{what} is no regular array; expected is {_expected(shape)}") from error


def image_size(array: ArrayLike | Tensor | object, shape: tuple[int, ...]) -> Size:
    """Width and height of the images in an array that `as_examples` takes for images of `shape`."""
    channels, height, width = shape
    given = tuple(array.shape) if isinstance(array, Tensor) else np.shape(array)  # type: ignore[call-overload]
    if _fits(given, shape):
        return width, height
    if given[-1] == channels and not (channels == 1 and len(given) == 2):  # channels last
        return given[-2], given[-3]
    return given[-1], given[-2]


def _resized(values: Array, shape: tuple[int, ...], how: Preprocessing | None, what: str) -> Array | None:
    """Images of another size as bytes [n, *shape]; None if the array holds no images of as many channels."""
    if len(shape) != 3:
        return None
    channels, height, width = shape
    how = how or Preprocessing(channels, height, width)
    grey = channels == 1 and values.ndim in (2, 3) and 1 not in (values.shape[0], values.shape[-1])
    if values.ndim == (2 if grey else 3) and not (grey and values.ndim == 3):
        values = values[None]  # a single image
    try:
        images = channels_first(values, what)
    except DataError:
        return None
    if images.shape[1] != channels or 0 in images.shape:
        return None
    pixels = pixels_as_bytes(images, what).transpose(0, 2, 3, 1)
    pictures = [Image.fromarray(image[..., 0] if channels == 1 else image) for image in pixels]
    ground = (how.level,) * channels
    fitted = [
        fitted_picture(picture, (width, height), how.fit, ground, Image.Resampling.BICUBIC) for picture in pictures
    ]
    return np.stack([np.asarray(image) for image in fitted]).reshape(-1, height, width, channels).transpose(0, 3, 1, 2)


def _fits(given: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array of a shape holds images of the model's size, in any layout."""
    channels, height, width = shape
    return bool({given[-3:]} & {shape, (height, width, channels)}) or (channels == 1 and given[-2:] == (height, width))


def _ordered(values: Array, shape: tuple[int, ...]) -> Array | None:
    """Returns `values` as [n, *shape], or None if no layout fits."""
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
