"""Pillow's bicubic resizing as plain tensor arithmetic, for graphs that take pictures of any size.

Pillow resizes bytes along rows and then along columns, with weights in fixed point (22 bits), and rounds to bytes after
each pass. Here both passes are products with matrices whose entries are those whole numbers; float64 holds all sums
exactly, in whatever order a runtime adds them.
"""

from __future__ import annotations

from dataclasses import dataclass

import PIL
import torch
from torch import Tensor, nn

from semivae.data.formats.preprocessing import Preprocessing

BITS = 22  # Pillow's PRECISION_BITS for bytes: 32 - 8 - 2
SUPPORT = 2.0  # of the bicubic kernel, in pixels
SHARPNESS = -0.5  # its parameter a
DOWN_FIRST = int(PIL.__version__.split(".")[0]) >= 13  # Pillow then resizes some pictures along columns first


@dataclass(frozen=True)
class Span:
    """What becomes of one side of a picture: the pixels from `start` to `end` come to lie from `first` to `last`.

    All are float64 scalars, because the size of a picture is known to the graph alone.
    """

    start: Tensor
    end: Tensor
    first: Tensor
    last: Tensor


class PictureFitting(nn.Module):
    """Pictures of any one size as images of the model's size: what `fitted_picture` does with Pillow.

    Args:
        preprocessing: size, fit and background.
    """

    input_name = "images"
    open_sizes = ("n", "height", "width")

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures uint8 (n, h, w, C) to float32 (n, C, H, W) in [0, 1]."""
        how = self.preprocessing
        pixels = pictures.permute(0, 3, 1, 2).double()
        rows, columns = _positions(pixels.shape[2]), _positions(pixels.shape[3])
        across, down = _spans(columns[-1] + 1, rows[-1] + 1, how)
        horizontal, inside_row = _weights(columns, _positions(how.width), across)
        vertical, inside_column = _weights(rows, _positions(how.height), down)
        found = _rounded(vertical @ _rounded(pixels @ horizontal.T))
        if DOWN_FIRST:
            other = _rounded(_rounded(vertical @ pixels) @ horizontal.T)
            found = torch.where(_goes_down_first(columns, rows, across, down), other, found)
        inside = inside_column[:, None] & inside_row[None, :]
        return torch.where(inside, found, torch.full_like(found, how.level)).float() / 255


def _positions(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float64)


def _spans(width: Tensor, height: Tensor, how: Preprocessing) -> tuple[Span, Span]:
    """Across and down, as `ImageOps.fit` and `fitted_picture` choose them; `width` and `height` are scalars."""
    none = torch.zeros_like(width)
    if how.fit == "pad":
        scale = torch.minimum(how.width / width, how.height / height)
        across, down = _padded(width, scale, how.width), _padded(height, scale, how.height)
        return across, down
    if how.fit == "stretch":
        return Span(none, width, none, none + how.width), Span(none, height, none, none + how.height)
    target = how.width / how.height
    ratio = width / height
    across = _centred(width, torch.where(ratio > target, target * height, width), how.width)
    down = _centred(height, torch.where(ratio < target, width / target, height), how.height)
    return across, down


def _goes_down_first(columns: Tensor, rows: Tensor, across: Span, down: Span) -> Tensor:
    """Whether Pillow resizes along columns first: where far more pixels of them go, as its answers show."""
    lost_across = columns[-1] + 1 - (across.last - across.first)
    lost_down = rows[-1] + 1 - (down.last - down.first)
    return (lost_down > 0) & (lost_down > 2 * lost_across)


def _padded(side: Tensor, scale: Tensor, target: int) -> Span:
    inner = torch.clamp(torch.round(side * scale), min=1.0)
    first = torch.round((target - inner) / 2)
    return Span(torch.zeros_like(side), side, first, first + inner)


def _centred(side: Tensor, kept: Tensor, target: int) -> Span:
    start = (side - kept) * 0.5
    none = torch.zeros_like(side)
    # Pillow keeps the edges of a box as 32-bit floats
    return Span(start.float().double(), (start + kept).float().double(), none, none + target)


def _weights(source: Tensor, target: Tensor, span: Span) -> tuple[Tensor, Tensor]:
    """Weights of a pass in fixed point, float64 (target, source), and which target pixels it fills, bool (target,).

    Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`: the kernel is widened where the picture shrinks, cut off
    at the picture's edges, and scaled to the sum one.
    """
    scale = (span.end - span.start).float().double() / (span.last - span.first)
    widening = torch.clamp(scale, min=1.0)
    places = target - span.first
    centre = (span.start + (places + 0.5) * scale)[:, None]
    reach = SUPPORT * widening
    first = torch.clamp(torch.floor(centre - reach + 0.5), min=0.0)
    last = torch.minimum(torch.floor(centre + reach + 0.5), source[-1] + 1)
    reached = (source >= first) & (source < last)
    kernel = _bicubic(((source + 0.5) - centre) * (1.0 / widening))
    kernel = torch.where(reached, kernel, torch.zeros_like(kernel))
    inside = (target >= span.first) & (target < span.last)
    total = torch.where(inside, kernel.sum(1), torch.ones_like(target))
    whole = kernel / total[:, None] * 2**BITS
    whole = torch.where(whole < 0, torch.ceil(whole - 0.5), torch.floor(whole + 0.5))
    return torch.where(inside[:, None], whole, torch.zeros_like(whole)), inside


def _bicubic(distance: Tensor) -> Tensor:
    """The kernel of Keys (1981) with a = -1/2."""
    x = distance.abs()
    near = ((SHARPNESS + 2.0) * x - (SHARPNESS + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * SHARPNESS
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, torch.zeros_like(x)))


def _rounded(sums: Tensor) -> Tensor:
    """Sums of bytes times fixed-point weights as bytes again, still float64."""
    return torch.clamp(torch.floor((sums + 2 ** (BITS - 1)) / 2**BITS), 0.0, 255.0)
