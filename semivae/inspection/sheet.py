"""A sheet of examples as the model would see them: a row for each class, or images and masks side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from semivae.data.dataset import Dataset
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import decode_image
from semivae.data.formats.mask_files import decode_map
from semivae.data.formats.palettes import shown_colours
from semivae.data.formats.preprocessing import preprocessing_of
from semivae.data.hashing import ranked
from semivae.data.packed.store import is_packed
from semivae.data.readers.arranging import arranged
from semivae.data.readers.masks import palette_of, part_of
from semivae.data.readers.parts import parts_in, top_of
from semivae.data.sources import load_source, place_of
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource, MasksSource, Source, TableSource
from semivae.text import shortened

COLUMNS = 10  # examples in a row
MOST_ROWS = 40  # classes, or pairs of images and masks
SMALLEST = 64  # side of an example in pixels; smaller ones are enlarged by a whole factor
GAP = 4
VOID_COLOUR = (224, 224, 224)
Pixels = NDArray[np.uint8]  # [height, width, 3]
Row = tuple[str, list[Pixels]]


def sheet(source: Source, data_root: Path, ending: str = ".png") -> bytes:
    """The content of a picture file with examples of every class, chosen by the hash of their names.

    Args:
        source: where the examples are.
        data_root: where its path starts.
        ending: .png, .jpg or .jpeg.

    Raises:
        DataError: rows of a table, or nothing that can be drawn.
    """
    if isinstance(source, FolderSource | MasksSource) and is_packed(place_of(source.path, data_root)):
        rows = _of_dataset(load_source(source, data_root))
    elif isinstance(source, FolderSource):
        rows = _of_folder(source, place_of(source.path, data_root))
    elif isinstance(source, MasksSource):
        rows = _of_masks(source, place_of(source.path, data_root))
    elif isinstance(source, TableSource):
        raise DataError("a table has no pictures; leave out --out")
    else:
        rows = _of_dataset(load_source(source, data_root, download=False))
    rows = [(name, examples) for name, examples in rows if examples]
    if not rows:
        raise DataError("no image could be read, so there is nothing to draw; leave out --out")
    return encoded(drawn(rows), ending)


def encoded(picture: Image.Image, ending: str) -> bytes:
    """The content of a picture file; `ending` is .png, .jpg or .jpeg."""
    content = io.BytesIO()
    picture.save(content, "PNG" if ending == ".png" else "JPEG", quality=92)
    return content.getvalue()


def drawn(rows: Sequence[Row]) -> Image.Image:
    """Rows of examples of one size, each behind its name."""
    height, width = rows[0][1][0].shape[:2]
    factor = max(1, -(-SMALLEST // min(height, width)))
    height, width = height * factor, width * factor
    font = ImageFont.load_default(13)
    names = [shortened(name, 24) for name, _ in rows]
    left = GAP * 2 + max(round(font.getlength(name)) for name in names)
    columns = max(len(examples) for _, examples in rows)
    size = left + columns * (width + GAP) + GAP, GAP + len(rows) * (height + GAP)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for line, (name, (_, examples)) in enumerate(zip(names, rows, strict=True)):
        top = GAP + line * (height + GAP)
        pen.text((GAP, top + height // 2), name, fill="black", font=font, anchor="lm")
        for place, pixels in enumerate(examples):
            large = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(large, (left + GAP + place * (width + GAP), top))
    return canvas


def _colour(pixels: Pixels) -> Pixels:
    """Returns [1 or 3, height, width] as [height, width, 3]."""
    return np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0))


def _chosen(names: Sequence[str], count: int) -> list[str]:
    return ranked(names, lambda name: f"semivae-sheet:{name}")[:count]


def _of_folder(source: FolderSource, path: Path) -> list[Row]:
    how = preprocessing_of(source)

    def read(files: Files, names: Sequence[str]) -> list[Pixels]:
        found = []
        for name in _chosen(names, 2 * COLUMNS):  # some may be broken
            try:
                found.append(_colour(decode_image(files.read(name), how)))
            except Exception:  # the report names it
                continue
        return found[:COLUMNS]

    with open_files(path) as files:
        layout = arranged(files, source, lambda _: None)
        rows = [(label, layout.files_of(label)) for label in layout.classes[:MOST_ROWS]]
        rows += [("with a number", list(layout.numbers))] if layout.numbers else []
        rows += [("(no label)", layout.unlabelled)]
        return [(label, read(files, names)) for label, names in rows]


def _of_masks(source: MasksSource, path: Path) -> list[Row]:
    """Pairs of an image and its mask, in rows of several."""
    how, palette = preprocessing_of(source), palette_of(source, path)
    found: list[Pixels] = []
    with open_files(path) as files:
        top = top_of(files)
        pairs = {name: pair for name, *pair in part_of(files, parts_in(files, top).get("train", top)).pairs}
        for name in _chosen(list(pairs), 4 * COLUMNS):
            image, mask = (files.read(file) for file in pairs[name])
            try:
                numbers = decode_map(mask, palette, how.height, how.width, how.fit)
                found += [_colour(decode_image(image, how)), painted(numbers, palette.colours)]
            except Exception:  # the report names it
                continue
    return _in_rows(found[: 4 * COLUMNS])


def _in_rows(found: Sequence[Pixels]) -> list[Row]:
    """Images and masks in turn, several pairs in a row."""
    return [("image, mask", list(found[start : start + COLUMNS])) for start in range(0, len(found), COLUMNS)]


def painted(numbers: NDArray[np.int16], colours: NDArray[np.uint8] | None) -> Pixels:
    """Class numbers [height, width] in the colours of the classes."""
    table = shown_colours(256) if colours is None else colours
    return np.where(numbers[..., None] < 0, np.array(VOID_COLOUR, np.uint8), table[numbers.clip(0, len(table) - 1)])


def _of_dataset(dataset: Dataset) -> list[Row]:
    x, labels = dataset.train["x"], dataset.train[dataset.label]
    if x.ndim != 4:
        raise DataError(f"{dataset.name} holds rows of a table, which have no pictures; leave out --out")
    if labels.ndim == 3:
        order = [int(row) for row in _chosen([str(row) for row in range(len(x))], 2 * COLUMNS)]
        found = [each for row in order for each in (_colour(x[row].numpy()), painted(labels[row].numpy(), None))]
        return _in_rows(found)
    rows = []
    for number, name in enumerate(dataset.classes[:MOST_ROWS]):
        members = [str(row) for row in (labels == number).nonzero().flatten().tolist()]
        rows.append((name, [_colour(x[int(row)].numpy()) for row in _chosen(members, COLUMNS)]))
    return rows
