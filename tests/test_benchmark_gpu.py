"""The benchmark of GPU recipes: pieces that stop and go on, killed ones too, and a table of what was measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.gpu import by_recipe, main, recipe_of, table
from semivae.errors import RecipeError

ROOT = Path(__file__).parents[1]
NAME = "cifar10_4000labels"
SMALL = {
    "variables.y.classes": 2,
    "split": "{labelled: 8, validation: 8}",
    "training.steps": 30,
    "training.validate_every": 15,
    "encoder.y.net": "{name: mlp, hidden: [8]}",
    "encoder.h.net": "{name: mlp, hidden: [8]}",
    "decoder.x.net": "{name: mlp, hidden: [8]}",
}


def colours(root: Path) -> Path:
    """Red and blue squares, 32 pixels wide."""
    for part, count in (("train", 20), ("test", 10)):
        for name, colour in (("blue", (40, 40, 200)), ("red", (200, 40, 40))):
            folder = root / "colours" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = np.full((32, 32, 3), colour, np.uint8) + np.uint8(index)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return root / "colours"


def command(out: Path, data: Path, minutes: float) -> list[str]:
    changes = [word for key, value in SMALL.items() for word in ("--set", f"{NAME}:{key}={value}")]
    options = ["--out", str(out), "--data-root", str(out), "--device", "cpu", "--shorten", "--minutes", str(minutes)]
    return [sys.executable, "-m", "benchmarks.gpu", NAME, *options, "--source", f"{NAME}={data}", *changes]


def piece(out: Path, data: Path, minutes: float) -> str:
    done = subprocess.run(command(out, data, minutes), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_pieces_go_on_until_all_is_measured(tmp_path: Path) -> None:
    data, out = colours(tmp_path), tmp_path / "out"
    killed = subprocess.Popen(command(out, data, 9.0), cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (out / NAME / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert "call this again" in piece(out, data, 0.001)  # stops before or at its first step
    said = piece(out, data, 9.0)
    assert "all is measured" in said
    cell = json.loads((out / "gpu.json").read_text())[NAME]
    assert cell["scores"]["count"] == 20 and cell["scores"]["twin"] is not None
    assert cell["step_ms"]["taken"] > 0.0 and "the device cpu has no graphs" in cell["step_ms"]["said"][0]
    assert len(cell["pieces"]) == 3 and "seconds" not in cell["pieces"][0]
    assert cell["pieces"][2]["steps"]["twin"][1] == 30
    rows = [line for line in (out / "gpu.md").read_text().splitlines() if line.startswith("- ")]
    assert len(rows) == 3 and "killed" in rows[0] and all("torch" in row for row in rows)
    before = (out / NAME / "last.safetensors").read_bytes()
    piece(out, data, 9.0)
    assert (out / NAME / "last.safetensors").read_bytes() == before, "what is measured is not trained again"
    assert len(json.loads((out / "gpu.json").read_text())[NAME]["pieces"]) == 3


def test_data_that_are_not_there_are_passed_over_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["photos"], out=tmp_path, device="cpu", source=[f"photos={tmp_path / 'gone'}"])
    assert "gone" in (tmp_path / "gpu.md").read_text() and "all is measured that can be" in capsys.readouterr().out


def test_checkpoints_come_often_and_changes_are_a_recipes_own() -> None:
    recipe = recipe_of("svhn_1000labels", {}, {NAME: ["training.steps=7"]}, shorten=False)
    assert (recipe.training.checkpoint_every, recipe.training.steps) == (200, 20000)
    short = recipe_of(NAME, {NAME: "x.zip"}, {NAME: ["training.steps=7"]}, shorten=True)
    assert (short.training.steps, short.source.name) == (7, "folder")
    assert {stream.batch for stream in short.streams.values()} == {4}


@pytest.mark.parametrize("text", ["cifar=x.zip", "photos", "photos="])
def test_what_belongs_to_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="write RECIPE="):
        by_recipe([text], "=")


def test_the_table_shows_what_was_measured_and_what_was_not() -> None:
    last = {"error": 0.0512, "error_interval": [0.047, 0.056], "nll": 0.2}
    piece = {
        "machine": {"cpu": "C", "cores": 2, "threads": 1, "instructions": [], "gpu": "H100"},
        "versions": {"torch": "2.14"},
        "date": "2026-11-28",
        "steps": {"model": [1, 9000]},
        "seconds": 540.2,
        "peak_memory": 2**31,
    }
    cell = {
        "scores": {"last": last, "twin": None},
        "samples": {"readers": {"its own encoder": {"read_as_intended": 0.9}}},
        "seconds": {"model": 120.0},
        "pieces": [piece],
        "step_ms": {"taken": 46.04, "captured": 15.3, "said": []},
    }
    lines = table({"photos": cell, NAME: {"pieces": [], "left_out": "no data"}}, ["photos", NAME]).splitlines()
    assert (
        lines[2] == "| `photos` | 5.12% (4.70% to 5.60%) | - | 0.200 | its own encoder 90.0% | 2.0 min | 46.0, 15.3 |"
    )
    assert lines[3] == f"| `{NAME}` | no data | | | | | - |"
    assert lines[-1].startswith(
        "- `photos` 1, 2026-11-28: steps model 1 to 9,000; 540 s, 2.0 GiB of the card; H100 with C"
    )
