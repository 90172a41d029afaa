"""The players' optimisers: learning-rate schedule, gradient clipping, and the stop at a loss that is not finite."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from semivae.errors import TrainingError
from semivae.game.finite import answers_at_once
from semivae.game.game import Game
from semivae.game.graphs import OTHER_PLAYER, PlayerName
from semivae.game.losses import Losses, Term
from semivae.nets.freezing import Freezable
from semivae.recipe.schema import PlayerOptimizers, PlayerRates, TrainingSpec
from semivae.training.length import Length
from semivae.training.muon import Muon
from semivae.training.reduction import Reduction
from semivae.training.step_numbers import StepNumber, of_step, taken_now

REMEDIES = "try a smaller training.learning_rate, training.clip: 1.0, or training.precision: float32"


class PlayerOptimizer:
    """Adam, AdamW or Muon for one player.

    Muon moves weight matrices and convolutions by the nearest orthogonal matrix to their running gradient (Jordan et
    al. 2024), as far as AdamW would move them at the same learning rate (Liu et al. 2025); AdamW moves all the rest.

    Args:
        parameters: of the player; those without `requires_grad` stay as they are.
        spec: the recipe's training section.
        player: whose parameters these are; the section may give each player an algorithm and a rate of its own.
        shares: of the learning rate, for parameters that have not all of it (`shares_of`).
        length: of the training; None: as the section says.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        spec: TrainingSpec,
        player: PlayerName,
        shares: Mapping[nn.Parameter, float] | None = None,
        length: Length | None = None,
    ) -> None:
        self.parameters, self.spec = parameters, spec
        self.length = length or Length(spec)
        rates, algorithms = spec.learning_rate, spec.optimizer
        self.learning_rate = getattr(rates, player) if isinstance(rates, PlayerRates) else rates
        name = getattr(algorithms, player) if isinstance(algorithms, PlayerOptimizers) else algorithms
        # Muon takes matrices only: it gets each weight as one, in the same memory
        self.matrices = {
            index: nn.Parameter(parameter.detach().view(len(parameter), -1))
            for index, parameter in enumerate(parameters)
            if name == "muon" and parameter.ndim >= 2 and parameter.requires_grad
        }
        others = {
            index: parameter
            for index, parameter in enumerate(parameters)
            if index not in self.matrices and parameter.requires_grad
        }
        algorithm = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        shared: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": spec.weight_decay}
        groups = self._groups(others, shares or {})
        # a player of fixed factors only has no parameters
        self.optimizers: list[torch.optim.Optimizer] = [
            algorithm(groups or [{"params": [torch.zeros(0, requires_grad=True)]}], fused=True, **shared)
        ]
        if self.matrices:
            dtype = torch.bfloat16 if spec.precision == "bfloat16" else torch.float32
            self.optimizers.append(Muon(self._groups(self.matrices, shares or {}), dtype=dtype, **shared))

    def _groups(self, moved: Mapping[int, Tensor], shares: Mapping[nn.Parameter, float]) -> list[dict[str, Any]]:
        """Returns an optimiser's groups, one for each share of the learning rate, of what it moves by number."""
        groups: dict[float, list[Tensor]] = {}
        for index, tensor in moved.items():
            groups.setdefault(shares.get(self.parameters[index], 1.0), []).append(tensor)
        return [{"params": tensors, "share": share} for share, tensors in groups.items()]

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, as the length of the training says."""
        return self.length.rate_at(step, self.learning_rate)

    def zero_grad(self) -> None:
        """Drops the last gradient."""
        for parameter in self.parameters:
            parameter.grad = None

    def clip_gradient(self) -> Tensor:
        """Clips the new gradient; returns its norm before, [], which is finite where all of it is."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.spec.clip and gradients:
            torch._foreach_div_(gradients, (norm / self.spec.clip).clamp_min(1.0))
        return norm

    def update(self, step: int | StepNumber) -> None:
        """Updates the parameters by their gradients, at the learning rate of that step."""
        rate = of_step(self.rate_at, step)
        for index, matrix in self.matrices.items():
            gradient = self.parameters[index].grad
            matrix.grad = None if gradient is None else gradient.reshape(matrix.shape)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                of_group = rate * group.get("share", 1.0)
                group["lr"] = of_group.tensor() if isinstance(of_group, StepNumber) else of_group
                # torch wants it to be said while a graph is captured, and only then
                group["capturable"] = isinstance(of_group, StepNumber) and of_group.owner.is_captured
            optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """Returns the optimisers' moments by flat names, which start with the parameter's number."""
        return {
            f"{index}.{name}": tensor
            for index, (optimizer, moved) in enumerate(self._moved())
            for name, tensor in optimizer.state.get(moved, {}).items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for optimizer in self.optimizers:
            optimizer.state.clear()
        moved = self._moved()
        for key, tensor in tensors.items():
            number, name = key.split(".", 1)
            optimizer, parameter = moved[int(number)]
            # the step counts of the fused algorithm live where its parameters live
            optimizer.state[parameter][name] = tensor.to(parameter.device)

    def _moved(self) -> list[tuple[torch.optim.Optimizer, Tensor]]:
        """Returns for every parameter the optimiser that updates it, and the tensor under which it does so."""
        return [
            (self.optimizers[-1], self.matrices[index]) if index in self.matrices else (self.optimizers[0], parameter)
            for index, parameter in enumerate(self.parameters)
        ]


def shares_of(player: nn.Module) -> dict[nn.Parameter, float]:
    """Returns the share of the learning rate of each parameter that learns in a network trained elsewhere."""
    shares: dict[nn.Parameter, float] = {}
    for module in player.modules():  # an outer network comes before those inside it, and decides
        if isinstance(module, Freezable):
            own = dict(module.named_parameters())
            for name, share in module.rates.items():
                shares.setdefault(own[name], share)
    return shares


@dataclass(frozen=True)
class Turn:
    """What is to be checked of a turn that was taken.

    Args:
        step: the number of the step.
        who: the players that moved, for messages.
        terms: the loss by its terms, without gradient.
        loss_and_norms: the loss, and the norm of each player's gradient, [1 + players], on the device. Norms are finite
            where all of a gradient is.
    """

    step: int
    who: str
    terms: Mapping[Term, Tensor]
    loss_and_norms: Tensor

    def copied(self, step: int) -> Turn:
        """Returns the same turn of another step, with a copy of its numbers."""
        terms = torch.stack(list(self.terms.values())).unbind() if self.terms else ()
        return Turn(step, self.who, dict(zip(self.terms, terms, strict=True)), self.loss_and_norms.clone())


class Optimizers:
    """The optimisers of the players, and an update of some of them.

    Args:
        of: the optimiser of each player.
        wait: whether each turn waits for the answer whether its loss and gradient are finite, before anything moves.
            Without, the caller asks by `check` now and then: a GPU would stand still at every question.
    """

    def __init__(self, of: Mapping[PlayerName, PlayerOptimizer], wait: bool = True) -> None:
        self.of, self.wait = of, wait
        self._unchecked: list[Turn] = []

    @classmethod
    def of_game(cls, game: Game, spec: TrainingSpec, length: Length | None = None) -> Optimizers:
        """Returns the optimisers of a game's two players, as a recipe's training section asks for them."""
        wait = all(answers_at_once(parameter) for parameter in game.parameters())
        players = {player: game.player(player) for player in OTHER_PLAYER}
        return cls(
            {
                name: PlayerOptimizer(list(player.parameters()), spec, name, shares_of(player), length)
                for name, player in players.items()
            },
            wait,
        )

    def step(self, learners: Sequence[PlayerName], losses: Losses, step: int | StepNumber) -> None:
        """Updates the players that learn, by the gradient of one loss.

        Args:
            learners: the players to update.
            losses: the total to minimise, and its terms, which the message names if one is not finite.
            step: the number of the step, which sets the learning rate.

        Raises:
            TrainingError: the loss or a gradient is not finite; with `wait`, no weight has changed then.
        """
        if not losses.total.requires_grad:  # every lesson is switched off at this step
            return
        moving = [self.of[player] for player in learners]
        for optimizer in moving:
            optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        self._move(moving, learners, losses, step)

    def step_by_parts(
        self, learners: Sequence[PlayerName], parts: Sequence[Losses], step: int, reduction: Reduction
    ) -> Losses:
        """Updates the players by the mean gradient of the losses of all shards, as `step` does by one loss.

        Args:
            learners: the players to update.
            parts: the losses of the shards that this process computes.
            step: the number of the step.
            reduction: how the shards' gradients become one.

        Returns:
            The loss of the whole batch, without gradient.

        Raises:
            TrainingError: as `step`, then in every process; or another process has ended.
        """
        if not parts[0].total.requires_grad:
            return parts[0]
        moving = [self.of[player] for player in learners]
        losses = reduction.mean([parameter for optimizer in moving for parameter in optimizer.parameters], parts)
        self._move(moving, learners, losses, step)
        return losses

    def _move(
        self, moving: Sequence[PlayerOptimizer], learners: Sequence[PlayerName], losses: Losses, step: int | StepNumber
    ) -> None:
        """Clips the gradients, checks them and the loss, and updates the parameters."""
        loss = losses.total.detach()
        norms = [optimizer.clip_gradient().to(loss) for optimizer in moving]
        who = " and ".join(learners)
        self._unchecked.append(Turn(taken_now(step), who, losses.terms, torch.stack([loss, *norms])))
        if self.wait:
            self.check()
        for optimizer in moving:
            optimizer.update(step)

    def withdraw(self) -> list[Turn]:
        """Returns the turns that are to be checked, which are no longer."""
        turns, self._unchecked = self._unchecked, []
        return turns

    def add(self, turns: Sequence[Turn]) -> None:
        """Adds turns that are to be checked."""
        self._unchecked += turns

    def check(self) -> None:
        """Asks whether all that was taken since the last check is finite; to be called before anything is kept.

        Raises:
            TrainingError: a loss or a gradient is not.
        """
        turns = self.withdraw()
        if not turns:
            return
        answers = iter(torch.cat([turn.loss_and_norms for turn in turns]).isfinite().tolist())  # one wait for all
        for turn in turns:
            loss, *norms = itertools.islice(answers, len(turn.loss_and_norms))
            if not loss:
                bad = {str(term): value.item() for term, value in turn.terms.items() if not value.isfinite()}
                raise TrainingError(_not_finite(turn.step, f"the loss of the {turn.who}", bad))
            if not all(norms):
                raise TrainingError(_not_finite(turn.step, f"the gradient of the {turn.who}", {}))

    def tensors(self) -> dict[str, Tensor]:
        """Returns the moments of both, by flat names."""
        return {
            f"{player}.{name}": tensor
            for player, optimizer in self.of.items()
            for name, tensor in optimizer.tensors().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores moments that `tensors` returned. Raises ValueError or IndexError for those of another model."""
        for player, optimizer in self.of.items():
            prefix = f"{player}."
            own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            optimizer.load(own)


def _not_finite(step: int, what: str, terms: Mapping[str, float]) -> str:
    named = ", ".join(f"{name} = {value}" for name, value in terms.items()) or "all terms together"
    return f"step {step}: {what} is not finite ({named}); {REMEDIES}"
