"""Real processes that train one model together: the same result, one end for all, and a run without a trace of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import semivae
from semivae.cli.launching import devices_asked, visible, words_without
from semivae.cli.side_by_side import run_side_by_side
from semivae.data.sources import load_source
from semivae.errors import RecipeError, RunError, TrainingError
from semivae.parallel.cut import Cut
from semivae.parallel.world import World, world_asked
from semivae.recipe import read_recipe
from semivae.runs.folder import read_metrics
from semivae.tasks.splitting import make_split
from semivae.training.cutting import cut_of, refuse_other_data
from tests.phases import phase_of

SMALL: dict[str, Any] = {
    "training.twin": False,
    "training.precision": "float32",
    "training.optimizer": "muon",
    "training.learning_rate": 0.003,
    "encoder.y.net": {"name": "mlp", "hidden": [16]},
    "encoder.h.net": {"name": "mlp", "hidden": [16]},
    "decoder.x.net": {"name": "mlp", "hidden": [16]},
    "streams.labelled.batch": 48,
    "streams.unlabelled.views.threshold": 0.0,
    "streams.unlabelled.views.align": True,
    "streams.unlabelled.views.ramp": 0.9,
    "streams.unlabelled.vote.start": 0.5,
}
SHORT = SMALL | {"training.steps": 12, "training.validate_every": 6, "training.twin": True}
ENDLESS = SMALL | {"training.steps": 1_000_000, "training.validate_every": 10, "training.checkpoint_every": 10}


def started(changes: dict[str, Any], out: Path, *words: str, devices: int = 2) -> subprocess.Popen[str]:
    """`semivae train --devices N` of the digits recipe."""
    given = [word for key, value in changes.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-m", "semivae", "train", "digits_50labels", *given, "--out", str(out)]
    command += ["--device", "cpu", "--devices", str(devices), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status and what it has written to stderr."""
    _, errors = process.communicate(timeout=240)
    return process.returncode, errors


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not true():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.05)


