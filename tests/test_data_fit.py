"""How pictures of another ratio of sides become examples, and how what is said of them comes back to their own size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semivae.data.dataset import Dataset
from semivae.data.formats.image_files import decode_image, decode_picture
from semivae.data.formats.mask_files import decode_map
from semivae.data.formats.palettes import Palette
from semivae.data.formats.preprocessing import Preprocessing, lost_share
from semivae.data.inputs.inputs import inputs_of
from semivae.data.sources import load_source
from semivae.recipe.folder_source import Fit
from semivae.recipe.schema import FolderSource
from semivae.tasks.map_pictures import at_own_size, map_at_own_size
from semivae.variables import VOID

WIDE = np.zeros((8, 32), np.uint8)
WIDE[:, :8] = 200  # the subject, at the left edge


def saved(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def columns(fit: Fit, height: int = 8, width: int = 8, **how: object) -> list[int]:
    """The middle row of the wide picture as an example."""
    preprocessing = Preprocessing(1, height, width, fit, **how)  # type: ignore[arg-type]
    return decode_image(saved(WIDE), preprocessing)[0, height // 2].tolist()  # type: ignore[no-any-return]


def folder(root: Path, **options: object) -> Dataset:
    source = FolderSource.model_validate({"name": "folder", "path": "own", "size": 8, "channels": 1, **options})
    return load_source(source, root)


# In ------------------------------------------------------------------------------------------------------------------


def test_crop_cuts_the_edges_off_and_pad_and_stretch_keep_them() -> None:
    assert max(columns("crop")) == 0
    assert max(columns("stretch")[:2]) >= 190 and max(columns("stretch")[3:]) <= 10
    padded = decode_image(saved(WIDE), Preprocessing(1, 8, 8, "pad"))[0]
    assert padded[:3].min() == 255 == padded[5:].min(), "white above and below"
    assert padded[3:5, :2].min() >= 180 and padded[3:5, 3:].max() <= 20
    assert decode_image(saved(WIDE), Preprocessing(1, 8, 8, "pad", "black"))[0][:3].max() == 0
    assert columns("crop", width=32) == columns("pad", width=32) == columns("stretch", width=32) == WIDE[0].tolist()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("turned", [False, True])
def test_large_pictures_are_fitted_like_small_ones(fit: Fit, turned: bool) -> None:
    """Those of many megapixels go another way, band by band."""
    small = np.add.outer(np.arange(40), 2 * np.arange(100)).astype(np.uint8)
    large = Image.fromarray(small).resize((10_000, 4_000), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    contents = [io.BytesIO(), io.BytesIO()]
    Image.fromarray(small).save(contents[0], "png", exif=exif)
    large.save(contents[1], "png", exif=exif, compress_level=1)
    how = Preprocessing(1, 8, 10, fit)
    one, other = (decode_picture(content.getvalue(), how) for content in contents)
    assert other.size == ((4_000, 10_000) if turned else (10_000, 4_000))
    assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 6


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("large", [False, True])
def test_masks_are_fitted_like_their_images(fit: Fit, large: bool) -> None:
    numbers = np.zeros((80, 320), np.uint8)
    numbers[:, :80], numbers[:, 240:] = 1, 2
    picture = Image.fromarray(numbers)
    if large:
        picture = picture.resize((16_000, 4_000), Image.Resampling.NEAREST)
    content = io.BytesIO()
    picture.save(content, "png", compress_level=1)
    found = decode_map(content.getvalue(), Palette(("a", "b", "c")), 8, 8, fit)
    shown = decode_image(saved(np.array([0, 100, 200], np.uint8)[numbers]), Preprocessing(1, 8, 8, fit, "white"))[0]
    expected = {"crop": [[0] * 8] * 8, "stretch": [[1, 1, 0, 0, 0, 0, 2, 2]] * 8}
    if fit == "pad":
        assert (
            (found[:3] == VOID).all() and (found[5:] == VOID).all() and found[3:5].tolist() == expected["stretch"][:2]
        )
    else:
        assert found.tolist() == expected[fit]
    assert np.array_equal(found == VOID, shown == 255)


def test_examples_may_have_any_ratio_of_sides(tmp_path: Path) -> None:
    for name in ("ant", "cat"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for row in range(4):
            Image.fromarray(WIDE + row + 5 * len(name) * (name == "cat")).save(tmp_path / "own" / name / f"{row}.png")
    assert folder(tmp_path, size=[4, 16]).train["x"].shape == (6, 1, 4, 16)
    assert folder(tmp_path, size=[4, 16]).warnings == ()
    (warning,) = folder(tmp_path).warnings
    assert warning.startswith("8 of 8 image files are cropped by more than 20%, ant/0.png by 75% of its area")
    assert warning.endswith("source.fit: pad or stretch keeps all of it")
    for fit in ("pad", "stretch"):
        assert folder(tmp_path, fit=fit).warnings == () and folder(tmp_path, fit=fit).train["x"].max() >= 180


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_files_arrays_and_pillow_images_that_are_predicted_are_fitted_alike(tmp_path: Path, fit: Fit) -> None:
    Image.fromarray(WIDE).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", WIDE[None])
    inputs = inputs_of((1, 8, 8), preprocessing=Preprocessing(1, 8, 8, fit))
    expected = decode_image(saved(WIDE), Preprocessing(1, 8, 8, fit))
    for given in (tmp_path / "a.png", tmp_path, [tmp_path / "a.png"], Image.fromarray(WIDE)):
        found = inputs.read(given)
        assert np.array_equal(found.values[0], expected) and found.fit == fit and list(found.sizes) == [(32, 8)]
    for array in (WIDE, WIDE[None], WIDE[None, None], WIDE[..., None], torch.from_numpy(WIDE), tmp_path / "a.npy"):
        found = inputs.read(array)
        assert np.array_equal((found.values[0] * 255).round(), expected) and list(found.sizes) == [(32, 8)]
    assert inputs.masks().preprocessing.fit == fit  # type: ignore[attr-defined]


def test_sizes_are_those_of_the_pictures_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(WIDE).save(tmp_path / "a.jpg", exif=exif)
    Image.new("L", (300, 500)).save(tmp_path / "b.jpg")  # decoded at a fraction of its size
    Image.fromarray(WIDE).save(tmp_path / "c.tif", tiffinfo={274: 6})
    assert list(inputs_of((1, 8, 8)).read(tmp_path).sizes) == [(8, 32), (300, 500), (8, 32)]
    grey = np.zeros((5, 20, 30), np.uint8)
    assert list(inputs_of((1, 8, 8)).read(grey).sizes) == [(30, 20)] * 5
    assert list(inputs_of((3, 8, 8)).read(np.zeros((2, 20, 30, 3), np.uint8)).sizes) == [(30, 20)] * 2
    assert list(inputs_of((3, 8, 8)).read(np.zeros((2, 3, 20, 30), np.uint8)).sizes) == [(30, 20)] * 2
    assert list(inputs_of((3, 8, 8)).read(np.zeros((3, 8, 8), np.uint8)).sizes) == [(8, 8)]


@pytest.mark.parametrize(
    ("size", "target", "lost"),
    [((32, 8), (8, 8), 0.75), ((8, 8), (4, 4), 0), ((16, 8), (8, 8), 0.5), ((3, 4), (4, 3), 7 / 16)],
)
def test_what_cropping_loses(size: tuple[int, int], target: tuple[int, int], lost: float) -> None:
    assert lost_share(size, target, "crop") == pytest.approx(lost)
    assert lost_share(size, target, "pad") == lost_share(size, target, "stretch") == 0


# Out -----------------------------------------------------------------------------------------------------------------


def one_hot(numbers: list[list[int]]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(numbers), 3).permute(2, 0, 1).float()


def test_a_map_at_its_own_size_is_void_where_the_image_was_cropped() -> None:
    numbers, sure = at_own_size(one_hot([[0, 1], [2, 1]]), (8, 4), "crop")
    assert numbers.shape == sure.shape == (4, 8)
    assert (numbers[:, :2] == VOID).all() and (numbers[:, 6:] == VOID).all() and sure[:, :2].max() == 0
    assert numbers[:, 2:6].tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 1, 1]] * 2 and sure[0, 2] == 1
    tall, _ = at_own_size(one_hot([[0, 1], [2, 1]]), (4, 8), "crop")
    assert (tall[:2] == VOID).all() and (tall[6:] == VOID).all() and tall[2:6].min() == 0


def test_a_map_at_its_own_size_leaves_out_what_was_padded() -> None:
    seen = one_hot([[1] * 4, [0, 0, 2, 2], [0, 0, 2, 2], [1] * 4])
    numbers, _ = at_own_size(seen, (16, 8), "pad")
    assert numbers.tolist() == [[0] * 8 + [2] * 8] * 8


def test_a_stretched_map_is_stretched_back_and_an_equal_one_stays() -> None:
    seen = one_hot([[0, 1], [2, 1]])
    assert at_own_size(seen, (4, 2), "stretch")[0].tolist() == [[0, 0, 1, 1], [2, 2, 1, 1]]
    probabilities = torch.rand(3, 5, 7)
    numbers, sure = at_own_size(probabilities, (7, 5), "crop")
    assert np.array_equal(numbers, probabilities.argmax(0)) and np.array_equal(sure, probabilities.amax(0))


def test_probabilities_and_not_classes_are_interpolated() -> None:
    """The edge lies where both are equally likely, at a third of the way here, and not in the middle."""
    numbers, sure = at_own_size(torch.tensor([[[1.0, 0.25]], [[0.0, 0.75]]]), (60, 30), "stretch")
    assert numbers[0].tolist() == [0] * 35 + [1] * 25 and 0.5 <= sure.min() < 0.52


@pytest.mark.parametrize("size", [(8000, 5000), (5000, 8000)])
def test_maps_of_large_pictures_have_their_size_too(size: tuple[int, int]) -> None:
    numbers = map_at_own_size(torch.tensor([[0, 1], [2, 1]]), size, "crop", 3)
    assert np.array_equal(np.unique(numbers, return_counts=True)[1], [15_000_000, 6_250_000, 12_500_000, 6_250_000])
    assert numbers.shape == size[::-1] and numbers[size[1] // 2 - 1, size[0] // 2 - 1] == 0
    assert numbers[0, 0] == VOID and numbers[size[1] // 2, size[0] // 2] == 1


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_mask_that_goes_in_comes_out_where_it_was(fit: Fit) -> None:
    """With a model that answers what it is shown, all places come back that were not cropped, but for corners."""
    mask = np.kron(np.random.default_rng(0).integers(0, 3, (2, 8), dtype=np.uint8), np.ones((24, 24), np.uint8))
    found = decode_map(saved(mask), Palette(("a", "b", "c")), 48, 48, fit)
    seen = torch.nn.functional.one_hot(torch.from_numpy(found).long().clamp(min=0), 3).permute(2, 0, 1).float()
    numbers, _ = at_own_size(seen, (192, 48), fit)
    known = numbers != VOID
    assert known.mean() == (0.25 if fit == "crop" else 1) and (numbers[known] == mask[known]).mean() > 0.99
