"""HEIC and AVIF pictures: read where what reads them is installed, else named with what to install."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from semivae.data.formats.image_files import decode_image, decode_picture, is_image
from semivae.data.formats.mask_files import decode_map
from semivae.data.formats.palettes import Palette
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.formats.raster import reads_heif
from semivae.data.inputs.inputs import inputs_of
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource

HOW = Preprocessing(3, 8, 16)
HEADER = base64.b64decode("AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWlj")  # how a HEIC file begins
installed = pytest.mark.skipif(not reads_heif(), reason="needs the extra heic")
missing = pytest.mark.skipif(reads_heif(), reason="the extra heic is installed")


def saved(kind: str, **options: Any) -> bytes:
    """A picture of 32 x 16, red at the left and blue at the right."""
    assert reads_heif()
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16, 0] = pixels[:, 16:, 2] = 220
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, quality=100, **options)
    return content.getvalue()


@installed
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_they_are_read_like_other_pictures(kind: str, tmp_path: Path) -> None:
    picture = decode_picture(saved(kind), HOW)
    assert picture.size == (32, 16) and picture.pixels[0, :, :6].min() > 190 and picture.pixels[2, :, 10:].min() > 190
    assert picture.pixels[0, :, 10:].max() < 60
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3  # turned by 180 degrees; in HEIC this only repeats what the file does by itself
    assert decode_image(saved(kind, exif=exif), HOW)[2 if kind == "AVIF" else 0, :, :6].min() > 190
    ending = "heic" if kind == "HEIF" else "avif"
    (tmp_path / f"a.{ending}").write_bytes(saved(kind))
    (tmp_path / "b.jpg").write_bytes(saved(kind))  # as telephones call them after a rename
    for given in (tmp_path, [tmp_path / f"a.{ending}", tmp_path / "b.jpg"]):
        found = inputs_of(HOW.shape).read(given)
        assert len(found.names) == 2 and list(found.sizes) == [(32, 16)] * 2 and not found.left_out


@installed
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_their_transparency_is_laid_on_the_background(kind: str) -> None:
    pixels = np.zeros((16, 32, 4), np.uint8)
    pixels[:, :16, 3] = 255
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, quality=100)
    shown = decode_image(content.getvalue(), HOW)
    assert shown[:, :, :6].max() < 30 and shown[:, :, 10:].min() > 225


@installed
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_masks_in_them_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"a lossy {kind}, which changes pixels"):
        decode_map(saved(kind), Palette(("a", "b")), 8, 8)


@installed
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_damaged_ones_are_named(kind: str, tmp_path: Path) -> None:
    content = saved(kind)
    for name, damaged in (("short.png", content[:60]), ("cut.png", content[:-100]), ("head.png", content[:24])):
        (tmp_path / name).write_bytes(damaged)
    with pytest.raises(DataError, match=r"3 of 3 image files .* cannot be read: cut.png.* \("):
        inputs_of(HOW.shape).read(tmp_path)


@installed
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("side", [16, 64])
def test_the_size_is_checked_before_a_pixel_is_decoded(kind: str, side: int) -> None:
    """Also that of the whole picture, where HEIC shows a part of it: of 64 pixels a side, its smallest."""
    content = io.BytesIO()
    Image.new("RGB", (side, side)).save(content, kind)
    changed = bytearray(content.getvalue())
    place = changed.index(b"ispe") + 8
    changed[place : place + 8] = struct.pack(">II", 20_000, 20_000)
    refused = r"20,000 x 20,000 pixels, 400 million; up to 100 million are" if kind == "HEIF" else "Failed to decode"
    with pytest.raises((ValueError, OSError), match=refused):
        decode_image(bytes(changed), HOW)


@missing
def test_they_are_named_with_what_to_install(tmp_path: Path) -> None:
    advice = "a HEIC or AVIF image, which pip install 'semivae[heic]' lets semivae read"
    assert not is_image("a.heic") and not is_image("a.AVIF")
    Image.new("RGB", (16, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.HEIC").write_bytes(HEADER)
    assert inputs_of(HOW.shape).read(tmp_path).left_out == {"b.HEIC": advice}
    with pytest.raises(DataError) as alone:
        inputs_of(HOW.shape).read(tmp_path / "b.HEIC")
    assert str(alone.value).endswith(f"b.HEIC is not read: {advice}")
    (tmp_path / "c.jpg").write_bytes(HEADER)
    with pytest.raises(DataError) as renamed:
        inputs_of(HOW.shape).read(tmp_path)
    assert f"1 of 2 image files in {tmp_path} cannot be read: c.jpg ({advice})" in str(renamed.value)


@missing
def test_data_sets_name_them_too(tmp_path: Path) -> None:
    for name in ("ant", "cat"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for row in range(3):
            Image.new("L", (8, 8), 90 * row + len(name) * (name == "ant")).save(tmp_path / "own" / name / f"{row}.png")
    (tmp_path / "own" / "cat" / "new.heif").write_bytes(HEADER)
    warnings = load_source(FolderSource(name="folder", path="own", size=8), tmp_path).warnings
    assert "1 file in" in warnings[0] and "cat/new.heif is a HEIC or AVIF image, which pip install" in warnings[0]
