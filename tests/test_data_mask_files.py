"""Mask files: those that cannot hold classes exactly are refused, and what all of a data set must share is compared."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from semivae.data.dataset import Dataset
from semivae.data.formats.mask_files import decode_map
from semivae.data.formats.palettes import Palette
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource, MasksSource
from semivae.variables import VOID

NUMBERS = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3
CLASSES = Palette(("a", "b", "c"))
BLACK, RED, BLUE = (0, 0, 0), (255, 0, 0), (0, 0, 255)
COLOURED = Palette(("a", "b", "c"), np.array([BLACK, RED, BLUE], np.uint8))


def saved(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def indexed(numbers: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(numbers.astype(np.uint8))
    image.putpalette([level for colour in colours for level in colour])
    return image


def in_colours(numbers: np.ndarray) -> np.ndarray:
    return np.asarray(np.array([BLACK, RED, BLUE], np.uint8)[numbers])


def write_pairs(root: Path, masks: list[Image.Image], ending: str = "png") -> None:
    for row, mask in enumerate(masks):
        for kind, image in (("images", Image.new("RGB", mask.size)), ("masks", mask)):
            (root / kind).mkdir(exist_ok=True)
            image.save(root / kind / f"{row}.{ending if kind == 'masks' else 'png'}")


def folder(root: Path, **options: object) -> Dataset:
    return load_source(MasksSource.model_validate({"name": "masks", "path": ".", "size": 8, **options}), root)


# Lossy files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        ("jpeg", {"quality": 100}, "a lossy JPEG"),
        ("webp", {"quality": 100}, "a lossy WEBP"),
        ("tiff", {"compression": "jpeg"}, "a TIFF packed as JPEG"),
    ],
)
def test_masks_in_files_that_change_pixels_are_refused(
    kind: str, options: dict[str, Any], named: str, coloured: bool
) -> None:
    image = Image.fromarray(in_colours(NUMBERS) if coloured else NUMBERS)
    palette = COLOURED if coloured else Palette()
    with pytest.raises(ValueError, match=f"{named}, which changes pixels.*save masks as PNG, from the originals"):
        decode_map(saved(image, kind, **options), palette, 8, 8)


@pytest.mark.parametrize(
    ("kind", "options"), [("png", {}), ("webp", {"lossless": True}), ("tiff", {}), ("gif", {}), ("bmp", {})]
)
def test_masks_in_files_that_keep_pixels_are_read(kind: str, options: dict[str, Any]) -> None:
    grey = Image.fromarray(NUMBERS)
    assert np.array_equal(decode_map(saved(grey, kind, **options), Palette(), 8, 8), NUMBERS)
    if kind != "gif":
        colours = Image.fromarray(in_colours(NUMBERS))
        assert np.array_equal(decode_map(saved(colours, kind, **options), COLOURED, 8, 8), NUMBERS)


def test_a_data_set_of_lossy_masks_is_refused_by_its_files(tmp_path: Path) -> None:
    write_pairs(tmp_path, [Image.fromarray(NUMBERS)] * 4, "jpg")
    with pytest.raises(DataError, match=r"4 of 4 masks .*masks/0.jpg, .* and 1 more \(a lossy JPEG, which"):
        folder(tmp_path)


# Indexed files -------------------------------------------------------------------------------------------------------


def test_indexed_masks_whose_palettes_differ_are_refused(tmp_path: Path) -> None:
    """The same picture twice, saved with its two colours in either order."""
    turned = indexed(1 - NUMBERS % 2, RED, BLACK)
    write_pairs(tmp_path, [indexed(NUMBERS % 2, BLACK, RED), turned] * 2)
    with pytest.raises(
        DataError,
        match=r"masks/1.png, masks/3.png \(it shows number 0 as 255 0 0, but masks/0.png as 0 0 0: .*save them as "
        r"RGB and list the colours in source.palette; if numbers count, name the classes there, without colours",
    ):
        folder(tmp_path)
    (tmp_path / "names.txt").write_text("ground\nthing\n")
    assert folder(tmp_path, palette="names.txt").classes == ("ground", "thing")


def test_palettes_are_compared_across_parts_and_by_the_numbers_that_occur(tmp_path: Path) -> None:
    for part, image in (
        ("train", indexed(NUMBERS % 2, BLACK, RED, RED)),
        ("test", indexed(NUMBERS % 2, BLACK, RED, BLUE)),
    ):
        (tmp_path / part).mkdir()
        write_pairs(tmp_path / part, [image] * 2)
    assert len(folder(tmp_path).test["s"]) == 2  # nothing has the number 2
    write_pairs(tmp_path / "test", [indexed(NUMBERS % 2, BLACK, BLUE)])
    with pytest.raises(DataError, match=r"test/masks/0.png \(it shows number 1 as 0 0 255, but train/masks/0.png"):
        folder(tmp_path)


def test_void_may_have_any_colour(tmp_path: Path) -> None:
    write_pairs(tmp_path, [indexed(NUMBERS, BLACK, RED, BLUE), indexed(NUMBERS, BLACK, RED, (9, 9, 9))])
    assert (folder(tmp_path, void=2).train["s"] == VOID).any()
    with pytest.raises(DataError, match="shows number 2"):
        folder(tmp_path)


# Transparency --------------------------------------------------------------------------------------------------------


def with_alpha(pixels: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.concatenate([pixels, alpha[..., None].astype(np.uint8)], axis=-1))


def test_a_mask_in_the_transparency_is_refused() -> None:
    white = np.full((8, 8, 3), 255, np.uint8)
    palette = Palette(("a", "b"), np.array([BLACK, (255, 255, 255)], np.uint8))
    image = with_alpha(white, 255 * (NUMBERS > 0))
    for mask in (image, image.convert("LA")):
        with pytest.raises(ValueError, match=r"transparent in some places and not in others.*save it without transp"):
            decode_map(saved(mask), palette, 8, 8)


def test_transparency_that_follows_the_colours_is_none() -> None:
    for alpha in (np.full((8, 8), 255), 255 * (NUMBERS > 0), np.full((8, 8), 128)):
        assert np.array_equal(decode_map(saved(with_alpha(in_colours(NUMBERS), alpha)), COLOURED, 8, 8), NUMBERS)
    grey = Image.fromarray(NUMBERS).convert("LA")
    assert np.array_equal(decode_map(saved(grey), Palette(), 8, 8), NUMBERS)


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_masks_of_few_bits_hold_the_numbers_that_were_saved(bits: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.unpackbits(NUMBERS[..., None], axis=-1)[..., -bits:].reshape(8, -1)
    raw = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    assert np.array_equal(decode_map(content, Palette(), 8, 8), NUMBERS)


@pytest.mark.parametrize(
    ("numbers", "names", "told"),
    [
        ((0, 1, 2), None, None),
        ((0, 1, 3), None, "show no place of class 2, so that it is never learnt"),
        ((1, 2), None, "show no place of class 0, so that it is never learnt; if their numbers start at 1, subtract 1"),
        ((0, 2), ("ground", "hair", "skin"), r"show no place of class 1 \(hair\), so that it is never learnt"),
    ],
)
def test_classes_that_no_mask_shows_are_told(
    tmp_path: Path, numbers: tuple[int, ...], names: tuple[str, ...] | None, told: str | None
) -> None:
    s = np.resize(np.array(numbers, np.uint8), (8, 8))
    write_pairs(tmp_path, [Image.fromarray(s)] * 4)
    (tmp_path / "names.txt").write_text("\n".join(names or ["-"]))
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 8, 8), np.uint8), s=np.stack([s] * 4))
    of_files = folder(tmp_path, **({"palette": "names.txt"} if names else {})).warnings
    of_arrays = load_source(ArraysSource(name="arrays", path="a.npz", classes=names), tmp_path).warnings
    for warnings in (of_files, of_arrays):
        found = [warning for warning in warnings if "no place" in warning]
        assert len(found) == (told is not None)
        if told:
            assert re.search(told + "$", found[0])
