"""Segmentation maps as pictures: index masks, overlays, and maps beside their images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from semivae.data.formats.palettes import Palette, shown_colours
from semivae.data.formats.preprocessing import Size, filled_part, shown_part
from semivae.data.formats.raster import LARGE
from semivae.errors import RunError
from semivae.recipe.folder_source import Fit
from semivae.variables import VOID

VOID_NUMBER = 255  # the usual value in index masks
OPACITY = 0.5  # of the colours of the classes over the image
VOID_GREY = 224


def colours_of(palette: Palette) -> NDArray[np.uint8]:
    """Returns the colours of the classes, uint8 [classes, 3]."""
    return shown_colours(len(palette.names)) if palette.colours is None else palette.colours


def mask_png(numbers: NDArray[Any], palette: Palette) -> bytes:
    """Returns an index mask [height, width] as PNG, in colours. Pixel values are class numbers; 255 is void.

    Raises:
        RunError: a class number of 255 or more.
    """
    if numbers.max(initial=0) >= VOID_NUMBER:
        raise RunError(
            f"class {numbers.max()} cannot be written to an index mask, which has 8 bits, and 255 stands for void; "
            "use Run.predict, which returns the numbers as an array"
        )
    image = Image.fromarray(np.where(numbers < 0, VOID_NUMBER, numbers).astype(np.uint8))
    table = np.full((256, 3), VOID_GREY, np.uint8)
    colours = colours_of(palette)[:VOID_NUMBER]
    table[: len(colours)] = colours
    image.putpalette(table.tobytes())
    return _png(image)


def at_own_size(probabilities: Tensor, size: Size, fit: Fit) -> tuple[NDArray[np.int16], NDArray[Any]]:
    """What a model says of an image, at the size that the image has by itself.

    Probabilities are interpolated, not classes, so that edges stay smooth; of images of more than `LARGE` pixels each
    place has those of the nearest one.

    Args:
        probabilities: [classes, height, width], of the image as the model saw it.
        size: the image's own width and height.
        fit: how it was brought to the model's size.

    Returns:
        Class numbers, int16 [own height, own width], `VOID` where the model saw nothing of the image, and their
        probabilities, 0 there.
    """
    height, width = probabilities.shape[1:]
    left, upper, right, lower = filled_part(size, (width, height), fit)
    x, y, x_end, y_end = (round(side) for side in shown_part(size, (width, height), fit))
    seen = probabilities[:, upper:lower, left:right].float()
    shape = max(1, y_end - y), max(1, x_end - x)
    best, place = _nearest(seen, shape) if size[0] * size[1] > LARGE else _interpolated(seen, shape)
    numbers = np.full((size[1], size[0]), VOID, np.int16)
    sure = np.zeros(numbers.shape, best.dtype)
    numbers[y : y + shape[0], x : x + shape[1]] = place
    sure[y : y + shape[0], x : x + shape[1]] = best
    return numbers, sure


def _interpolated(probabilities: Tensor, shape: tuple[int, int]) -> tuple[NDArray[Any], NDArray[np.int16]]:
    """The largest probability and its class at every place of a larger or smaller map."""
    best, place = torch.full(shape, -1.0), torch.zeros(shape, dtype=torch.int16)
    for number, each in enumerate(probabilities):  # all classes at once would take the memory of as many images
        (one,) = interpolate(each[None, None], shape, mode="bilinear", align_corners=False)[0]
        place.masked_fill_(one > best, number)
        best = torch.maximum(best, one)
    return best.numpy(), place.numpy()


def _nearest(probabilities: Tensor, shape: tuple[int, int]) -> tuple[NDArray[Any], NDArray[np.int16]]:
    """As `_interpolated`, of the nearest place; probabilities have half the digits and take half the memory."""
    best, place = (found.numpy() for found in probabilities.max(dim=0))
    rows, columns = (
        ((np.arange(count) + 0.5) * side / count).astype(np.intp) for count, side in zip(shape, best.shape, strict=True)
    )
    return best.astype(np.float16)[rows][:, columns], place.astype(np.int16)[rows][:, columns]


def map_at_own_size(numbers: Tensor, size: Size, fit: Fit, classes: int) -> NDArray[np.int16]:
    """A map [height, width] of class numbers at the size that its image has by itself; see `at_own_size`."""
    return at_own_size(one_hot(numbers, classes).permute(2, 0, 1), size, fit)[0]


def confidence_png(probabilities: NDArray[Any]) -> bytes:
    """Returns the confidence of each pixel, [height, width] in [0, 1], as a grey PNG in which 255 is 1."""
    return _png(Image.fromarray((probabilities * 255).round().astype(np.uint8)))


def overlay_png(pixels: NDArray[np.float32], numbers: NDArray[np.int64], palette: Palette) -> bytes:
    """Returns the image [channels, height, width] in [0, 1] with the colours of its classes on top, as PNG."""
    grey_or_colour = np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0) * 255
    blended = (1 - OPACITY) * grey_or_colour + OPACITY * coloured(numbers, palette)
    return _png(Image.fromarray(blended.round().astype(np.uint8)))


def coloured(numbers: NDArray[np.int64], palette: Palette) -> NDArray[np.uint8]:
    """Returns class numbers [..., height, width] as colours [..., height, width, 3]; void is light grey."""
    colours = np.concatenate([colours_of(palette), np.full((1, 3), VOID_GREY, np.uint8)])
    return colours[numbers]  # void, -1, is the last one


def beside(maps: Tensor, images: Tensor, palette: Palette) -> Tensor:
    """Returns each map in colours with its image to the right, float [n, 3, height, 2 width] in [0, 1]."""
    left = torch.from_numpy(coloured(maps.numpy(), palette)).permute(0, 3, 1, 2).float() / 255
    return torch.cat([left, images.expand(-1, 3, -1, -1)], dim=3)


def palette_text(palette: Palette) -> str:
    """Returns the palette as the content of a file that a `masks` source reads."""
    rows = zip(palette.names, colours_of(palette).tolist(), strict=True)
    return "".join(f"{name} {' '.join(map(str, colour))}\n" for name, colour in rows)


def legend_rows(palette: Palette) -> list[list[object]]:
    """What the pixels of an index mask mean: rows of number, name, red, green, blue; the last is void."""
    colours = enumerate(zip(palette.names, colours_of(palette).tolist(), strict=True))
    return [[number, name, *colour] for number, (name, colour) in colours] + [[VOID_NUMBER, "void", *[VOID_GREY] * 3]]


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, format="PNG")
    return data.getvalue()
