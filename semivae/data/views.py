"""Views: random, label-preserving transforms of whole batches, on their device (docs/method.md, section 5)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from semivae.errors import DataError
from semivae.recipe.schema import ViewSpec
from semivae.variables import VOID

BENDS = 4  # places a side at which the elastic displacement is drawn
LIGHTS = 3  # places a side at which the light of a shaded image is drawn
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in the grey of a colour (ITU-R BT.601)


@final
class View:
    """A random transform, drawn anew for every image. Every entry of the spec is the largest change.

    Geometry (shift, rotate, scale, shear, elastic, flip) is one bilinear resampling; outside lies black for grey images
    and the mirror image for colour. Then brightness, contrast and saturation change by factors in
    [1 - entry, 1 + entry], values are raised to a power (gamma), places are lit unequally (shade), Gaussian noise is
    added, a share of the pixels is inverted (speckle), and one square is blanked, black for grey images and mid-grey
    for colour.
    """

    def __init__(self, spec: ViewSpec) -> None:
        self.spec = spec
        self._geometry = any((spec.shift, spec.rotate, spec.scale, spec.shear, spec.elastic, spec.flip))
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
        if images.ndim != 4 and self.images_only:
            raise DataError(
                f"a view of rows of a table (here {list(images.shape)}) can only add noise; remove all other entries"
            )
        return self._finished(images, self._moved(images, generator)[0], generator)

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
        if not self._geometry:
            return images, maps
        grid = _grid(images, self.spec, generator)
        padding = "reflection" if images.shape[1] == 3 else "zeros"
        x = grid_sample(images, grid, "bilinear", padding, align_corners=False)
        return x, None if maps is None else _moved_maps(maps, grid)

    def _finished(self, images: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
        """All that follows geometry; `images` as they were at the start, `x` as they are now."""
        if self._colour:
            x = _recoloured(x, self.spec, generator)
        if self._light:
            x = _relit(x, self.spec, generator)
        if self.spec.noise:
            x = x + self.spec.noise * torch.randn(x.shape, generator=generator, device=generator.device).to(x)
        if x is not images and x.ndim == 4:
            x = x.clamp(0, 1)
        if self.spec.speckle:
            chosen = torch.rand(x.shape, generator=generator, device=generator.device).to(x.device) < self.spec.speckle
            x = torch.where(chosen, 1 - x, x)
        return _blanked(x, self.spec.cutout, generator) if self.spec.cutout else x


def _uniform(x: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """[n] draws from [-largest, largest], on x's device and in its type."""
    draws = torch.rand(len(x), generator=generator, device=generator.device)
    return ((2 * draws - 1) * largest).to(x)


def _grid(x: Tensor, spec: ViewSpec, generator: torch.Generator) -> Tensor:
    """Where every place of the view lies in the image, [n, height, width, 2], from -1 to 1 across a side."""
    with torch.autocast(x.device.type, enabled=False):  # inside is a matrix product, and bfloat16 misses by pixels
        grid = affine_grid(_affine(x, spec, generator), list(x.shape), align_corners=False)
    if spec.elastic:
        grid = grid + _bent(x, spec.elastic, generator)
    return grid


def _moved_maps(maps: Tensor, grid: Tensor) -> Tensor:
    """Maps [n, height, width] at the nearest place of `grid`; outside lies `VOID`."""
    numbers = (maps - VOID).unsqueeze(1).to(grid)  # outside is 0, so 0 must stand for VOID
    return grid_sample(numbers, grid, "nearest", "zeros", align_corners=False).squeeze(1).long() + VOID


def _bent(x: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """A smooth field of displacements, [n, height, width, 2]: random at 4x4 places, in between interpolated."""
    places = torch.rand(len(x), 2, BENDS, BENDS, generator=generator, device=generator.device)
    field = interpolate(((2 * places - 1) * 2 * largest).to(x), x.shape[2:], mode="bicubic", align_corners=True)
    return field.permute(0, 2, 3, 1)


def _affine(x: Tensor, spec: ViewSpec, generator: torch.Generator) -> Tensor:
    """The maps from places in the view to places in the image, [n, 2, 3], in coordinates from -1 to 1 across a side."""
    angle, shear = (_uniform(x, math.radians(most), generator) for most in (spec.rotate, spec.shear))
    zoom = 1 + _uniform(x, spec.scale, generator)
    shift = [2 * _uniform(x, spec.shift, generator) for _ in range(2)]  # a side is 2 long
    mirror = _uniform(x, 1.0, generator).sign() if spec.flip else torch.ones_like(zoom)
    cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
    rows = x.shape[2] / x.shape[3]  # turning mixes the axes, which are not equally long if the image is no square
    top = torch.stack([mirror * cos / zoom, (cos * tan - sin) / zoom * rows, shift[0]], dim=1)
    bottom = torch.stack([mirror * sin / zoom / rows, (sin * tan + cos) / zoom, shift[1]], dim=1)
    return torch.stack([top, bottom], dim=1)


def _recoloured(x: Tensor, spec: ViewSpec, generator: torch.Generator) -> Tensor:
    def factor(largest: float) -> Tensor:
        return 1 + _uniform(x, largest, generator).view(-1, 1, 1, 1)

    if spec.brightness:
        x = x * factor(spec.brightness)
    if spec.contrast:
        middle = _grey(x).mean(dim=(1, 2, 3), keepdim=True)
        x = middle + (x - middle) * factor(spec.contrast)
    if spec.saturation and x.shape[1] == 3:
        grey = _grey(x)
        x = grey + (x - grey) * factor(spec.saturation)
    return x


def _relit(x: Tensor, spec: ViewSpec, generator: torch.Generator) -> Tensor:
    if spec.gamma:
        x = x.clamp(1e-4, 1.0) ** _uniform(x, spec.gamma, generator).exp().view(-1, 1, 1, 1)
    if spec.shade:
        places = torch.randn(len(x), 1, LIGHTS, LIGHTS, generator=generator, device=generator.device).to(x)
        x = x * interpolate(places * spec.shade, x.shape[2:], mode="bicubic", align_corners=True).exp()
    return x


def _grey(x: Tensor) -> Tensor:
    """[n, 1, height, width]: how light each pixel is."""
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _blanked(x: Tensor, side: float, generator: torch.Generator) -> Tensor:
    """Blank one square an image (DeVries and Taylor 2017): its centre is any pixel, so it may reach over the edge."""
    height, width = x.shape[2:]

    def inside(length: int) -> Tensor:
        extent = max(1, round(side * min(height, width)))
        centre = torch.randint(length, (len(x), 1), generator=generator, device=generator.device).to(x.device)
        offset = torch.arange(length, device=x.device) - (centre - extent // 2)
        return (offset >= 0) & (offset < extent)

    square = inside(height)[:, None, :, None] & inside(width)[:, None, None, :]
    return x.masked_fill(square, 0.5 if x.shape[1] == 3 else 0.0)
