"""`semivae train` as a user meets it: what it shows, what it refuses, how it stops and goes on."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from semivae.api import Run
from semivae.cli import app, main
from semivae.cli.kinds import shown_as
from semivae.cli.train_command import resume_hint, seed_numbers
from semivae.display import ProgressDisplay, progress_table, with_last_validation
from semivae.training.progress import Progress, clock, progress_line
from tests import narrow

TABLE = """
source: {name: arrays, path: mine.npz}
split: {labelled: 12, validation: 6}
variables:
  x: {family: gaussian, shape: [4]}
  y: {family: categorical, classes: 3}
decoder: {y: uniform, x: {given: [y], net: {name: mlp, hidden: [8]}}}
encoder: {y: {given: [x], net: {name: mlp, hidden: [8]}}}
streams:
  labelled: {observe: [x, y], batch: 6}
  unlabelled: {observe: [x], batch: 6}
  labels: {observe: [y], batch: 6}
training: {steps: 2, validate_every: 2}
"""
FEW = narrow.DIGITS | {"training.steps": 4, "training.validate_every": 2}
FEW_STEPS = ["--device", "cpu", *(word for key, value in FEW.items() for word in ("--set", f"{key}={value}"))]


def train(*arguments: object, recipe: str = "digits_50labels") -> Result:
    return CliRunner().invoke(app, ["train", recipe, *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("cli") / "run"
    result = train("--out", folder, "--twin", *FEW_STEPS)
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def test_training_shows_plan_progress_and_result(trained: tuple[Path, str]) -> None:
    folder, shown = trained
    assert "encoder draws h" in shown  # the plan
    lines = [line for line in shown.splitlines() if line.startswith("model ")]
    assert [line.split(" | ")[0] for line in lines] == ["model 2/4", "model 4/4"]
    for part in ("decoder.x", "encoder.y", "bits", "validation error", "left"):
        assert part in lines[0]
    assert "supervised twin" in shown
    assert "95% interval" in shown
    assert shown.rstrip().endswith(f"The run is in {folder}")


def test_a_run_is_not_overwritten_unasked(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = train("--out", folder, *FEW_STEPS)
    assert result.exit_code == 1
    assert "--resume" in result.stderr
    assert "--overwrite" in result.stderr
    assert result.stdout == ""  # not even the plan
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_json_is_one_object_on_stdout(tmp_path: Path) -> None:
    result = train("--out", tmp_path / "run", "--no-twin", "--json", *FEW_STEPS)
    report = json.loads(result.stdout)
    assert report["run"] == str(tmp_path / "run")
    assert 0 <= report["last"]["error"] <= 1
    assert report["twin"] is None
    assert "model 4/4" in result.stderr


def test_seeds_train_one_run_each(tmp_path: Path) -> None:
    result = train("--seeds", "0..1", "--out", tmp_path / "runs", "--no-twin", *FEW_STEPS)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["seed0", "seed1"]
    assert (tmp_path / "runs/seed0/split.json").read_text() != (tmp_path / "runs/seed1/split.json").read_text()
    assert "±" in result.stdout
    again = train("--seeds", "1..2", "--out", tmp_path / "runs", *FEW_STEPS)
    assert again.exit_code == 1
    assert not (tmp_path / "runs/seed2").exists()  # refused before the first of them


def test_figures_of_each_kind_are_shown_per_seed() -> None:
    """Mean and sample standard deviation by hand; a checkpoint that one seed lacks has no column."""
    for kind, key, shown in (
        ("classes", "error", ("Test error per split seed", "0 10.00% 1 20.00%", "mean ± std 15.00% ± 7.07%")),
        ("maps", "mean_iou", ("Mean IoU per split seed", "0 10.00% 1 20.00%", "mean ± std 15.00% ± 7.07%")),
        ("attributes", "mean_average_precision", ("Mean average precision per split seed", "0 10.00% 1 20.00%")),
        ("numbers", "rmse", ("RMSE per split seed", "0 0.1 1 0.2", "mean ± std 0.15 ± 0.07071")),
        ("ordinal", "mae", ("MAE in grades per split seed", "0 0.100 1 0.200", "0.150 ± 0.071")),
    ):
        console = Console(width=200, record=True, file=io.StringIO())
        first, second = {key: 0.1, "error": 0.1}, {key: 0.2, "error": 0.2}
        reports: dict[int, dict[str, Any]] = {0: {"last": first, "twin": first}, 1: {"last": second, "twin": None}}
        console.print(*shown_as(kind).seeds(reports))
        text = " ".join(console.export_text().replace("─", "").split())
        assert all(part in text for part in shown), text
        assert "model" in text and "twin" not in text


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--set", "training.stepz=3"], 2, "--set: training.stepz: unknown key; did you mean steps?"),
        (["--set", "split.labelled=5000"], 1, "split.labelled"),
        (["--split", "nowhere.json"], 1, "nowhere.json"),
        (["--seeds", "4..0"], 2, "no list of seeds"),
        (["--seeds", "0..1", "--split", "split.json"], 2, "leave out --seeds or --split"),
        (["--set", "streams.labels.observe=[h, y]"], 2, "can only come from a file"),
        (["--set", "variables.x.shape=[1, 28, 28]"], 1, "variables.x.shape"),
        (["--resume"], 1, "there is no run to go on with"),
        (["--device", "abacus"], 1, "device abacus"),
    ],
)
def test_user_errors(tmp_path: Path, arguments: list[str], status: int, message: str) -> None:
    result = train(*arguments, "--out", tmp_path / "run")
    assert result.exit_code == status, result.output
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_missing_data_give_one_message_and_nothing_else(tmp_path: Path) -> None:
    arguments = [
        "--set",
        "source={name: folder, path: nothing_here}",
        "--data-root",
        tmp_path,
        "--out",
        tmp_path / "run",
    ]
    result = train(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nothing_here" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_later_commands_and_resume_find_the_data_that_the_run_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, generator = tmp_path / "data", np.random.default_rng(0)
    data.mkdir()
    np.savez(data / "mine.npz", x=generator.random((60, 4), dtype=np.float32), y=np.arange(60) % 3)
    (tmp_path / "mine.yaml").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMIVAE_DATA", raising=False)
    arguments = ("--out", tmp_path / "run", "--set", "training.steps=2", "--device", "cpu")
    assert train(*arguments, "--data-root", "data", recipe="mine.yaml").exit_code == 0
    monkeypatch.chdir(tmp_path.parent)
    again = train(*arguments, "--resume", recipe=str(tmp_path / "mine.yaml"))
    assert again.exit_code == 0, again.output
    evaluate = ["evaluate", str(tmp_path / "run")]
    assert CliRunner().invoke(app, evaluate).exit_code == 0
    data.rename(tmp_path / "moved")
    lost = CliRunner().invoke(app, evaluate)
    assert lost.exit_code == 1 and "--data-root" in lost.stderr
    found = CliRunner().invoke(app, [*evaluate, "--data-root", str(tmp_path / "moved")])
    assert found.exit_code == 0, found.output


def test_a_stopped_run_is_kept_and_says_how_to_go_on(tmp_path: Path) -> None:
    """By Ctrl-C, in a process of its own; `test_training.py` has the other signals."""
    folder = tmp_path / "kept"
    words = ["train", "digits_50labels", "--out", str(folder), "--device", "cpu", "--set", "training.steps=1000000"]
    program = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # what runs in the background may ignore it
        "from semivae.cli import main\n"
        "main()"
    )
    process = subprocess.Popen([sys.executable, "-c", program, *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (folder / "last.safetensors").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said and "error" not in said
    assert f"To go on: semivae train digits_50labels --out {folder}" in said
    assert said.rstrip().endswith("--resume")
    assert not Run.load(folder).finished


def train_by_main(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stdout: io.TextIOWrapper | None, status: int = 0
) -> TextIO:
    """The command as its entry point runs it, with this standard output; the output that it wrote to in the end."""
    words = ["train", "digits_50labels", "--out", str(folder), "--no-twin", *FEW_STEPS]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["semivae", *words])
        patch.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit) as ended:
            main()
        used = sys.stdout
    assert (ended.value.code or 0) == status and Run.load(folder).finished
    return used


def test_training_goes_on_when_nobody_reads_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| true` does
    with os.fdopen(writer, "w") as stdout:
        train_by_main(tmp_path / "run", monkeypatch, stdout)
        assert os.path.samestat(os.fstat(writer), os.stat(os.devnull)), "what is still printed goes nowhere"
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
def test_training_goes_on_when_its_output_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with Path("/dev/full").open("w") as full:
        train_by_main(folder, monkeypatch, full, status=1)
    said = capsys.readouterr().err
    assert "standard output: No space left on device; training goes on unseen" in said
    assert f"semivae evaluate {folder} shows the results again" in " ".join(said.split())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_training_goes_on_in_a_process_whose_output_is_full(tmp_path: Path, stream: str) -> None:
    folder, options = tmp_path / "run", ["--json"] if stream == "stderr" else []
    words = ["train", "digits_50labels", "--out", str(folder), "--no-twin", *FEW_STEPS, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Path("/dev/full").open("w") as full:
        pipes[stream] = full  # type: ignore[assignment]
        done = subprocess.run([sys.executable, "-m", "semivae", *words], text=True, **pipes)  # type: ignore[call-overload]
    assert done.returncode == 1 and Run.load(folder).finished
    if stream == "stdout":
        assert "standard output: No space left on device; training goes on unseen" in done.stderr
        assert f"semivae evaluate {folder} shows the results again" in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    else:
        assert json.loads(done.stdout)["last"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
@pytest.mark.parametrize("words", [["train", "--help"], ["--version"]])
def test_help_on_a_full_disk_is_no_traceback(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "semivae", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode and done.stderr.startswith("error: standard output: no space is left on the device")
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_output_may_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_by_main(tmp_path / "run", monkeypatch, None).close()  # a closed standard output, as Python has it
    shell = f"{shlex.join([sys.executable, '-m', 'semivae', 'recipes'])} >&-"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr


def test_seeds_are_refused_before_the_first_is_trained(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "seed1").mkdir(parents=True)
    (runs / "seed1" / "notes.txt").write_text("mine")
    several = ("--seeds", "0..1", "--no-twin", *FEW_STEPS, "--out")
    for option, place, message in (
        ("--overwrite", runs, "seed1: exists and is not a run"),
        ("--resume", tmp_path / "tpyo", "no seed has a run to resume"),
    ):
        result = train(*several, place, option)
        assert result.exit_code == 1 and message in " ".join(result.stderr.split())
    assert not (runs / "seed0").exists() and not (tmp_path / "tpyo").exists()


def test_a_run_that_was_to_be_overwritten_is_not_offered_to_go_on(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    assert resume_hint(folder, own=False) == "stopped before training began"
    assert resume_hint(folder, own=True).endswith("--resume")


def test_seed_lists() -> None:
    assert seed_numbers("0..4") == [0, 1, 2, 3, 4]
    assert seed_numbers("7,2,7") == [7, 2]


def test_display_keeps_the_last_validation_of_a_phase() -> None:
    validated = Progress("model", 10, 30, 1.0, 2.0, {"encoder.y": 0.5}, {"h": 3.0}, 0.04)
    later = with_last_validation(Progress("model", 12, 30, 1.2, 1.8, {"encoder.y": 0.4}), validated)
    assert (later.step, later.losses, later.bits, later.validation_error) == (12, {"encoder.y": 0.4}, {"h": 3.0}, 0.04)
    twin = Progress("twin", 1, 30, 0.1, 2.9)
    assert with_last_validation(twin, validated) == twin  # the twin's error is not the model's


def test_line_and_table_show_what_was_measured() -> None:
    model = Progress("model", 10, 30, 1.0, 2.0, {}, {"h": 3.0}, 0.04, 0.9, confident_error=0.01, read_as_intended=0.85)
    line = progress_line(model)
    assert line.endswith(
        "| validation error 4.00% | confident 90% of the unlabelled data; 1.0% of the equally confident validation "
        "data are wrong | class consistency of samples 85% | 0:02 left"
    )
    assert "| h 0.0 bits |" in progress_line(replace(model, bits={"h": -7e22})), "a bound below 0 says no more than 0"
    twin = Progress("twin", 10, 30, 1.0, 2.0, validation_error=0.07, model_error=0.04)
    assert progress_line(twin) == "twin 10/30 | validation error 7.00% (model 4.00%) | 0:02 left"
    written = io.StringIO()
    shown = Console(file=written, width=120)
    for state in (model, twin):
        shown.print(progress_table(state))
    for part in ("90% of the unlabelled data", "1.0% of the equally", "85% class consistency", "the model's was 4.00%"):
        assert part in written.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_warnings_are_shown_in_full_and_once(terminal: bool) -> None:
    written = io.StringIO()
    warning = "code h has 0.00 bits in use [of 16]: " + "it has collapsed " * 5
    with ProgressDisplay(Console(file=written, width=60, force_terminal=terminal, color_system=None)) as display:
        display(Progress("model", 1, 2, 1.0, 1.0, validation_error=0.5, warnings=(warning,)))
        display(Progress("model", 2, 2, 2.0, 0.0, validation_error=0.5))
    assert written.getvalue().count(f"warning: {warning}".rstrip()) == 1


def test_clock() -> None:
    assert [clock(seconds) for seconds in (6.6, 754, 3723)] == ["0:07", "12:34", "1:02:03"]
