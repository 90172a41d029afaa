"""Pictures and masks that say of themselves how they lie, what is white in them, and how many they are."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semivae.data.dataset import Dataset
from semivae.data.formats import image_files
from semivae.data.formats.image_files import decode_picture
from semivae.data.formats.palettes import read_palette
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.inspection.inspecting import inspect
from semivae.recipe.schema import MasksSource

ORIENTATION = 0x112
GREY = Preprocessing(channels=1, height=4, width=4, fit="stretch")


def tiff(pixels: np.ndarray, zero_is_white: bool) -> bytes:
    """A TIFF of one strip, without Pillow, which writes no 16 bits in which 0 is white."""
    data = pixels.tobytes()
    floats = pixels.dtype.kind == "f"
    tags = {256: pixels.shape[1], 257: pixels.shape[0], 258: 8 * pixels.itemsize, 259: 1, 262: int(not zero_is_white)}
    tags |= {273: 0, 277: 1, 278: pixels.shape[0], 279: len(data), 339: 3 if floats else 1}
    start = 8 + 2 + 12 * len(tags) + 4
    tags[273] = start
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


@pytest.mark.parametrize(("kind", "white"), [("u1", None), ("<u2", None), ("<u2", 65535), ("<f4", 1.0)])
def test_zero_is_white_where_a_tiff_says_so(kind: str, white: float | None) -> None:
    """Pillow turns 8 bits by itself, and leaves 16 bits and floats as they are."""
    levels = np.arange(16).reshape(4, 4)
    pixels = (levels / 15).astype(kind) if "f" in kind else (levels * (17 if kind == "u1" else 4369)).astype(kind)
    how = Preprocessing(channels=1, height=4, width=4, fit="stretch", white=white)
    usual, other = (decode_picture(tiff(pixels, zero), how).pixels[0].astype(int) for zero in (False, True))
    assert abs(usual - 17 * levels).max() <= 1
    assert abs(other - (255 - 17 * levels)).max() <= 1


@pytest.mark.parametrize("orientation", [0, 9, 60000])
@pytest.mark.parametrize("large", [10, 10**9])
def test_an_orientation_that_there_is_not_turns_nothing(
    monkeypatch: pytest.MonkeyPatch, orientation: int, large: int
) -> None:
    monkeypatch.setattr(image_files, "LARGE", large)
    picture = Image.fromarray((np.arange(32 * 64).reshape(32, 64) // 8).astype(np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    how = Preprocessing(channels=1, height=8, width=16)
    found = []
    for options in ({}, {"exif": exif}):
        content = io.BytesIO()
        picture.save(content, "PNG", **options)
        found.append(decode_picture(content.getvalue(), how))
    assert found[0].size == found[1].size == (64, 32)
    assert np.array_equal(found[0].pixels, found[1].pixels)


def shapes(root: Path, orientation: int, of_masks: int, size: tuple[int, int] = (16, 16)) -> Path:
    for row in range(8):
        rng = np.random.default_rng(row)
        mask = np.zeros(size, np.uint8)
        mask[2 : 4 + row, 3:9] = 1
        for kind, pixels, lies in (
            ("images", rng.integers(0, 256, (*size, 3), dtype=np.uint8), orientation),
            ("masks", mask, of_masks),
        ):
            exif = Image.Exif()
            exif[ORIENTATION] = lies
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / kind / f"{row}.png", exif=exif)
    return root


def load(root: Path) -> Dataset:
    return load_source(MasksSource(name="masks", path=root.name, size=16), root.parent)


@pytest.mark.parametrize(
    ("orientation", "of_masks", "size", "warned"),
    [
        (6, 1, (16, 16), True),
        (3, 1, (16, 24), True),
        (1, 2, (16, 24), True),
        (6, 6, (16, 16), False),
        (1, 1, (16, 16), False),
        (9, 0, (16, 24), False),
    ],
)
def test_images_that_lie_otherwise_than_their_masks_are_warned_of(
    tmp_path: Path, orientation: int, of_masks: int, size: tuple[int, int], warned: bool
) -> None:
    """Where the ratio of sides cannot tell of it: else they are refused."""
    root = shapes(tmp_path / "own", orientation, of_masks, size)
    for warnings in (load(root).warnings, inspect(root).warnings):
        said = [text for text in warnings if "turned or mirrored" in text]
        assert len(said) == warned and all("8 images are turned" in text for text in said)


def test_a_turned_image_of_another_ratio_than_its_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another ratio of sides"):
        load(shapes(tmp_path / "own", 6, 1, (16, 24)))


@pytest.mark.parametrize("kind", ["tif", "gif", "png"])
def test_masks_of_several_pages_are_refused(tmp_path: Path, kind: str) -> None:
    """Images of several pages are read with a warning; of a mask nobody knows which page is meant."""
    root = shapes(tmp_path / "own", 1, 1)
    pages = [Image.fromarray(np.full((16, 16), value, np.uint8)) for value in (1, 0)]
    (root / "masks" / "0.png").unlink()
    pages[0].save(root / "masks" / f"0.{kind}", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=rf"masks/0.{kind} \(several frames or pages, of which one would be read"):
        load(root)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_masks_of_fractions_are_refused(tmp_path: Path, value: float) -> None:
    """As of probabilities: once 0.9 was class 0."""
    root = shapes(tmp_path / "own", 1, 1)
    (root / "masks" / "0.png").unlink()
    pixels = np.zeros((16, 16), np.float32)
    pixels[3, 4] = value
    Image.fromarray(pixels).save(root / "masks" / "0.tif")
    with pytest.raises(DataError, match=rf"pixels such as {value:g}, which are no numbers of classes"):
        load(root)
    Image.fromarray(np.rint(np.nan_to_num(pixels, posinf=1.0)).clip(0, 1)).save(root / "masks" / "0.tif")
    assert load(root).labels["s"].classes == ("0", "1")


def test_greys_of_smoothed_edges_are_explained(tmp_path: Path) -> None:
    root = shapes(tmp_path / "own", 1, 1)
    for path in sorted((root / "masks").iterdir()):
        mask = Image.fromarray(np.asarray(Image.open(path)) * 255)
        mask.resize((32, 32), Image.Resampling.BICUBIC).resize((16, 16), Image.Resampling.BICUBIC).save(path)
    with pytest.raises(DataError, match="If edges were smoothed when masks were scaled"):
        load(root)


def test_palettes_are_read_in_the_ways_of_other_tools(tmp_path: Path) -> None:
    expected = read_palette(written(tmp_path, b"sky 0 0 255\nsea 16 32 48\nvoid 1 2 3\n"))
    for text in (
        "sky #0000ff\nsea, #102030  # waves\nvoid #010203\n",
        "sky 0 0 255 # far\nsea #102030\nvoid 1 2 3",
    ):
        for encoding in ("utf-8", "utf-16", "utf-8-sig"):
            found = read_palette(written(tmp_path, text.encode(encoding)))
            assert (found.names, found.void_colour) == (expected.names, expected.void_colour)
            assert found.colours is not None and expected.colours is not None
            assert np.array_equal(found.colours, expected.colours)
    assert read_palette(written(tmp_path, b"sky #far\nsea # 102030\n")).colours is None, "comments"
    for content, message in (
        (b"\xe4\xf6 0 0 0", "is no UTF-8 text"),
        (b"my sky 0 0 0\n", "a name (has no|without) spaces"),
    ):
        with pytest.raises(DataError, match=message):
            read_palette(written(tmp_path, content))
    with pytest.raises(DataError, match=r"cannot be read as a palette: No such file or directory$"):
        read_palette(tmp_path / "none.txt")


def written(folder: Path, content: bytes) -> Path:
    (folder / "palette.txt").write_bytes(content)
    return folder / "palette.txt"
