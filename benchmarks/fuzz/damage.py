"""Damage to bytes and texts, as a bad disk, a careless editor or an enemy does it."""

from __future__ import annotations

import contextlib
import struct
import zlib
from random import Random

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
NUMBERS = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
SIGNS = "{}[],:&*!|>%@`\"'#-?<~=\\ \n\t0179.eExX_abcxyz;\0\x85\ufeff\u2212\u0663\U0001f600"
PIECES = (
    "null", "~", "NaN", "inf", "-inf", "1e400", "-0", "0x" + "f" * 400, "9" * 5000, "&a [*a]", "*a", "<<: *a", "{}",
    "[]", "[[[[", "!!python/object:os.system", "!!binary x", "---", "...", "2026-11-28", "yes", "left_out", "learned",
    "uniform", "1_000", "0o17", "1e-320", str(2**63), str(2**64), "10**400", "x", "y", "h", "\\u0000", "é\u0301",
    "a" * 3000,
)  # fmt: skip


def damaged(draw: Random, content: bytes, most: int = 6) -> bytes:
    """Bytes with up to `most` pieces of damage."""
    data = bytearray(content)
    for _ in range(draw.randrange(most + 1)):
        _damage(draw, data)
    return bytes(data)


def _damage(draw: Random, data: bytearray) -> None:
    place = draw.randrange(min(len(data), draw.choice((40, 400, 2**62))) + 1)
    other = draw.randrange(len(data) + 1)
    match draw.randrange(9):
        case 0 if place < len(data):
            data[place] ^= 1 << draw.randrange(8)
        case 1 if place < len(data):
            data[place] = draw.choice(EXTREMES)
        case 2:
            del data[place : place + draw.choice((1, 2, 4, 100))]
        case 3:
            data[place:place] = data[other : other + draw.choice((1, 4, 100))]
        case 4:
            data[place:place] = draw.randbytes(draw.choice((1, 4, 50)))
        case 5 if draw.random() < 0.3:
            del data[place:]
        case 6:
            data[place : place + 4] = struct.pack(draw.choice((">I", "<I")), draw.choice(NUMBERS))
        case 7:
            data[place : place + 2] = struct.pack(draw.choice((">H", "<H")), draw.choice(NUMBERS) % 65536)
        case _:
            data[place : place + 8] = struct.pack(
                draw.choice((">Q", "<Q")), draw.choice((*NUMBERS, 2**63 - 1, 2**64 - 1))
            )


def edited(draw: Random, text: str, most: int = 4) -> str:
    """A text with up to `most` edits: signs, lines and words that are pasted, lost, doubled or moved."""
    for _ in range(draw.randrange(most + 1)):
        place, other = draw.randrange(len(text) + 1), draw.randrange(len(text) + 1)
        lines = text.split("\n")
        row = draw.randrange(len(lines))
        match draw.randrange(8):
            case 0:
                text = text[:place] + signs(draw, 6) + text[place + draw.randrange(6) :]
            case 1:
                text = text[:place] + draw.choice(PIECES) + text[place + draw.randrange(12) :]
            case 2:
                text = "\n".join(lines[:row] + lines[row + 1 :])
            case 3:
                text = "\n".join([*lines[:row], lines[row], *lines[row:]])
            case 4:
                lines.insert(draw.randrange(len(lines)), lines.pop(row))
                text = "\n".join(lines)
            case 5:
                lines[row] = " " * draw.randrange(9) + lines[row].strip()
                text = "\n".join(lines)
            case 6:
                head, colon, _ = lines[row].partition(":")
                lines[row] = f"{head}{colon} {draw.choice(PIECES)}"
                text = "\n".join(lines)
            case _:
                text = text[:place] + text[other : other + draw.randrange(40)] + text[place:]
    return text


def signs(draw: Random, most: int) -> str:
    """Up to `most` signs that mean something to somebody."""
    return "".join(draw.choice(SIGNS) for _ in range(draw.randrange(most + 1)))


def png_damaged(draw: Random, content: bytes) -> bytes:
    """A PNG file with damage in one chunk, whose checksum is right again, so that decoders go on to it."""
    chunks = []
    place = 8
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    if not chunks:
        return content
    number = draw.randrange(len(chunks))
    kind, body = chunks[number]
    if kind == b"IDAT" and draw.random() < 0.7:
        with contextlib.suppress(zlib.error):  # not the first such chunk
            body = zlib.compress(damaged(draw, zlib.decompressobj().decompress(body, 2**20), 4))
    else:
        body = damaged(draw, body, 3)
    chunks[number] = kind, body
    if draw.random() < 0.3:
        more = draw.choice((b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"eXIf", b"acTL", b"tEXt"))
        chunks.insert(draw.randrange(len(chunks)), (more, draw.randbytes(draw.randrange(40))))
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return content[:8] + b"".join(parts)
