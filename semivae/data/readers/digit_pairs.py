"""Pairs of real digits side by side, and which digits occur in them: a simulation, to try attributes as labels."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from semivae.data.dataset import Dataset, LabelInfo
from semivae.errors import DataError
from semivae.recipe.schema import DigitPairsSource
from semivae.seeds import seed_for
from semivae.variables import Sample


def pair_digits(digits: Dataset, source: DigitPairsSource) -> Dataset:
    """Returns the pairs of a data set of digits: every image is used once, in training or test pairs as it was before.

    `y` says which digits occur, int8 [n, 10], so two equal digits are one attribute; the further labels `left` and
    `right` say which digit is where.

    Args:
        digits: images of digits with their classes, y.
        source: the recipe's section; its seed chooses who stands beside whom.

    Raises:
        DataError: the data have fewer than two images.
    """
    train, test = (
        _pairs(part, name, source, digits) for name, part in (("train", digits.train), ("test", digits.test))
    )
    names = digits.classes
    labels = {
        "y": LabelInfo("attributes", names),
        "left": LabelInfo("classes", names),
        "right": LabelInfo("classes", names),
    }
    return Dataset(f"digit_pairs:{source.of}", labels, train, test, warnings=digits.warnings)


def _pairs(part: Sample, name: str, source: DigitPairsSource, digits: Dataset) -> Sample:
    count = len(part["x"]) // 2
    if not count:
        raise DataError(f"{digits.name} has fewer than two {name} images, so there is no pair")
    generator = torch.Generator().manual_seed(seed_for(source.seed, "digit_pairs", name))
    rows = torch.randperm(len(part["x"]), generator=generator)[: 2 * count].view(2, count)
    images = [_scaled(part["x"][half], source.size) for half in rows]
    left, right = (part["y"][half] for half in rows)
    occur = sum((one_hot(half, len(digits.classes)) for half in (left, right)), start=torch.zeros(1, dtype=torch.int64))
    return {"x": torch.cat(images, dim=3), "y": occur.clamp_max(1).to(torch.int8), "left": left, "right": right}


def _scaled(images: Tensor, size: int | None) -> Tensor:
    """Bytes [n, 1, side, side] at another side: the means of the areas that each pixel covers, rounded."""
    if size is None or size == images.shape[2]:
        return images
    parts: Iterable[Tensor] = torch.split(images, 4096)  # as floats, all of them take four times their bytes
    return torch.cat([adaptive_avg_pool2d(part.float(), size).round().to(torch.uint8) for part in parts])
