"""The exponential moving average (EMA) of a module's weights, the slow copy that teaches and that a run keeps."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


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
        self._updates: int | None = None  # `n_averaged` lies on the device, where asking for it waits
        self.register_load_state_dict_post_hook(_forget_updates)  # type: ignore[no-untyped-call]
        self.eval()

    def train(self, mode: bool = True) -> MovingAverage:
        """Like nn.Module.train, but it stays in eval mode."""
        super().train(False)
        return self

    def follow(self, module: nn.Module) -> None:
        """Updates the average, when the module has taken a step."""
        count = self._updates if self._updates is not None else int(self.n_averaged)
        # at first the decay is small, so that the initial weights are soon forgotten; the first update copies
        decay = min(self.decay, (1.0 + count) / (10.0 + count)) if count else 0.0
        with torch.no_grad():
            pairs = zip(self.module.parameters(), module.parameters(), strict=True)
            if moving := [(own, latest) for own, latest in pairs if own is not latest]:
                own, latest = zip(*moving, strict=True)
                torch._foreach_lerp_(own, latest, 1.0 - decay)
            for own_buffer, latest_buffer in zip(self.module.buffers(), module.buffers(), strict=True):
                if own_buffer is not latest_buffer:
                    own_buffer.copy_(latest_buffer)
            self.n_averaged.fill_(count + 1)
        self._updates = count + 1


def _forget_updates(average: MovingAverage, _: object) -> None:
    average._updates = None


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
