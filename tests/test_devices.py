"""The precision that `auto` chooses: the one that this device computes faster in."""

from __future__ import annotations

import pytest
import torch

from semivae import devices
from semivae.devices import choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_a_precision_that_is_asked_for_is_not_timed(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_times_of_convolutions", None)
    assert choose_precision(asked, CPU) == asked


@pytest.mark.parametrize(
    ("instructions", "seconds", "chosen"),
    [(True, 0.5, "bfloat16"), (True, 0.95, "float32"), (True, 1.5, "float32"), (False, 0.5, "float32")],
    ids=["faster", "hardly faster", "slower", "emulated"],
)
def test_auto_takes_what_this_processor_is_clearly_faster_in(
    instructions: bool, seconds: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {torch.float32: 1.0, torch.bfloat16: seconds}
    monkeypatch.setattr(devices, "_times_of_convolutions", lambda: times)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    devices._processor_is_faster_in_bfloat16.cache_clear()
    assert choose_precision("auto", CPU) == chosen
    devices._processor_is_faster_in_bfloat16.cache_clear()


def test_timing_leaves_the_random_numbers_of_a_training_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert min(devices._times_of_convolutions().values()) > 0
    assert torch.equal(torch.rand(3), expected)
