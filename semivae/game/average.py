"""The exponential moving average (EMA) of a module's weights, the slow copy that teaches and that a run keeps."""

from __future__ import annotations

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
        self.eval()

    def train(self, mode: bool = True) -> MovingAverage:
        """Like nn.Module.train, but it stays in eval mode."""
        super().train(False)
        return self

    @torch.no_grad()
    def follow(self, module: nn.Module) -> None:
        """Updates the average, when the module has taken a step."""
        pairs = zip(self.module.parameters(), module.parameters(), strict=True)
        if moving := [(own, latest) for own, latest in pairs if own is not latest]:
            own, latest = zip(*moving, strict=True)
            if answers_at_once(self.n_averaged):
                torch._foreach_lerp_(own, latest, self._latest_weight())
            else:
                change = torch._foreach_sub(latest, own)
                torch._foreach_mul_(change, self._latest_weight_on_device())
                torch._foreach_add_(own, change)
        for own_buffer, latest_buffer in zip(self.module.buffers(), module.buffers(), strict=True):
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
