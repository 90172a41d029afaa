"""Black and white data: images made so by their source, and the view that inverts single pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from semivae.api import Run
from semivae.data.inputs.pixels import binarized
from semivae.data.readers.digits import read_digits
from semivae.data.sources import load_source
from semivae.data.views import View
from semivae.recipe.schema import BuiltInSource, ViewSpec


def test_binarize_makes_every_part_of_a_source_black_and_white() -> None:
    grey, data = read_digits(), load_source(BuiltInSource(name="digits", binarize=0.4375), Path())
    for part in ("train", "test"):
        before, after = getattr(grey, part), getattr(data, part)
        assert after["x"].dtype == torch.uint8
        assert torch.equal(after["x"] == 255, before["x"] > 0.4375 * 255)
        assert set(after["x"].unique().tolist()) == {0, 255}
        assert torch.equal(after["y"], before["y"])
    assert data.digest != grey.digest and "binarized at 0.4375" in data.name


def test_bytes_and_floats_agree_at_the_threshold() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    for threshold in (0.0, 0.4375, 0.5, 1.0):
        assert torch.equal(binarized(levels, threshold) > 0, binarized(levels.double() / 255, threshold) > 0)
    assert binarized(levels, None) is levels


def test_a_runs_user_images_are_binarised_as_its_data_were(tiny_run: Run) -> None:
    source = BuiltInSource(name="digits", binarize=0.5)
    recipe = tiny_run.recipe.model_copy(update={"source": source})
    run = Run(tiny_run.path, recipe, tiny_run.decoder, tiny_run.encoder, tiny_run.facts, "last", tiny_run.device)
    images = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    assert torch.equal(run.preprocess(images)[:, 0], torch.from_numpy(images > 0.5).float())
    assert torch.equal(tiny_run.preprocess(images)[:, 0], torch.from_numpy(images))


def test_speckle_inverts_its_share_of_the_pixels() -> None:
    view = View(ViewSpec(speckle=0.1))
    images = torch.rand(200, 1, 20, 20).round()
    seen = view(images, torch.Generator().manual_seed(0))
    share = (seen != images).float().mean().item()
    # 80,000 pixels: a standard deviation of 0.00106; six of them
    assert abs(share - 0.1) < 0.0064
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(view(images, torch.Generator().manual_seed(0)), seen)
