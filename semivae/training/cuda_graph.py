"""A graph of a CUDA device (PyTorch's notes on CUDA graphs say what work has to be like to be captured)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch

from semivae.training.capturable import Watch
from semivae.training.captured import Graph, Rehearsal

WAIT = "synchronizing CUDA operation"  # in torch's own warning


class CudaGraph:
    """Captures work on a stream of its own.

    Args:
        device: a CUDA device.
        generators: what draws random numbers in the work, besides torch's own generator.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        self.generators = [default_generator(device), *generators]
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self.graph.register_generator_state(generator)

    def rehearse(self, work: Callable[[], None]) -> Rehearsal:
        """Does the work on that stream; a wait for the device below PyTorch's dispatcher is a fault, too."""
        mode = torch.cuda.get_sync_debug_mode()
        self.stream.wait_stream(torch.cuda.current_stream())
        watch = Watch(self.stream.device)
        with warnings.catch_warnings(record=True) as waits, torch.cuda.stream(self.stream), watch:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                work()
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream().wait_stream(self.stream)
        found = [f"{wait.filename}:{wait.lineno} waits for the GPU" for wait in waits if WAIT in str(wait.message)]
        return Rehearsal(watch.operations, [*watch.faults, *found])

    def capture(self, work: Callable[[], None]) -> None:
        """Captures the work. Other threads may go on to read the next batches meanwhile."""
        before = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
                work()
        except BaseException:  # torch then leaves its stream and its generators in the middle of the capture
            torch.cuda.set_stream(before)
            for generator in self.generators:
                generator.graphsafe_set_state(new_state(generator.device))
            raise

    def replay(self) -> None:
        self.graph.replay()


def graphs_of(device: torch.device, generators: Sequence[torch.Generator], parts: int) -> Callable[[], Graph] | str:
    """Returns what makes graphs of a training's steps, or why there are none.

    Args:
        device, generators: as for `CudaGraph`.
        parts: into how many parts batches are cut, between which steps exchange numbers.
    """
    if device.type != "cuda":
        return f"the device {device.type} has no graphs"
    if parts > 1:
        return f"batches are cut into {parts} parts (several processes, or training.shards), between which a step waits"
    return lambda: CudaGraph(device, generators)


def default_generator(device: torch.device) -> torch.Generator:
    """Returns torch's own generator of a CUDA device."""
    number = torch.cuda.current_device() if device.index is None else device.index
    generator: torch.Generator = torch.cuda.default_generators[number]
    return generator


def new_state(device: torch.device) -> torch.Generator:
    """Returns the state of a generator that no graph knows."""
    return torch.Generator(device).graphsafe_get_state()
