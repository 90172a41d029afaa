"""Memory that a training frees and asks for again at every step, kept by the process in between."""

from __future__ import annotations

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
MOST = 2**31 - 1  # bytes at the end of the heap that stay
LARGEST = (2**30, 2**25)  # bytes of what lies on the heap; older versions of glibc take at most the second


def keep_freed_memory() -> bool:
    """Lets glibc keep what is freed for the next request, instead of asking the kernel for fresh pages each time.

    Activations of large pictures are freed at every step, and clearing their pages again took a third of the processor
    time. The most that a process holds at a time changes little. What MALLOC_... in the environment says stands.

    Returns:
        Whether it was done: not outside of glibc, and not against the environment.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_TRIM_THRESHOLD, MOST) and any(mallopt(M_MMAP_THRESHOLD, size) for size in LARGEST))
