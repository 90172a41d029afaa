"""Muon over all weights of a shape at once: the steps of torch's own, matrix by matrix."""

from __future__ import annotations

import pytest
import torch

from semivae.training.muon import Muon, orthogonalised

SHAPES = [(4, 9), (9, 4), (4, 9), (4, 4), (1, 9), (3, 1)]  # wide and tall ones are moved together


def gradients(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def test_its_steps_are_those_of_torch() -> None:
    ours, theirs = ([torch.nn.Parameter(weight) for weight in gradients(0)] for _ in range(2))
    own = Muon(ours, lr=0.1, weight_decay=0.3, dtype=torch.bfloat16)
    torchs = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    for step in range(1, 4):
        for weights in (ours, theirs):
            for weight, gradient in zip(weights, gradients(step), strict=True):
                weight.grad = gradient
        own.step()
        torchs.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=4e-3)  # the sums of bfloat16 products are rounded otherwise
        assert torch.equal(own.state[one]["momentum_buffer"], torchs.state[other]["momentum_buffer"])


@pytest.mark.parametrize(("dtype", "margin"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03)])
def test_matrices_become_orthogonal_each_for_itself(dtype: torch.dtype, margin: float) -> None:
    matrices = torch.stack([gradient for gradient in gradients(0) if gradient.shape == (4, 9)])
    found = orthogonalised(matrices * torch.tensor([1e-3, 1e3])[:, None, None], dtype)
    values = torch.linalg.svdvals(found.float())
    assert values.min() > 0.65 and values.max() < 1.25
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    nearest = left @ right
    agreement = (found.float() * nearest).sum(dim=(1, 2)) / found.float().norm(dim=(1, 2)) / nearest.norm(dim=(1, 2))
    assert agreement.min() > 0.97 - margin
