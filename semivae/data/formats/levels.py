"""What the pixels of an image file mean as 8-bit grey or colour: 16 bits, other whites, and transparency."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from semivae.data.formats.preprocessing import Preprocessing

CONTRAST = 8  # levels between the darkest and the lightest pixel; below it nothing can be seen
DRAWN = 128  # levels of alpha between what is drawn and what is not
BIT_DEPTH = 24  # the byte of a PNG file that says it, in its first chunk


@dataclass
class Levels:
    """What the pixels of an image file were, found out while they become 8 bits.

    Attributes:
        preprocessing: what they become.
        bits: of one channel in the file.
        signed: whether it can hold values below 0.
        brightest: the largest value in a file of more than 8 bits; of several channels the upper 8 bits count.
        alpha: the smallest and the largest, from 0 to 255; None where the file has none.
        shown: the darkest and the lightest level after all, from 0 to 255, of a file with alpha.
        frames: whether the file holds several frames or pages, of which the first one is read.
        zero_is_white: whether a TIFF of more than 8 bits says so; of fewer bits Pillow turns them itself.
        orientation: how the file says that the picture lies, 1 for upright.
    """

    preprocessing: Preprocessing
    bits: int = 8
    signed: bool = False
    brightest: float | None = None
    alpha: tuple[int, int] | None = None
    shown: tuple[int, int] = (255, 0)
    frames: bool = False
    zero_is_white: bool = False
    orientation: int = 1

    @classmethod
    def of(cls, image: Image.Image, content: bytes, preprocessing: Preprocessing) -> Levels:
        """What the header says of an image that was opened from `content`.

        Raises:
            ValueError: a kind of pixels of which nobody says what is white.
        """
        levels = cls(preprocessing)
        levels.frames = has_frames(image)
        levels.orientation = orientation_of(image)
        if image.format == "PNG":
            levels.bits = content[BIT_DEPTH]
        elif isinstance(image, TiffImagePlugin.TiffImageFile):
            levels.bits = max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
            levels.zero_is_white = (
                image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0 and image.mode[0] in "IF"
            )
            levels.signed = 2 in image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,))
        elif image.mode in ("I", "I;16", "F"):
            levels.bits = 16
        if preprocessing.white is None and (image.mode == "F" or (image.mode == "I" and image.format == "TIFF")):
            kind = "signed 16-bit" if levels.signed and levels.bits == 16 else "32-bit"
            raise ValueError(f"{kind} pixels, which have no white; save them with 8 or 16 bits, or say source.white")
        if preprocessing.white is not None and levels.bits > 8 and image.mode not in ("F", "I", "I;16", "I;16B"):
            raise ValueError(
                f"{levels.bits}-bit colours, of which the upper 8 bits are read, so that source.white says nothing of "
                "them; save them with 8 bits"
            )
        return levels

    @property
    def transparent(self) -> bool:
        """Whether something shows through the picture."""
        return self.alpha is not None and self.alpha[0] < 255

    def eight_bits(self, image: Image.Image) -> Image.Image:
        """The image, or a band of it, as one byte of grey, or three of colour, a pixel.

        Raises:
            ValueError: pixels below 0.
        """
        if image.mode.startswith("I") or image.mode == "F":
            image = self._scaled(image)
        elif self.bits > 8:
            most = max(high for _, high in _extrema(image)[:3])
            self.brightest = max(self.brightest or 0, 257 * most)
        if self.preprocessing.background == "none":
            image = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
        elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
            image = self._laid(image)
        image = image.convert(self.preprocessing.mode)
        if self.alpha is not None:
            lows, highs = zip(*_extrema(image), strict=True)
            self.shown = min(self.shown[0], *lows), max(self.shown[1], *highs)
        return image

    def _scaled(self, image: Image.Image) -> Image.Image:
        """Returns more than 8 bits of grey as 8, by what is white; Pillow's own conversion cuts off all above 255.

        A value that is said to be transparent, which a PNG may have, becomes alpha.
        """
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        if not low >= 0:  # NaN too
            raise ValueError(f"pixels from {low:g} on; there are none below 0: save the file with 0 as black")
        self.brightest = max(self.brightest or 0, high)
        white = self.preprocessing.white
        if white is None and 8 < self.bits < 16:
            white = 2.0**self.bits - 1
        if self.zero_is_white:
            values = np.clip((white or 2.0**16 - 1) - values, 0, None)
        if white is None:
            grey = Image.fromarray((values.astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        else:
            share = np.clip(values / white, 0, 1)
            grey = Image.fromarray(np.rint(255 * share).astype(np.uint8))
        hidden = image.info.get("transparency")
        if isinstance(hidden, int):
            grey.putalpha(Image.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))
        return grey

    def _laid(self, image: Image.Image) -> Image.Image:
        """The image on the background; as it is where nothing shows through."""
        layered = image.convert("RGBA")
        ((low, high),) = _extrema(layered.getchannel("A"))
        self.alpha = (low, high) if self.alpha is None else (min(self.alpha[0], low), max(self.alpha[1], high))
        if low == 255:
            return layered if image.mode in ("P", "PA") else image
        ground = Image.new("RGBA", image.size, (*[self.preprocessing.level] * 3, 255))
        ground.alpha_composite(layered)
        return ground

    def refuse_invisible(self) -> None:
        """Raises ValueError for a picture that is drawn in the colour of the background, on nothing."""
        if self.alpha is None:
            return
        if self.alpha[1] - self.alpha[0] >= DRAWN and self.shown[1] - self.shown[0] < CONTRAST:
            ground = self.preprocessing.background
            other = "black" if ground == "white" else "white"
            raise ValueError(
                f"drawn in {ground} on nothing, so that it cannot be seen on a {ground} background; say "
                f"source.background: {other}"
            )


def orientation_of(image: Image.Image) -> int:
    """How a picture lies, from 1, upright, to 8; what is none of these turns nothing, as in Pillow."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    """The smallest and the largest value of each channel of 8 bits."""
    return [(int(low), int(high)) for low, high in (np.asarray(band.getextrema()) for band in image.split())]


def has_frames(image: Image.Image) -> bool:
    """Returns whether a file is an animation or has several pages; what phones add to a JPEG (MPO) does not count."""
    if image.format not in ("GIF", "PNG", "TIFF", "WEBP"):
        return False
    with suppress(Exception):  # Pillow raises much for a second frame that is broken; the first one may be whole
        return bool(getattr(image, "is_animated", False))
    return False
