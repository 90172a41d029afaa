"""Views: random transforms of whole batches that keep labels or turn them, on their device (docs/method.md, 5)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from semivae.errors import DataError
from semivae.parallel.shards import random_rows
from semivae.recipe.schema import TurnSpec, ViewSpec
from semivae.variables import VOID

BENDS = 4  # places a side at which the elastic displacement is drawn
LIGHTS = 3  # places a side at which the light of a shaded image is drawn
ASPECT = 4 / 3  # of a random crop, the largest ratio of sides
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in the grey of a colour (ITU-R BT.601)


@final
class View:
    """A random transform, drawn anew for every image. Every entry of the spec is the largest change.

    Geometry (crop, shift, rotate, turn, scale, shear, elastic, flip) is one bilinear resampling; outside lies black for
    grey images and the mirror image for colour. Then brightness, contrast and saturation change by factors in
    [1 - entry, 1 + entry], values are raised to a power (gamma), places are lit unequally (shade), Gaussian noise is
    added, a share of the pixels is inverted (speckle), and one square is blanked, black for grey images and mid-grey
    for colour.
    """

    def __init__(self, spec: ViewSpec) -> None:
        self.spec = spec
        moves = (spec.shift, spec.rotate, spec.turn, spec.scale, spec.shear, spec.elastic, spec.flip, spec.crop)
        self._geometry = any(moves)
        self._colour = any((spec.brightness, spec.contrast, spec.saturation))
        self._light = bool(spec.gamma or spec.shade)
        self.images_only = self._geometry or self._colour or self._light or bool(spec.cutout or spec.speckle)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Transform a batch.

        Args:
            images: float [n, channels, height, width] in [0, 1]; or [n, columns], a table: only noise applies to it.
            generator: source of all draws; they are made on its device.

        Returns:
            The shape, type and device of `images`, in [0, 1] but for tables; `images` itself if nothing changes.

        Raises:
            DataError: a table, and a spec that changes more than noise.
        """
        return self.turned(images, generator)[0]

    def turned(self, images: Tensor, generator: torch.Generator, angles: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform images, and say by how much this changes their label, an angle.

        Args:
            images: float [n, channels, height, width] in [0, 1].
            generator: source of all draws; for the same one, and no angles, the images come out as from a call.
            angles: their label or what is thought of it, in degrees, NaN where nothing is, [n]; if the spec has limits,
                the turn leaves them between. None: nothing is known.

        Returns:
            Images, and what to add to their label, [n], in the images' type; 0 if the spec has no `turn`.

        Raises:
            DataError: as a call.
        """
        if images.ndim != 4 and self.images_only:
            raise DataError(
                f"a view of rows of a table (here {list(images.shape)}) can only add noise; remove all other entries"
            )
        grid, turns = self._grid_of(images, generator, angles)
        x = images if grid is None else _resampled(images, grid)
        return self._finished(images, x, generator), turns

    def joint(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Transform images and their maps: geometry moves both alike, all else changes the images alone.

        Args:
            images: float [n, channels, height, width] in [0, 1].
            maps: int64 [n, height, width], classes or `VOID`.
            generator: source of all draws; for the same one the images come out as from a call.

        Returns:
            Images and maps; a map takes the nearest place's class, and is `VOID` where that lies outside.
        """
        x, moved = self._moved(images, generator, maps)
        assert moved is not None
        return self._finished(images, x, generator), moved

    def _moved(
        self, images: Tensor, generator: torch.Generator, maps: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        grid, _ = self._grid_of(images, generator)
        if grid is None:
            return images, maps
        return _resampled(images, grid), None if maps is None else _moved_maps(maps, grid)

    def _grid_of(
        self, images: Tensor, generator: torch.Generator, angles: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Where every place of the view lies in the image, and what is added to a label; no grid if nothing moves."""
        return _grid(images, self.spec, generator, angles) if self._geometry else (None, images.new_zeros(len(images)))

    def _finished(self, images: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
        """All that follows geometry; `images` as they were at the start, `x` as they are now."""
        if self._colour:
            x = _recoloured(x, self.spec, generator)
        if self._light:
            x = _relit(x, self.spec, generator)
        if self.spec.noise:
            x = x + self.spec.noise * _drawn(torch.randn, x.shape, generator).to(x)
        if x is not images and x.ndim == 4:
            x = x.clamp(0, 1)
        if self.spec.speckle:
            chosen = _drawn(torch.rand, x.shape, generator).to(x.device) < self.spec.speckle
            x = torch.where(chosen, 1 - x, x)
        return _blanked(x, self.spec.cutout, generator) if self.spec.cutout else x


def _drawn(draw: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator, dim: int = 0) -> Tensor:
    """Random numbers of every image, on the generator's device; `dim` counts the images."""
    return random_rows(functools.partial(draw, generator=generator, device=generator.device), shape, dim)


def _uniform(x: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    """Draws from [-1, 1], [rows, n]: so many for each image, on x's device and in its type."""
    draws = _drawn(torch.rand, (rows, len(x)), generator, dim=1)
    return (2 * draws - 1).to(x)


def _resampled(images: Tensor, grid: Tensor) -> Tensor:
    padding = "reflection" if images.shape[1] == 3 else "zeros"
    return grid_sample(images, grid, "bilinear", padding, align_corners=False)


def _grid(x: Tensor, spec: ViewSpec, generator: torch.Generator, angles: Tensor | None) -> tuple[Tensor, Tensor]:
    """Where every place of the view lies in the image, [n, height, width, 2], from -1 to 1 across a side.

    And what a turn adds to the label, [n].
    """
    count, _, height, width = x.shape
    with torch.autocast(x.device.type, enabled=False):  # bfloat16 misses by pixels
        places = _places(height, width, x.device, x.dtype).expand(count, -1, -1)
        affine, turns = _affine(x, spec, generator, angles)
        if spec.crop is not None:
            affine = _cropped(affine, spec.crop, generator)
        grid = places.bmm(affine.transpose(1, 2)).view(count, height, width, 2)
    if spec.elastic:
        grid = grid + _bent(x, spec.elastic, generator)
    return grid, turns


def _moved_maps(maps: Tensor, grid: Tensor) -> Tensor:
    """Maps [n, height, width] at the nearest place of `grid`; outside lies `VOID`."""
    numbers = (maps - VOID).unsqueeze(1).to(grid)  # outside is 0, so 0 must stand for VOID
    return grid_sample(numbers, grid, "nearest", "zeros", align_corners=False).squeeze(1).long() + VOID


def _bent(x: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """A smooth field of displacements, [n, height, width, 2]: random at 4x4 places, in between interpolated."""
    places = _drawn(torch.rand, (len(x), 2, BENDS, BENDS), generator)
    field = interpolate(((2 * places - 1) * 2 * largest).to(x), x.shape[2:], mode="bicubic", align_corners=True)
    return field.permute(0, 2, 3, 1)


@functools.lru_cache(maxsize=16)
def _places(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The middles of all pixels, [1, height * width, 3]: across, down, 1; from -1 to 1 across a side."""
    unmoved = torch.eye(2, 3, device=device, dtype=dtype)[None]
    grid = affine_grid(unmoved, [1, 1, height, width], align_corners=False)
    return torch.cat([grid, torch.ones_like(grid[..., :1])], dim=-1).view(1, height * width, 3)


def _affine(x: Tensor, spec: ViewSpec, generator: torch.Generator, angles: Tensor | None) -> tuple[Tensor, Tensor]:
    """The maps from places in the view to places in the image, [n, 2, 3], in coordinates from -1 to 1 across a side.

    And what a turn adds to the label, [n].
    """
    angle, shear, zoom, across, down, *mirrored = _uniform(x, 6 if spec.flip else 5, generator).unbind()
    zoom = 1 + zoom * spec.scale
    mirror = mirrored[0].sign() if mirrored else torch.ones_like(zoom)
    shift = [2 * (across * spec.shift), 2 * (down * spec.shift)]  # a side is 2 long
    turns = torch.zeros_like(zoom) if spec.turn is None else _turns(angle, spec.turn, angles)
    if not spec.rotate and not spec.shear and spec.turn is None:
        none = torch.zeros_like(zoom)
        return torch.stack([mirror / zoom, none, shift[0], none, 1 / zoom, shift[1]], dim=1).view(-1, 2, 3), turns
    if spec.turn is None:
        angle = angle * math.radians(spec.rotate)
    else:  # y points down, so these maps turn the image anticlockwise
        angle = turns * math.radians(-1.0 if spec.turn.clockwise else 1.0)
    tan = (shear * math.radians(spec.shear)).tan()
    cos, sin = angle.cos(), angle.sin()
    rows = x.shape[2] / x.shape[3]  # turning mixes the axes, which are not equally long if the image is no square
    top = [mirror * cos / zoom, (cos * tan - sin) / zoom * rows, shift[0]]
    bottom = [mirror * sin / zoom / rows, (sin * tan + cos) / zoom, shift[1]]
    return torch.stack([*top, *bottom], dim=1).view(-1, 2, 3), turns


def _turns(draws: Tensor, spec: TurnSpec, angles: Tensor | None) -> Tensor:
    """What is added to labels, [n], uniform among the turns that leave them within their limits.

    Args:
        draws: from [-1, 1], [n].
        spec: the turn.
        angles: the labels, [n]; NaN or None where they are not known. One beyond a limit counts as the limit.
    """
    if angles is None:
        return draws * spec.degrees
    angles = angles.to(draws)
    if spec.low is not None or spec.high is not None:
        angles = angles.clamp(spec.low, spec.high)
    least, most = torch.full_like(draws, -spec.degrees), torch.full_like(draws, spec.degrees)
    if spec.low is not None:
        least = torch.fmax(least, spec.low - angles)  # fmax and fmin leave NaN out
    if spec.high is not None:
        most = torch.fmin(most, spec.high - angles)
    return (least + most) / 2 + draws * (most - least) / 2


def _cropped(affine: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    """The maps [n, 2, 3], followed by a random resized crop (Szegedy et al. 2015) of the image."""
    area, ratio, across, down = _uniform(affine, 4, generator).unbind()
    area = smallest + (1 - smallest) * (area + 1) / 2
    aspect = (ratio * math.log(ASPECT)).exp().sqrt()
    width, height = (area.sqrt() * aspect).clamp_max(1), (area.sqrt() / aspect).clamp_max(1)
    sides = torch.stack([width, height], dim=1)
    moved = affine * sides[..., None]
    moved[:, :, 2] += (1 - sides) * torch.stack([across, down], dim=1)
    return moved


def _recoloured(x: Tensor, spec: ViewSpec, generator: torch.Generator) -> Tensor:
    saturates = bool(spec.saturation) and x.shape[1] == 3
    largest = [most for most in (spec.brightness, spec.contrast, spec.saturation if saturates else 0.0) if most]
    factors = _uniform(x, len(largest), generator)[..., None, None, None].unbind()
    factor = iter([1 + most * draws for most, draws in zip(largest, factors, strict=True)])
    if spec.brightness:
        x = x * next(factor)
    if spec.contrast:
        middle = _grey(x).mean(dim=(1, 2, 3), keepdim=True)
        x = middle + (x - middle) * next(factor)
    if saturates:
        grey = _grey(x)
        x = grey + (x - grey) * next(factor)
    return x


def _relit(x: Tensor, spec: ViewSpec, generator: torch.Generator) -> Tensor:
    if spec.gamma:
        x = x.clamp(1e-4, 1.0) ** (spec.gamma * _uniform(x, 1, generator)).exp().view(-1, 1, 1, 1)
    if spec.shade:
        places = _drawn(torch.randn, (len(x), 1, LIGHTS, LIGHTS), generator).to(x)
        x = x * interpolate(places * spec.shade, x.shape[2:], mode="bicubic", align_corners=True).exp()
    return x


def _grey(x: Tensor) -> Tensor:
    """[n, 1, height, width]: how light each pixel is."""
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    return (x * _luma(x.device, x.dtype)).sum(dim=1, keepdim=True)


@functools.lru_cache(maxsize=16)
def _luma(device: torch.device, dtype: torch.dtype) -> Tensor:
    """`LUMA` as [1, 3, 1, 1]; kept, since a copy to a GPU waits."""
    return torch.tensor(LUMA, device=device, dtype=dtype).view(1, 3, 1, 1)


def _blanked(x: Tensor, side: float, generator: torch.Generator) -> Tensor:
    """Blank one square an image (DeVries and Taylor 2017): its centre is any pixel, so it may reach over the edge."""
    height, width = x.shape[2:]

    def inside(length: int) -> Tensor:
        extent = max(1, round(side * min(height, width)))
        centre = _drawn(functools.partial(torch.randint, length), (len(x), 1), generator).to(x.device)
        offset = torch.arange(length, device=x.device) - (centre - extent // 2)
        return (offset >= 0) & (offset < extent)

    square = inside(height)[:, None, :, None] & inside(width)[:, None, None, :]
    return x.masked_fill(square, 0.5 if x.shape[1] == 3 else 0.0)
