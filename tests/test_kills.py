"""Trainings that are killed for real, and what is left when they were resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.kills import Kill, differences, measure, run_once
from semivae.api import Run
from tests.data.make_run import write_data


@pytest.mark.slow
@pytest.mark.parametrize("name", ["masks", "ladder"])
def test_killed_trainings_end_as_if_nobody_had_killed_them(name: str, tmp_path: Path) -> None:
    write_data(tmp_path)
    found = measure(name, 4, 0, tmp_path)
    assert found.kills.total() == 4 and found.differences == []


def test_a_checkpoint_that_is_half_written_is_as_if_it_had_never_begun(tmp_path: Path) -> None:
    write_data(tmp_path)
    assert not run_once("ladder", tmp_path / "whole", tmp_path, None)
    assert run_once("ladder", tmp_path / "run", tmp_path, Kill("half", 3, 0.4))
    (left,) = tmp_path.glob("run/.*.writing.safetensors")
    assert left.stat().st_size < (tmp_path / "run" / "last.safetensors").stat().st_size
    assert not run_once("ladder", tmp_path / "run", tmp_path, None)
    assert differences(tmp_path / "whole", tmp_path / "run") == []


def test_one_changed_number_is_a_difference(tiny_run: Run, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_run.path, tmp_path / "other"))
    assert differences(tiny_run.path, other) == []
    tensors = load_file(other / "last.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.dtype == torch.float32 and tensor.numel())
    tensors[name].view(-1)[0] += 1e-6 + tensors[name].view(-1)[0].abs() * 1e-6
    save_file(tensors, other / "last.safetensors")
    (other / "notes.txt").write_text("")
    assert differences(tiny_run.path, other) == ["file notes.txt", f"last.safetensors: {name}"]
