"""FixMatch as a careful person writes it: torch, torchvision and data loaders, without any library of the method.

Sohn et al. 2020, FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence. Its settings are those
of the paper, where they do not depend on the data set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import v2

from benchmarks.speed.examples import Examples

THRESHOLD = 0.95
DECAY = 0.999  # of the moving average of the weights
Optimizer = Literal["sgd", "adamw"]


class Plain:
    """The training.

    Args:
        examples: images, labels, split, network and the sizes of batches.
        optimizer: `sgd` is the paper's; `adamw` learns at the recipe's rate for the encoder.
        workers: processes of each data loader; 0 reads where the network computes.
    """

    def __init__(self, examples: Examples, optimizer: Optimizer = "sgd", workers: int = 0) -> None:
        self.network = examples.network()
        moving = get_ema_multi_avg_fn(DECAY)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.network, multi_avg_fn=moving)
        recipe, parts = examples.recipe, examples.parts
        self.optimizer = _optimizer(self.network, optimizer, _rate(examples))
        steps = recipe.training.steps
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: math.cos(7 / 16 * math.pi * min(step / steps, 1.0))
        )
        weak, strong, plain = transforms(examples.data.shape)
        labelled, unlabelled = examples.batches
        shown, hidden = parts.labelled, parts.unlabelled
        pairs = Labelled(examples.images(shown), examples.labels(shown), weak)
        self.pairs = _batches(pairs, labelled, workers)
        self.views = _batches(TwoViews(examples.images(hidden), weak, strong), unlabelled, workers)
        self.images = labelled + unlabelled
        self.validation = plain(examples.images(parts.validation)), examples.labels(parts.validation)

    def turn(self, steps: int) -> int:
        self.network.train()
        for _ in range(steps):
            images, labels = next(self.pairs)
            weak, strong = next(self.views)
            with torch.no_grad():
                confidence, classes = self.network(weak).softmax(1).max(1)
            logits = self.network(torch.cat([images, strong]))
            on_labels = F.cross_entropy(logits[: len(images)], labels)
            on_views = F.cross_entropy(logits[len(images) :], classes, reduction="none")
            loss = on_labels + (on_views * (confidence >= THRESHOLD)).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.average.update_parameters(self.network)
        return steps * self.images

    def error(self) -> float:
        """The lower error of the weights and of their average, which is far behind in a short training."""
        return min(error_of(network, *self.validation) for network in (self.network, self.average))


class Labelled(Dataset[tuple[Tensor, Tensor]]):
    """Images with one view each, and their labels."""

    def __init__(self, images: Tensor, labels: Tensor, weak: nn.Module) -> None:
        self.images, self.labels, self.weak = images, labels, weak

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.weak(self.images[index]), self.labels[index]


class TwoViews(Dataset[tuple[Tensor, Tensor]]):
    """A weak and a strong view of each image."""

    def __init__(self, images: Tensor, weak: nn.Module, strong: nn.Module) -> None:
        self.images, self.weak, self.strong = images, weak, strong

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        return self.weak(image), self.strong(image)


def transforms(shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The weak view, the strong one, and none, of uint8 [channels, side, side]; each gives float32 in about [-2, 2].

    Photographs are flipped, characters are not.
    """
    channels, side, _ = shape
    moved = [v2.RandomCrop(side, padding=side // 8, padding_mode="reflect" if channels == 3 else "constant")]
    moved += [v2.RandomHorizontalFlip()] if channels == 3 else []
    ready = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * channels, [0.25] * channels)]
    cutout = v2.RandomErasing(p=1.0, scale=(0.02, 0.25), ratio=(1.0, 1.0))
    strong = v2.Compose([*moved, v2.RandAugment(num_ops=2, magnitude=10), *ready, cutout])
    return v2.Compose([*moved, *ready]), strong, v2.Compose(ready)


def error_of(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images, [n, channels, side, side], whose likeliest class is wrong."""
    network.eval()
    with torch.no_grad():
        classes = torch.cat([network(some).argmax(1) for some in torch.split(images, 250)])
    return float((classes != labels).double().mean())


def _batches(dataset: Dataset[Any], size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end; sampling with replacement lets few labels fill one."""
    sampler = RandomSampler(dataset, replacement=True, num_samples=2**31)  # type: ignore[arg-type]
    loader = DataLoader(dataset, size, sampler=sampler, num_workers=workers, drop_last=True)
    return iter(loader)


def _rate(examples: Examples) -> float:
    rate = examples.recipe.training.learning_rate
    return rate if isinstance(rate, float) else rate.encoder


def _optimizer(network: nn.Module, name: Optimizer, rate: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(network.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return torch.optim.AdamW(network.parameters(), lr=rate, fused=True)
