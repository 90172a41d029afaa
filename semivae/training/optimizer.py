"""One player's optimiser: learning-rate schedule, gradient clipping, and the stop at a loss that is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from semivae.errors import TrainingError
from semivae.game.plan import PlayerName
from semivae.recipe.schema import PlayerOptimizers, PlayerRates, TrainingSpec

REMEDIES = "try a smaller training.learning_rate, training.clip: 1.0, or training.precision: float32"


class PlayerOptimizer:
    """Adam, AdamW or Muon for one player.

    Muon moves weight matrices and convolutions by the nearest orthogonal matrix to their running gradient (Jordan et
    al. 2024), as far as AdamW would move them at the same learning rate (Liu et al. 2025); AdamW moves all the rest.

    Args:
        player: whose parameters these are, for messages.
        parameters: what it may change.
        spec: the recipe's training section.
    """

    def __init__(self, player: PlayerName, parameters: list[nn.Parameter], spec: TrainingSpec) -> None:
        self.player, self.parameters, self.spec = player, parameters, spec
        rates, algorithms = spec.learning_rate, spec.optimizer
        self.learning_rate = getattr(rates, player) if isinstance(rates, PlayerRates) else rates
        name = getattr(algorithms, player) if isinstance(algorithms, PlayerOptimizers) else algorithms
        # torch's Muon takes matrices only: it gets each weight as one, in the same memory
        self.matrices = {
            index: nn.Parameter(parameter.detach().view(len(parameter), -1))
            for index, parameter in enumerate(parameters)
            if name == "muon" and parameter.ndim >= 2
        }
        others = [parameter for index, parameter in enumerate(parameters) if index not in self.matrices]
        algorithm = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        shared: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": spec.weight_decay}
        # a player of fixed factors only has nothing to move
        self.optimizers: list[torch.optim.Optimizer] = [
            algorithm(others or [torch.zeros(0, requires_grad=True)], fused=True, **shared)
        ]
        if self.matrices:
            self.optimizers.append(torch.optim.Muon(self.matrices.values(), adjust_lr_fn="match_rms_adamw", **shared))
        self.step = 0

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then constant, or a half cosine down to 0 at the last step."""
        warm = min(1.0, (step + 1) / (self.spec.warmup + 1))
        if self.spec.schedule == "constant":
            return self.learning_rate * warm
        return self.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / self.spec.steps))

    def __call__(self, loss: Tensor, parts: Mapping[str, Tensor]) -> None:
        """Takes one step down the loss.

        Raises:
            TrainingError: the loss or the gradient is not finite; the weights are left as they were.
        """
        step_together([self], loss, parts)

    def begin(self, loss: Tensor, parts: Mapping[str, Tensor]) -> None:
        """Forgets the last gradient. Raises TrainingError where the loss is not finite."""
        if not math.isfinite(loss.item()):
            self._stop({name: value for name, value in parts.items() if not math.isfinite(value.item())}, "loss")
        for parameter in self.parameters:
            parameter.grad = None

    def clip(self) -> None:
        """Clips the new gradient. Raises TrainingError where it is not finite."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.spec.clip or math.inf)
        if not math.isfinite(norm.item()):
            self._stop({}, "gradient")

    def advance(self) -> None:
        for index, matrix in self.matrices.items():
            gradient = self.parameters[index].grad
            matrix.grad = None if gradient is None else gradient.reshape(matrix.shape)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate_at(self.step)
            optimizer.step()

    def _stop(self, parts: Mapping[str, Tensor], what: str) -> None:
        terms = ", ".join(f"{name} = {value.item()}" for name, value in parts.items()) or "all terms together"
        raise TrainingError(f"step {self.step}: the {self.player}'s {what} is not finite ({terms}); {REMEDIES}")

    def tensors(self) -> dict[str, Tensor]:
        """The optimisers' moments, as flat names, the parameter's number first, to tensors."""
        return {
            f"{index}.{name}": tensor
            for index, (optimizer, moved) in enumerate(self._moved())
            for name, tensor in optimizer.state.get(moved, {}).items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        moved = self._moved()
        for key, tensor in tensors.items():
            number, name = key.split(".", 1)
            optimizer, parameter = moved[int(number)]
            # the step counts of the fused algorithm live where its parameters live
            optimizer.state[parameter][name] = tensor.to(parameter.device)

    def _moved(self) -> list[tuple[torch.optim.Optimizer, Tensor]]:
        """Of every parameter, who moves it, and as what."""
        return [
            (self.optimizers[-1], self.matrices[index]) if index in self.matrices else (self.optimizers[0], parameter)
            for index, parameter in enumerate(self.parameters)
        ]


def step_together(optimizers: Iterable[PlayerOptimizer], loss: Tensor, parts: Mapping[str, Tensor]) -> None:
    """Takes one step of each player down the one loss.

    Raises:
        TrainingError: the loss or a gradient is not finite; all weights are left as they were.
    """
    optimizers = list(optimizers)
    if not loss.requires_grad:  # every lesson is switched off at this step
        return
    for optimizer in optimizers:
        optimizer.begin(loss, parts)
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.clip()
    for optimizer in optimizers:
        optimizer.advance()
