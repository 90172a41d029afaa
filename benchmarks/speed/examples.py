"""One recipe's images and split, shared by all that are compared, and the network that all of them train."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.made_data import CLASSES, smooth_images
from semivae.data.dataset import Dataset, class_label
from semivae.data.sources import load_source
from semivae.data.splits import Split
from semivae.errors import RecipeError
from semivae.game.conditionals import NetworkConditional
from semivae.recipe import Recipe, change_recipe, read_recipe
from semivae.scenario.build import build_players
from semivae.scenario.resolving import resolve
from semivae.tasks.splitting import make_split


@dataclass(frozen=True)
class Examples:
    """A recipe and its data.

    Attributes:
        recipe: a resolved one, whose networks compute in float32.
        data: its data; images are bytes [n, channels, height, width].
        parts: which images show their label, which do not, and which are kept for validation.
    """

    recipe: Recipe
    data: Dataset
    parts: Split

    def images(self, rows: Tensor) -> Tensor:
        """Images of the training part, uint8 [n, channels, height, width]."""
        return self.data.train["x"][rows]

    def labels(self, rows: Tensor) -> Tensor:
        """Their labels, int64 [n]."""
        return self.data.train["y"][rows]

    @property
    def batches(self) -> tuple[int, int]:
        """How many labelled and how many unlabelled images a step of the recipe reads with views."""
        streams = self.recipe.streams.values()
        labelled = [stream.batch for stream in streams if set(stream.observe) == {"x", "y"}]
        viewed = [stream.batch for stream in streams if stream.observe == ("x",) and stream.views is not None]
        if len(labelled) != 1 or len(viewed) != 1:
            raise RecipeError("FixMatch is compared with recipes of one labelled stream and one of pairs of views")
        return labelled[0], viewed[0]

    def network(self) -> nn.Module:
        """The recipe's network of q(y|x) with the weights that the recipe starts it with, as logits of one argument."""
        factor = build_players(self.recipe)[1]["y"]
        assert isinstance(factor, NetworkConditional)
        return OfImages(copy.deepcopy(factor.net))


class OfImages(nn.Module):
    """A network of images alone: `forward(images)`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images, None)
        return logits


def read_examples(recipe: str | Path, data_root: Path, changes: Mapping[str, object] | None = None) -> Examples:
    """Reads a recipe's own data."""
    loaded = read_recipe(recipe, {"training.precision": "float32", "training.twin": False, **(changes or {})})
    data = load_source(loaded.source, data_root)
    return _examples(loaded, data)


def made_examples(recipe: str | Path, count: int, changes: Mapping[str, object] | None = None) -> Examples:
    """Makes smooth colour images of 32x32 for a recipe of CIFAR-10: what a step costs does not depend on pictures."""
    labels = np.arange(count) % CLASSES
    images = torch.from_numpy(smooth_images(labels, 32, np.random.default_rng(0))).permute(0, 3, 1, 2).contiguous()
    split = {"split.labelled": count // 2, "split.validation": count // 10}
    loaded = read_recipe(recipe, {"training.precision": "float32", "training.twin": False, **split, **(changes or {})})
    part = {"x": images, "y": torch.from_numpy(labels)}
    data = Dataset("made", class_label(tuple(str(number) for number in range(CLASSES))), part, part)
    return _examples(loaded, data)


def with_recipe(examples: Examples, recipe: Recipe) -> Examples:
    """The same data and split for another recipe."""
    return Examples(resolve(recipe, examples.data, examples.parts), examples.data, examples.parts)


def changed(examples: Examples, changes: Mapping[str, object]) -> Examples:
    """The same data and split for a recipe with changes."""
    return with_recipe(examples, change_recipe(examples.recipe, changes))


def _examples(recipe: Recipe, data: Dataset) -> Examples:
    parts = make_split(data, recipe.split)
    return Examples(resolve(recipe, data, parts), data, parts)
