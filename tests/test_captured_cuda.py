"""Steps that a real GPU captures; without one, what the calls of CUDA are given."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import semivae
from semivae.training import cuda_graph
from semivae.training.cuda_graph import CudaGraph

CHANGES: dict[str, object] = {"training.steps": 40, "training.validate_every": 20, "training.precision": "float32"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("recipe", ["digits_50labels", "digit_pairs"])
def test_a_gpu_ends_where_it_ends_without_capture(recipe: str, tmp_path: Path) -> None:
    said: list[str] = []
    for capture in (False, True):
        changes = {**CHANGES, "training.capture": capture}
        out = tmp_path / f"{capture}"
        semivae.train(recipe, set=changes, out=out, device="cuda", progress=lambda state: said.append(state.message))
    assert not any("captured" in text for text in said)
    one, other = (load_file(tmp_path / f"{capture}" / "last.safetensors") for capture in (False, True))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0.05, atol=0.05)


FAKED = [
    "Stream",
    "CUDAGraph",
    "default_generators",
    "current_stream",
    "current_device",
    "set_stream",
    "stream",
    "graph",
]
FAKED += ["get_sync_debug_mode", "set_sync_debug_mode"]


class Calls:
    """Stands in for `torch.cuda` where there is none, and notes what it is asked for."""

    def __init__(self, fails: bool = False) -> None:
        self.made: list[str] = []
        self.fails = fails
        self.default_generators = (FakeGenerator(self, "default"),)

    def Stream(self, device: torch.device) -> FakeStream:  # noqa: N802
        return FakeStream(self, "side")

    def CUDAGraph(self) -> Calls:  # noqa: N802
        return self

    def register_generator_state(self, generator: Any) -> None:
        self.made.append(f"register {generator.name}")

    def replay(self) -> None:
        self.made.append("replay")

    def current_stream(self) -> FakeStream:
        return FakeStream(self, "current")

    def current_device(self) -> int:
        return 0

    def set_stream(self, stream: FakeStream) -> None:
        self.made.append(f"set {stream.name}")

    def get_sync_debug_mode(self) -> int:
        return 0

    def set_sync_debug_mode(self, mode: int | str) -> None:
        self.made.append(f"waits {mode}")

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        self.made.append(f"on {stream.name}")
        yield

    @contextmanager
    def graph(self, graph: Calls, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
        self.made.append(f"capture on {stream.name}, {capture_error_mode}")
        yield
        if self.fails:
            raise RuntimeError("CUDA error")


class FakeStream:
    device = torch.device("cpu")

    def __init__(self, calls: Calls, name: str) -> None:
        self.calls, self.name = calls, name

    def wait_stream(self, other: FakeStream) -> None:
        self.calls.made.append(f"{self.name} waits for {other.name}")


class FakeGenerator:
    device = torch.device("cpu")

    def __init__(self, calls: Calls, name: str) -> None:
        self.calls, self.name = calls, name

    def graphsafe_set_state(self, state: object) -> None:
        self.calls.made.append(f"renew {self.name}")


def graph_of(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> CudaGraph:
    for name in FAKED:
        monkeypatch.setattr(torch.cuda, name, getattr(calls, name))
    monkeypatch.setattr(cuda_graph, "new_state", lambda device: None)
    views: Any = FakeGenerator(calls, "views")
    return CudaGraph(torch.device("cuda"), [views])


def test_work_is_rehearsed_and_captured_on_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    graph = graph_of(calls, monkeypatch)

    def work() -> None:
        torch.zeros(2).sum()

    seen = graph.rehearse(work)
    graph.capture(lambda: calls.made.append("work"))
    graph.replay()
    assert len(seen.operations) == 2 and not seen.faults
    assert calls.made == [
        "register views",
        "side waits for current",
        "on side",
        "waits warn",
        "waits 0",
        "current waits for side",
        "capture on side, thread_local",
        "work",
        "replay",
    ]


def test_a_wait_below_the_dispatcher_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(Calls(), monkeypatch)
    seen = graph.rehearse(lambda: warnings.warn("called a synchronizing CUDA operation", stacklevel=1))
    assert len(seen.faults) == 1 and seen.faults[0].endswith("waits for the GPU")


def test_a_capture_that_fails_leaves_stream_and_generators_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(fails=True)
    graph = graph_of(calls, monkeypatch)
    with pytest.raises(RuntimeError, match="CUDA error"):
        graph.capture(lambda: None)
    assert calls.made[-3:] == ["set current", "renew default", "renew views"]
