"""Freed memory stays with the process that trains."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from semivae.cli import app

FAULTS = """
import resource
import torch
from semivae.cli.freed_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

done = KEPT
print(done, [faults() for _ in range(24)][-1])  # the first few still make the heap grow
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
@pytest.mark.parametrize("kept", [True, False])
def test_a_later_request_asks_the_kernel_for_nothing(monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX", "MALLOC_TOP_PAD_"):
        monkeypatch.delenv(name, raising=False)
    script = FAULTS.replace("KEPT", "keep_freed_memory()" if kept else "False")
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    done, count = output.split()
    assert done == str(kept)
    assert (int(count) < 16) == kept  # fresh pages: 16,384 faults, or 32 of 2 MiB each


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    from semivae.cli.freed_memory import keep_freed_memory

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory()


def test_training_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[bool] = []
    monkeypatch.setattr("semivae.cli.train_command.keep_freed_memory", lambda: calls.append(True))
    occupied = tmp_path / "run"
    occupied.mkdir()
    (occupied / "mine.txt").write_text("mine")
    found = CliRunner().invoke(app, ["train", "digits_50labels", "--out", str(occupied)])
    assert calls and found.exit_code == 1  # before anything is built
