"""Muon over many weights at once: the steps of torch's own, matrix by matrix."""

from __future__ import annotations

import math

import pytest
import torch

from semivae.training import muon
from semivae.training.muon import COEFFICIENTS, ITERATIONS, Muon, orthogonalised, product

SHAPES = [(4, 9), (9, 4), (4, 9), (4, 4), (1, 9), (3, 1), (70, 90), (70, 75)]  # wide and tall ones, small and large


def gradients(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def test_its_steps_are_those_of_torch() -> None:
    ours, theirs = ([torch.nn.Parameter(weight) for weight in gradients(0)] for _ in range(2))
    own = Muon(ours, lr=0.1, weight_decay=0.3)
    torchs = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    for step in range(1, 4):
        for weights in (ours, theirs):
            for weight, gradient in zip(weights, gradients(step), strict=True):
                weight.grad = gradient
        own.step()
        torchs.step()
    for one, other in zip(ours, theirs, strict=True):
        apart = (one - other).norm() / (3 * 0.1 * 0.2 * max(one.shape) ** 0.5 * min(one.shape) ** 0.5)
        assert apart < 0.02  # of the way: torch's products are rounded to bfloat16
        assert torch.equal(own.state[one]["momentum_buffer"], torchs.state[other]["momentum_buffer"])


def test_a_rate_may_be_a_tensor() -> None:
    """As it is in a step that is captured, where it changes between replays."""
    numbers, tensors = ([torch.nn.Parameter(weight) for weight in gradients(0)] for _ in range(2))
    for weights, rate in ((numbers, 0.1), (tensors, torch.tensor(0.1))):
        optimizer = Muon(weights, lr=0.1, weight_decay=0.3)
        optimizer.param_groups[0]["lr"] = rate
        for weight, gradient in zip(weights, gradients(1), strict=True):
            weight.grad = gradient
        optimizer.step()
    torch.testing.assert_close(tensors, numbers)


def iterated(matrices: torch.Tensor) -> torch.Tensor:
    """The iteration as it is written in the paper, in float64."""
    a, b, c = COEFFICIENTS
    found: torch.Tensor = matrices.double() / matrices.double().norm(dim=(1, 2), keepdim=True)
    for _ in range(ITERATIONS):
        gram = found @ found.mT
        found = a * found + (b * gram + c * gram @ gram) @ found
    return found


def test_iterations_on_products_are_those_on_the_matrices() -> None:
    """Also of matrices that are nearly flat in most directions, whose products are far flatter."""
    for shape in ((2, 4, 9), (3, 64, 200), (2, 70, 75)):
        for flattest in (1.0, 1e-3, 1e-6):
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            left, _, right = torch.linalg.svd(x, full_matrices=False)
            x = left * torch.logspace(0, math.log10(flattest), shape[1]) @ right
            expected = iterated(x)
            (found,) = orthogonalised([x])
            assert (found - expected).norm() < 2e-3 * expected.norm()  # bfloat16 misses by 0.1 to 0.5 of it


def test_matrices_become_orthogonal_each_for_itself() -> None:
    matrices = torch.stack([gradient for gradient in gradients(0) if gradient.shape == (4, 9)])
    others = torch.zeros(1, 7, 8)  # a gradient of zeros moves nothing
    found, none = orthogonalised([matrices * torch.tensor([1e-3, 1e3])[:, None, None], others])
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.65 and values.max() < 1.25
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    nearest = left @ right
    agreement = (found * nearest).sum(dim=(1, 2)) / found.norm(dim=(1, 2)) / nearest.norm(dim=(1, 2))
    assert agreement.min() > 0.97
    assert torch.equal(none, others)


def test_large_matrices_that_are_nearly_square_are_iterated_in_bfloat16() -> None:
    """Others are not: to the bit they are what they are in float32."""
    stacks = [
        torch.randn(1, *shape, generator=torch.Generator().manual_seed(1)) for shape in ((256, 300), (256, 600), (8, 9))
    ]
    plain, rough = orthogonalised(stacks), orthogonalised(stacks, torch.bfloat16)
    assert [torch.equal(*pair) for pair in zip(plain, rough, strict=True)] == [False, True, True]
    assert torch.nn.functional.cosine_similarity(plain[0].flatten(), rough[0].flatten(), dim=0) > 0.97
    values = torch.linalg.svdvals(rough[0])
    assert values.min() > 0.3 and values.max() < 1.3


def test_large_products_on_processors_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN's, where it has AVX-512: with all products called large, the iterations stay what they are."""
    left, right = (torch.randn(3, *shape, generator=torch.Generator().manual_seed(2)) for shape in ((5, 8), (8, 6)))
    stacks = [torch.randn(2, *shape, generator=torch.Generator().manual_seed(3)) for shape in ((70, 90), (9, 40))]
    expected = orthogonalised(stacks)
    monkeypatch.setattr(muon, "MUCH", 0)
    torch.testing.assert_close(product(left, right), left @ right)
    for one, other in zip(orthogonalised(stacks), expected, strict=True):
        assert (one - other).norm() < 1e-4 * other.norm()
