"""Exported files give the model's numbers in the foreign runtime, or there is no file."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

import semivae
from semivae.api import Run
from semivae.classification import Classifier
from semivae.classification.posterior import embed
from semivae.errors import DataError, ExportError
from semivae.export.encoder import check, export
from semivae.export.formats import READERS, WRITERS, EncoderPart, Format
from semivae.game.conditionals import NetworkConditional
from semivae.nets import WideResnet
from semivae.recipe import read_recipe
from semivae.variables import Variable
from tests import narrow

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def some_images(run: Run, count: int) -> Tensor:
    return run.dataset().test[run.image][:count].float() / 255


def run_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def run_pt2(path: Path) -> Callable[[Tensor], Tensor]:
    module = torch.export.load(path).module()
    return lambda images: module(images).detach()


FORMATS = pytest.mark.parametrize(("suffix", "load"), [("onnx", run_onnx), ("pt2", run_pt2)])
MOSTLY_PT2 = pytest.mark.parametrize(
    ("suffix", "load"), [pytest.param("onnx", run_onnx, marks=pytest.mark.slow), ("pt2", run_pt2)]
)


@FORMATS
def test_exported_classifier_predicts_like_the_run(
    tiny_run: Run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
    load: Callable[[Path], Callable[[Tensor], Tensor]],
) -> None:
    path = tmp_path / f"encoder.{suffix}"
    report = export(tiny_run, path)
    assert capfd.readouterr() == ("", "")  # the command line promises one JSON object and nothing else
    assert report == {
        "path": str(path),
        "part": "classifier",
        "format": suffix,
        "temperature": 1.0,
        "largest_difference": report["largest_difference"],
        "checked_on": 64,
        "checked_with": "validation images",
        "input": {"name": "images", "dtype": "float32", "shape": ["n", 1, 8, 8]},
        "output": {"name": "probabilities", "dtype": "float32", "shape": ["n", 10]},
        "preprocessing": report["preprocessing"],
    }
    assert 0 <= report["largest_difference"] < 1e-4
    exported = load(path)
    for count in (1, 2, 37):
        images = some_images(tiny_run, count)
        torch.testing.assert_close(exported(images), Classifier(tiny_run).probabilities(images), atol=1e-5, rtol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == "onnx":
        model = onnx.load(path)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(metadata["classes"]) == [str(digit) for digit in range(10)]
        for value in (*model.graph.input, *model.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "n"


@pytest.fixture
def copied_run(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny run, for what leaves a calibration in its folder."""
    return Run.load(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("runs") / "copy"), device="cpu")


@MOSTLY_PT2
def test_a_calibrated_classifier_is_exported_with_its_temperature(
    copied_run: Run, tmp_path: Path, suffix: str, load: Callable[[Path], Callable[[Tensor], Tensor]]
) -> None:
    report = export(copied_run, tmp_path / f"encoder.{suffix}", calibrate=True)
    calibrated = copied_run.classifier(calibrate=True)
    assert report["temperature"] == calibrated.calibration.temperature
    images = some_images(copied_run, 37)
    found = load(tmp_path / f"encoder.{suffix}")(images)
    torch.testing.assert_close(found, calibrated.probabilities(images), atol=1e-5, rtol=1e-4)
    assert (found - Classifier(copied_run).probabilities(images)).abs().max() > 1e-3


@pytest.fixture(scope="module")
def black_and_white(tmp_path_factory: pytest.TempPathFactory) -> Run:
    changes = narrow.DIGITS | {"source.binarize": 0.4, "training.steps": 10, "training.twin": False}
    return semivae.train("digits_50labels", set=changes, out=tmp_path_factory.mktemp("runs") / "bw", device="cpu")


