"""Maps as files and pictures: index masks, overlays, a mask beside its image."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from semivae.data.formats.palettes import Palette, shown_colours
from semivae.errors import RunError

VOID_NUMBER = 255  # in index masks, as is usual
OPACITY = 0.5  # of the classes' colours over the image
VOID_GREY = 224


def colours_of(palette: Palette) -> NDArray[np.uint8]:
    """The colours to show classes in, uint8 [classes, 3]."""
    return shown_colours(len(palette.names)) if palette.colours is None else palette.colours


def mask_png(numbers: NDArray[np.int64], palette: Palette) -> bytes:
    """An index mask [height, width] as PNG: a pixel's value is its class number, 255 is void; viewers show colours.

    Raises:
        RunError: a class number of 255 or more.
    """
    if numbers.max(initial=0) >= VOID_NUMBER:
        raise RunError(
            f"class {numbers.max()} cannot be written to an index mask, whose pixels end at 255, void; Run.predict "
            "gives the numbers as an array"
        )
    image = Image.fromarray(np.where(numbers < 0, VOID_NUMBER, numbers).astype(np.uint8))
    table = np.full((256, 3), VOID_GREY, np.uint8)
    colours = colours_of(palette)[:VOID_NUMBER]
    table[: len(colours)] = colours
    image.putpalette(table.tobytes())
    return _png(image)


def confidence_png(probabilities: NDArray[np.float32]) -> bytes:
    """How sure each place is of its class, [height, width] in [0, 1], as a grey PNG: 255 is 1."""
    return _png(Image.fromarray((probabilities * 255).round().astype(np.uint8)))


def overlay_png(pixels: NDArray[np.float32], numbers: NDArray[np.int64], palette: Palette) -> bytes:
    """The image [channels, height, width] in [0, 1] under its classes' colours, as PNG."""
    grey_or_colour = np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0) * 255
    shown = (1 - OPACITY) * grey_or_colour + OPACITY * coloured(numbers, palette)
    return _png(Image.fromarray(shown.round().astype(np.uint8)))


def coloured(numbers: NDArray[np.int64], palette: Palette) -> NDArray[np.uint8]:
    """Class numbers [..., height, width] as colours [..., height, width, 3]; void is light grey."""
    colours = np.concatenate([colours_of(palette), np.full((1, 3), VOID_GREY, np.uint8)])
    return colours[numbers]  # -1, void, is the last


def beside(maps: Tensor, images: Tensor, palette: Palette) -> Tensor:
    """Each map in colours with its image to the right: float [n, 3, height, 2 width] in [0, 1]."""
    left = torch.from_numpy(coloured(maps.numpy(), palette)).permute(0, 3, 1, 2).float() / 255
    return torch.cat([left, images.expand(-1, 3, -1, -1)], dim=3)


def palette_text(palette: Palette) -> str:
    """The palette as a file that a `masks` source reads."""
    rows = zip(palette.names, colours_of(palette).tolist(), strict=True)
    return "".join(f"{name} {' '.join(map(str, colour))}\n" for name, colour in rows)


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, format="PNG")
    return data.getvalue()
