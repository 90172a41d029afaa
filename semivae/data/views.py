"""Views: random transforms of whole batches that keep labels or turn them, on their device (docs/method.md, 5)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
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
Numbers = Mapping[str, Tensor]  # [n] each
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
        colour, light = (spec.brightness, spec.contrast, spec.saturation), (spec.gamma, spec.shade)
        self.images_only = any((self._geometry, *colour, *light, spec.cutout, spec.speckle))
        self._ranges = _ranges(spec)

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
        return self._viewed(images, generator)[0]

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
        x, turns = self._viewed(images, generator, angles)
        return x, images.new_zeros(len(images)) if turns is None else turns

    def joint(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Transform images and their maps: geometry moves both alike, all else changes the images alone.

        Args:
            images: float [n, channels, height, width] in [0, 1].
            maps: int64 [n, height, width], classes or `VOID`.
            generator: source of all draws; for the same one the images come out as from a call.

        Returns:
            Images and maps; a map takes the nearest place's class, and is `VOID` where that lies outside.
        """
        drawn, _ = self._drawn(images, generator)
        grid = self._grid(images, drawn, generator)
        x, moved = (images, maps) if grid is None else (_resampled(images, grid), _moved_maps(maps, grid))
        return self._finished(images, x, drawn, generator), moved

    def _viewed(
        self, images: Tensor, generator: torch.Generator, angles: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The view, and what a turn adds to the label, if there is one."""
        if images.ndim != 4 and self.images_only:
            raise DataError(
                f"a view of rows of a table (here {list(images.shape)}) can only add noise; remove all other entries"
            )
        drawn, turns = self._drawn(images, generator, angles)
        grid = self._grid(images, drawn, generator)
        x = images if grid is None else _resampled(images, grid)
        return self._finished(images, x, drawn, generator), turns

    def _drawn(
        self, images: Tensor, generator: torch.Generator, angles: Tensor | None = None
    ) -> tuple[Numbers, Tensor | None]:
        """All numbers of which every image has one of its own, in one draw; and what a turn adds to the label."""
        if not self._ranges:
            return {}, None
        draws = _uniform((len(self._ranges), len(images)), 1.0, generator, dim=1).to(images)
        middles, halves = _constants(tuple(self._ranges.values()), images.device, images.dtype)
        drawn = dict(zip(self._ranges, torch.addcmul(middles, halves, draws).unbind(), strict=True))
        if self.spec.turn is None:
            return drawn, None
        turns = _turns(drawn["angle"], self.spec.turn, angles)
        # y points down, so these maps turn the image anticlockwise
        return {**drawn, "angle": turns * math.radians(-1.0 if self.spec.turn.clockwise else 1.0)}, turns

    def _grid(self, x: Tensor, drawn: Numbers, generator: torch.Generator) -> Tensor | None:
        """Where every place of the view lies in the image, [n, height, width, 2], from -1 to 1 across a side.

        None if nothing moves.
        """
        if not self._geometry:
            return None
        count, _, height, width = x.shape
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 misses by pixels
            moves = _affine(x, drawn)
            if self.spec.crop is not None:
                moves = _cropped(moves, drawn)
            if self.spec.elastic:
                moves = torch.cat([moves, _bends(x, self.spec.elastic, generator)], dim=2)
            fields = _fields(height, width, bool(self.spec.elastic), x.device, x.dtype)
            return (moves.flatten(0, 1) @ fields).view(count, 2, height, width).movedim(1, -1)

    def _finished(self, images: Tensor, x: Tensor, drawn: Numbers, generator: torch.Generator) -> Tensor:
        """All that follows geometry; `images` as they were at the start, `x` as they are now."""
        x = _relit(_recoloured(x, drawn), self.spec.shade, drawn, generator)
        if self.spec.noise:
            x = torch.add(x, _drawn(torch.randn, x.shape, generator).to(x), alpha=self.spec.noise)
        if x is not images and x.ndim == 4:
            x = x.clamp(0, 1)
        if self.spec.speckle:
            chosen = _drawn(torch.rand, x.shape, generator).to(x.device) < self.spec.speckle
            x = torch.where(chosen, 1 - x, x)
        return _blanked(x, self.spec.cutout, drawn) if self.spec.cutout else x


def _ranges(spec: ViewSpec) -> dict[str, tuple[float, float]]:
    """Middle and half of the range from which every image draws a number, by the number's name."""
    found: dict[str, tuple[float, float]] = {}
    if spec.flip:
        found["mirror"] = (0.0, 1.0)  # its sign counts
    if spec.rotate or spec.shear or spec.turn is not None:
        angle = math.radians(spec.rotate) if spec.turn is None else 1.0  # what it turns depends on the label
        found |= {"angle": (0.0, angle), "slant": (0.0, math.radians(spec.shear))}
    if spec.scale:
        found["zoom"] = (1.0, spec.scale)
    if spec.shift:
        found |= dict.fromkeys(("across", "down"), (0.0, 2 * spec.shift))  # a side is 2 long
    if spec.crop is not None:
        found |= {"area": ((1 + spec.crop) / 2, (1 - spec.crop) / 2), "aspect": (0.0, math.log(ASPECT) / 2)}
        found |= dict.fromkeys(("crop across", "crop down"), (0.0, 1.0))
    for name in ("brightness", "contrast", "saturation"):
        if most := getattr(spec, name):
            found[name] = (1.0, most)
    if spec.gamma:
        found["exponent"] = (0.0, spec.gamma)
    if spec.cutout:
        found |= dict.fromkeys(("blank row", "blank column"), (0.5, 0.5))  # as a share of the side
    return found


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)  # they serve in training, too
def _constants(rows: tuple[tuple[float, float], ...], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The columns of a table, each [rows, 1]; kept, since a copy to a GPU waits."""
    return torch.tensor(rows, device=device, dtype=dtype)[..., None].unbind(dim=1)


def _drawn(draw: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random numbers of every image, on the generator's device."""
    return random_rows(functools.partial(draw, generator=generator, device=generator.device), shape)


def _uniform(shape: Sequence[int], largest: float, generator: torch.Generator, dim: int = 0) -> Tensor:
    """Draws from [-largest, largest], on the generator's device; `dim` counts the images."""

    def draw(size: Sequence[int]) -> Tensor:
        return torch.empty(*size, device=generator.device).uniform_(-largest, largest, generator=generator)

    return random_rows(draw, shape, dim)


def _resampled(images: Tensor, grid: Tensor) -> Tensor:
    padding = "reflection" if images.shape[1] == 3 else "zeros"
    return grid_sample(images, grid, "bilinear", padding, align_corners=False)


def _moved_maps(maps: Tensor, grid: Tensor) -> Tensor:
    """Maps [n, height, width] at the nearest place of `grid`; outside lies `VOID`."""
    numbers = (maps - VOID).unsqueeze(1).to(grid)  # outside is 0, so 0 must stand for VOID
    return grid_sample(numbers, grid, "nearest", "zeros", align_corners=False).squeeze(1).long() + VOID


def _bends(x: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Random displacements at 4x4 places, across and down, [n, 2, 16]; in between they are interpolated."""
    places = _uniform((len(x), 2, BENDS, BENDS), 2 * largest, generator).to(x)  # a side is 2 long
    return places.flatten(2)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # they serve in training, too
def _fields(height: int, width: int, bent: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What moves are multiplied with, [3, height * width]: the middles of all pixels across, down, and 1.

    Middles run from -1 to 1 across a side. If bent, [3 + 16, height * width]: what one displacement does everywhere.
    """
    unmoved = torch.eye(2, 3, device=device, dtype=dtype)[None]
    grid = affine_grid(unmoved, [1, 1, height, width], align_corners=False).view(height * width, 2)
    fields = torch.cat([grid.T, grid.new_ones(1, height * width)])
    if not bent:
        return fields
    single = torch.eye(BENDS**2, device=device, dtype=dtype).view(-1, 1, BENDS, BENDS)
    smooth = interpolate(single, (height, width), mode="bicubic", align_corners=True)
    return torch.cat([fields, smooth.flatten(1)])


def _affine(x: Tensor, drawn: Numbers) -> Tensor:
    """The maps from places in the view to places in the image, [n, 2, 3], in coordinates from -1 to 1 across a side."""
    none, unmoved = (fixed.view(1).expand(len(x)) for fixed in _constants(((0.0, 1.0),), x.device, x.dtype))
    zoom, mirror = drawn.get("zoom"), drawn.get("mirror")
    if "angle" in drawn:
        turn = torch.stack([drawn["angle"].cos(), drawn["angle"].sin()])
        cos, sin = (turn if zoom is None else turn / zoom).unbind()
        tan = drawn["slant"].tan()
        linear = [cos, cos * tan - sin, sin, torch.addcmul(cos, sin, tan)]
        if (rows := x.shape[2] / x.shape[3]) != 1:  # turning mixes the axes, which are not equally long then
            linear[1], linear[2] = linear[1] * rows, linear[2] / rows
    else:
        size = unmoved if zoom is None else 1 / zoom
        linear = [size, none, none, size]
    top, bottom = [*linear[:2], drawn.get("across", none)], [*linear[2:], drawn.get("down", none)]
    affine = torch.stack([*top, *bottom], dim=1).view(-1, 2, 3)
    if mirror is not None:
        affine[:, :, 0].mul_(mirror.sign()[:, None])
    return affine


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


def _cropped(affine: Tensor, drawn: Numbers) -> Tensor:
    """The maps [n, 2, 3], followed by a random resized crop (Szegedy et al. 2015) of the image."""
    side, aspect = drawn["area"].sqrt(), drawn["aspect"].exp()
    sides = torch.stack([side * aspect, side / aspect], dim=1).clamp_max(1)
    moved = affine * sides[..., None]
    moved[:, :, 2] += (1 - sides) * torch.stack([drawn["crop across"], drawn["crop down"]], dim=1)
    return moved


def _recoloured(x: Tensor, drawn: Numbers) -> Tensor:
    factors = {name: number.view(-1, 1, 1, 1) for name, number in drawn.items()}
    if "brightness" in factors:
        x = x * factors["brightness"]
    if "contrast" in factors:
        x = torch.lerp(_grey(x).mean(dim=(1, 2, 3), keepdim=True), x, factors["contrast"])
    if "saturation" in factors and x.shape[1] == 3:
        x = torch.lerp(_grey(x), x, factors["saturation"])
    return x


def _relit(x: Tensor, shade: float, drawn: Numbers, generator: torch.Generator) -> Tensor:
    if "exponent" in drawn:
        x = x.clamp(1e-4, 1.0) ** drawn["exponent"].exp().view(-1, 1, 1, 1)
    if shade:
        places = _drawn(torch.randn, (len(x), 1, LIGHTS, LIGHTS), generator).to(x)
        x = x * interpolate(places * shade, x.shape[2:], mode="bicubic", align_corners=True).exp()
    return x


def _grey(x: Tensor) -> Tensor:
    """Returns how light each pixel is, [n, 1, height, width]."""
    if x.shape[1] != 3:
        return x if x.shape[1] == 1 else x.mean(dim=1, keepdim=True)
    return (x * _luma(x.device, x.dtype)).sum(dim=1, keepdim=True)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # they serve in training, too
def _luma(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns `LUMA` as [1, 3, 1, 1]; kept, since a copy to a GPU waits."""
    return torch.tensor(LUMA, device=device, dtype=dtype).view(1, 3, 1, 1)


def _blanked(x: Tensor, side: float, drawn: Numbers) -> Tensor:
    """Blank one square an image (DeVries and Taylor 2017): its centre is any pixel, so it may reach over the edge."""
    height, width = x.shape[2:]
    extent = max(1, round(side * min(height, width)))
    centres = torch.stack([drawn["blank row"] * height, drawn["blank column"] * width]).floor()
    places = _pixels(max(height, width), extent // 2 - (extent - 1) / 2, x.device, x.dtype)
    inside = (places - centres[..., None]).abs() < extent / 2  # [2, n, longer side]
    square = inside[0, :, None, :height, None] & inside[1, :, None, None, :width]
    return x.masked_fill(square, 0.5 if x.shape[1] == 3 else 0.0)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # they serve in training, too
def _pixels(length: int, first: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The numbers first, first + 1, ..., [length]."""
    return torch.arange(length, device=device, dtype=dtype) + first