@FORMATS
def test_a_run_of_black_and_white_images_is_exported_with_its_threshold(
    black_and_white: Run, tmp_path: Path, suffix: str, load: Callable[[Path], Callable[[Tensor], Tensor]]
) -> None:
    run = black_and_white
    report = export(run, tmp_path / f"encoder.{suffix}")
    assert report["checked_with"] == "validation images and noise, half each"
    greys = torch.rand(37, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = load(tmp_path / f"encoder.{suffix}")(greys)
    torch.testing.assert_close(found, run.classifier().probabilities(run.preprocess(greys)), atol=1e-5, rtol=1e-4)


def test_weights_name_their_temperature_and_features_have_none(copied_run: Run, tmp_path: Path) -> None:
    report = export(copied_run, tmp_path / "encoder.safetensors", calibrate=True)
    with safetensors.safe_open(tmp_path / "encoder.safetensors", framework="pt") as file:
        assert float(file.metadata()["temperature"]) == report["temperature"] != 1.0
    with pytest.raises(ExportError, match="features have no probabilities to calibrate; leave out calibrate"):
        export(copied_run, tmp_path / "features.onnx", part="features", calibrate=True)
    assert not (tmp_path / "features.onnx").exists()


@MOSTLY_PT2
def test_exported_features_are_the_embedding(
    tiny_run: Run, tmp_path: Path, suffix: str, load: Callable[[Path], Callable[[Tensor], Tensor]]
) -> None:
    report = export(tiny_run, tmp_path / f"features.{suffix}", part="features")
    images = some_images(tiny_run, 9)
    features = embed(tiny_run, images, batch=4)
    assert features.shape == (9, 128) and features.dtype == "float32"
    assert report["output"]["shape"] == ["n", 128]
    torch.testing.assert_close(
        load(tmp_path / f"features.{suffix}")(images), torch.from_numpy(features), atol=1e-4, rtol=1e-4
    )


def test_weights_carry_recipe_and_classes(tiny_run: Run, tmp_path: Path) -> None:
    export(tiny_run, tmp_path / "encoder.safetensors")
    with safetensors.safe_open(tmp_path / "encoder.safetensors", framework="pt") as file:
        metadata, names = file.metadata(), set(file.keys())
    assert names == set(tiny_run.encoder["y"].state_dict())
    assert json.loads(metadata["classes"])[3] == "3"
    (tmp_path / "recipe.yaml").write_text(metadata["recipe"])
    assert read_recipe(tmp_path / "recipe.yaml") == tiny_run.recipe


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_wide_resnet_on_colour_images_can_be_exported(tmp_path: Path, format: Format) -> None:
    torch.manual_seed(0)
    image, label = Variable("x", "discretized_logistic", (3, 32, 32)), Variable("y", "categorical", (), 7)
    factor = NetworkConditional(label, (image,), WideResnet(image.shape, 0, (7,), depth=10, width=1))
    for parameter in factor.parameters():  # fresh residual branches are zero and would hide their mistakes
        torch.nn.init.normal_(parameter, std=0.1)
    model = EncoderPart(factor, "x", "classifier").eval()
    images = torch.rand(6, 3, 32, 32)
    WRITERS[format](model, images, tmp_path / f"model.{format}", {})
    exported = READERS[format](tmp_path / f"model.{format}", model)
    assert check(exported, images, model(images).detach()) < 1e-5


def test_without_the_data_random_images_are_used_and_named(tiny_run: Run, tmp_path: Path) -> None:
    # a run whose recipe says that its data are a folder that is gone
    folder = shutil.copytree(tiny_run.path, tmp_path / "run")
    recipe = folder / "recipe.yaml"
    text = recipe.read_text().replace("name: digits", "name: arrays\n  path: gone.npz")
    recipe.write_text(text.replace("  simulate: {}\n", ""))
    report = export(Run.load(folder, device="cpu"), tmp_path / "encoder.safetensors")
    assert report["checked_with"].startswith("random images")
    assert report["checked_on"] == 64


def test_nothing_is_overwritten_unasked(tiny_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    path.write_text("mine")
    with pytest.raises(ExportError, match="exists; choose another name"):
        export(tiny_run, path)
    assert path.read_text() == "mine"
    export(tiny_run, path, overwrite=True)
    assert safetensors.torch.load_file(path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("encoder", {}, "the ending names no format; use one of onnx, pt2, safetensors"),
        ("encoder.bin", {}, "the ending names no format"),
        ("encoder.bin", {"format": "tflite"}, "'tflite' is unknown"),
        ("encoder.onnx", {"format": "pt2"}, "ends in .onnx, but the format asked for is pt2"),
        ("encoder.onnx", {"part": "decoder"}, "'decoder' is unknown; use classifier or features"),
        ("taken/encoder.onnx", {}, "taken is a file, not a folder"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    tiny_run: Run, tmp_path: Path, name: str, options: dict[str, str], message: str
) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ExportError, match=message):
        export(tiny_run, tmp_path / name, options.get("part", "classifier"), options.get("format"))
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_missing_package_is_named(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"needs the package onnxscript; pip install 'semivae\[export\]'"):
        export(tiny_run, tmp_path / "encoder.onnx")
    assert not list(tmp_path.iterdir())


def test_file_that_disagrees_is_not_kept(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = READERS["safetensors"]

    def read_a_little_wrong(path: Path, model: EncoderPart) -> Callable[[Tensor], Tensor]:
        right = read(path, model)
        return lambda images: right(images) + 2e-4

    monkeypatch.setitem(READERS, "safetensors", read_a_little_wrong)
    with pytest.raises(ExportError, match=r"differs from the model by 0\.0002 on 64 inputs"):
        export(tiny_run, tmp_path / "encoder.safetensors")
    assert not list(tmp_path.iterdir())


def test_check_refuses_nan_and_a_frozen_batch() -> None:
    images = torch.rand(4, 3)
    assert check(lambda batch: batch * 2, images, images * 2) == 0
    with pytest.raises(ExportError, match="differs from the model by nan"):
        check(lambda batch: batch * torch.nan, images, images)
    with pytest.raises(ExportError, match=r"outputs of shape \(2, 3\), the model \(4, 3\)"):
        check(lambda batch: batch[:1], images, images)


def test_embedding_images_of_another_size_is_refused(tiny_run: Run) -> None:
    with pytest.raises(DataError, match="expects x of shape"):
        embed(tiny_run, torch.zeros(2, 1, 28, 28))
