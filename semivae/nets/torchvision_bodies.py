"""Bodies of torchvision: its models for classification, and their published weights."""

from __future__ import annotations

import importlib
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from semivae.nets.body import IMAGENET_CLASSES, IMAGENET_DEVIATION, IMAGENET_MEAN, IMAGENET_SIZE, Body, BodySpec

SQUARE = ("vit_", "maxvit_")  # models of one size of picture
WITHOUT = ("googlenet", "inception_v3", "squeezenet")  # classifiers that are no single layer, or several


def model_names() -> list[str]:
    """Returns the names of all models that can be bodies."""
    return [name for name in models.list_models(module=models) if not name.startswith(WITHOUT)]


def build(spec: BodySpec) -> Body:
    """Builds a body with random weights.

    Raises:
        ValueError: the model cannot read pictures of the size that is asked for.
    """
    published = _published(spec.model)
    preset = published.transforms() if published is not None else None
    own = preset.crop_size[0] if preset is not None else IMAGENET_SIZE
    square = spec.model.startswith(SQUARE)
    options: dict[str, Any] = {}
    if spec.model.startswith("vit_"):
        options["image_size"] = spec.size or own
    elif spec.model.startswith("maxvit_"):
        options["input_size"] = (spec.size or own,) * 2
    try:
        network = models.get_model(spec.model, weights=None, **options)
    except (ValueError, RuntimeError, AssertionError) as error:
        if not options or isinstance(error, NotImplementedError):
            raise
        raise ValueError(f"{spec.model} cannot be built for size {spec.size} ({error}); leave size out") from error
    head, features = _without_classifier(network)
    return Body(
        network,
        features,
        own,
        preset.mean if preset is not None else IMAGENET_MEAN,
        preset.std if preset is not None else IMAGENET_DEVIATION,
        spec.size or (own if square else None),
        square,
        (head,),
        grids if _sequence(network) else None,
    )


def grids(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Returns the grids after each part of a model, [n, channels, height, width] each."""
    found, grid = [], images
    for part in _sequence(network):
        grid = part(grid)
        found.append(grid)
    # transformers of windows have their channels last
    return [grid.permute(0, 3, 1, 2) for grid in found] if isinstance(network, models.SwinTransformer) else found


def _sequence(network: Any) -> list[nn.Module]:
    """The parts of a model in order, up to its last grid; empty where the model is not such a sequence."""
    if isinstance(network, models.ResNet):
        stem = nn.Sequential(network.conv1, network.bn1, network.relu)
        return [stem, network.maxpool, network.layer1, network.layer2, network.layer3, network.layer4]
    if isinstance(network, models.ShuffleNetV2):
        return [network.conv1, network.maxpool, network.stage2, network.stage3, network.stage4, network.conv5]
    if isinstance(network, models.RegNet):
        return [network.stem, *network.trunk_output.children()]
    features = getattr(network, "features", None)
    return list(features.children()) if isinstance(features, nn.Sequential) else []


def download(spec: BodySpec) -> dict[str, Tensor]:
    """Returns the default weights, from torch's cache or else from where torchvision publishes them.

    Raises:
        ValueError: the model has none, or there is no connection; the message names the file and where to put it.
    """
    published = _published(spec.model)
    if published is None:
        raise ValueError(f"torchvision publishes no weights of {spec.model}; choose weights: none, or a file")
    try:
        found: dict[str, Tensor] = published.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, HTTPException, RuntimeError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
        raise ValueError(
            f"the weights of torchvision's {spec.model} cannot be downloaded ({error}). Fetch {published.url} where "
            f"there is a connection, and put the file at {place}, or anywhere and name it as weights: FILE"
        ) from error
    if spec.size is not None and spec.model.startswith("vit_"):
        return _for_size(spec, found)
    return found


def is_kept(spec: BodySpec) -> bool:
    """Whether the default weights are in torch's cache."""
    published = _published(spec.model)
    return published is not None and (Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name).is_file()


def _for_size(spec: BodySpec, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a vision transformer whose embeddings of places are interpolated for another size of picture."""
    patch = weights["conv_proj.weight"].shape[-1]
    transformer = importlib.import_module("torchvision.models.vision_transformer")
    assert spec.size is not None
    found: dict[str, Tensor] = transformer.interpolate_embeddings(spec.size, patch, dict(weights))
    return found


def _published(model: str) -> Any:
    """The default weights that torchvision knows for a model, with their preset; None if it knows none."""
    return getattr(models.get_model_weights(model), "DEFAULT", None)


def _without_classifier(network: nn.Module) -> tuple[str, int]:
    """Takes the last layer of a network away; returns its name and the number of features before it."""
    name, layer = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == IMAGENET_CLASSES
    ][-1]
    network.set_submodule(name, nn.Identity())
    return name, layer.in_features
