"""Divergence: losses and weights that are finite, but that no useful model has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from semivae.errors import TrainingError

LARGEST_LOSS = 1e8  # nats per sample; even an untrained model of a megapixel image has less
LARGEST_WEIGHT = 100.0  # the weights stay small even where large inputs (1e4 and more) make large losses


def refuse_divergence(step: int, losses: Mapping[str, float], weights: Iterable[Tensor], rate: object) -> None:
    """Raises TrainingError if both a loss and a weight are larger than training with a sound learning rate makes them.

    Args:
        step: the number of steps taken.
        losses: mean losses by name, nats per sample.
        weights: the parameters of both players.
        rate: the learning rate or rates, for the message.
    """
    name = max(losses, key=lambda name: abs(losses[name]), default=None)
    if name is None or abs(losses[name]) <= LARGEST_LOSS:
        return
    largest = max((float(weight.detach().abs().max()) for weight in weights if weight.numel()), default=0.0)
    if largest > LARGEST_WEIGHT:
        raise TrainingError(
            f"step {step}: training has diverged: the loss {name} is {losses[name]:.2g} nats per sample, and weights "
            f"reach {largest:.2g}; the model is of no use. training.learning_rate is {rate}: use a smaller one (1e-3 "
            "suits most networks) or training.clip: 1.0, and train again with --overwrite"
        )
