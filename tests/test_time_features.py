"""What a flow's network sees of a time: its frequencies are kept, and serve whoever asks next."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semivae.game import flow


class Features(nn.Module):
    def forward(self, time: Tensor) -> Tensor:
        return flow.time_features(time)


def test_an_export_and_inference_leave_frequencies_that_training_can_use() -> None:
    time = torch.tensor([0.2, 0.7])
    expected = flow.time_features(time)
    flow._frequencies.cache_clear()
    exported = torch.export.export(Features(), (time,)).module()
    torch.testing.assert_close(exported(time), expected)
    assert type(flow.time_features(time)) is Tensor  # no tensor of the trace
    flow._frequencies.cache_clear()
    with torch.inference_mode():
        flow.time_features(time)
    flow.time_features(time.requires_grad_()).sum().backward()
    assert time.grad is not None
