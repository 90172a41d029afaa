"""Segmentation maps: mask files of numbers and of colours, folders, arrays, the official layout, splits, streams."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from semivae.data.dataset import Dataset, map_label
from semivae.data.formats.mask_files import decode_map
from semivae.data.formats.palettes import Palette, read_palette
from semivae.data.readers.celebamask_hq import CLASSES, merged_map, read_celebamask_hq
from semivae.data.sources import load_source
from semivae.data.splits import load_split, save_split
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource, CelebAMaskSource, MasksSource, Recipe, SplitSpec
from semivae.scenario.streams import make_streams
from semivae.tasks.splitting import make_split
from semivae.variables import VOID

CPU = torch.device("cpu")


def png(array: np.ndarray, colours: list[int] | None = None) -> bytes:
    data = io.BytesIO()
    image = Image.fromarray(array)
    if colours is not None:
        image.putpalette(colours)
    image.save(data, format="PNG")
    return data.getvalue()


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(array))


def a_map(seed: int, size: int = 8, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, (size, size), dtype=np.uint8)


def an_image(seed: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


# Mask files ----------------------------------------------------------------------------------------------------------


def test_a_mask_holds_numbers_or_colours(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("sky 10 20 30  # above\nsea, 0, 0, 255\n\nvoid 1 1 1\nland 0 255 0\n")
    palette = read_palette(tmp_path / "p.txt", void=255)
    assert palette.names == ("sky", "sea", "land")
    numbers = np.array([[0, 1], [2, 255]], np.uint8)
    expected = [[0, 1], [2, VOID]]
    for content in (png(numbers), png(numbers, colours=list(range(256)) * 3), png(numbers.astype(np.uint16))):
        assert decode_map(content, palette, 2, 2).tolist() == expected
    colours = np.array([[[10, 20, 30], [0, 0, 255]], [[0, 255, 0], [1, 1, 1]]], np.uint8)
    assert decode_map(png(colours), palette, 2, 2).tolist() == expected
    grey = np.repeat(numbers[..., None], 3, axis=2)
    assert decode_map(png(grey), Palette(("a", "b", "c"), void=255), 2, 2).tolist() == expected
    with pytest.raises(ValueError, match="colour 9 9 9 is not in the palette"):
        decode_map(png(np.full((2, 2, 3), 9, np.uint8)), palette, 2, 2)
    with pytest.raises(ValueError, match="7 is no class; the classes are 0 to 2"):
        decode_map(png(np.full((2, 2), 7, np.uint8)), palette, 2, 2)
    with pytest.raises(ValueError, match="no palette says what its colours mean"):
        decode_map(png(colours), Palette(("a", "b")), 2, 2)


def test_black_and_white_masks_are_read_by_a_palette_of_greys(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("background 0 0 0\nthing 255 255 255\nvoid 128 128 128\n")
    palette = read_palette(tmp_path / "p.txt", void=100)
    grey = np.array([[0, 255], [128, 100]], np.uint8)
    for content in (png(grey), png(np.repeat(grey[..., None], 3, axis=2))):
        assert decode_map(content, palette, 2, 2).tolist() == [[0, 1], [VOID, VOID]]
    one_bit = png(np.array([[False, True], [True, False]]))
    assert decode_map(one_bit, palette, 2, 2).tolist() == [[0, 1], [1, 0]]
    (tmp_path / "turned.txt").write_text("background 255 255 255\nthing 0 0 0\n")
    assert decode_map(one_bit, read_palette(tmp_path / "turned.txt"), 2, 2).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="colour 7 7 7 is not in the palette"):
        decode_map(png(np.full((2, 2), 7, np.uint8)), palette, 2, 2)


def test_an_indexed_mask_goes_by_its_numbers_unless_its_colours_say_otherwise(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("background 0 0 0\nhair 255 0 0\nskin 0 255 0\n")
    palette = read_palette(tmp_path / "p.txt", void=255)
    numbers = np.array([[0, 1], [2, 255]], np.uint8)

    def with_colours(*colours: int) -> bytes:
        return png(numbers, colours=[*colours, *[0] * (768 - len(colours))])

    expected = [[0, 1], [2, VOID]]
    assert decode_map(with_colours(0, 0, 0, 255, 0, 0, 0, 255, 0), palette, 2, 2).tolist() == expected
    assert decode_map(with_colours(9, 9, 9, 8, 8, 8, 7, 7, 7), palette, 2, 2).tolist() == expected  # for viewers
    with pytest.raises(ValueError, match="number 1 has the colour of class 2, skin: save it as RGB to go by its colo"):
        decode_map(with_colours(0, 0, 0, 0, 255, 0, 255, 0, 0), palette, 2, 2)
    with pytest.raises(ValueError, match="number 1 has the colour of class 2"):  # void has a colour of its own
        decode_map(with_colours(0, 0, 0, 0, 255, 0, 255, 0, 0, *[9] * 756, 224, 224, 192), palette, 2, 2)
    (tmp_path / "v.txt").write_text("background 0 0 0\nhair 255 0 0\nvoid 255 255 255\n")
    with pytest.raises(ValueError, match="number 1 has the colour of void"):  # as reducing an RGB mask leaves it
        decode_map(with_colours(0, 0, 0, 255, 255, 255), read_palette(tmp_path / "v.txt"), 2, 2)


def test_a_mask_is_cropped_and_shrunk_like_its_image_and_stays_one_of_classes() -> None:
    mask = np.zeros((20, 40), np.uint8)
    mask[:, 10:20] = 1  # left half of the middle
    mask[:, 20:30] = 2
    assert decode_map(png(mask), Palette(("a", "b", "c")), 4, 4).tolist() == [[1, 1, 2, 2]] * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one\n", "names one; at least two"),
        ("a\na\n", "at least two different classes"),
        ("a 1 2\nb\n", "p.txt:1: write NAME"),
        ("a 1 2 300\nb\n", "p.txt:1: write NAME"),
        ("a 1 2 3\nb\n", "gives colours to 1 of 2 classes"),
        ("a 1 2 3\nb 1 2 3\n", "gives one colour to two classes"),
    ],
)
def test_palettes_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_palette(tmp_path / "p.txt")


# Folders -------------------------------------------------------------------------------------------------------------


def folder(root: Path, **options: object) -> Dataset:
    return load_source(MasksSource.model_validate({"name": "masks", "path": ".", "size": 8, **options}), root)


def pairs(root: Path, part: str, rows: range) -> None:
    for row in rows:
        write(root / part / "images" / "sub" / f"{row}.png", an_image(row))
        write(root / part / "masks" / "sub" / f"{row}.png", a_map(row))


def test_parts_pairs_and_what_has_no_partner(tmp_path: Path) -> None:
    pairs(tmp_path, "train", range(5))
    pairs(tmp_path, "val", range(5, 7))
    pairs(tmp_path, "test", range(7, 10))
    write(tmp_path / "train" / "images" / "lonely.png", an_image(90))
    write(tmp_path / "unlabelled" / "other.png", an_image(91))
    write(tmp_path / "train" / "masks" / "alone.png", a_map(92))
    write(tmp_path / "test" / "images" / "no_mask.png", an_image(93))
    data = folder(tmp_path)
    assert data.label == "s" and data.classes == ("0", "1", "2") and data.test_origin == "given"
    assert data.train["x"].shape == (7, 3, 8, 8) and data.test["s"].shape == (3, 8, 8)
    for row in range(7):
        assert torch.equal(data.train["s"][row].long(), torch.from_numpy(a_map(row)).long())
        assert torch.equal(data.train["x"][row].permute(1, 2, 0), torch.from_numpy(an_image(row)))
    assert data.validation is not None and data.validation.tolist() == [5, 6]
    assert len(data.unlabelled["x"]) == 2 and torch.equal(data.alone["s"][0].long(), torch.from_numpy(a_map(92)).long())
    assert "1 file in" in data.warnings[0] and "no_mask.png" in data.warnings[0]


@pytest.mark.parametrize(
    ("numbers", "palette", "message"),
    [
        ((0, 255), None, "hold the numbers 0, 255, and most classes up to 255 never occur.*source.void: 255"),
        ((0, 1, 2, 200), None, "hold the numbers 0, 1, 2, 200"),
        ((0, 1, 2), None, ""),
        ((0, 5), "a b c d e f", ""),
    ],
)
def test_numbers_with_wide_gaps_are_no_count_of_classes(
    tmp_path: Path, numbers: tuple[int, ...], palette: str | None, message: str
) -> None:
    for row in range(4):
        write(tmp_path / "images" / f"{row}.png", an_image(row))
        write(tmp_path / "masks" / f"{row}.png", np.resize(np.array(numbers, np.uint8), (8, 8)))
    s = np.resize(np.array(numbers, np.int64), (4, 8, 8))
    np.savez(tmp_path / "maps.npz", x=np.zeros((4, 8, 8), np.uint8), s=s)
    (tmp_path / "p.txt").write_text("\n".join((palette or "").split()))
    source = ArraysSource(name="arrays", path="maps.npz", classes=tuple(palette.split()) if palette else None)
    named = {"palette": "p.txt"} if palette else {}
    if not message:
        assert folder(tmp_path, **named).classes == load_source(source, tmp_path).classes
        return
    for read in (lambda: folder(tmp_path), lambda: load_source(source, tmp_path)):
        with pytest.raises(DataError, match=message):
            read()


def test_a_mask_of_another_ratio_than_its_image_is_refused(tmp_path: Path) -> None:
    for row in range(4):
        write(tmp_path / "images" / f"{row}.png", np.zeros((16, 33, 3), np.uint8))
        write(tmp_path / "masks" / f"{row}.png", np.resize(np.arange(3, dtype=np.uint8), (8, 16)))  # half the size
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(np.zeros((33, 16, 3), np.uint8)).save(tmp_path / "images" / "0.png", exif=turned)
    assert len(folder(tmp_path).train["x"]) == 3
    write(tmp_path / "masks" / "2.png", np.zeros((16, 16), np.uint8))
    with pytest.raises(DataError, match=r"1 of 4 masks.*masks/2.png is 16x16, its image 33x16"):
        folder(tmp_path)


def test_without_parts_some_pairs_are_set_aside(tmp_path: Path) -> None:
    pairs(tmp_path, ".", range(10))
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    data = folder(tmp_path, palette="names.txt", test_share=0.3)
    assert (len(data.train["s"]), len(data.test["s"]), data.classes) == (7, 3, ("a", "b", "c"))
    assert "by hash" in data.test_origin


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image files in images and masks"):
        folder(tmp_path)
    write(tmp_path / "images" / "a.png", an_image(0))
    write(tmp_path / "masks" / "b.png", a_map(0))
    with pytest.raises(DataError, match=r"no image has a mask of the same name: images/a.png but masks/b.png"):
        folder(tmp_path)
    write(tmp_path / "masks" / "a.png", np.full((8, 8), 200, np.uint8))
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    with pytest.raises(DataError, match=r"1 of 1 masks .*masks/a.png \(200 is no class.*source.void"):
        folder(tmp_path, palette="names.txt")
    with pytest.raises(DataError, match=r"none.txt cannot be read as a palette"):
        folder(tmp_path, palette="none.txt")


# Arrays --------------------------------------------------------------------------------------------------------------


def arrays(root: Path, arrays: dict[str, Any], **options: object) -> Dataset:
    np.savez(root / "a.npz", **arrays)
    return load_source(ArraysSource.model_validate({"name": "arrays", "path": "a.npz", **options}), root)


def test_arrays_under_the_names_that_the_recipe_gives(tmp_path: Path) -> None:
    images = np.stack([an_image(row) for row in range(6)])
    maps = np.stack([a_map(row) for row in range(6)])
    maps[:, 0, 0] = 9
    keys = {"x": ["mine", "more"], "s": ["m", "m2"], "x_test": "more", "s_test": "m2", "s_alone": "m"}
    data = arrays(
        tmp_path,
        {"mine": images[:4], "more": images[4:], "m": maps[:4], "m2": maps[4:], "unused": np.zeros(3)},
        keys=keys, classes=["a", "b", "c"], void=9, size=4,
    )  # fmt: skip
    assert data.train["x"].shape == (6, 3, 4, 4) and data.train["s"].shape == (6, 4, 4) and len(data.alone["s"]) == 4
    assert data.test["s"].dtype == torch.int16 and data.classes == ("a", "b", "c")
    whole = arrays(tmp_path, {"x": images, "s": maps}, void=9)
    assert len(whole.test["x"]) == 1 and whole.classes == ("0", "1", "2") and (whole.train["s"][:, 0, 0] == VOID).all()


def test_arrays_of_types_that_do_not_go_together_are_not_joined(tmp_path: Path) -> None:
    days = np.zeros((6, 8, 8), "M8[D]")
    with pytest.raises(DataError, match=r"source.keys.x joins arrays of types datetime64\[D\], uint8; join those of"):
        arrays(
            tmp_path, {"a": np.zeros((6, 8, 8), np.uint8), "b": days, "y": np.arange(12) % 2}, keys={"x": ["a", "b"]}
        )


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"s": np.zeros((6, 8, 8))}, {}, "s has type float64"),
        ({"s": np.full((6, 8, 8), 300)}, {}, "the largest class number in s is 300"),
        ({"s": np.full((6, 8, 8), 4)}, {"classes": ["a", "b"]}, "row 0: 4 is no class; the classes are 0 to 1"),
        ({"s": np.ones((5, 8, 8), np.uint8)}, {}, "different lengths"),
        ({}, {"size": [8, 4]}, "another ratio of sides"),
        ({}, {"keys": {"x": "nothere"}}, r"no array nothere \(source.keys.x\); it has s, x"),
        ({"s_test": np.ones((1, 8, 8), np.uint8)}, {}, "no array x_test"),
    ],
)
def test_arrays_that_cannot_be_used(
    tmp_path: Path, change: dict[str, np.ndarray], options: dict[str, object], message: str
) -> None:
    images = np.stack([an_image(row) for row in range(6)])
    maps = np.stack([a_map(row) for row in range(6)])
    with pytest.raises(DataError, match=message):
        arrays(tmp_path, {"x": images, "s": maps, **change}, **options)


def test_classes_too_may_have_other_names_in_the_file(tmp_path: Path) -> None:
    images = np.stack([an_image(row) for row in range(8)])
    data = arrays(tmp_path, {"pictures": images, "kinds": np.arange(8) % 2}, keys={"x": "pictures", "y": "kinds"})
    assert data.label == "y" and data.classes == ("0", "1") and not data.warnings


# CelebAMask-HQ -------------------------------------------------------------------------------------------------------


def test_the_official_layout_is_merged_and_parted(tmp_path: Path) -> None:
    path = tmp_path / "CelebAMask-HQ"
    numbers = [5, 162_771, 182_638, 7, 182_637]
    lines = [f"{row}  {number}  {number:06}.jpg" for row, number in enumerate(numbers)]
    for row in range(5):
        folder = path / "CelebA-HQ-img"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(an_image(row, 16)).save(folder / f"{row}.jpg")
        skin, hair = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
        skin[2:], hair[:4, row:] = 255, 255
        write(path / "CelebAMask-HQ-mask-anno" / "0" / f"{row:05}_skin.png", skin)
        write(path / "CelebAMask-HQ-mask-anno" / "0" / f"{row:05}_hair.png", hair)
    source = CelebAMaskSource(name="celebamask_hq", size=8)
    with pytest.raises(DataError, match=r"lacks CelebA-HQ-to-CelebA-mapping\.txt"):
        read_celebamask_hq(source, path)
    (path / "CelebA-HQ-to-CelebA-mapping.txt").write_text("idx orig_idx orig_file\n" + "\n".join(lines) + "\n")
    data = read_celebamask_hq(source, path)
    expected = torch.zeros(8, 8, dtype=torch.int16)
    expected[2:] = CLASSES.index("skin")
    expected[:4, 3:] = CLASSES.index("hair")  # hair lies over skin
    assert torch.equal(data.train["s"][1], expected) and len(CLASSES) == 19
    assert (len(data.train["x"]), len(data.test["x"])) == (4, 1)
    assert data.validation is not None and data.validation.tolist() == [2, 3]
    for file in (path / "CelebAMask-HQ-mask-anno" / "0").iterdir():
        file.unlink()
    assert torch.equal(read_celebamask_hq(source, path).train["s"], data.train["s"]), "kept, and not merged again"
    assert merged_map([], 4).tolist() == [[0] * 4] * 4


# Splits and streams --------------------------------------------------------------------------------------------------


def some_pairs(count: int = 12, **parts: object) -> Dataset:
    x = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    s = torch.arange(count, dtype=torch.int16).view(-1, 1, 1).expand(-1, 4, 4).contiguous() % 3
    s[:, 0, 0] = VOID
    return Dataset("pairs", map_label(("a", "b", "c")), {"x": x, "s": s}, {"x": x, "s": s}, **parts)  # type: ignore[arg-type]


def test_splits_of_maps_are_disjoint_repeatable_and_can_be_kept(tmp_path: Path) -> None:
    data = some_pairs()
    split = make_split(data, SplitSpec(labelled=4, validation=3, seed=1))
    parts = [split.labelled, split.unlabelled, split.validation]
    assert [len(part) for part in parts] == [4, 5, 3] and len(torch.cat(parts).unique()) == 12
    save_split(split, tmp_path / "s.json")
    assert load_split(tmp_path / "s.json", data).digest == split.digest
    kept = some_pairs(validation=torch.tensor([10, 11]))
    own = make_split(kept, SplitSpec(labelled="all"))
    assert own.validation.tolist() == [10, 11] and own.labelled.tolist() == list(range(10)) and not len(own.unlabelled)
    with pytest.raises(DataError, match="has its own 2 examples for validation"):
        make_split(kept, SplitSpec(labelled=4, validation=3))
    with pytest.raises(DataError, match=r"13 labelled examples .* has 12 to train on"):
        make_split(data, SplitSpec(labelled=13))


def streams(data: Dataset, values: object) -> dict[str, torch.Tensor]:
    recipe = Recipe.model_validate(
        {
            "source": {"name": "digits"},
            "split": {"labelled": 4},
            "variables": {"x": {"family": "gaussian"}, "s": {"family": "categorical"}},
            "decoder": {},
            "encoder": {"s": {"given": ["x"], "net": {"name": "unet"}}},
            "streams": {
                "pairs": {"observe": ["x", "s"], "batch": 4},
                "images": {"observe": ["x"], "batch": 8},
                "masks": {"observe": ["s"], "batch": 9, "values": values},
            },
            "training": {"steps": 1},
        }
    )
    made = make_streams(recipe, data, make_split(data, recipe.split), CPU, 0)
    return {name: stream.batch(0)["s" if name == "masks" else "x"] for name, stream in made.items()} | {
        "s of pairs": made["pairs"].batch(0)["s"],
        "sizes": torch.tensor([stream.size for stream in made.values()]),
    }


def test_masks_come_from_the_labelled_the_left_out_and_those_alone() -> None:
    alone = {"s": torch.full((2, 4, 4), 1, dtype=torch.int16)}
    drawn = streams(some_pairs(alone=alone), "hidden")
    assert drawn["sizes"].tolist() == [4, 8, 10] and drawn["masks"].dtype == torch.int64
    assert (drawn["s of pairs"][:, 0, 0] == VOID).all()
    numbers = (drawn["pairs"][:, 0, 1, 1] * 255).round().long()
    assert torch.equal(drawn["s of pairs"][:, 1, 1], numbers % 3), "pairs stay pairs"
    assert streams(some_pairs(), None)["sizes"].tolist() == [4, 8, 4]
    with pytest.raises(DataError, match="s is a map, which no class weights can draw"):
        streams(some_pairs(), "uniform")
