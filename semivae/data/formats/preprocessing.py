"""How a picture becomes an example: which part of it is kept, at which size, on which background, and what is white."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageOps

from semivae.recipe.folder_source import Background, Fit, FolderSource
from semivae.recipe.sources import MasksSource

Size = tuple[int, int]  # width, height, as Pillow has them
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """What becomes of every picture, those that are predicted like those that are learnt from.

    Attributes:
        channels: 1 for grey, 3 for colour.
        height: in pixels.
        width: in pixels.
        fit: `crop` scales the picture until it covers this size and cuts off what protrudes on two sides, `pad` scales
            it until it lies within and fills the rest with the background, `stretch` scales both sides as needed.
        background: what is seen through transparent pixels; `none` leaves their transparency out.
        white: the value of white in files of more than 8 bits; None where it is the largest of 16 bits.
    """

    channels: int
    height: int
    width: int
    fit: Fit = "crop"
    background: Background = "white"
    white: float | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    @property
    def mode(self) -> str:
        """Pillow's mode of a picture with as many channels."""
        return "L" if self.channels == 1 else "RGB"

    @property
    def level(self) -> int:
        """The background, from 0 to 255."""
        return 255 if self.background == "white" else 0


def shown_part(size: Size, target: Size, fit: Fit) -> Box:
    """The part of a picture of `size` that is kept: left, upper, right, lower, in its own pixels."""
    width, height = size
    if fit != "crop":
        return 0, 0, width, height
    scale = min(width / target[0], height / target[1])
    left, upper = (width - scale * target[0]) / 2, (height - scale * target[1]) / 2
    return left, upper, left + scale * target[0], upper + scale * target[1]


def filled_part(size: Size, target: Size, fit: Fit) -> tuple[int, int, int, int]:
    """Where the kept part of a picture of `size` lies in its example: left, upper, right, lower."""
    if fit != "pad":
        return 0, 0, *target
    width, height = contained(size, target)
    left, upper = round((target[0] - width) / 2), round((target[1] - height) / 2)  # as ImageOps.pad does
    return left, upper, left + width, upper + height


def contained(size: Size, target: Size) -> Size:
    """The largest size within `target` that has the sides' ratio of `size`, at least one pixel each way."""
    scale = min(target[0] / size[0], target[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def fitted_picture(
    image: Image.Image, target: Size, fit: Fit, background: int | tuple[int, ...], method: Image.Resampling
) -> Image.Image:
    """A picture at another size; `background` fills what `pad` leaves free."""
    if image.size == target:
        return image
    if fit == "crop":
        return ImageOps.fit(image, target, method)
    if fit == "stretch":
        return image.resize(target, method)
    left, upper, right, lower = filled_part(image.size, target, fit)
    canvas = Image.new(image.mode, target, background)
    canvas.paste(image.resize((right - left, lower - upper), method), (left, upper))
    return canvas


def lost_share(size: Size, target: Size, fit: Fit) -> float:
    """The share of a picture's area that is cut off."""
    left, upper, right, lower = shown_part(size, target, fit)
    return 1 - (right - left) * (lower - upper) / (size[0] * size[1])


def preprocessing_of(source: FolderSource | MasksSource) -> Preprocessing:
    """What a recipe's source says becomes of every picture."""
    height, width = source.size if isinstance(source.size, tuple) else (source.size, source.size)
    return Preprocessing(source.channels, height, width, source.fit, source.background, source.white)
