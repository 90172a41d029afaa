"""Muon, over all weights of one shape at a time: as torch's own, in a fraction of its products."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration of Jordan et al. (2024): steepest at zero
ITERATIONS = 5
SMALLEST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Moves matrices by the nearest orthogonal matrix to their running gradient (Jordan et al. 2024).

    The step is as long as AdamW's at the same learning rate (Liu et al. 2025). It is that of `torch.optim.Muon` with
    `adjust_lr_fn="match_rms_adamw"`, whose moments it also names alike, but for the order of sums: torch multiplies one
    matrix after the other, this one all of a shape together.

    Args:
        matrices: what to move, each [rows, columns], or groups of them.
        lr: the learning rate.
        weight_decay: the share of the weights, times the rate, that each step takes away.
        dtype: in which the products are computed.
    """

    def __init__(self, matrices: Iterable[Any], lr: float, weight_decay: float, dtype: torch.dtype) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves every matrix that has a gradient; takes no closure."""
        for group in self.param_groups:
            self._move([matrix for matrix in group["params"] if matrix.grad is not None], group)

    def _move(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        if not matrices:
            return
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]  # all have one
        moments = [self._moment(matrix) for matrix in matrices]
        torch._foreach_lerp_(moments, gradients, 1.0 - MOMENTUM)
        updates = torch._foreach_lerp(gradients, moments, MOMENTUM)  # Nesterov's: the moment as it will be next
        by_shape: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for index, matrix in enumerate(matrices):
            by_shape[min(matrix.shape), max(matrix.shape)].append(index)
        torch._foreach_mul_(matrices, 1.0 - group["lr"] * group["weight_decay"])
        for (_, longer), indices in by_shape.items():
            lying = torch.stack([_lying(updates[index]) for index in indices])
            moves = orthogonalised(lying, self.dtype).to(lying.dtype).unbind()
            upright = [_as(move, matrices[index]) for index, move in zip(indices, moves, strict=True)]
            length = 0.2 * math.sqrt(longer)  # the root mean square of AdamW's step is about 0.2
            torch._foreach_add_([matrices[index] for index in indices], upright, alpha=-group["lr"] * length)

    def _moment(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        moment: Tensor = state["momentum_buffer"]
        return moment


def orthogonalised(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns about the nearest orthogonal matrices, [n, rows, columns], to matrices with no more rows than columns.

    The singular values end between about 0.7 and 1.2 (five Newton-Schulz iterations), which serves as well as 1.

    Args:
        matrices: [n, rows, columns].
        dtype: in which the products are computed, and of the result.
    """
    a, b, c = COEFFICIENTS
    found = matrices.to(dtype)
    found = found / torch.linalg.vector_norm(found, dim=(1, 2), keepdim=True).clamp_min(SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return found


def _lying(matrix: Tensor) -> Tensor:
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def _as(lying: Tensor, matrix: Tensor) -> Tensor:
    """Returns a lying matrix turned as another one is."""
    return lying if lying.shape == matrix.shape else lying.mT
