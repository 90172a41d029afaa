"""The exponential moving average (EMA) of a module's weights, the slow copy that teaches and that a run keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from semivae.game.finite import answers_at_once


class MovingAverage(AveragedModel):
    """A copy of a module that follows it slowly. Frozen weights are shared with the module, not copied.

    It stays in eval mode: a teacher with dropout would teach its own noise.

    Args:
        module: what is averaged.
        decay: how much of the average is kept in an update, in the long run.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__(module)
        _share_frozen(module, self.module)
        self.decay = decay
        self._pairs: _Pairs | None = None
        self.eval()

    def train(self, mode: bool = True) -> MovingAverage:
        """Like nn.Module.train, but it stays in eval mode."""
        super().train(False)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pairs": None}  # a copy would hold a copy of the module, too

    @torch.no_grad()
    def follow(self, module: nn.Module) -> None:
        """Updates the average, when the module has taken a step."""
        if self._pairs is None or self._pairs.module is not module:
            self._pairs = _Pairs.of(module, self.module)
        own, latest = self._pairs.own, self._pairs.latest
        if own:
            if answers_at_once(self.n_averaged):
                torch._foreach_lerp_(own, latest, self._latest_weight())
            else:
                change = torch._foreach_sub(latest, own)
                torch._foreach_mul_(change, self._latest_weight_on_device())
                torch._foreach_add_(own, change)
        for own_module, latest_module in self._pairs.buffered:
            buffers = zip(own_module.buffers(recurse=False), latest_module.buffers(recurse=False), strict=True)
            for own_buffer, latest_buffer in buffers:
                if own_buffer is not latest_buffer:
                    own_buffer.copy_(latest_buffer)
        self.n_averaged.add_(1)

    def _latest_weight(self) -> float:
        """Returns how much the next update takes of the module's weights."""
        count = int(self.n_averaged)
        # at first the decay is small, so that the initial weights are soon forgotten; the first update copies
        decay = min(self.decay, (1.0 + count) / (10.0 + count)) if count else 0.0
        return 1.0 - decay

    def _latest_weight_on_device(self) -> Tensor:
        """Returns the same, [], where asking for a number waits, and a step that is replayed would not ask again."""
        weight = (9.0 / (10.0 + self.n_averaged)).clamp_min(1.0 - self.decay)
        return weight.masked_fill(self.n_averaged == 0, 1.0)


@dataclass(frozen=True)
class _Pairs:
    """What an average moves towards what, found once: to walk through all modules takes longer than to move them.

    Args:
        module: that is averaged.
        own, latest: the parameters of the average, and those of the module, but for shared ones.
        buffered: the modules of both that have buffers.
    """

    module: nn.Module
    own: list[Tensor]
    latest: list[Tensor]
    buffered: list[tuple[nn.Module, nn.Module]]

    @classmethod
    def of(cls, module: nn.Module, average: nn.Module) -> _Pairs:
        parameters = zip(average.parameters(), module.parameters(), strict=True)
        moving = [(own, latest) for own, latest in parameters if own is not latest]
        modules = zip(average.modules(), module.modules(), strict=True)
        buffered = [pair for pair in modules if any(True for _ in pair[0].buffers(recurse=False))]
        return cls(module, [own for own, _ in moving], [latest for _, latest in moving], buffered)


def _share_frozen(module: nn.Module, average: nn.Module) -> None:
    """Lets the average have the frozen weights of the module themselves, with their statistics, instead of copies."""
    for source, copied in zip(module.modules(), average.modules(), strict=True):
        own = dict(source.named_parameters(recurse=False))
        frozen = {name: parameter for name, parameter in own.items() if not parameter.requires_grad}
        for name, parameter in frozen.items():
            setattr(copied, name, parameter)
        if frozen and len(frozen) == len(own):
            for name, buffer in source.named_buffers(recurse=False):
                setattr(copied, name, buffer)
