"""The gradients and losses of all shards become those of the whole batch, in one exchange between the processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from semivae.game.losses import Losses
from semivae.parallel.cut import Cut

STOP_EVERY = 10  # steps on a GPU, at which processes ask whether one of them is to stop: each answer waits for it


class Reduction:
    """The mean over all shards of a turn's gradients and losses; with them travels whether a process was told to stop.

    Losses that are not finite in one process are so in the mean, so that all processes find it at the same step.

    Args:
        cut: the shards.
        asked: whether this process was asked to stop, by Ctrl-C or a signal, which reach processes at different steps.
    """

    def __init__(self, cut: Cut, asked: Callable[[], bool]) -> None:
        self.cut, self.asked = cut, asked
        self._stop: Tensor | None = None

    def mean(self, parameters: Sequence[nn.Parameter], parts: Sequence[Losses]) -> Losses:
        """Sets the gradients of parameters to those of the mean loss.

        Args:
            parameters: of the players that learn; those that no part depends on keep no gradient.
            parts: the losses of this process's shards, in order.

        Returns:
            The mean of the losses of all shards, without gradient.
        """
        rows: list[Tensor] = []
        for part in parts:
            for parameter in parameters:
                parameter.grad = None
            part.total.backward()  # type: ignore[no-untyped-call]
            gradients = [parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]
            values = [part.total.detach(), *part.terms.values(), *part.mask_rate.values()]
            stop = part.total.detach().new_tensor(float(self.asked()))
            rows.append(torch.cat([*gradients, torch.stack([value.float() for value in (*values, stop)])]))
        mean = self.cut.world.sum(torch.stack(rows), self.cut.in_order) / self.cut.count
        learnt = [parameter for parameter in parameters if parameter.grad is not None]
        lengths = [parameter.numel() for parameter in learnt]
        *gradients, values_and_stop = torch.split(mean, [*lengths, len(mean) - sum(lengths)])
        for parameter, gradient in zip(learnt, gradients, strict=True):
            parameter.grad = gradient.view_as(parameter)
        total, *named, self._stop = values_and_stop.unbind()
        terms, rates = parts[0].terms, parts[0].mask_rate
        return Losses(
            total,
            dict(zip(terms, named[: len(terms)], strict=True)),
            dict(zip(rates, named[len(terms) :], strict=True)),
        )

    def stops_at(self, step: int) -> bool:
        """Returns whether training stops after a step, the same in all processes."""
        if self.cut.world.size == 1:
            return self.asked()
        if self._stop is None or (self._stop.device.type != "cpu" and step % STOP_EVERY):
            return False
        return bool(self._stop > 0)


def checksum(tensors: Iterable[Tensor]) -> int:
    """Returns a number that differs where one bit of tensors does, and almost surely where several do.

    It is made of sums of words times places. Words of 8 bytes would lose their upper bits, as a sum overflows.
    """
    total = 0
    for place, tensor in enumerate(tensors):
        flat = tensor.detach().contiguous().view(-1)
        words = flat.view({1: torch.uint8, 2: torch.int16}.get(flat.element_size(), torch.int32))
        numbers = words.long()
        places = torch.arange(len(numbers), device=numbers.device) % 65_521 + 1
        total = (total * 31 + (place + 1) * int((numbers * places).sum())) % 2**61
    return total
