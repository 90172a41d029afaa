"""PNG files whose pixels end early: Pillow leaves the rows that are missing black, and says nothing."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL.PngImagePlugin import PngImageFile

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type (PNG specification, section 11.2.1)
WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""By pass of an interlaced image: its first column and row, and the steps between its columns and rows."""
PIECE = 2**20  # bytes that are unpacked at once


def refuse_short(image: PngImageFile, content: bytes) -> None:
    """Decodes a PNG and raises ValueError if its packed pixels end early."""
    image.load()
    last = image.crop((0, image.height - 1, image.width, image.height))
    if any(last.tobytes()) and not image.info.get("interlace"):
        return  # the last row was written, so all were
    if content[12:16] != b"IHDR":
        return  # an odd order of chunks, which Pillow reads
    needed = _needed_bytes(content)
    try:
        short = _unpacked_bytes(content, needed) < needed
    except zlib.error:
        short = True
    if short:
        raise ValueError("its pixels end early, as of a file that was cut off; copy or save it again")


def _needed_bytes(content: bytes) -> int:
    """The bytes of all rows, each with the byte of its filter."""
    width, height, depth, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    bits = depth * SAMPLES[colours]
    total = 0
    for left, top, across, down in ADAM7 if interlaced else WHOLE:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _unpacked_bytes(content: bytes, enough: int) -> int:
    """The bytes that the file's pixels unpack to, counted until there are `enough`."""
    unpacker, total = zlib.decompressobj(), 0
    for packed in _packed_pixels(content):
        while packed and total < enough:
            total += len(unpacker.decompress(packed, PIECE))
            packed = unpacker.unconsumed_tail
    return total + len(unpacker.flush())


def _packed_pixels(content: bytes) -> Iterator[bytes]:
    """The contents of the chunks IDAT."""
    place = 8
    while place + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"IDAT":
            yield content[place + 8 : place + 8 + size]
        place += size + 12
