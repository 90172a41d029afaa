"""Users' arrays: every form that is taken, and one message for every mismatch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from semivae.data.dataset import Dataset
from semivae.data.formats.npz import load_arrays
from semivae.data.inputs.arrays import as_examples
from semivae.data.inputs.inputs import inputs_of
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource

BYTES = np.random.default_rng(0).integers(0, 256, (12, 8, 6), dtype=np.uint8)
NUMBERS = np.arange(12) % 3


def read(tmp_path: Path, **arrays: object) -> Dataset:
    np.savez(tmp_path / "own.npz", **arrays)  # type: ignore[arg-type]
    return load_source(ArraysSource(name="arrays", path="own.npz"), tmp_path)


@pytest.mark.parametrize(
    "x",
    [BYTES, BYTES[:, None], BYTES[..., None], BYTES / 255, (BYTES / 255).astype(np.float32)[:, None]],
    ids=["nhw", "nchw", "nhwc", "float64", "float32"],
)
def test_all_forms_of_grey_images_give_the_same_bytes(tmp_path: Path, x: np.ndarray) -> None:
    arrays = {"x": x[:7], "y": NUMBERS[:7], "x_test": x[7:10], "y_test": NUMBERS[7:10], "x_unlabelled": x[10:]}
    data = read(tmp_path, **arrays)
    assert data.train["x"].dtype == torch.uint8 and np.array_equal(data.train["x"][:, 0].numpy(), BYTES[:7])
    assert data.test["y"].tolist() == [1, 2, 0] and data.unlabelled["x"].shape == (2, 1, 8, 6)
    assert data.test_origin == "given" and data.warnings == ()


def test_colour_images_get_their_channels_first(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)
    data = read(tmp_path, x=x, y=NUMBERS, x_test=x, y_test=NUMBERS)
    assert np.array_equal(data.train["x"].numpy(), x.transpose(0, 3, 1, 2)) and data.shape == (3, 8, 6)


def test_tables_and_the_test_part_that_is_set_aside(tmp_path: Path) -> None:
    table = np.arange(24.0).reshape(12, 2)
    data = read(tmp_path, x=table, y=NUMBERS)
    assert data.train["x"].dtype == torch.float32 and data.shape == (2,) and data.test_origin.endswith("hash, 20%")
    assert data.test["y"].tolist().count(1) == 1 and len(data.test["y"]) == 3
    assert sorted(torch.cat([data.train["x"], data.test["x"]])[:, 0].tolist()) == table[:, 0].tolist()


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array(["b", "a", "c"] * 4), ("a", "b", "c")),
        (np.array([b"b", b"a", b"c"] * 4), ("a", "b", "c")),
        (np.array([2, 1, 10] * 4, np.uint8)[:, None], ("1", "2", "10")),
    ],
    ids=["strings", "bytes", "numbers"],
)
def test_classes_are_named_in_order(tmp_path: Path, y: np.ndarray, classes: tuple[str, ...]) -> None:
    data = read(tmp_path, x=BYTES, y=y, x_test=BYTES[:3], y_test=y[:3])
    assert data.classes == classes and data.test["y"].tolist() == [1, 0, 2]


OBJECTS = np.array([{"a": 1}] * 12, dtype=object)
GOOD = {"x": BYTES, "y": NUMBERS}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, "has no array y; it has x"),
        ({"x_test": BYTES}, "has no array y_test"),
        ({"y_test": NUMBERS}, "has no array x_test"),
        ({"y": NUMBERS[:5]}, "y has 5 labels for 12 examples"),
        ({"y": NUMBERS - 1}, "y holds -1; class numbers start at 0 .*x_unlabelled"),
        ({"y": np.zeros(12, int)}, "only the class 0"),
        ({"y": OBJECTS}, "holds Python objects"),
        ({"y": np.array([b"caf\xe9", b"tea"] * 6)}, "y holds bytes that are no UTF-8 text"),
        ({"y": np.array(["a", " ", "b"] * 4)}, "y holds 4 empty names; images without a label belong in x_unlabelled"),
        ({"x": BYTES.astype(float) / 255 * 16}, "from 0 to 16; .*divide them by the largest value that they can have"),
        ({"x": np.full((12, 2), 1e39)}, r"x holds numbers beyond 3.4e\+38; scale its columns"),
        ({"x": BYTES.astype(int)}, "x has type int64; images are bytes"),
        ({"x": BYTES.astype(float)}, "from 0 to 255; .*divide them by 255"),
        ({"x": BYTES / 127.5 - 1}, "from -1 to 1; .*undo the normalisation"),
        ({"x": np.where(BYTES > 250, np.nan, 0.5)}, "NaN or infinite, the first at"),
        ({"x": np.full((12, 2), np.inf)}, "x holds 24 values that are NaN or infinite"),
        ({"x": BYTES[0, 0]}, r"x has shape \[6\]; images are"),
        ({"x": np.zeros((12, 8, 6, 4), np.uint8)}, r"\[12, 8, 6, 4\].*1 or 3 channels"),
        ({"x": BYTES[:0]}, "x is empty"),
        ({"x_unlabelled": BYTES[:, :4]}, r"one x_unlabelled is \[1, 4, 6\], but one x is \[1, 8, 6\]"),
        ({"x_test": BYTES, "y_test": NUMBERS + 1}, "y_test holds classes that are not in y: 3; y has 0, 1, 2"),
    ],
)
def test_mismatches_are_told(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    arrays = {name: array for name, array in {**GOOD, **change}.items() if array is not None}
    with pytest.raises(DataError, match=message):
        read(tmp_path, **arrays)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (NUMBERS.astype(float), r"y has type float64; classes are integers or strings: convert with .astype"),
        (np.where(NUMBERS == 1, np.nan, 1.0), "4 are NaN: examples without a label belong in x_unlabelled"),
        (NUMBERS / 4, "numbers such as 0.25 are no classes; part them into ranges"),
    ],
)
def test_floats_that_shall_be_classes_are_refused(tmp_path: Path, y: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "data.npz", x=BYTES, y=y)
    with pytest.raises(DataError, match=message):
        load_source(ArraysSource(name="arrays", path="data.npz", kinds={"y": "classes"}), tmp_path)


def test_what_looks_like_a_slip_is_a_warning(tmp_path: Path) -> None:
    data = read(tmp_path, x=BYTES // 128, y=NUMBERS, xtest=BYTES)
    assert "not used: xtest" in data.warnings[0] and "black" in data.warnings[1]


@pytest.mark.parametrize(
    ("integers", "advice", "convert"),
    [
        (np.uint16(BYTES) * 257, r"\(x / 65535\)\.astype\('float32'\) if white is 65535", lambda x: x / 65535),
        (
            np.uint16(BYTES) * 16,
            r"\(x / 4095\)\.astype\('float32'\) if white is 4095, as with 12 bits",
            lambda x: x / 4095,
        ),
        (np.int64(BYTES), r"convert with \.astype\('uint8'\)", lambda x: x.astype("uint8")),
        (np.int64(BYTES > 127), r"convert with \.astype\(bool\)", lambda x: x.astype(bool)),
        (np.int32(BYTES) * 10_000, "divide all arrays by what white is", lambda x: x / 2_550_000),
    ],
)
def test_what_is_advised_for_integers_keeps_the_picture(
    tmp_path: Path, integers: np.ndarray, advice: str, convert: Callable[[np.ndarray], np.ndarray]
) -> None:
    for given in (lambda: read(tmp_path, x=integers, y=NUMBERS), lambda: as_examples(integers, (1, 8, 6))):
        with pytest.raises(DataError, match=advice):
            given()
    found = as_examples(convert(integers), (1, 8, 6))[:, 0].numpy()
    assert np.abs(found - integers / integers.max()).max() < 0.005
    with pytest.raises(DataError, match=r"from -1 to .*, but black is 0: scale all arrays alike"):
        as_examples(np.int64(BYTES) - 1, (1, 8, 6))


@pytest.mark.parametrize("high", [1023, 4095, 65535])
def test_floats_of_a_camera_are_divided_by_its_white(high: int) -> None:
    with pytest.raises(DataError, match=f"divide them by {high}, if that is white"):
        as_examples(BYTES / 255.0 * high, (1, 8, 6))


def test_images_that_are_black_but_for_their_scale_are_warned_of_wherever_they_are_given(tmp_path: Path) -> None:
    bits, faint = BYTES // 128, BYTES / 255.0 / 255
    for black, said in ((bits, "no byte above 1, which is black"), (faint, "no float above 0.0039, which is black")):
        warnings = read(tmp_path, x=BYTES, y=NUMBERS, x_test=black, y_test=NUMBERS, x_unlabelled=black).warnings
        named = zip(("x_test", "x_unlabelled"), warnings[:2], strict=True)
        assert all(f": {name} holds" in warning and said in warning for name, warning in named)
        for shape in ((1, 8, 6), (1, 4, 4)):  # the second is resized
            assert sum(said in note for note in inputs_of(shape).read(black).notes) == 1
    for fine in (np.zeros_like(BYTES), bits.astype(bool), bits / 1.0):  # a black picture is one
        assert inputs_of((1, 8, 6)).read(fine).notes == ()
    maps = read(tmp_path, x=bits, s=np.int64(BYTES > 99), xs=BYTES).warnings
    assert "not used: xs" in maps[0] and "no byte above 1" in maps[1]


def test_columns_of_large_numbers_are_warned_of_as_arrays_are_used_as_they_are(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(12, 3)) * [1, 1, 5000]
    assert "large (column 2 has mean" in read(tmp_path, x=rows, y=NUMBERS).warnings[0]
    assert read(tmp_path, x=rows / [1, 1, 5000], y=NUMBERS).warnings == ()


@pytest.mark.parametrize("mark", ["unknown", "nan", "None", "-1"])
def test_names_that_mean_no_label_are_warned_of(tmp_path: Path, mark: str) -> None:
    (warning,) = read(tmp_path, x=BYTES, y=np.array(["a", "b", mark] * 4)).warnings
    assert f"y: {mark} is read as a class; if it means that there is no label, move these examples to x_un" in warning


def test_classes_of_one_example_and_examples_that_are_there_twice_are_warned_of(tmp_path: Path) -> None:
    rare = np.array([0] * 6 + [1] * 5 + [2])
    assert "the test part has no example of 2" in read(tmp_path, x=BYTES, y=rare).warnings[0]
    found = read(tmp_path, x=BYTES, y=NUMBERS, x_test=BYTES[:4], y_test=NUMBERS[:4], x_unlabelled=BYTES[:2]).warnings
    assert "4 of 4 test examples are also among those to train on" in found[0] and len(found) == 1
    found = read(
        tmp_path, x=BYTES[:6], y=NUMBERS[:6], x_test=BYTES[7:], y_test=NUMBERS[7:], x_unlabelled=BYTES[7:9]
    ).warnings
    assert "2 of 5 test examples" in found[0]
    other = np.concatenate([BYTES, BYTES[:2]])
    found = read(tmp_path, x=other, y=np.append(NUMBERS, [1, 1]), x_test=BYTES[:1] + 1, y_test=NUMBERS[:1]).warnings
    assert "2 labelled examples are equal to one of another class, such as 0, 1" in found[-1]
    maps = (BYTES > 99).astype(np.int64)
    found = read(tmp_path, x=BYTES, s=maps, x_test=BYTES[:4], s_test=maps[:4]).warnings
    assert "4 of 4 test examples" in found[0]


def test_spaces_around_names_are_no_part_of_them(tmp_path: Path) -> None:
    assert read(tmp_path, x=BYTES, y=np.array(["a", "b ", " b", "a"] * 3)).classes == ("a", "b")


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    source = ArraysSource(name="arrays", path="own.npz")
    with pytest.raises(DataError, match=r"there is no file .*own.npz"):
        load_source(source, tmp_path)
    (tmp_path / "own.npz").write_text("hello")
    with pytest.raises(DataError, match=r"own.npz is no .npy or .npz file"):
        load_source(source, tmp_path)
    np.savez(tmp_path / "own.npz", **GOOD)  # type: ignore[arg-type]
    whole = (tmp_path / "own.npz").read_bytes()
    (tmp_path / "own.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"own.npz is no .npy or .npz file"):
        load_source(source, tmp_path)
    np.save(tmp_path / "one.npy", BYTES)
    with pytest.raises(DataError, match="single array"):
        load_source(ArraysSource(name="arrays", path="one.npy"), tmp_path)


def test_damaged_arrays_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=BYTES)
    packed = bytearray((tmp_path / "own.npz").read_bytes())
    packed[packed.index(b"PK\x01\x02") + 10] = 99  # a way of packing that there is not
    (tmp_path / "own.npz").write_bytes(packed)
    np.save(tmp_path / "own.npy", BYTES)
    plain = (tmp_path / "own.npy").read_bytes()
    (tmp_path / "own.npy").write_bytes(plain.replace(b"), }", b"), ("))  # a header that does not end
    for name in ("own.npz", "own.npy"):
        with pytest.raises(DataError, match=rf"{name} is no .npy or .npz file"):
            load_arrays(tmp_path / name)
