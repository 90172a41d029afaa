"""Digits that are turned by known angles: which angles, which way, and how they are scaled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.readers.turned import angles_of, turn, turned_dataset
from semivae.recipe.turned import TurnedSource


def source(**changes: object) -> TurnedSource:
    return TurnedSource.model_validate({"name": "turned", "of": "digits", **changes})


def test_angles_are_uniform_between_their_ends() -> None:
    """Mean and deviation of 3,000 lie within 4 standard errors: fails by chance once in 8,000 times."""
    angles = angles_of("train", 3000, source(low=-30, high=90)).double()
    assert angles.min() >= -30 and angles.max() < 90
    assert angles.mean().item() == pytest.approx(30.0, abs=4 * 120 / 12**0.5 / 3000**0.5)
    assert angles.std().item() == pytest.approx(120 / 12**0.5, rel=0.05)


def test_angles_are_the_same_for_everybody_and_others_in_each_part_and_by_each_seed() -> None:
    assert angles_of("train", 2, source()).tolist() == pytest.approx([-28.886528, 21.878206], abs=1e-4)
    assert torch.equal(angles_of("train", 9, source())[:2], angles_of("train", 2, source()))
    different = [angles_of("train", 5, source()), angles_of("test", 5, source()), angles_of("train", 5, source(seed=1))]
    assert len(torch.cat(different).unique()) == 15


@pytest.mark.parametrize(("degrees", "times"), [(0.0, 0), (90.0, 1), (-90.0, 3), (180.0, 2)])
def test_positive_angles_turn_anticlockwise(degrees: float, times: int) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 1, 6, 6), dtype=np.uint8))
    found = turn(images, torch.tensor([degrees]), 6)
    assert found.dtype == torch.uint8
    assert torch.equal(found[0, 0], torch.from_numpy(np.rot90(images[0, 0].numpy(), times).copy()))


def test_smaller_images_hold_the_mean_of_each_area() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 1, 12, 12), dtype=np.uint8))
    means = images.double().reshape(2, 1, 4, 3, 4, 3).mean(dim=(3, 5))
    assert torch.equal(turn(images, torch.zeros(2), 4), means.round().to(torch.uint8))


def test_the_angle_is_the_label_and_the_class_a_further_one() -> None:
    """A bar from the middle to the right points to its angle."""
    images = torch.zeros(40, 1, 33, 33, dtype=torch.uint8)
    images[:, :, 16, 17:] = 255
    part = {"x": images, "y": torch.arange(40) % 2}
    upright = Dataset("bars", {"y": LabelInfo("classes", ("a", "b"))}, part, part)
    data = turned_dataset(upright, source(low=-80, high=80))
    assert (data.label, data.labels["y"].kind, data.labels["y"].unit) == ("y", "numbers", "degrees")
    assert torch.equal(data.train["c"], part["y"]) and data.labels["c"].classes == ("a", "b")
    assert not torch.equal(data.train["y"], data.test["y"])
    for each in (data.train, data.test):
        weights, places = each["x"][:, 0].double(), torch.arange(33.0, dtype=torch.float64) - 16
        total = weights.sum(dim=(1, 2))
        right, up = (weights * places).sum(dim=(1, 2)) / total, -(weights * places[:, None]).sum(dim=(1, 2)) / total
        torch.testing.assert_close(torch.atan2(up, right).rad2deg(), each["y"].double(), atol=1.0, rtol=0.0)
