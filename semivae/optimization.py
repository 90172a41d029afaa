"""One player's optimiser: learning-rate schedule, gradient clipping, and the stop at a loss that is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from semivae.errors import TrainingError
from semivae.game.plan import PlayerName
from semivae.recipe.schema import PlayerRates, TrainingSpec

REMEDIES = "try a smaller training.learning_rate, training.clip: 1.0, or training.precision: float32"


class PlayerOptimizer:
    """Adam or AdamW for one player.

    Args:
        player: whose parameters these are, for messages.
        parameters: what it may change.
        spec: the recipe's training section.
    """

    def __init__(self, player: PlayerName, parameters: list[nn.Parameter], spec: TrainingSpec) -> None:
        self.player, self.parameters, self.spec = player, parameters, spec
        rates = spec.learning_rate
        self.learning_rate = getattr(rates, player) if isinstance(rates, PlayerRates) else rates
        algorithm = torch.optim.AdamW if spec.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = algorithm(
            parameters or [torch.zeros(0, requires_grad=True)],  # a player of fixed factors only has nothing to move
            lr=self.learning_rate,
            weight_decay=spec.weight_decay,
            fused=True,
        )
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
        self.optimizer.zero_grad(set_to_none=True)

    def clip(self) -> None:
        """Clips the new gradient. Raises TrainingError where it is not finite."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.spec.clip or math.inf)
        if not math.isfinite(norm.item()):
            self._stop({}, "gradient")

    def advance(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate_at(self.step)
        self.optimizer.step()

    def _stop(self, parts: Mapping[str, Tensor], what: str) -> None:
        terms = ", ".join(f"{name} = {value.item()}" for name, value in parts.items()) or "all terms together"
        raise TrainingError(f"step {self.step}: the {self.player}'s {what} is not finite ({terms}); {REMEDIES}")

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's moments, as flat names to tensors."""
        state = self.optimizer.state_dict()["state"]
        return {f"{index}.{name}": tensor for index, moments in state.items() for name, tensor in moments.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            index, name = key.split(".", 1)
            # the step counts of the fused algorithm live where its parameters live
            state.setdefault(int(index), {})[name] = tensor.to(self.parameters[int(index)].device)
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


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
