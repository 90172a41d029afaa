"""Image files, masks and palettes: seeds in odd modes, sizes and packings, then damage to their bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.fuzz.damage import PIECES, damaged, edited, png_damaged
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.inputs.images import Images
from semivae.data.sources import load_source
from semivae.recipe.schema import MasksSource

FORMATS: dict[str, tuple[str, ...]] = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "F", "CMYK", "YCbCr", "LAB"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("1", "L", "P", "RGB"),
    "WEBP": ("RGB", "RGBA"),
    "PPM": ("1", "L", "RGB", "I;16"),
}
ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".gif", "WEBP": ".webp", "PPM": ".ppm"}
SIDES = (1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 40, 90)


def picture(draw: Random, kind: str) -> bytes:
    """A file of this format, in any mode and size that it can hold."""
    mode = draw.choice(FORMATS[kind])
    width, height = draw.choice(SIDES), draw.choice(SIDES)
    noise = np.frombuffer(draw.randbytes(width * height * 4), np.uint8).reshape(height, width, 4)
    if mode in ("I;16", "I", "F"):
        levels = noise[..., 0].astype(np.uint16) * draw.choice((1, 16, 257))
        image = Image.fromarray(levels if mode == "I;16" else levels.astype(np.int32 if mode == "I" else np.float32))
    else:
        base = "RGBA" if mode in ("RGBA", "LA") else "RGB"
        image = Image.fromarray(noise[..., : len(base)].copy(), base).convert("RGB" if mode in ("LAB", "P") else mode)
        image = image.quantize(draw.choice((2, 16, 256))) if mode == "P" else image
        image = Image.new("LAB", image.size) if mode == "LAB" else image
    return _saved(draw, image, kind)


def _saved(draw: Random, image: Image.Image, kind: str) -> bytes:
    options: dict[str, Any] = {}
    if kind == "TIFF" and draw.random() < 0.6:
        options["compression"] = draw.choice(("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"))
    if kind == "JPEG":
        options = {"progressive": draw.random() < 0.5, "quality": draw.choice((1, 50, 100))}
    if kind == "WEBP":
        options["lossless"] = draw.random() < 0.7
    if kind in ("PNG", "JPEG", "WEBP") and draw.random() < 0.3:
        exif = Image.Exif()
        exif[0x0112] = draw.choice((0, 1, 2, 3, 5, 6, 8, 9))
        options["exif"] = exif
    if kind in ("GIF", "TIFF", "WEBP", "PNG") and draw.random() < 0.15:
        options |= {"save_all": True, "append_images": [image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]}
    content = io.BytesIO()
    try:
        image.save(content, kind, **options)
    except (OSError, ValueError, RuntimeError):  # a packing that the mode has not
        content = io.BytesIO()
        image.convert("RGB").save(content, kind)
    return content.getvalue()


def file_of(draw: Random, kind: str) -> bytes:
    """A picture, whole or damaged."""
    content = picture(draw, kind)
    if kind == "PNG" and draw.random() < 0.6:
        return png_damaged(draw, content)
    return damaged(draw, content)


class Pictures:
    """Image files, alone or in a .zip, through the reader of images that `predict` uses."""

    name = "images"

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        kind = draw.choice(("PNG", "PNG", "JPEG", "TIFF", "TIFF", *FORMATS))
        content = file_of(draw, kind)
        ending = ENDINGS[kind] if draw.random() < 0.95 else draw.choice([*ENDINGS.values()])
        how = Preprocessing(
            draw.choice((1, 3)),
            draw.choice((1, 8, 13)),
            draw.choice((1, 8, 13)),
            draw.choice(("crop", "pad", "stretch")),
            draw.choice(("white", "black", "none")),
            draw.choice((None, None, 4095.0)),
        )
        path = folder / f"picture{ending}"
        if draw.random() < 0.1:
            path = folder / "pictures.zip"
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
                for name in draw.sample(["a.png", "b/c.png", "../d.png", "/e.png", "é.png", "f.txt", ".g.png"], 3):
                    file.writestr(name, content)
            content = damaged(draw, packed.getvalue(), 2)
        path.write_bytes(content)
        inputs = Images(how.shape, preprocessing=how)
        skip = draw.random() < 0.3

        def read() -> None:
            found = inputs.read(path, skip_unreadable=skip)
            assert tuple(found.values.shape[1:]) == how.shape and len(found.names) == len(found.values)
            found.remarks()

        return read


class Masks:
    """A folder of images and masks, one of which is odd, with a palette now and then, through its reader."""

    name = "masks"
    palette = "ground 0 0 0\nsquare 255 0 0\nbar 0 0 255\nvoid 255 255 255\n"

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        for name in ("images", "masks"):
            (folder / name).mkdir()
        colours = draw.random() < 0.5
        for number in range(3):
            grey = np.full((8, 8), 40 * number, np.uint8)
            Image.fromarray(grey).save(folder / "images" / f"{number}.png")
            Image.fromarray(self._mask(draw, colours)).save(folder / "masks" / f"{number}.png")
        kind = draw.choice(("PNG", "PNG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG"))
        if draw.random() < 0.5:
            content = io.BytesIO()
            Image.fromarray(self._mask(draw, colours)).save(content, "PNG")
            (folder / "masks" / "0.png").write_bytes(png_damaged(draw, content.getvalue()))
        else:
            (folder / "masks" / "0.png").unlink()
            (folder / "masks" / f"0{ENDINGS[kind]}").write_bytes(file_of(draw, kind))
        options: dict[str, Any] = {}
        if colours or draw.random() < 0.3:
            text = self.palette if draw.random() < 0.5 else edited(draw, self.palette, 2)
            text = text if draw.random() < 0.95 else draw.choice(PIECES)
            (folder / "palette.txt").write_bytes(text.encode(errors="replace"))
            options["palette"] = "palette.txt"
        if draw.random() < 0.3:
            options["void"] = draw.choice((0, 1, 255, 65535))
        source = MasksSource(
            name="masks", path=".", size=(draw.choice((4, 8, 9)), 8), channels=draw.choice((1, 3)),
            fit=draw.choice(("crop", "pad", "stretch")), **options,
        )  # fmt: skip

        def read() -> None:
            load_source(source, folder, download=False)

        return read

    def _mask(self, draw: Random, colours: bool) -> Any:
        side = draw.choice((8, 8, 8, 5))
        numbers = np.frombuffer(draw.randbytes(side * side), np.uint8).reshape(side, side) % 3
        return np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[numbers] if colours else numbers
