"""What a figure was measured on and when: processor, vector instructions, GPU, versions, source revision, time."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import sklearn
import torch

import semivae

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def stamp(device: torch.device) -> dict[str, Any]:
    """The machine, the versions and the time of what was measured just now, in UTC."""
    return {
        "machine": machine(device),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """The processor, the cores that this process may use, its threads, instructions of `FLAGS`, and the GPU if used."""
    name, flags = _processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"cpu": name, "cores": cores, "threads": torch.get_num_threads(), "instructions": flags, "gpu": gpu}


def machine_text(facts: Mapping[str, Any]) -> str:
    """`machine` in one line."""
    flags = ", ".join(facts["instructions"]) or "no listed vector instructions"
    text = f"{facts['cpu']}, {facts['cores']} core(s), {facts['threads']} thread(s) ({flags})"
    return f"{facts['gpu']} with {text}" if facts["gpu"] else text


def versions() -> dict[str, str | None]:
    """Versions of what computes, and the revision of the source where it is a git checkout."""
    return {
        "semivae": semivae.__version__,
        "revision": revision(Path(semivae.__file__).parents[1]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": numpy.__version__,
    }


def revision(folder: Path) -> str | None:
    """The commit of a checkout, `+` if semivae/ or recipes/ differ from it; None outside of a checkout."""
    git = ["git", "--no-optional-locks", "-C", str(folder)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = [*git, "status", "--porcelain", "--", "semivae", "recipes"]
        status = subprocess.run(changed, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")


def _processor(path: Path = Path("/proc/cpuinfo")) -> tuple[str, list[str]]:
    """Name and instructions of the first core, as Linux names them; elsewhere what Python knows of them."""
    facts: dict[str, str] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    has = set((facts.get("flags") or facts.get("Features") or "").split())
    name = facts.get("model name") or platform.processor() or platform.machine() or "unknown processor"
    return name, [flag for flag in FLAGS if flag in has]
