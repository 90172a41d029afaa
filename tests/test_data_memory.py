"""Data that a program gives in memory: trained on, kept as a checksum, asked for again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import semivae
from semivae.cli import app
from semivae.data.readers.memory import dataset_in_memory
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe import read_recipe
from tests import narrow

SHORT: dict[str, object] = narrow.DIGITS | {
    "training.steps": 4, "training.validate_every": 4, "training.twin": False,
}  # fmt: skip
SMALL: dict[str, object] = {**SHORT, "split": {"labelled": 20, "validation": 10}, "variables.y.classes": None}


def arrays(count: int = 120) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.repeat(["cat", "dog"], count // 2)
    images = random.integers(0, 100, (count, 8, 8), dtype=np.uint8)
    images[count // 2 :] += 100
    return {"x": images, "y": labels, "x_unlabelled": images[::2] + 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> semivae.Run:
    folder = tmp_path_factory.mktemp("memory") / "run"
    return semivae.train("digits_50labels", set=SMALL, out=folder, device="cpu", dataset=arrays())


def test_arrays_in_memory_train_like_the_file_that_holds_them(run: semivae.Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", allow_pickle=False, **arrays())
    source = {"source": {"name": "arrays", "path": "own.npz"}}
    other = semivae.train("digits_50labels", set={**SMALL, **source}, out=tmp_path / "run", data_root=tmp_path)
    assert run.classes == other.classes == ("cat", "dog")
    assert all(torch.equal(value, other.encoder.state_dict()[key]) for key, value in run.encoder.state_dict().items())
    assert run.evaluate()["last"] == other.evaluate()["last"]


def test_objects_are_texts_or_numbers_as_pandas_keeps_them() -> None:
    given = arrays()
    found = dataset_in_memory(given | {"y": given["y"].astype(object)})
    assert torch.equal(found.train["y"], dataset_in_memory(given).train["y"])
    assert found.labels["y"].classes == ("cat", "dog")
    lacking = given["y"].astype(object)
    lacking[::9] = None
    with pytest.raises(DataError, match="y lacks values; examples without a label belong in x_unlabelled"):
        dataset_in_memory(given | {"y": lacking})
    numbers = np.arange(120).astype(object)
    numbers[::9] = None
    assert dataset_in_memory(given | {"y": numbers}).labels["y"].kind == "numbers", "NaN: a number that is not known"
    with pytest.raises(DataError, match="y holds Python objects"):
        dataset_in_memory(given | {"y": np.array([{}] * 120)})
    with pytest.raises(DataError, match="y has 5 labels for 120 examples"):
        dataset_in_memory(given | {"y": given["y"][:5]})


def test_a_dataset_trains_like_its_source(tmp_path: Path, tiny_run: semivae.Run) -> None:
    data = load_source(read_recipe("digits_50labels").source, Path())
    one, other = (
        semivae.train("digits_50labels", set=SHORT, out=tmp_path / name, device="cpu", dataset=given)
        for name, given in (("given", data), ("read", None))
    )
    assert all(torch.equal(value, other.encoder.state_dict()[key]) for key, value in one.encoder.state_dict().items())


def test_the_data_are_asked_for_again_and_must_be_the_same(run: semivae.Run) -> None:
    opened = semivae.load(run.path, device="cpu")
    assert opened.predict(arrays()["x"]).shape == (120,)
    with pytest.raises(DataError, match=r"given in memory .* semivae\.load\(run, dataset=\.\.\.\)"):
        opened.evaluate()
    assert semivae.load(run.path, device="cpu", dataset=arrays()).evaluate() == run.evaluate()
    changed = arrays()
    changed["x"][:, 0, 0] += 1
    with pytest.raises(DataError, match="its indices mean others"):
        semivae.load(run.path, device="cpu", dataset=changed)
    result = CliRunner().invoke(app, ["evaluate", str(run.path)])
    assert result.exit_code == 1 and "given in memory" in result.stderr and "Traceback" not in result.stderr


def test_a_run_is_resumed_with_its_data(tmp_path: Path) -> None:
    def stop(state: object) -> None:
        if getattr(state, "step", 0) == 2:
            raise ConnectionAbortedError

    changes = {**SMALL, "training.checkpoint_every": 1, "training.validate_every": 1}
    with pytest.raises(ConnectionAbortedError):
        semivae.train("digits_50labels", set=changes, out=tmp_path / "run", dataset=arrays(), progress=stop)
    with pytest.raises(DataError, match="its indices mean others"):
        semivae.train("digits_50labels", set=changes, out=tmp_path / "run", dataset=arrays(80), resume=True)
    assert semivae.train("digits_50labels", set=changes, out=tmp_path / "run", dataset=arrays(), resume=True).finished


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2], "dataset is a list; give a semivae.data.dataset.Dataset, or arrays by name"),
        ({"x": np.zeros((4, 8, 8), np.uint8)}, "dataset has no array y; it has x"),
        ({"x": [[1.0], [1.0, 2.0]], "y": [0, 1]}, "dataset: x is no regular array"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": np.array([0, {}])}, "dataset: y holds Python objects"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, given: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        semivae.train("digits_50labels", out=tmp_path / "run", dataset=given)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::semivae.errors.DataWarning")  # in black and white, images are equal
def test_black_and_white_stays_black_and_white(tmp_path: Path) -> None:
    changes = {**SMALL, "source.binarize": 0.5}
    run = semivae.train("digits_50labels", set=changes, out=tmp_path / "run", device="cpu", dataset=arrays())
    assert run.threshold == 0.5 and set(run.dataset().train["x"].unique().tolist()) == {0, 255}
    opened = semivae.load(run.path, device="cpu", dataset=arrays())
    assert opened.evaluate()["last"] == run.evaluate()["last"]
