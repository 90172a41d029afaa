"""Muon, over many weights at a time, in products of small square matrices: torch's steps in a fraction of its work."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration of Jordan et al. (2024): steepest at zero
ITERATIONS = 5
SMALLEST_NORM = 1e-7
SMALLEST_SIZE = 64  # of the squares that are iterated: smaller ones are filled up, to be iterated together
LARGE = 256  # rows, from which the arithmetic costs more than its calls
MUCH = 2**23  # multiplications of a product, from which it is worth a call of its own


class Muon(torch.optim.Optimizer):
    """Moves matrices by the nearest orthogonal matrix to their running gradient (Jordan et al. 2024).

    The step is as long as AdamW's at the same learning rate (Liu et al. 2025). It is that of `torch.optim.Muon` with
    `adjust_lr_fn="match_rms_adamw"`, whose moments it also names alike, but for rounding: torch iterates each matrix in
    bfloat16, this one its products with itself in float32, many together (`orthogonalised`). Where networks run in
    bfloat16, large matrices that are nearly square are iterated as torch does, which is cheaper then.

    Args:
        matrices: what to move, each [rows, columns], or groups of them.
        lr: the learning rate; `step` takes that of each group, a number or a tensor, [].
        weight_decay: the share of the weights, times the rate, that each step takes away.
        dtype: in which the networks are computed.
    """

    def __init__(
        self, matrices: Iterable[Any], lr: float, weight_decay: float, dtype: torch.dtype = torch.float32
    ) -> None:
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
        moved = [index for indices in by_shape.values() for index in indices]
        stacks = [_stack([_lying(updates[index]) for index in indices]) for indices in by_shape.values()]
        found = orthogonalised(stacks, self.dtype)
        moves = [move for stack in found for move in stack]
        # the root mean square of AdamW's step is about 0.2
        rate: float | Tensor = -0.2 * group["lr"]
        if isinstance(rate, Tensor):  # of a step that is replayed, where it changes
            torch._foreach_mul_(moves, rate)
            rate = 1.0
        torch._foreach_mul_(moves, [rate * math.sqrt(max(matrices[index].shape)) for index in moved])
        upright = [_as(move, matrices[index]) for index, move in zip(moved, moves, strict=True)]
        torch._foreach_add_([matrices[index] for index in moved], upright)

    def _moment(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        moment: Tensor = state["momentum_buffer"]
        return moment


def orthogonalised(stacks: Sequence[Tensor], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Returns about the nearest orthogonal matrices to stacks of matrices, each [n, rows, columns], rows <= columns.

    Five Newton-Schulz iterations, X <- (a + b X X' + c (X X')^2) X, leave singular values between about 0.7 and 1.2,
    which serves as well as 1. All five together are one product Q X, and Q follows from X X' alone: so the iterations
    need no matrix with the longer side, and stacks with the same shorter side share them. Squaring takes digits that
    bfloat16 does not have: with that dtype, large matrices of up to twice as many columns as rows are iterated
    themselves, as it multiplies several times as fast.
    """
    alone = [
        dtype == torch.bfloat16 and stack.shape[1] >= LARGE and stack.shape[2] <= 2 * stack.shape[1] for stack in stacks
    ]
    found = [iterated(stack, dtype) if each else stack for stack, each in zip(stacks, alone, strict=True)]
    grams = {index: _filled(product(stack, stack.mT)) for index, stack in enumerate(stacks) if not alone[index]}
    if not grams:
        return found
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for index, gram in grams.items():
        by_size[gram.shape[-1]].append(index)
    ordered = [stacks[index] for of_size in by_size.values() for index in of_size]
    inverse = _inverse_norms(ordered)
    sizes = [sum(len(stacks[index]) for index in of_size) for of_size in by_size.values()]
    scales = zip(torch.split(inverse, sizes), torch.split(inverse.square(), sizes), strict=True)
    for of_size, scale in zip(by_size.values(), scales, strict=True):
        gram = torch.cat([grams[index] for index in of_size]) if len(of_size) > 1 else grams[of_size[0]]
        factors, counts = newton_schulz(gram, *scale), [len(stacks[index]) for index in of_size]
        for index, factor in zip(of_size, torch.split(factors, counts), strict=True):
            rows = stacks[index].shape[1]
            found[index] = product(factor[:, :rows, :rows], stacks[index])
    return found


