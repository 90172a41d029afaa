"""Pixels as numbers: the two forms that are taken (bytes, floats in [0, 1]) and where the channels lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from semivae.errors import DataError
from semivae.text import count_of

Array = npt.NDArray[Any]
FAR = 100.0  # of a column's mean or deviation, from 0
FAINT = 1 / 255  # floats that are all below it cannot be told from black in bytes
ROUNDING = 1e-5  # how far outside [0, 1] a float may lie before it counts as a mistake


def pixels_as_floats(pixels: Array, what: str) -> npt.NDArray[np.float32]:
    """Returns bytes, booleans or floats in [0, 1], of any shape, as float32 in [0, 1].

    Raises:
        DataError: another type, or floats outside [0, 1] or not finite; `what` names the array.
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.float32)
    if np.issubdtype(pixels.dtype, np.integer):
        raise DataError(
            f"{what} has type {pixels.dtype}; images are bytes from 0 to 255 (uint8) or floats in [0, 1]: "
            f"{_bytes_or_floats(pixels)}"
        )
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(f"{what} has type {pixels.dtype}; images are bytes from 0 to 255 (uint8) or floats in [0, 1]")
    check_finite(pixels, what)
    low, high = float(pixels.min(initial=0.0)), float(pixels.max(initial=0.0))
    if low < -ROUNDING or high > 1 + ROUNDING:
        if low < 0:
            hint = "undo the normalisation"
        elif 64 < high <= 65535:
            hint = f"divide them by {_white(high)}" + (", if that is white" if high > 255 else "")
        else:
            hint = "divide them by the largest value that they can have"
        raise DataError(f"{what} holds floats from {low:g} to {high:g}; images are floats in [0, 1]: {hint}")
    return pixels.astype(np.float32).clip(0, 1)


def _bytes_or_floats(pixels: Array) -> str:
    """How integers become pixels without loss of the picture, by the range that they have."""
    low, high = int(pixels.min(initial=0)), int(pixels.max(initial=0))
    if low < 0:
        return f"they reach from {low} to {high}, but black is 0: scale all arrays alike, so that white is 1"
    if high <= 1:
        return "convert with .astype(bool)"
    if high <= 255:
        return "convert with .astype('uint8')"
    if high > 65535:
        return f"they reach up to {high}: divide all arrays by what white is, and convert with .astype('float32')"
    white = _white(high)
    bits = white.bit_length()
    return (
        f"they reach up to {high}: write (x / {white}).astype('float32') if white is {white}, as with {bits} bits, for "
        "all arrays alike; a byte would keep the last 8 bits alone, which is another picture"
    )


def _white(high: float) -> int:
    """The largest number of the 8, 10, 12, 14 or 16 bits of a camera that `high` needs."""
    return next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits)


def pixel_doubts(pixels: Array, what: str) -> list[str]:
    """Warnings of images that are black, or nearly so, because they are scaled otherwise than their type says."""
    if not pixels.size or pixels.dtype == np.bool_:
        return []
    high = pixels.max()
    if pixels.dtype == np.uint8 and high == 1:
        return [f"{what} holds no byte above 1, which is black; store 0/1 images as floats or booleans"]
    if np.issubdtype(pixels.dtype, np.floating) and 0 < high <= FAINT:
        return [f"{what} holds no float above {high:.2g}, which is black (white is 1); were they divided by 255 twice?"]
    return []


def pixels_as_bytes(pixels: Array, what: str) -> npt.NDArray[np.uint8]:
    """Returns uint8 from 0 to 255, otherwise as `pixels_as_floats`; floats are rounded to the nearest of 256 levels."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    levels: npt.NDArray[np.uint8] = np.rint(pixels_as_floats(pixels, what) * np.float32(255)).astype(np.uint8)
    return levels


def as_model_values(raw: Tensor) -> Tensor:
    """What data sets keep as a model takes it.

    Bytes become float32 in [0, 1], maps (int16) int64, attributes (int8) and features (float16) float32; the rest stays
    as it is.
    """
    if raw.dtype == torch.int16:
        return raw.long()
    if raw.dtype in (torch.int8, torch.float16):
        return raw.float()
    return raw / 255 if raw.dtype == torch.uint8 else raw


def binarized(images: Tensor, threshold: float | None) -> Tensor:
    """Bytes or floats in [0, 1]: above `threshold` (in [0, 1]) the type's white, else black; None: as they are."""
    if threshold is None:
        return images
    white = 255 if images.dtype == torch.uint8 else 1
    return (images > threshold * white).to(images.dtype) * white


def table_as_floats(table: Array, what: str) -> npt.NDArray[np.float32]:
    """Numbers of any type as float32.

    Raises:
        DataError: no numbers, or some that are not finite or too large; `what` names the array.
    """
    if not (np.issubdtype(table.dtype, np.number) or table.dtype == np.bool_) or np.iscomplexobj(table):
        raise DataError(f"{what} has type {table.dtype}; a table holds real numbers")
    check_finite(table, what)
    largest = float(np.finfo(np.float32).max)
    if table.size and max(abs(float(table.min())), abs(float(table.max()))) > largest:
        raise DataError(f"{what} holds numbers beyond {largest:.1e}; scale its columns")
    return table.astype(np.float32)


def table_doubts(rows: Array, what: str) -> list[str]:
    """Warnings of columns whose numbers are far from those that networks start from; arrays are used as they are."""
    if not rows.size or not np.issubdtype(rows.dtype, np.number):
        return []
    means, deviations = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    far = np.flatnonzero((np.abs(means) > FAR) | (deviations > FAR))
    if not far.size:
        return []
    columns = count_of(far.size, "column", "columns")
    return [
        f"{what}: the numbers of {columns} are large (column {far[0]} has mean {means[far[0]]:.3g} and "
        f"deviation {deviations[far[0]]:.3g}), and arrays are used as they are; standardise them, or give a "
        "table file (.csv), whose columns are"
    ]


def check_finite(array: Array, what: str) -> None:
    """Raise a `DataError` that says where `array` first holds NaN or infinity, if it does."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        values = count_of(len(bad), "value that is", "values that are")
        raise DataError(f"{what} holds {values} NaN or infinite, the first at {bad[0].tolist()}")


def channels_first(images: Array, what: str) -> Array:
    """Returns [n, height, width] or [n, height, width, channels] as [n, channels, height, width], 1 or 3 channels.

    Raises:
        DataError: the shape is none of these, or could be two of them; `what` names the array.
    """
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        return images.transpose(0, 3, 1, 2)
    raise DataError(
        f"{what} has shape {list(images.shape)}; images are [n, height, width], [n, height, width, channels] or "
        "[n, channels, height, width] with 1 or 3 channels, and more than 3 pixels a side"
    )
