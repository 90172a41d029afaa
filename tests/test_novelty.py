"""Which images are of no kind that a run has learnt."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import semivae
from semivae.api import Run
from semivae.classification.conformal import p_values_of
from semivae.cli import app
from semivae.errors import DataError, RunError
from semivae.generative.likelihood import image_bounds, likelihood
from semivae.generative.novelty import complexity, novelty, slope_of

TABLE = """
source: {name: arrays, path: mine.npz}
split: {labelled: 20, validation: 20}
variables:
  x: {family: gaussian, shape: [3]}
  y: {family: categorical, classes: 2}
decoder: {y: uniform, x: {given: [y], net: {name: mlp, hidden: [8]}}}
encoder: {y: {given: [x], net: {name: mlp, hidden: [8]}}}
streams:
  labelled: {observe: [x, y], batch: 20}
  unlabelled: {observe: [x], batch: 50}
  labels: {observe: [y], batch: 20}
training: {steps: 50, validate_every: 50}
"""


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["novelty", *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Digits, long enough for the decoder to know what they look like."""
    folder = tmp_path_factory.mktemp("novelty") / "run"
    changes: dict[str, object] = {"training.steps": 60, "training.validate_every": 60}
    changes |= {
        "streams.unlabelled.batch": 64,
        "encoder.y.net.channels": [8, 8],
        "encoder.y.net.hidden": 16,
        "encoder.h.net.hidden": [64],
    }
    return semivae.train("digits_50labels", set=changes, out=folder, twin=False, device="cpu")


def test_p_values_count_familiar_images_that_are_as_novel() -> None:
    familiar = np.array([3.0, 1.0, 2.0, 2.0])
    assert p_values_of(np.array([0.0, 1.0, 2.0, 2.5, 9.0]), familiar) == pytest.approx([1.0, 1.0, 0.8, 0.4, 0.2])


def test_familiar_images_are_seldom_flagged() -> None:
    """Of familiar images a share of 0.05 or less has p <= 0.05; 5,000 draws, so above 0.065 once in a million runs."""
    generator = np.random.default_rng(0)
    flags = [p_values_of(generator.normal(size=1), generator.normal(size=99))[0] <= 0.05 for _ in range(5000)]
    assert np.mean(flags) < 0.065


def test_the_slope_is_of_least_squares_and_never_negative() -> None:
    size = np.array([1.0, 2.0, 4.0])
    assert slope_of(size, 3.0 + 2.0 * size) == pytest.approx(2.0)
    assert slope_of(size, -size) == 0.0
    assert slope_of(np.ones(3), size) == 0.0
    assert slope_of(size, np.array([2.0, 4.0, math.inf])) == pytest.approx(2.0)
    assert slope_of(size, np.full(3, math.nan)) == 0.0


def test_complexity_is_more_for_noise_than_for_an_even_image(tiny_run: Run) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, 1, 8, 8), generator=generator, dtype=torch.uint8)
    sizes = complexity(tiny_run, torch.cat([noise, torch.zeros(1, 1, 8, 8, dtype=torch.uint8)]))
    assert sizes.shape == (3,) and (sizes[:2] > sizes[2] + 64).all()  # 64 bytes of noise do not shrink
    assert np.array_equal(complexity(tiny_run, noise.float() / 255), sizes[:2])


def test_bounds_of_single_images_have_the_mean_that_is_reported(tiny_run: Run) -> None:
    images = tiny_run.dataset().test["x"][:7]
    bounds = image_bounds(tiny_run, images, draws=3, seed=1)
    assert bounds.shape == (7,)
    assert bounds.mean() == pytest.approx(likelihood(tiny_run, images, 3, seed=1)["bound"])


def test_the_decoder_knows_digits_from_what_is_none(trained: Run) -> None:
    digits = trained.dataset().test["x"]
    kinds = {"turned": digits.rot90(1, (2, 3)), "negative": 255 - digits, "black": torch.zeros_like(digits)}
    found = {name: novelty(trained, images[::5], count=200) for name, images in kinds.items()}
    for name, of_kind in found.items():
        assert of_kind.report["decoder"]["auroc"] > 0.95, name  # after one step 0.81, 0.99, 0.84
    own = novelty(trained, digits, count=len(digits))
    assert own.report["decoder"]["auroc"] == pytest.approx(0.5, abs=0.02)
    assert own.report["encoder"]["flagged"] <= 0.05
    assert found["black"].report == novelty(trained, kinds["black"][::5], count=200).report
    assert own.scores.decoder.shape == own.p_values["encoder"].shape == (len(digits),)


def test_rows_and_summary(trained: Run, tmp_path: Path) -> None:
    images, out = tmp_path / "images.npy", tmp_path / "novelty.csv"
    np.save(images, np.random.default_rng(0).random((5, 8, 8), dtype=np.float32))
    shown = command(trained.path, images, "--out", out)
    assert shown.exit_code == 0, shown.output
    for part in (
        "5 images beside 500 test images",
        "the decoder's likelihood flags",
        "the encoder's doubt flags",
        "measures detection only if every given image is novel",
    ):
        assert part in shown.stdout
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["name"] for row in rows] == ["0", "1", "2", "3", "4"]
    scores = ("decoder", "encoder", "neighbours", "energy")
    assert list(rows[0]) == ["name", *(column for score in scores for column in (score, f"{score}_p"))]
    assert all(0 < float(row["decoder_p"]) <= 1 for row in rows)
    report = json.loads(command(trained.path, images, "--count", 100, "--json").stdout)
    assert report["familiar"] == 100 and 0 <= report["decoder"]["auroc"] <= 1
    assert "exists" in command(trained.path, images, "--out", out).stderr


def test_rows_of_a_table_far_from_all_others_are_novel(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=generator.normal(size=(300, 3)).astype(np.float32), y=np.arange(300) % 2)
    (tmp_path / "mine.yaml").write_text(TABLE)
    run = semivae.train(tmp_path / "mine.yaml", out=tmp_path / "run", data_root=tmp_path, device="cpu")
    rows = np.array([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0], [1e30, 0.0, 0.0]], dtype=np.float32)
    found = run.novelty(rows, draws=2)
    fewest = 1 / (1 + found.report["familiar"])
    assert found.p_values["decoder"][0] > 0.05 and found.p_values["decoder"][1:] == pytest.approx([fewest, fewest])
    assert np.isfinite(found.scores.decoder).all() and found.report["slope"] == 0.0


def test_what_cannot_be_judged_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    images = torch.zeros(2, 1, 8, 8)
    with pytest.raises(RunError, match="the supervised twin has no decoder"):
        novelty(tiny_run.at("twin"), images)
    with pytest.raises(DataError, match="expects x of shape"):
        novelty(tiny_run, torch.zeros(2, 1, 9, 9))
    with pytest.raises(RunError, match="10 test images are too few to compare with; 20 are needed"):
        novelty(tiny_run, images, count=10)
