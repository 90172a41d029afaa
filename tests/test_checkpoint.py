"""Checkpoint files: what is shared is stored once, and everything comes back under its own name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from semivae.errors import RunError
from semivae.runs.checkpoint import Facts, read_checkpoint, write_checkpoint


def test_a_tensor_under_two_names_is_stored_once_and_read_as_two(tmp_path: Path) -> None:
    shared, other = torch.arange(6.0).reshape(2, 3), torch.arange(6.0).reshape(2, 3)
    tensors = {"top.net": shared, "bottom.net": shared, "own": other, "row": shared[0], "none": torch.empty(0)}
    write_checkpoint(tmp_path / "last.safetensors", tensors, Facts(step=3))
    with safe_open(tmp_path / "last.safetensors", framework="pt") as file:
        assert set(file.keys()) == {"top.net", "own", "row", "none"}
    found, facts = read_checkpoint(tmp_path / "last.safetensors")
    assert facts == Facts(step=3)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_whoever_may_read_new_files_may_read_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("")
    write_checkpoint(tmp_path / "last.safetensors", {"a": torch.zeros(2)}, Facts())
    assert (tmp_path / "last.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_damaged_metadata_are_told(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, {"a": torch.zeros(2)}, Facts(step=3))
    path.write_bytes(path.read_bytes().replace(rb"\"step", rb"\"st\"p"))
    with pytest.raises(RunError, match=r"last.safetensors: the checkpoint is damaged"):
        read_checkpoint(path)
