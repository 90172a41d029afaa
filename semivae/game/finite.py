"""What a network returns is finite, or is refused by name before anything is drawn from it."""

from __future__ import annotations

import math

from torch import Tensor

from semivae.parallel.shards import current_shard


def answers_at_once(values: Tensor) -> bool:
    """Returns whether a question about values costs no wait: on a CPU. A GPU stands still until it has answered."""
    return values.device.type == "cpu"


def finite(values: Tensor, what: str) -> Tensor:
    """Returns values that can be drawn from.

    Args:
        values: what a network returned.
        what: the network, in words.

    Raises:
        FloatingPointError: they are not finite, so a draw would be undefined. Asked on a CPU only, where the answer
            costs no wait, and of whole batches; elsewhere such a network shows in its own loss.
    """
    if not answers_at_once(values) or current_shard().count > 1:
        # a draw from what is not finite would end a process on a GPU; of several processes all end at one step
        return values.nan_to_num()
    if not math.isfinite(values.sum().item()) and not bool(values.isfinite().all()):  # a sum may overflow
        raise FloatingPointError(f"{what} returns values that are not finite")
    return values
