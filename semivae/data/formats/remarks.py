"""What a user should know of image files that were read: what was hidden, cut off or nearly black in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from semivae.data.formats.image_files import Pictures
from semivae.data.formats.levels import Levels
from semivae.data.formats.preprocessing import Preprocessing, lost_share
from semivae.text import either, join_names

DARK = 2**14  # 16-bit files without a larger value come from cameras of 10, 12 or 14 bits
LOST = 0.2  # of a picture's area, from which on it is said that it is cut off


def remarks(parts: Sequence[Pictures], preprocessing: Preprocessing) -> tuple[str, ...]:
    """One text for each thing worth knowing of all the files of a data set, or of those given to a trained model."""
    found = (_frames(parts), *(say(parts, preprocessing) for say in (_transparent, _dark, _cropped)))
    return tuple(text for text in found if text)


def _frames(parts: Sequence[Pictures]) -> str:
    names = [name for name, levels in _files(parts) if levels.frames]
    if not names:
        return ""
    return (
        f"{_of(names, parts)} {either(len(names), 'holds', 'hold')} several frames or pages, of which the first one is "
        f"read; save the others as files of their own: {join_names(names, 3)}"
    )


def _transparent(parts: Sequence[Pictures], preprocessing: Preprocessing) -> str:
    names = [name for name, levels in _files(parts) if levels.transparent]
    if not names:
        return ""
    return (
        f"{_of(names, parts)} {either(len(names), 'has', 'have')} transparent places, which are shown "
        f"{preprocessing.background} (source.background): {join_names(names, 3)}"
    )


def _dark(parts: Sequence[Pictures], preprocessing: Preprocessing) -> str:
    deep = {
        name: levels.brightest for name, levels in _files(parts) if levels.brightest is not None and levels.bits == 16
    }
    most = max(deep.values(), default=DARK)
    if preprocessing.white is not None or most >= DARK:
        return ""
    white = next(2**bits - 1 for bits in (8, 10, 12, 14) if most < 2**bits)
    return (
        f"{_of(list(deep), parts)} {either(len(deep), 'has', 'have')} 16 bits and no value above {most:g}, which is "
        f"nearly black; if {white} is white, say source.white: {white}"
    )


def _cropped(parts: Sequence[Pictures], preprocessing: Preprocessing) -> str:
    target = preprocessing.width, preprocessing.height
    lost = {
        name: share
        for part in parts
        for name, size in zip(part.names, part.sizes, strict=True)
        if (share := lost_share(size, target, preprocessing.fit)) > LOST
    }
    if not lost:
        return ""
    worst = max(lost, key=lambda name: lost[name])
    return (
        f"{_of(list(lost), parts)} {either(len(lost), 'is', 'are')} cropped by more than {LOST:.0%}, {worst} by "
        f"{lost[worst]:.0%} of its area; source.fit: pad or stretch keeps all of it"
    )


def _files(parts: Sequence[Pictures]) -> Iterator[tuple[str, Levels]]:
    for part in parts:
        yield from zip(part.names, part.levels, strict=True)


def _of(names: Sequence[str], parts: Sequence[Pictures]) -> str:
    return f"{len(names):,} of {sum(len(part.names) for part in parts):,} image files"
