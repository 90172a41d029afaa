"""Images given to a trained model: every layout ends in the same tensor, and another size is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semivae.data.inputs.arrays import as_examples
from semivae.data.inputs.inputs import inputs_of
from semivae.errors import DataError

GREY = np.random.default_rng(0).integers(0, 256, (4, 8, 6), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (4, 8, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        GREY,
        GREY[:, None],
        GREY[..., None],
        GREY / 255,
        (GREY / 255).astype(np.float32),
        torch.from_numpy(GREY),
        torch.from_numpy(GREY / 255)[:, None],
        [Image.fromarray(image) for image in GREY],
        (GREY / 255).tolist(),
    ],
    ids=["nhw", "nchw", "nhwc", "float64", "float32", "tensor", "float tensor", "pillow", "lists"],
)
def test_all_layouts_of_grey_images_are_equal(given: object) -> None:
    images = as_examples(given, (1, 8, 6))
    assert images.dtype == torch.float32 and images.shape == (4, 1, 8, 6)
    assert torch.allclose(images[:, 0], torch.from_numpy(GREY) / 255, atol=1e-7)


def test_colour_images_and_single_images() -> None:
    expected = torch.from_numpy(COLOUR.transpose(0, 3, 1, 2)) / 255
    assert torch.equal(as_examples(COLOUR, (3, 8, 6)), expected)
    assert torch.equal(as_examples(COLOUR.transpose(0, 3, 1, 2), (3, 8, 6)), expected)
    for single in (COLOUR[0], COLOUR[0].transpose(2, 0, 1), Image.fromarray(COLOUR[0])):
        assert torch.equal(as_examples(np.asarray(single), (3, 8, 6)), expected[:1])
    for single in (GREY[0], GREY[0][None], GREY[0][..., None]):
        assert as_examples(single, (1, 8, 6)).shape == (1, 1, 8, 6)
    assert as_examples(np.arange(5), (5,)).tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (COLOUR, r"shape \[4, 8, 6, 3\]; expected is \[n, 1, 8, 6\] or \[n, 8, 6, 1\] or \[n, 8, 6\], or one"),
        (GREY.reshape(2, 2, 2, 24), r"shape \[2, 2, 2, 24\]; expected"),
        (GREY[:0], "is empty"),
        (GREY.astype(np.int32), "type int32; images are bytes"),
        (GREY.astype(np.float32), "divide them by 255"),
        (np.full((1, 8, 6), np.nan), "NaN or infinite"),
        ([[1.0, 2.0], [3.0]], "no regular array"),
    ],
)
def test_what_does_not_fit_is_refused(given: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_examples(given, (1, 8, 6))


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, level in (("b/2.png", 2), ("a.png", 0), ("b/1.jpg", 1)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (6, 8), level * 100).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    found = inputs_of((1, 8, 6)).read(tmp_path)
    images, names = found.values, found.names
    assert names == ["a.png", "b/1.jpg", "b/2.png"] and images.dtype == torch.uint8
    assert images[:, 0, 0, 0].tolist() == [0, 100, 200] and images.shape == (3, 1, 8, 6)
    found = inputs_of((3, 4, 4)).read(tmp_path / "b" / "2.png")
    one, names = found.values, found.names
    assert names == ["2.png"] and one.shape == (1, 3, 4, 4) and torch.equal(as_examples(one, (3, 4, 4)), one / 255)


def test_arrays_come_from_files(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", GREY)
    np.savez(tmp_path / "only.npz", images=GREY)
    np.savez(tmp_path / "named.npz", x=GREY, y=np.zeros(4))
    for name in ("one.npy", "only.npz", "named.npz"):
        found = inputs_of((1, 8, 6)).read(tmp_path / name)
        images, names = found.values, found.names
        assert torch.equal(images[:, 0], torch.from_numpy(GREY) / 255) and names == ["0", "1", "2", "3"]
    np.savez(tmp_path / "two.npz", a=GREY, b=GREY)
    with pytest.raises(DataError, match="several arrays, a, b, and none is called x"):
        inputs_of((1, 8, 6)).read(tmp_path / "two.npz")
    with pytest.raises(DataError, match=r"one.npy has shape \[4, 8, 6\]; expected is \[n, 5\]"):
        inputs_of((5,)).read(tmp_path / "one.npy")


@pytest.mark.parametrize("shape", [(1, 8, 6), (3, 4, 8)])
def test_files_arrays_and_pillow_images_of_any_size_are_read_alike(tmp_path: Path, shape: tuple[int, ...]) -> None:
    mode, pixels = ("L", GREY) if shape[0] == 1 else ("RGB", COLOUR)
    large = np.kron(pixels, np.ones((1, 3, 5, *[1] * (pixels.ndim - 3)), dtype=np.uint8))
    pictures = [Image.fromarray(image, mode=None) for image in large]
    for number, picture in enumerate(pictures):
        assert picture.mode == mode
        picture.save(tmp_path / f"{number}.png")
    inputs = inputs_of(shape)
    expected = inputs.values(inputs.read(tmp_path).values)
    paths = [tmp_path / f"{number}.png" for number in range(len(large))]
    for given in (large, large / 255, pictures, paths, [*paths[:1], *pictures[1:]], torch.from_numpy(large)):
        assert torch.equal(inputs.values(inputs.read(given).values), expected)
    assert torch.equal(inputs.values(inputs.read(pictures[2]).values), expected[2:3])
    assert torch.equal(inputs.values(inputs.read(large[2]).values), expected[2:3])
    assert inputs.read(paths).names == [str(path) for path in paths] and inputs.read(pictures).names == [
        "0",
        "1",
        "2",
        "3",
    ]


def test_folders_in_a_list_name_their_files(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (6, 8)).save(tmp_path / name)
    names = inputs_of((1, 8, 6)).read([tmp_path / "a", tmp_path / "b.png"]).names
    assert names == [f"{tmp_path}/a/1.png", f"{tmp_path}/a/2.png", f"{tmp_path}/b.png"]


def test_a_pillow_image_without_a_white_is_refused() -> None:
    with pytest.raises(DataError, match="32-bit pixels, which have no white level"):
        inputs_of((1, 8, 6)).read(Image.new("F", (6, 8)))


def test_pillow_images_of_whole_numbers_are_16_bits() -> None:
    """Mode I, in which Pillow opens 16-bit PNG files, cannot be saved as PNG by its later versions."""
    found = inputs_of((1, 8, 6)).read(Image.new("I", (6, 8), 257 * 100)).values
    assert found.unique().tolist() == [100]
    for value in (-1, 2**16):
        with pytest.raises(DataError, match=f"pixels from {value} to {value}; scale them to 0 to 65535"):
            inputs_of((1, 8, 6)).read(Image.new("I", (6, 8), value))


def test_places_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file or folder .*nowhere"):
        inputs_of((1, 8, 8)).read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"there is no file .*nothing.npy"):
        inputs_of((1, 8, 8)).read(tmp_path / "nothing.npy")
    with pytest.raises(DataError, match="holds no image files"):
        inputs_of((1, 8, 8)).read(tmp_path)
    (tmp_path / "bad.png").write_text("hello")
    with pytest.raises(DataError, match=r"1 of 1 image files .* bad.png \(not a PNG, JPEG.* image\)"):
        inputs_of((1, 8, 8)).read(tmp_path / "bad.png")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"notes.txt is not read: .txt is no ending of an image"):
        inputs_of((1, 8, 8)).read(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="rows of 5 numbers, not images"):
        inputs_of((5,)).read(tmp_path)