def process_of(rank: int, launcher: subprocess.Popen[str]) -> int:
    """The number of a launcher's process of a rank."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return next(int(pid) for pid in children if f"\0RANK={rank}\0" in Path(f"/proc/{pid}/environ").read_text())


def trained(changes: dict[str, Any], out: Path, **options: Any) -> Path:
    semivae.train("digits_50labels", set=changes, out=out, device="cpu", progress=False, **options)
    return out


def rows_without_time(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(folder)]


def largest_difference(one: Path, other: Path) -> float:
    """Of the weights, averages and moments of both phases, relative to the largest of each tensor."""
    found = [0.0]
    for name in ("last.safetensors", "twin.safetensors"):
        first, second = load_file(one / name), load_file(other / name)
        assert first.keys() == second.keys()
        for key, tensor in first.items():
            if tensor.numel():
                change = (tensor.double() - second[key].double()).abs().max()
                found.append(float(change / tensor.double().abs().max().clamp_min(1e-3)))
    return max(found)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(SHORT, tmp_path_factory.mktemp("runs") / "alone")


def test_two_processes_learn_what_one_learns(alone: Path, tmp_path: Path) -> None:
    status, errors = ended(started(SHORT, tmp_path / "two"))
    assert (status, errors) == (0, "")
    assert largest_difference(alone, tmp_path / "two") < 1e-3  # of rounding, in twelve steps
    ours, theirs = rows_without_time(alone), rows_without_time(tmp_path / "two")
    assert [row["losses"] for row in theirs] == [pytest.approx(row["losses"], rel=1e-4, abs=1e-5) for row in ours]
    assert sorted(path.name for path in alone.iterdir()) == sorted(path.name for path in (tmp_path / "two").iterdir())


@pytest.mark.slow
def test_a_run_of_shards_goes_on_with_another_number_of_processes_bit_for_bit(tmp_path: Path) -> None:
    """Ctrl-C reaches the launcher alone; all processes stop after one step, and one process goes on."""
    shards = SMALL | {"training.steps": 60, "training.validate_every": 5, "training.shards": 4}
    whole = trained(shards, tmp_path / "whole")
    process = started(shards, tmp_path / "run")
    wait_until(lambda: (tmp_path / "run" / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGINT)
    status, errors = ended(process)
    assert status == 130 and "To go on" in errors and "--devices" not in errors, errors
    assert len(read_metrics(tmp_path / "run")) < len(read_metrics(whole))
    trained(shards, tmp_path / "run", resume=True)
    one, other = load_file(whole / "last.safetensors"), load_file(tmp_path / "run" / "last.safetensors")
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert rows_without_time(whole) == rows_without_time(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_where_a_process_is_lost_the_others_end_with_a_message_and_the_run_goes_on(rank: int, tmp_path: Path) -> None:
    process = started(ENDLESS, tmp_path / "run")
    wait_until(lambda: (tmp_path / "run" / "metrics.jsonl").exists(), process)
    wait_until(lambda: len(read_metrics(tmp_path / "run")) > 1, process)  # the checkpoint of the first is written
    os.kill(process_of(rank, process), signal.SIGKILL)
    status, errors = ended(process)
    assert f"process {rank} of 2" in errors and "killed by SIGKILL" in errors and "--resume" in errors, errors
    assert "Traceback" not in errors
    assert status == 1
    made = semivae.load(tmp_path / "run", device="cpu").facts.step
    assert made > 0 and made % 10 == 0
    last = tmp_path / "run" / "last.safetensors"
    written = last.stat().st_mtime_ns
    again = started(ENDLESS, tmp_path / "run", "--resume", devices=1)
    wait_until(lambda: last.stat().st_mtime_ns > written, again)
    again.send_signal(signal.SIGTERM)
    assert ended(again)[0] == 130


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_all_with_one_message(tmp_path: Path) -> None:
    status, errors = ended(started(SHORT | {"training.learning_rate": 1e30, "training.optimizer": "adam"}, tmp_path))
    assert status == 1 and errors.count("error:") == 1 and "is not finite" in errors, errors


@pytest.mark.slow
def test_what_all_refuse_is_said_once(tmp_path: Path) -> None:
    status, errors = ended(started(SMALL | {"training.steps": 5, "streams.labels.batch": 7}, tmp_path / "run"))
    assert status == 2 and errors.count("error:") == 1, errors
    assert "streams.labels.batch: 7 examples cannot be cut into 2 equal parts (2 processes); write 6 or 8" in errors
    assert not (tmp_path / "run" / "recipe.yaml").exists()


@pytest.mark.slow
def test_seeds_beside_each_other_are_those_one_after_the_other(tmp_path: Path) -> None:
    given = [word for key, value in SHORT.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-m", "semivae", "train", "digits_50labels", *given, "--device", "cpu", "--json"]
    command += ["--seeds", "3,5,6"]
    beside, after = (
        subprocess.run([*command, "--out", *words], cwd=tmp_path, text=True, capture_output=True)
        for words in (("beside", "--devices", "2"), ("after",))
    )
    assert beside.returncode == after.returncode == 0, beside.stderr
    assert json.loads(beside.stdout.replace("beside/", "after/")) == json.loads(after.stdout)
    assert "seed 5: model 6/12" in beside.stderr
    for seed in (3, 5, 6):
        assert largest_difference(tmp_path / "after" / f"seed{seed}", tmp_path / "beside" / f"seed{seed}") == 0.0


def test_a_run_that_fails_beside_others_is_named_when_all_have_ended() -> None:
    lines: list[str] = []
    commands = {"one": ["recipes"], "two": ["show", "nothing.yaml"], "three": ["recipes"]}
    with pytest.raises(RunError, match=r"1 of 3 runs has failed; the others are kept:\n- two: .*nothing\.yaml"):
        run_side_by_side(commands, ["0", "1"], lines.append)
    assert any(line.startswith("two: error:") for line in lines)
    found = run_side_by_side({"b": ["recipes"], "a": ["recipes"]}, ["0"], lines.append)
    assert list(found) == ["b", "a"] and found["a"] == found["b"] != {}


def test_shards_are_shared_out_evenly_or_not_at_all() -> None:
    recipe = read_recipe("digits_50labels", SMALL | {"training.shards": 4})
    assert [shard.index for shard in cut_of(recipe, World(1, 2), torch.device("cpu")).own] == [2, 3]
    with pytest.raises(RecipeError, match="4 parts of a batch cannot be shared out evenly to 3 processes; start 1 or"):
        cut_of(recipe, World(0, 3), torch.device("cpu"))
    with pytest.raises(RecipeError, match=r"streams.labelled.batch: 50 .* \(training.shards: 4\); write 48 or 52"):
        cut_of(read_recipe("digits_50labels", {"training.shards": 4}), World(), torch.device("cpu"))


class Beside(World):
    """Two processes, of which the other one says something else."""

    def objects(self, own: Any) -> list[Any]:
        return [own, f"not {own}"]


def test_processes_with_other_data_or_other_weights_are_refused(tmp_path: Path) -> None:
    recipe = read_recipe("digits_50labels", SMALL)
    data = load_source(recipe.source, tmp_path)
    parts = make_split(data, recipe.split)
    refuse_other_data(World(), recipe, data, parts)
    with pytest.raises(RunError, match=r"process 1 .* reads another recipe, other data or another split"):
        refuse_other_data(Beside(size=2), recipe, data, parts)
    with pytest.raises(TrainingError, match="step 0: the processes no longer hold the same weights"):
        phase_of(recipe, tmp_path, Cut(Beside(size=2))).run(resume=False)


def test_an_environment_that_is_not_whole_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RunError, match="WORLD_SIZE is 4, but RANK is not set"):
        world_asked()
    monkeypatch.setenv("RANK", "3")
    assert world_asked() == World(3, 4, 3) and not world_asked().first


@pytest.mark.parametrize(("text", "devices"), [("3", ["0", "1", "2"]), ("0,2", ["0", "2"]), ("1", ["0"])])
def test_devices_are_a_number_or_a_list(text: str, devices: Sequence[str]) -> None:
    assert devices_asked(text) == devices


def test_devices_are_counted_among_the_visible_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    assert visible(["0", "2"]) == "4,7"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible(["0", "2"]) == "0,2"
    words = ["train", "--devices", "2", "r", "--devices=0,1", "--resume", "--out", "x", "--json"]
    assert words_without(words, ["--devices", "--out"], ["--json"]) == ["train", "r", "--resume"]
