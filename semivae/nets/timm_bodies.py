"""Bodies of timm, which is optional: any of its models, and their published weights."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import Tensor

from semivae.nets.body import IMAGENET_SIZE, Body, BodySpec


def model_names() -> list[str]:
    """Returns the names of all models.

    Raises:
        ValueError: timm is not installed.
    """
    names: list[str] = _timm().list_models()
    return names


def build(spec: BodySpec) -> Body:
    """Builds a body with random weights.

    Raises:
        ValueError: timm is not installed, or the model cannot read pictures of the size that is asked for.
    """
    network = _create(spec, pretrained=False)
    about = network.pretrained_cfg
    own = max(about.get("input_size", (3, IMAGENET_SIZE, IMAGENET_SIZE))[1:])
    square = bool(about.get("fixed_input_size"))
    named = about.get("classifier") or ()
    head = (named,) if isinstance(named, str) else tuple(named)
    features = getattr(network, "head_hidden_size", None) or network.num_features
    scaled = spec.size or (own if square else None)
    grids_of = grids if hasattr(network, "forward_intermediates") else None
    return Body(network, features, own, about["mean"], about["std"], scaled, square, head, grids_of)


def grids(network: Any, images: Tensor) -> list[Tensor]:
    """Returns the grids of a model's stages, [n, channels, height, width] each."""
    found: list[Tensor] = network.forward_intermediates(images, intermediates_only=True, output_fmt="NCHW")
    return found


def download(spec: BodySpec) -> dict[str, Tensor]:
    """Returns the default weights, from the cache that timm uses, or else from where it publishes them.

    Raises:
        ValueError: the model has none, or there is no connection; the message names the file.
    """
    about = _timm().get_pretrained_cfg(spec.model)
    if not (about and (about.hf_hub_id or about.url)):
        raise ValueError(f"timm publishes no weights of {spec.model}; choose weights: none, or a file")
    try:
        found: dict[str, Tensor] = _create(spec, pretrained=True).state_dict()
    except Exception as error:  # the errors of hub clients and of their connections have no common class
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"the weights of timm's {spec.model} cannot be downloaded ({said}). Fetch {_address(about)} where there "
            "is a connection, put the file anywhere, and name it as weights: FILE"
        ) from error
    return found


def is_kept(spec: BodySpec) -> bool:
    """Whether the default weights are in the cache that timm uses."""
    about = _timm().get_pretrained_cfg(spec.model)
    if not (about and about.hf_hub_id):
        return False
    hub = importlib.import_module("huggingface_hub")  # which timm brings
    names = ("model.safetensors", "pytorch_model.bin")
    return any(isinstance(hub.try_to_load_from_cache(about.hf_hub_id, name), str) for name in names)


def _create(spec: BodySpec, pretrained: bool) -> Any:
    """The model without a classifier, in evaluation mode."""
    timm = _timm()
    about = timm.get_pretrained_cfg(spec.model)
    fixed = about is not None and about.fixed_input_size
    options = {"img_size": spec.size} if spec.size is not None and fixed else {}
    try:
        return timm.create_model(spec.model, pretrained=pretrained, num_classes=0, **options)
    except (AssertionError, ValueError, TypeError, RuntimeError) as error:
        if not options or pretrained:
            raise
        raise ValueError(f"{spec.model} cannot be built for size {spec.size} ({error}); leave size out") from error


def _address(about: Any) -> str:
    """Where a model's weights are published."""
    if not about.hf_hub_id:
        return str(about.url)
    file = about.hf_hub_filename or "model.safetensors"
    return str(importlib.import_module("huggingface_hub").hf_hub_url(about.hf_hub_id, Path(file).name))


def _timm() -> Any:
    try:
        return importlib.import_module("timm.models")
    except ImportError as error:
        raise ValueError("it needs the package timm; pip install 'semivae[timm]'") from error