def _inverse_norms(stacks: Sequence[Tensor]) -> Tensor:
    """Returns one over the norm of every matrix of some stacks, stack by stack, [n, 1, 1]."""
    norms = torch._foreach_norm([matrix for stack in stacks for matrix in stack])
    return torch.stack(list(norms)).clamp_min(SMALLEST_NORM).reciprocal()[:, None, None]


def iterated(stack: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns `orthogonalised` matrices by iterating themselves in another precision, [n, rows, columns]."""
    a, b, c = COEFFICIENTS
    found = (stack / torch.linalg.vector_norm(stack, dim=(1, 2), keepdim=True).clamp_min(SMALLEST_NORM)).to(dtype)
    for _ in range(ITERATIONS):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    moved: Tensor = found.to(stack.dtype)
    return moved


def newton_schulz(gram: Tensor, inverse: Tensor, inverse_square: Tensor) -> Tensor:
    """Returns the factors Q with which Q X is about orthogonal, [n, rows, rows].

    X is scaled to norm 1 before. With P = a + b G + c G^2 of the Gram matrix G = X X', X becomes P X and G becomes
    P G P in each iteration; all of these matrices commute.

    Args:
        gram: all X X', [n, rows, rows].
        inverse, inverse_square: one over the norm of each X, and over its square, [n, 1, 1].
    """
    a, b, c = COEFFICIENTS
    gram = gram * inverse_square
    factor = even = _product_added(gram, gram, gram, b, c)  # P without its a
    for iteration in range(1, ITERATIONS):
        half = _product_added(gram, even, gram, a)
        gram = _product_added(half, half, even, a)
        if iteration == 1:
            factor.diagonal(dim1=1, dim2=2).add_(a)  # the first P itself, which is no longer needed without
        even = _product_added(gram, gram, gram, b, c)
        factor = _product_added(factor, even, factor, a)
    return factor * inverse


def _product_added(to: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float = 1.0) -> Tensor:
    """Returns beta * to + alpha * left @ right, of stacks of matrices."""
    if _costs_much(left, right):
        return product(left, right).mul_(alpha).add_(to, alpha=beta)
    return torch.baddbmm(to, left, right, beta=beta, alpha=alpha)


def product(left: Tensor, right: Tensor) -> Tensor:
    """Returns left @ right, of stacks of matrices [n, rows, inner] and [n, inner, columns].

    Large ones in float32 on CPUs are multiplied by oneDNN: the MKL in torch uses no AVX-512 on processors of AMD. That
    is no public call of torch's, but the one that its compiler makes.
    """
    if not _costs_much(left, right):
        return left @ right
    multiplied = torch.ops.mkldnn._linear_pointwise
    return torch.stack([multiplied(one, two.mT, None, "none", [], "") for one, two in zip(left, right, strict=True)])


def _costs_much(left: Tensor, right: Tensor) -> bool:
    on_cpu = left.device.type == "cpu" and left.dtype == torch.float32
    return on_cpu and left[0].numel() * right.shape[2] >= MUCH and _has_one_dnn()


@functools.cache
def _has_one_dnn() -> bool:
    """Whether oneDNN may be called with vectors that it has been tried with here."""
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]
    return there and torch.cpu._is_avx512_supported()


def _filled(gram: Tensor) -> Tensor:
    """Returns Gram matrices with rows and columns of zeros up to the smallest size, which change no other entry."""
    missing = SMALLEST_SIZE - gram.shape[-1]
    return torch.nn.functional.pad(gram, (0, missing, 0, missing)) if missing > 0 else gram


def _stack(matrices: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(matrices)) if len(matrices) > 1 else matrices[0][None]


def _lying(matrix: Tensor) -> Tensor:
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def _as(lying: Tensor, matrix: Tensor) -> Tensor:
    """Returns a lying matrix turned as another one is."""
    return lying if lying.shape == matrix.shape else lying.mT
