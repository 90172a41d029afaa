"""Transposed convolutions of ordinary ones: torch's outputs and gradients, whatever the size, stride and precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semivae.nets.transposed import TransposedConvolution, interleaved_convolutions


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (3, 1), (3, 2), (2, 2), (4, 2), (5, 3)])
def test_outputs_and_gradients_are_torchs(size: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = TransposedConvolution(3, 4, size, stride).double()
    assert layer.bias is not None
    images = torch.randn(2, 3, 5, 7, dtype=torch.float64).requires_grad_()
    asked = [images, layer.weight, layer.bias]
    outputs, expected = layer(images), F.conv_transpose2d(images, layer.weight, layer.bias, stride)
    torch.testing.assert_close(outputs, expected)
    direction = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(outputs, asked, direction), torch.autograd.grad(expected, asked, direction)
    )
    interleaved = interleaved_convolutions(images, layer.weight, layer.bias, stride)
    torch.testing.assert_close(interleaved, expected)
    assert interleaved.is_contiguous(memory_format=torch.channels_last)


def test_what_convolutions_cannot_do_is_left_to_torch() -> None:
    """Gaps between kernels, and an output size that is asked for."""
    layer, sparse = TransposedConvolution(3, 4, 3, 2), TransposedConvolution(3, 4, 1, 2)
    images = torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(sparse(images), F.conv_transpose2d(images, sparse.weight, sparse.bias, 2))
    torch.testing.assert_close(
        layer(images, [12, 15]), F.conv_transpose2d(images, layer.weight, layer.bias, 2, 0, (1, 0))
    )


def test_images_that_do_not_learn_get_no_gradient_but_weights_do() -> None:
    layer = TransposedConvolution(2, 3, 3, 2)
    layer(torch.randn(1, 2, 4, 4)).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0.0


def test_its_outputs_may_be_written_over() -> None:
    """As the activation that follows does, in place."""

    def gradient(layer: TransposedConvolution, written: bool) -> Tensor:
        outputs = layer(torch.ones(1, 2, 4, 4))
        (outputs.relu_() if written else outputs.relu()).sum().backward()
        assert layer.weight.grad is not None
        return layer.weight.grad

    torch.manual_seed(0)
    layer = TransposedConvolution(2, 3, 3, 2)
    other = TransposedConvolution(2, 3, 3, 2)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(gradient(layer, True), gradient(other, False))


def test_in_bfloat16_it_answers_in_bfloat16_and_weights_keep_their_precision() -> None:
    torch.manual_seed(0)
    layer, images = TransposedConvolution(8, 4, 3, 2), torch.randn(2, 8, 5, 5)
    exact = layer(images)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(images)
    assert outputs.dtype == torch.bfloat16
    assert (outputs.float() - exact).abs().max() < 0.03
    outputs.float().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32
