"""Which device, which precision is fast there, and how much memory there is."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from semivae.errors import RunError

# of torch's allocator, of oneDNN (which has other faults with a primitive's descriptor), and of files that are mapped
OUT_OF_MEMORY = re.compile(
    r"DefaultCPUAllocator|could not create a primitive(?! desc)|std::bad_alloc|Cannot allocate memory|os error 12\b"
)
KINDS = ("cpu", "cuda", "mps")
PrecisionName = Literal["float32", "bfloat16"]

CLEARLY = 0.85  # of the time: less is not worth the rounding
REPEATS = 12  # of a timing; the first also sets up


def choose_device(name: str) -> torch.device:
    """The device by name; "auto" is the first GPU, else the CPU. Of several processes each has a GPU of its own.

    Raises:
        RunError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(_own_gpu() if name == "cuda" else name)
        if device.type not in KINDS or (device.type == "cpu" and device.index):
            raise RuntimeError
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        known = name.partition(":")[0] in KINDS
        what = "this machine has none" if known else f"there is no such kind; the kinds are {', '.join(KINDS)}"
        raise RunError(f"device {name}: {what}; use the device auto or cpu") from None
    return device


def _own_gpu() -> str:
    """The GPU of this process: of several, the one of its number on its node. Raises RunError if there are too few."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return "cuda"
    number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if count and number >= count:
        raise RunError(
            f"process {number} of this node (counted from 0) finds {count} GPUs; start one process for each GPU, or "
            "give --device cpu"
        )
    return f"cuda:{number}"


@dataclass(frozen=True)
class Memory:
    """All memory of a device, used or free.

    Args:
        owner: whose it is, for messages.
        size: in bytes; infinite where it is not known.
    """

    owner: str
    size: float


def memory_of(device: torch.device) -> Memory:
    """The memory of a GPU; else all that this process can have of the machine, used or free."""
    if device.type == "cuda":
        return Memory("the GPU", torch.cuda.get_device_properties(device).total_memory)
    return Memory("this machine", min([*_machine_memory(), *_own_limits()], default=math.inf))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be had: of Python, of a GPU, or of torch on a CPU, which says so in words only."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or OUT_OF_MEMORY.search(str(error)) is not None


def free_memory() -> int:
    """Bytes of main memory that this process can still have: of the machine, its container and its own limit.

    The largest int64 where the system does not tell.
    """
    limits = [2**63 - 1]
    with contextlib.suppress(OSError, ValueError, StopIteration):  # Linux
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    return min([*limits, *([] if len(limits) > 1 else _machine_memory()), *_own_limits()])


def _machine_memory() -> list[int]:
    """Bytes of the whole machine's main memory, where the system tells them: Windows does not."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    return []


def _own_limits() -> list[int]:
    """Bytes that the container or the limit of this process leaves it, where there are such."""
    limits: list[int] = []
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no container, or "max"
            limits.append(int(Path(file).read_text()))
    with contextlib.suppress(ImportError, OSError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            limits.append(limit)
    return limits


def choose_precision(asked: str, device: torch.device) -> PrecisionName:
    """The asked precision; "auto" is bfloat16 where the device computes faster in it.

    A GPU says so. Processors with the same instructions differ (a step of digits takes 0.86 of the time in bfloat16 on
    one, 1.31 on another: docs/experiments.md), so both are timed once, in about a tenth of a second.
    """
    if asked == "float32" or asked == "bfloat16":
        return asked  # type: ignore[return-value]
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and _processor_is_faster_in_bfloat16() else "float32"


@functools.cache
def _processor_is_faster_in_bfloat16() -> bool:
    if not (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return False  # emulated: many times slower
    times = _times_of_convolutions()
    return times[torch.bfloat16] < CLEARLY * times[torch.float32]


def _times_of_convolutions() -> dict[torch.dtype, float]:
    """Processor time, in seconds, of a convolution and its gradients by precision: the shortest of many, in turn.

    The channels of a place lie side by side in memory, as in the networks (`semivae.nets.layers.channels_last`). What
    else the processor does lengthens some of the times; the shortest of either precision hardly change.
    """
    with torch.random.fork_rng(devices=[]):  # no draw of a training may depend on it
        layer = torch.nn.Conv2d(32, 64, 3, padding=1)
        images = torch.randn(32, 32, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    times: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(REPEATS):
        for dtype, found in times.items():
            start = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                layer(images).sum().backward()
            found.append(time.process_time() - start)
    return {dtype: min(found) for dtype, found in times.items()}
