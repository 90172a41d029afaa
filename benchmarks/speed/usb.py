"""FixMatch of USB (github.com/microsoft/Semi-supervised-learning), run as it is beside ours.

Nothing of it is part of this project: the folder of a checkout is given, with what it needs installed or in folders of
PYTHONPATH. Its algorithm, data sets, augmentations, samplers and hooks run unchanged; only its reading of data sets by
name, and its moving of batches to a GPU, are put aside.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from ruamel.yaml import YAML
from torch import Tensor, nn

from benchmarks.speed.examples import Examples
from benchmarks.speed.plain import error_of
from semivae.errors import RunError

CONFIG = "config/classic_cv/fixmatch/fixmatch_cifar10_4000_0.yaml"
HOOKS = ("ParamUpdateHook", "EMAHook")  # of a step; the others write files and print


class Usb:
    """Its FixMatch with the settings of its file for CIFAR-10.

    Args:
        folder: a checkout.
        examples: images, labels, split and the sizes of batches.
        own_network: its own Wide ResNet 28-2 instead of the recipe's network.
    """

    def __init__(self, folder: Path, examples: Examples, own_network: bool = False) -> None:
        library = _Library(folder)
        labelled, unlabelled = examples.batches
        self.images = labelled + unlabelled
        settings = library.settings(examples.recipe.training.steps, labelled, unlabelled)
        parts, shape = examples.parts, examples.data.shape
        weak, strong, plain = library.transforms(shape)
        shown, hidden = parts.labelled, parts.unlabelled
        make: Callable[..., Any] = library.data_set
        pairs = make("fixmatch", _arrays(examples.images(shown)), examples.labels(shown).numpy(), 10, weak, False)
        views = make("fixmatch", _arrays(examples.images(hidden)), None, 10, weak, True, None, strong)
        network: Callable[..., nn.Module] = library.wide_resnet if own_network else _builder(examples)
        held = {"train_lb": pairs, "train_ulb": views, "eval": pairs, "test": None}

        class OnCpu(library.fixmatch):  # type: ignore[name-defined, misc]
            """Its algorithm where batches stay on the CPU, on data sets that are there."""

            def set_dataset(self) -> dict[str, Any]:
                return held

            def process_batch(self, **values: Any) -> dict[str, Any]:
                return {name: value for name, value in values.items() if name in ("x_lb", "y_lb", "x_ulb_w", "x_ulb_s")}

        self.algorithm: Any = OnCpu(settings, network, None, SimpleNamespace(info=lambda *_: None))
        hooks = self.algorithm.hooks_dict
        needed = (*HOOKS, "PseudoLabelingHook", "MaskingHook")
        self.algorithm.hooks_dict = {name: hook for name, hook in hooks.items() if name in needed}
        self.algorithm.call_hook("before_run")
        self.batches = self._batches()
        images = torch.stack(
            [plain(image) for image in map(library.picture, _arrays(examples.images(parts.validation)))]
        )
        self.validation = images, examples.labels(parts.validation)

    def _batches(self) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        while True:
            yield from zip(
                self.algorithm.loader_dict["train_lb"], self.algorithm.loader_dict["train_ulb"], strict=False
            )

    def turn(self, steps: int) -> int:
        algorithm = self.algorithm
        algorithm.model.train()
        for _ in range(steps):
            pairs, views = next(self.batches)
            algorithm.call_hook("before_train_step")
            algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**algorithm.process_batch(**pairs, **views))
            algorithm.call_hook("after_train_step")
            algorithm.it += 1
        return steps * self.images

    def error(self) -> float:
        """The lower error of the weights and of their average, which is far behind in a short training."""
        networks = (self.algorithm.model, self.algorithm.ema_model)
        return min(error_of(_Logits(network), *self.validation) for network in networks)


class _Library:
    """What is taken of a checkout. Raises RunError where it cannot be imported."""

    def __init__(self, folder: Path) -> None:
        if not (folder / CONFIG).is_file():
            raise RunError(
                f"{folder}: is no checkout of USB; clone microsoft/Semi-supervised-learning and give its folder"
            )
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.fixmatch = importlib.import_module("semilearn.algorithms.fixmatch.fixmatch").FixMatch
                self.data_set = importlib.import_module("semilearn.datasets.cv_datasets.datasetbase").BasicDataset
                self.augmentation = importlib.import_module("semilearn.datasets.augmentation")
                self.wide_resnet = importlib.import_module("semilearn.nets").wrn_28_2
        except ImportError as error:
            raise RunError(f"{folder}: USB cannot be imported ({error}); install what it needs") from error
        self.pil = importlib.import_module("PIL.Image")
        self.folder = folder

    def settings(self, steps: int, labelled: int, unlabelled: int) -> SimpleNamespace:
        """Its settings of CIFAR-10 with 4,000 labels, for other batches and fewer steps."""
        content = YAML(typ="safe").load(self.folder / CONFIG)
        ours = {
            "epoch": 1, "num_train_iter": steps, "num_eval_iter": steps, "batch_size": labelled,
            "uratio": unlabelled // labelled, "num_warmup_iter": 0, "clip_grad": 0, "resume": False, "gpu": None,
            "distributed": False, "use_wandb": False, "use_aim": False, "use_pretrain": False, "pretrain_path": None,
            "num_workers": 0,
        }  # fmt: skip
        return SimpleNamespace(**{**content, **ours})

    def transforms(self, shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
        """Its views of CIFAR-10; characters are not flipped."""
        from torchvision import transforms

        channels, side, _ = shape
        moved = [
            transforms.RandomCrop(side, padding=side // 8, padding_mode="reflect" if channels == 3 else "constant")
        ]
        moved += [transforms.RandomHorizontalFlip()] if channels == 3 else []
        ready = [transforms.ToTensor(), transforms.Normalize([0.5] * channels, [0.25] * channels)]
        changed = [self.augmentation.RandAugment(3, 5)]
        if channels == 1:  # its cutout draws in colour
            changed = [transforms.Grayscale(3), *changed, transforms.Grayscale(1)]
        strong = transforms.Compose([*moved, *changed, *ready])
        return transforms.Compose([*moved, *ready]), strong, transforms.Compose(ready)

    def picture(self, image: Any) -> Any:
        return self.pil.fromarray(image)


class _Logits(nn.Module):
    """Its networks return a dictionary."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)["logits"]
        return logits


class _Both(nn.Module):
    """The recipe's network with the outputs that its algorithms expect."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        logits: Tensor = self.network(images)
        return {"logits": logits, "feat": logits}


def _builder(examples: Examples) -> Callable[..., nn.Module]:
    def build(**_: Any) -> nn.Module:
        return _Both(examples.network())

    return build


def _arrays(images: Tensor) -> Any:
    """Images as PIL takes them: uint8 [n, side, side, 3], or [n, side, side] of grey ones."""
    arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
    return arrays[..., 0] if arrays.shape[-1] == 1 else arrays
