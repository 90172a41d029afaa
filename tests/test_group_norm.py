"""The quick group norm: torch's outputs and gradients in float32, rounded once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semivae.nets import group_norm
from semivae.nets.group_norm import GroupNorm
from semivae.nets.layers import channels_last


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_norm, "MANY", 0)
    monkeypatch.setattr(group_norm, "PART", 2**11)  # two or so images of these cases, the last part is smaller


def found_and_expected(channels: int, side: int, shift: float = 0.0) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and gradients of images, weight and bias: quick ones, and torch's in float64."""
    torch.manual_seed(0)
    norm = GroupNorm(4, channels)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    images = channels_last(torch.randn(5, channels, side, side) + shift).bfloat16().requires_grad_()
    direction = channels_last(torch.randn(5, channels, side, side)).bfloat16()
    assert norm._is_slow(images)
    outputs = norm(images)
    found = [outputs, *torch.autograd.grad(outputs, [images, norm.weight, norm.bias], direction)]
    exact = [images.detach().double(), norm.weight.detach().double(), norm.bias.detach().double()]
    for tensor in exact:
        tensor.requires_grad_()
    expected = F.group_norm(exact[0], 4, exact[1], exact[2])
    return found, [expected, *torch.autograd.grad(expected, exact, direction.double())]


@pytest.mark.parametrize(("channels", "side"), [(8, 9), (12, 33), (32, 9), (60, 9), (8, 33)])
def test_outputs_and_gradients_are_torchs(channels: int, side: int) -> None:
    """Groups of 2, 3, 8 and 15 channels, of images with few and with many places."""
    found, expected = found_and_expected(channels, side)
    assert [tensor.dtype for tensor in found] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    for quick, exact, rounding in zip(found, expected, (2**-8, 2**-7, 1e-4, 1e-4), strict=True):
        assert (quick.double() - exact).abs().max() < rounding * exact.abs().max()


def test_a_gradient_may_lie_otherwise_than_its_images() -> None:
    norm, images = GroupNorm(4, 8), channels_last(torch.randn(5, 8, 9, 9)).bfloat16().requires_grad_()
    direction = torch.randn(5, 8, 9, 9).bfloat16()
    found, expected = (
        torch.autograd.grad(norm(images), images, laid)[0] for laid in (direction, channels_last(direction))
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("channels", "quick"), [(12, True), (16, False)])
def test_gradients_of_groups_from_four_channels_on_are_torchs(
    channels: int, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums over places are no quicker there: which of the two is taken shows in no number."""
    asked, sums = [], group_norm.normed_backward

    def noted(*given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        asked.append(len(given))
        return sums(*given)

    monkeypatch.setattr(group_norm, "normed_backward", noted)
    found_and_expected(channels, 9)
    assert bool(asked) == quick


def test_parts_are_images_that_fit_or_single_ones() -> None:
    images = channels_last(torch.zeros(5, 8, 9, 9))  # of 648 numbers each
    assert [len(part) for part in group_norm._parts(images)] == [3, 2]
    larger = channels_last(torch.zeros(3, 8, 30, 30))
    assert [len(part) for part in group_norm._parts(larger)] == [1, 1, 1]


def test_images_far_from_zero_keep_their_spread() -> None:
    found, expected = found_and_expected(8, 9, shift=20.0)
    assert (found[0].double() - expected[0]).abs().max() < 0.05


def test_images_of_one_colour_have_finite_outputs_and_gradients() -> None:
    """Their variance is 0, and the mean of squares less the square of the mean may be rounded to less."""
    norm = GroupNorm(4, 60)
    for colour in (26.125, 51.25, 101.5, 126.5):
        images = channels_last(torch.full((5, 60, 9, 9), colour)).bfloat16().requires_grad_()
        outputs = norm(images)
        outputs.sum().backward()
        assert outputs.isfinite().all() and images.grad is not None and images.grad.isfinite().all()


def test_only_what_torch_is_slow_at_is_computed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    many, few = torch.zeros(300, 32, 14, 14), torch.zeros(3, 32, 14, 14)
    lying = channels_last(many.bfloat16())
    norm, wide = GroupNorm(8, 32), GroupNorm(2, 32)
    assert norm._is_slow(lying)
    others = (channels_last(few.bfloat16()), channels_last(many), many.bfloat16())
    assert not any(norm._is_slow(images) for images in others)
    assert not wide._is_slow(lying)
    large = channels_last(torch.zeros(5, 64, 64, 64).bfloat16())
    assert GroupNorm(32, 64)._is_slow(large) and not GroupNorm(8, 64)._is_slow(large)
