"""Image files of strangers: what Pillow would run, wait for or unpack without end is refused before it is decoded."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semivae.data.formats.image_files import decode_image, decode_picture
from semivae.data.formats.mask_files import decode_map
from semivae.data.formats.palettes import Palette, read_palette
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.formats.raster import open_raster
from semivae.data.inputs.inputs import inputs_of
from semivae.errors import DataError

# the starts and steps of the passes of an interlaced PNG, written out here once more to check those of the reader
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, colour: int = 0) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))


def blank_png(width: int, height: int, colour: int = 0, level: int = 1) -> bytes:
    """A PNG of zeros, grey (`colour` 0) or RGBA (6), packed row by row so that it takes little memory to write."""
    row = bytes(1 + width * (4 if colour == 6 else 1))
    packer = zlib.compressobj(level)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return png_header(width, height, colour) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def tiff(width: int, height: int, compression: int, data: bytes, tile: tuple[int, int] | None = None) -> bytes:
    """A TIFF of 8-bit RGB (YCbCr where it is packed as JPEG) in one strip, or in one tile."""
    tags = {256: width, 257: height, 259: compression, 262: 6 if compression == 7 else 2, 277: 3}
    tags |= {322: tile[0], 323: tile[1], 324: 0, 325: len(data)} if tile else {273: 0, 278: height, 279: len(data)}
    start = 10 + 12 * (len(tags) + 1) + 4
    tags[324 if tile else 273] = start + 6
    lines = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()}
    lines[258] = struct.pack("<HHII", 258, 3, 3, start)
    directory = struct.pack("<H", len(lines)) + b"".join(lines[tag] for tag in sorted(lines)) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<3H", 8, 8, 8) + data


def test_a_large_gif_is_read_or_refused_without_a_warning_of_pillows() -> None:
    """pytest would raise the warning; the frame is cleared to the background, for which Pillow asks its limit."""
    small = saved(Image.new("L", (8, 8)), "gif", disposal=2, transparency=0)
    assert small.count(b"\x08\0\x08\0") == 2  # the screen and the frame
    large = small.replace(b"\x08\0\x08\0", struct.pack("<HH", 10000, 10000))  # 100 million: Pillow warns of 89
    with open_raster(large) as opened:
        assert opened.size == (10000, 10000)
    for side in (22000, 30000):  # 484 and 900 million: Pillow would warn of the first and refuse the second
        with pytest.raises(ValueError, match=r"more pixels than are decoded \(400,000,000\)"):
            decode_image(small.replace(b"\x08\0\x08\0", struct.pack("<HH", side, side)), Preprocessing(1, 8, 8))


def test_an_eps_file_under_another_name_never_starts_ghostscript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "x.png").write_bytes(eps)
    with pytest.raises(DataError, match=r"x.png \(not a PNG, JPEG"):
        inputs_of((1, 8, 8)).read(tmp_path / "x.png")
    with pytest.raises(OSError, match="not a PNG"):
        decode_map(eps, Palette(("a", "b")), 8, 8)
    assert not started.exists()


def short_png(white: int, black: int, lacking: int) -> bytes:
    """A whole file, 8 pixels wide, whose packed pixels lack their last rows."""
    rows = (b"\0" + b"\xff" * 8) * white + bytes(9 * black)
    return png_header(8, white + black + lacking) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("white", "black", "lacking"), [(4, 0, 4), (0, 4, 1), (7, 0, 1)])
def test_a_png_whose_pixels_end_early_is_refused(white: int, black: int, lacking: int) -> None:
    with pytest.raises(ValueError, match="pixels end early"):
        decode_image(short_png(white, black, lacking), Preprocessing(1, 8, 8))


def test_a_png_that_ends_in_black_is_whole() -> None:
    pixels = decode_image(short_png(4, 4, 0), Preprocessing(1, 8, 8))
    assert pixels[0, :4].min() == 255 and pixels[0, 4:].max() == 0


@pytest.mark.parametrize(
    ("width", "height", "mode"), [(1, 1, "1"), (5, 7, "P"), (9, 3, "RGB"), (8, 8, "LA"), (3, 9, "L")]
)
def test_interlaced_pngs_are_whole_exactly_with_all_passes(width: int, height: int, mode: str) -> None:
    bits = {"1": 1, "P": 8, "RGB": 24, "LA": 16, "L": 8}[mode]
    depth, colour = {"1": (1, 0), "P": (8, 3), "RGB": (8, 2), "LA": (8, 4), "L": (8, 0)}[mode]
    rows = b""
    for left, top, across, down in ADAM7:
        columns, count = len(range(left, width, across)), len(range(top, height, down))
        rows += bytes(1 + (columns * bits + 7) // 8) * count if columns else b""
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 1))
    palette = chunk(b"PLTE", bytes(6)) if mode == "P" else b""

    def content(pixels: bytes) -> bytes:
        return header + palette + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")

    assert decode_image(content(rows), Preprocessing(3, 8, 8)).shape == (3, 8, 8)
    with pytest.raises((ValueError, OSError), match=r"pixels end early|truncated"):
        decode_image(content(rows[:-1]), Preprocessing(3, 8, 8))


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "gif", "tiff", "webp", "ppm"])
def test_every_kind_is_told_by_its_content_and_not_by_its_name(kind: str) -> None:
    content = saved(Image.new("RGB", (8, 8), (255, 255, 255)), kind)
    assert decode_image(content, Preprocessing(3, 4, 4)).min() >= 250 and decode_picture(
        content, Preprocessing(1, 8, 8)
    ).size == (8, 8)


def test_a_picture_of_196_megapixels_is_read_and_scaled_down() -> None:
    content = blank_png(14_000, 14_000)
    assert decode_image(content, Preprocessing(3, 32, 32)).tolist() == np.zeros((3, 32, 32)).tolist()
    mask = decode_map(content, Palette(("a", "b")), 4, 4)
    assert mask.tolist() == [[0] * 4] * 4
    before = Image.MAX_IMAGE_PIXELS
    scan = saved(Image.new("1", (14_000, 14_000), 1), "tiff", compression="group4")
    assert decode_image(scan, Preprocessing(1, 4, 4)).min() == 255 and before == Image.MAX_IMAGE_PIXELS


def test_a_large_picture_is_averaged_to_what_a_small_one_gives() -> None:
    ramp = np.linspace(0, 255, 6_000).astype(np.uint8)
    wide = np.broadcast_to(ramp[:, None], (6_000, 6_001))  # more than 32 megapixels, and no multiple of the factor
    large = Image.fromarray(wide.copy())
    small = large.resize((600, 600))
    for options in ({}, {"exif": turned(6)}):
        content, expected = saved(large, "png", compress_level=1, **options), saved(small, "png", **options)
        difference = decode_image(content, Preprocessing(1, 32, 32)).astype(int) - decode_image(
            expected, Preprocessing(1, 32, 32)
        )
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_pictures_that_lie_are_turned_upright(kind: str) -> None:
    picture = np.zeros((4, 8), np.uint8)
    picture[:, :4] = 255
    content = saved(Image.fromarray(picture), kind, exif=turned(6))
    upright = decode_image(content, Preprocessing(1, 8, 4))[0]
    assert (
        decode_picture(content, Preprocessing(1, 8, 8)).size == (4, 8)
        and upright[:4].min() > 240
        and upright[4:].max() < 15
    )


def test_a_large_tiff_that_lies_is_turned_upright() -> None:
    picture = np.zeros((5_000, 8_000), np.uint8)
    picture[:, :4_000] = 255
    content = saved(Image.fromarray(picture), "tiff", compression="packbits", exif=turned(6))
    upright = decode_image(content, Preprocessing(1, 16, 10))[0]
    assert (
        decode_picture(content, Preprocessing(1, 8, 8)).size == (5_000, 8_000)
        and upright[:7].min() > 240
        and upright[9:].max() < 15
    )


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same() -> None:
    across, down = np.meshgrid(np.linspace(0, 1, 2_000), np.linspace(0, 1, 1_500))
    smooth = (127.5 + 127.5 * np.sin(7 * across + 5 * down)).astype(np.uint8)
    content = saved(Image.fromarray(np.stack([smooth, smooth // 2, 255 - smooth], -1)), "jpeg", quality=95)
    with open_raster(content, needed=128) as opened:
        assert opened.size == (250, 188)
    with open_raster(content) as opened:
        whole = saved(opened, "png")
    difference = decode_image(content, Preprocessing(3, 64, 64)).astype(int) - decode_image(
        whole, Preprocessing(3, 64, 64)
    )
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            png_header(30_000, 20_000) + chunk(b"IDAT", b""),
            "600 million; up to 400",
        ),
        (saved(Image.new("1", (8, 8)), "ppm").replace(b"8 8", b"99999 99999"), "9,999 million; up to 400"),
        (saved(Image.new("RGB", (8, 8)), "gif").replace(b"a\x08\0\x08\0", b"a\xff\xff\xff\xff"), "4,294 million"),
        (tiff(13_000, 13_000, 7, saved(Image.new("RGB", (16, 16)), "jpeg")), "a TIFF of .* unpacks to 507,000,000"),
        (tiff(16, 16, 5, b"\0" * 300, (20_000, 8_000)), "a TIFF of .* unpacks to 480,000,000"),
        (tiff(20_000, 20_000, 5, b"\0" * 300), r"a TIFF in one strip or tile of more than 1,073,741,824"),
        (tiff(16, 16, 6, b"\0" * 300), "a TIFF packed as tiff_jpeg, which is not read"),
    ],
    ids=["png", "ppm", "gif", "tiff", "tile", "strip", "old jpeg"],
)
def test_what_would_unpack_to_far_too_much_is_refused_by_its_header(content: bytes, message: str) -> None:
    for read in (
        lambda: decode_image(content, Preprocessing(3, 8, 8)),
        lambda: decode_map(content, Palette(("a", "b")), 8, 8),
    ):
        with pytest.raises(ValueError, match=message):
            read()


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose first scan is repeated, and whose header says that it has `side` pixels a side."""
    content = bytearray(saved(Image.new("L", (64, 64)), "jpeg", progressive=True))
    frame = content.index(b"\xff\xc2")
    content[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    start = content.index(b"\xff\xda")
    end = content.index(b"\xff", start + 2)
    return bytes(content[:start] + content[start:end] * scans + content[start:])


def test_a_jpeg_beyond_the_limit_is_read_where_it_is_scaled_down() -> None:
    content = bytearray(saved(Image.new("L", (64, 64)), "jpeg"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 30_000, 30_000)  # libjpeg fills in what is missing
    picture = decode_picture(bytes(content), Preprocessing(1, 8, 8))
    assert picture.pixels.shape == (1, 8, 8) and picture.size == (30_000, 30_000)


def test_a_jpeg_that_is_read_over_and_over_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scans of 10,000 x 10,000 pixels; save the JPEG again, not progressive"):
        decode_image(jpeg_of_scans(10_000, 100), Preprocessing(1, 8, 8))
    with pytest.raises(ValueError, match="400 million; up to 200 million"):
        decode_image(jpeg_of_scans(20_000, 3), Preprocessing(1, 8, 8))


@pytest.mark.skipif(sys.platform != "linux", reason="counts the memory of a process")
def test_a_large_picture_takes_the_memory_of_its_pixels_and_not_twice_that() -> None:
    import resource  # which other systems lack

    content = blank_png(8_000, 8_000, colour=6)  # 256 MB of RGBA
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + 350 * 2**20, hard))
    try:
        assert decode_image(content, Preprocessing(3, 32, 32)).min() == 255  # nothing, on white
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_pipe_among_images_is_named_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(Image.new("L", (8, 8)), "png"))
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"2 of 3 image files .*b.png is a pipe, a device .*c.png is a pipe, a device"):
        inputs_of((1, 8, 8)).read(tmp_path)
    with pytest.raises(DataError, match=r"b.png cannot be read as a palette: .* no regular file"):
        read_palette(tmp_path / "b.png")


def test_a_colour_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(f"a 0 0 {'9' * 5_000}\nb 1 1 1\n")
    with pytest.raises(DataError, match=r"p.txt:1: write NAME, or NAME RED GREEN BLUE"):
        read_palette(tmp_path / "p.txt")
