"""A run whose decoder draws no images: a classifier with a known p(y). What needs pictures says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import semivae
from semivae.cli import app

RECIPE = """
source: {name: digits}
split: {labelled: 50, validation: 40}
variables: {x: {family: bernoulli}, y: {family: categorical}}
decoder: {y: learned}
encoder: {y: {given: [x], net: {name: mlp, hidden: [16]}}}
streams:
  labelled: {observe: [x, y], batch: 32}
  labels: {observe: [y], batch: 8}
training: {steps: 5, twin: false}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("without_images")
    (root / "classifier.yaml").write_text(RECIPE)
    np.savez(root / "digits.npz", x=(load_digits().images[:30, None] * 15).astype(np.uint8))
    Image.fromarray(np.diag(np.full(8, 255, np.uint8))).save(root / "mask.png")
    semivae.train(root / "classifier.yaml", out=root / "run", device="cpu")
    return root


@pytest.mark.parametrize(
    "arguments",
    [
        "sample run -o samples.png",
        "likelihood run",
        "chain run -o chain",
        "impute run digits.npz --mask mask.png -o imputed",
        "novelty run digits.npz",
        "quality run --features run",
    ],
)
def test_what_needs_images_of_the_decoder_says_so(
    folder: Path, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 1, result.output
    assert "the decoder of this run does not draw x" in " ".join(result.output.split())


@pytest.mark.parametrize(
    "arguments",
    ["evaluate run", "diagnose run", "report run -o report.html", "codes run --images digits.npz -o codes.npz"],
)
def test_what_needs_none_works(folder: Path, arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 0, result.output
