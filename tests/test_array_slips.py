"""Arrays with names and types of other libraries, and arrays of another size than a run takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from semivae.data.inputs.images import Images
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource

X = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
Y = np.arange(20) % 2


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": X, "y_train": Y, "x_test": X[:4], "y_test": Y[:4]},  # Keras
        {"train_images": X, "train_labels": Y[:, None], "test_images": X[:4], "test_labels": Y[:4, None]},  # MedMNIST
        {"X": X, "Y": Y},
        {"data": X, "target": Y},
        {"arr_0": X, "arr_1": Y},
        {"images": X, "labels": Y, "unlabeled": X[:3]},
    ],
)
def test_usual_names_of_arrays_are_recognised_and_said(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"has no array x; .* write source\.keys: \{") as error:
        load_source(ArraysSource(name="arrays", path="a.npz"), tmp_path)
    keys = YAML(typ="safe").load(str(error.value).partition("source.keys: ")[2])
    dataset = load_source(ArraysSource(name="arrays", path="a.npz", keys=keys), tmp_path)
    tested = any("test" in name for name in arrays)
    assert len(dataset.train["y"]) == (20 if tested else 16), "the advice can be followed"
    assert len(dataset.unlabelled.get("x", [])) == (3 if "unlabeled" in arrays else 0)


def test_names_that_mean_nothing_get_no_advice(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", u=X, v=Y)
    with pytest.raises(DataError, match=r"has no array x; it has u, v$"):
        load_source(ArraysSource(name="arrays", path="a.npz"), tmp_path)


@pytest.mark.parametrize(
    ("labels", "advice"),
    [
        (Y.astype(bool), r"convert with \.astype\('int64'\)"),
        (Y.astype("datetime64[D]"), "write names of classes as strings"),
        (Y + 0j, "write names of classes as strings"),
    ],
)
def test_labels_of_other_types_are_refused_with_what_helps(tmp_path: Path, labels: np.ndarray, advice: str) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=labels)
    with pytest.raises(DataError, match=f"classes are integers or strings: {advice}"):
        load_source(ArraysSource(name="arrays", path="a.npz"), tmp_path)


def test_arrays_that_are_cropped_are_told(tmp_path: Path) -> None:
    """As files are: half of a picture of 4 x 8 pixels does not reach a run of 8 x 8."""
    (note,) = [text for text in Images((1, 8, 8)).read(X[:, :4]).notes if "cropped" in text]
    assert "images of 8x4 pixels are cropped by 50% of their area, as the run takes 8x8" in note
    for fine in (X, X[:, :4, :4], np.repeat(np.repeat(X, 2, 1), 2, 2)):
        assert not any("cropped" in text for text in Images((1, 8, 8)).read(fine).notes)
