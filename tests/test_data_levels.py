"""What pixels of image files mean: transparency is laid on a background, and more than 8 bits have a white."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from semivae.data.dataset import Dataset
from semivae.data.formats.image_files import decode_image
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.inputs.inputs import inputs_of
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource

SIDE = 8
DRAWN = np.pad(np.full((4, 4), 255, np.uint8), 2)  # a square in the middle


def saved(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def glyph(level: int, hidden: int = 0, alpha: np.ndarray = DRAWN) -> Image.Image:
    """A square of a level on nothing; under the nothing lies another level."""
    grey = np.where(alpha > 0, level, hidden).astype(np.uint8)
    return Image.fromarray(np.stack([grey, grey, grey, alpha], axis=-1))


def decoded(image: Image.Image, kind: str = "png", channels: int = 1, **how: Any) -> np.ndarray:
    return decode_image(saved(image, kind), Preprocessing(channels, SIDE, SIDE, **how))


def folder(root: Path, **options: object) -> Dataset:
    source = FolderSource.model_validate({"name": "folder", "path": "own", "size": SIDE, "channels": 1, **options})
    return load_source(source, root)


def told(data: Dataset) -> tuple[str, ...]:
    """Its warnings of image files."""
    return tuple(warning for warning in data.warnings if "image files" in warning)


def as_palette(image: Image.Image) -> Image.Image:
    indexed = Image.fromarray(np.asarray(image)[..., 3] // 255).convert("P")
    indexed.putpalette([9, 9, 9, 0, 0, 0])
    indexed.info["transparency"] = 0
    return indexed


# Transparency --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_what_is_drawn_on_nothing_is_seen_and_what_is_hidden_is_not(kind: str, channels: int) -> None:
    """The square is black and so is what lies under the nothing: without alpha all is black."""
    image = glyph(0, hidden=np.random.default_rng(0).integers(0, 255, (SIDE, SIDE)))  # type: ignore[arg-type]
    options = {"lossless": True, "exact": True} if kind == "webp" else {}
    content = saved(image, kind, **options)
    shown = decode_image(content, Preprocessing(channels, SIDE, SIDE))
    assert np.array_equal(shown, np.broadcast_to(255 - DRAWN, (channels, SIDE, SIDE)))


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_other_kinds_of_transparency_are_laid_likewise(mode: str) -> None:
    image = as_palette(glyph(0)) if mode == "P" else glyph(0).convert(mode)
    assert np.array_equal(decoded(image)[0], 255 - DRAWN)


def test_a_colour_that_is_said_to_be_transparent_is() -> None:
    grey = Image.fromarray(np.where(DRAWN, 40, 90).astype(np.uint8))
    assert np.array_equal(decode_image(saved(grey, transparency=90), Preprocessing(1, SIDE, SIDE))[0],
                          np.where(DRAWN, 40, 255))  # fmt: skip
    deep = Image.fromarray(np.where(DRAWN, 40 * 256, 90 * 256).astype(np.uint16))
    content = bytearray(saved(deep))
    chunk = b"tRNS" + (90 * 256).to_bytes(2, "big")
    place = content.index(b"IDAT") - 4
    content[place:place] = (2).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    assert np.array_equal(decode_image(bytes(content), Preprocessing(1, SIDE, SIDE))[0], np.where(DRAWN, 40, 255))


def test_half_transparent_pixels_mix_with_the_background() -> None:
    half = (DRAWN // 255 * 128).astype(np.uint8)
    assert decoded(glyph(0, alpha=half))[0, 4, 4] == 127
    assert decoded(glyph(255, alpha=half), background="black")[0, 4, 4] == 128


def test_the_background_can_be_black_and_hides_nothing_that_is_drawn() -> None:
    assert np.array_equal(decoded(glyph(255), background="black")[0], DRAWN)
    with pytest.raises(ValueError, match=r"drawn in white on nothing.* white background; say source.background: black"):
        decoded(glyph(255))
    with pytest.raises(ValueError, match=r"drawn in black on nothing.*say source.background: white"):
        decoded(glyph(0), background="black")
    assert decoded(glyph(0, alpha=np.zeros_like(DRAWN))).min() == 255  # an empty picture is one


def test_without_a_background_transparency_is_left_out() -> None:
    hidden = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
    image = glyph(0, hidden=hidden)  # type: ignore[arg-type]
    assert np.array_equal(decoded(image, background="none")[0], np.where(DRAWN, 0, hidden))
    assert decoded(glyph(255), background="none").max() == 255, "nothing is refused"
    assert decoded(as_palette(glyph(0)), background="none")[0].tolist() == np.where(DRAWN, 0, 9).tolist()


def test_large_transparent_pictures_are_laid_band_by_band() -> None:
    alpha = np.zeros((8000, 4100), np.uint8)
    alpha[:4000] = 255
    image = Image.merge("LA", (Image.new("L", (4100, 8000), 0), Image.fromarray(alpha)))
    shown = decode_image(saved(image, compress_level=1), Preprocessing(1, 8, 4))[0]
    assert shown[:3].max() == 0 and shown[5:].min() == 255


def test_opaque_alpha_changes_nothing() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    opaque = np.concatenate([colours, np.full((SIDE, SIDE, 1), 255, np.uint8)], axis=-1)
    for channels in (1, 3):
        plain = decoded(Image.fromarray(colours), channels=channels)
        assert np.array_equal(decoded(Image.fromarray(opaque), channels=channels), plain)


def test_transparency_is_told_when_data_are_read_and_when_they_are_predicted(tmp_path: Path) -> None:
    for name in ("ant", "cat"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for row in range(3):
            glyph(row, alpha=DRAWN if row == 0 else np.full_like(DRAWN, 255)).save(
                tmp_path / "own" / name / f"{row}.png"
            )
    (warning,) = told(folder(tmp_path))
    assert warning.startswith("2 of 6 image files have transparent places, which are shown white (source.background)")
    found = inputs_of((1, SIDE, SIDE)).read(tmp_path / "own")
    assert found.notes == (warning,)
    glyph(255).save(tmp_path / "own" / "cat" / "0.png")
    with pytest.raises(DataError, match=r"1 of 6 .*cat/0.png \(drawn in white on nothing"):
        folder(tmp_path)


# More than 8 bits ----------------------------------------------------------------------------------------------------


def sixteen(white: int, dtype: type = np.uint16) -> Image.Image:
    return Image.fromarray((np.arange(SIDE * SIDE).reshape(SIDE, SIDE) * white // (SIDE * SIDE - 1)).astype(dtype))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_a_camera_of_twelve_bits_has_its_own_white(kind: str) -> None:
    shown = decoded(sixteen(4095), kind, white=4095)[0]
    assert np.abs(shown - 255 * np.arange(64).reshape(8, 8) / 63).max() < 1
    assert decoded(sixteen(4095), kind)[0].max() == 15
    assert decoded(sixteen(65535), kind)[0].max() == 255
    assert decoded(sixteen(65535), kind, white=4095)[0].flatten()[4:].min() == 255  # whiter than white


@pytest.mark.parametrize(("white", "guess"), [(1023, 1023), (3000, 4095), (4095, 4095), (16383, 16383), (16384, None)])
def test_sixteen_bit_files_that_are_nearly_black_are_told(tmp_path: Path, white: int, guess: int | None) -> None:
    for name in ("ant", "cat"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for row in range(3):
            sixteen(white - row).save(tmp_path / "own" / name / f"{row}.png")
    warnings = told(folder(tmp_path))
    if guess is None:
        assert warnings == ()
        return
    assert f"6 of 6 image files have 16 bits and no value above {white}" in warnings[0]
    assert warnings[0].endswith(f"if {guess} is white, say source.white: {guess}")
    assert told(folder(tmp_path, white=guess)) == () and folder(tmp_path, white=guess).train["x"].max() > 180
    assert inputs_of((1, SIDE, SIDE)).read(tmp_path / "own").notes == warnings
    assert inputs_of((1, SIDE, SIDE), preprocessing=Preprocessing(1, SIDE, SIDE, white=guess)).read(
        tmp_path / "own"
    ).values.max() > 180  # fmt: skip


def test_sixteen_bit_colours_that_are_nearly_black_are_told_and_take_no_white(tmp_path: Path) -> None:
    colours = np.stack([np.asarray(sixteen(4095))] * 3, axis=-1)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    assert "has 16 bits and no value above 3855" in inputs_of((3, SIDE, SIDE)).read(tmp_path).notes[0]
    with pytest.raises(ValueError, match="16-bit colours, of which the upper 8 bits are read"):
        decode_image(content, Preprocessing(3, SIDE, SIDE, white=4095))


def test_pixels_without_a_white_are_called_by_their_kind_and_read_with_one() -> None:
    floats, ints = (Image.fromarray(np.asarray(sixteen(1000)).astype(kind)) for kind in (np.float32, np.int32))
    for image in (floats, ints):
        with pytest.raises(ValueError, match=r"^32-bit pixels, which have no white; .* say source.white"):
            decoded(image, "tiff")
        assert decoded(image, "tiff", white=1000)[0].max() == 255
    signed = saved(sixteen(1000), "tiff", tiffinfo={339: 2})  # the tag that says so
    with pytest.raises(ValueError, match=r"^signed 16-bit pixels, which have no white"):
        decode_image(signed, Preprocessing(1, SIDE, SIDE))
    assert decode_image(signed, Preprocessing(1, SIDE, SIDE, white=1000))[0].max() == 255
    with pytest.raises(ValueError, match="pixels from -5 on; there are none below 0"):
        decoded(Image.fromarray(np.full((8, 8), -5, np.int32)), "tiff", white=100)
    with pytest.raises(ValueError, match="pixels from nan on"):
        decoded(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "tiff", white=100)


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tiff"])
def test_further_frames_and_pages_are_said_to_be_left_out(tmp_path: Path, ending: str) -> None:
    """The first frame is read, in training and in predict."""
    frames = [Image.fromarray(np.full((8, 8), level, np.uint8)) for level in (0, 255)]
    for number, kind in enumerate(("ant", "bee")):
        (tmp_path / "own" / kind).mkdir(parents=True)
        for row in range(3):
            pixels = np.random.default_rng(3 * number + row).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / kind / f"{row}.png")
    source = FolderSource(name="folder", path="own", size=8, channels=1)
    assert load_source(source, tmp_path).warnings == ()
    several = tmp_path / "own" / "ant" / f"several.{ending}"
    frames[0].save(several, save_all=True, append_images=frames[1:])
    (said,) = load_source(source, tmp_path).warnings
    assert said == (
        "1 of 7 image files holds several frames or pages, of which the first one is read; save the others as files of "
        f"their own: ant/several.{ending}"
    )
    read = inputs_of((1, 8, 8)).read(several)
    assert float(read.values.max()) < 3 and any("several frames" in line for line in read.remarks())
