"""Divergence: losses and weights that are finite, but that no useful model has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from semivae.errors import TrainingError

LARGEST_LOSS = 1e8  # nats per sample; an untrained model of a megapixel image has less
LARGEST_WEIGHT = 100.0  # a net learns large losses of large inputs (1e4 and more) with small weights


def refuse_divergence(step: int, losses: Mapping[str, float], weights: Iterable[Tensor], rate: object) -> None:
    """Raises TrainingError where a loss and a weight are both beyond what training with a sound step size reaches.

    Args:
        step: how many steps were made.
        losses: means by name, nats per sample.
        weights: the parameters of both players.
        rate: the learning rate, or rates, that the advice names.
    """
    name = max(losses, key=lambda name: abs(losses[name]), default=None)
    if name is None or abs(losses[name]) <= LARGEST_LOSS:
        return
    largest = max((float(weight.detach().abs().max()) for weight in weights if weight.numel()), default=0.0)
    if largest > LARGEST_WEIGHT:
        raise TrainingError(
            f"step {step}: training has diverged: the loss {name} is {losses[name]:.2g} nats per sample, and weights "
            f"reach {largest:.2g}; the model is of no use. training.learning_rate is {rate}: train again with a "
            "smaller one and --overwrite, such as 1e-3, or with training.clip: 1.0"
        )
