"""Turned digits: real images of another data set, each turned by a known random angle, in degrees, which is its label.

This is a simulation on real images, to try numbers as labels: the angle is known exactly, and so is its distribution.
It is a pure function of the source's section: no library's random generator takes part.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from semivae.data.dataset import Dataset, LabelInfo
from semivae.recipe.turned import TurnedSource
from semivae.variables import Sample

CHUNK = 4096  # images that are turned at a time


def turned_dataset(upright: Dataset, source: TurnedSource) -> Dataset:
    """Returns the images of a data set, turned; the class of each, c, is a further label.

    The angle of an image is uniform between `source.low` and `source.high`, by SHA-256("semivae-turn:SEED:PART:INDEX").
    Positive angles turn anticlockwise.

    Args:
        upright: grey images on black, with classes y.
        source: the recipe's section.
    """
    train, test = _turned("train", upright.train, source), _turned("test", upright.test, source)
    labels = {"y": LabelInfo("numbers", unit="degrees"), "c": upright.labels["y"]}
    name = f"{upright.name} turned by {source.low:g} to {source.high:g} degrees (seed {source.seed})"
    return replace(upright, name=name, labels=labels, train=train, test=test)


def _turned(part: str, examples: Sample, source: TurnedSource) -> Sample:
    images = examples["x"]
    angles = angles_of(part, len(images), source)
    side = source.size or images.shape[-1]
    chunks = [
        turn(images[start : start + CHUNK], angles[start : start + CHUNK], side)
        for start in range(0, len(images), CHUNK)
    ]
    return {"x": torch.cat(chunks), "y": angles, "c": examples["y"]}


def angles_of(part: str, count: int, source: TurnedSource) -> Tensor:
    """Returns the angles of the images of a part, float32 [count], in degrees."""
    draws = [uniform(f"semivae-turn:{source.seed}:{part}:{index}") for index in range(count)]
    return (source.low + (source.high - source.low) * torch.tensor(draws, dtype=torch.float64)).float()


def uniform(key: str) -> float:
    """Returns a number in [0, 1) by the SHA-256 of a key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / 2**48


def turn(images: Tensor, degrees: Tensor, side: int) -> Tensor:
    """Returns images turned anticlockwise about their centre, black beyond their border: uint8 [n, 1, side, side].

    Values between pixels are bilinear; where the new images are smaller, each pixel is the mean over its area.

    Args:
        images: uint8 [n, 1, height, width].
        degrees: [n].
        side: of the new images.
    """
    radians = degrees.double() * (math.pi / 180.0)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # of a place in the new image, the place in the old one; y points down, so this turns the image anticlockwise
    matrices = torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)
    finer = side * max(1, round(images.shape[-1] / side))
    grid = F.affine_grid(matrices, [len(images), 1, finer, finer], align_corners=False)
    turned = F.grid_sample(images.double(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return F.adaptive_avg_pool2d(turned, side).round().clamp(0, 255).to(torch.uint8)
