"""What is seen and logged of a training that is started from Python."""

from __future__ import annotations

import io
import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import semivae
from semivae.errors import RunError
from semivae.recipe import read_recipe
from semivae.training.progress import Progress, Report, progress_line, rate_text, speed_text
from tests import narrow

CHANGES: dict[str, object] = narrow.DIGITS | {
    "training.steps": 4,
    "training.validate_every": 2,
    "training.checkpoint_every": 1,
    "training.twin": False,
    "streams.labelled.batch": 24,
    "streams.unlabelled.batch": 40,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def train(out: Path, progress: bool | Report | None = None, resume: bool = False) -> semivae.Run:
    return semivae.train("digits_50labels", set=CHANGES, out=out, device="cpu", progress=progress, resume=resume)


@pytest.mark.parametrize("progress", [None, False])
def test_nothing_is_printed_where_nobody_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], progress: bool | None
) -> None:
    train(tmp_path / "run", progress)
    assert capsys.readouterr() == ("", "")


def test_a_program_that_sets_up_no_logging_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the handlers of pytest, Python prints warnings of loggers, of all but semivae's."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    train(tmp_path / "run")
    logging.getLogger("semivae").warning("of something")
    assert capsys.readouterr() == ("", "")
    logging.getLogger("another").warning("of something")
    assert capsys.readouterr() == ("", "of something\n")


def test_true_shows_lines_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", True)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("model ")] == ["model 2/4", "model 4/4"]
    assert lines[0].startswith("data: digits, 50 labelled")
    assert err == ""


def test_a_terminal_shows_a_table_unless_told_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for progress, shown in ((None, True), (False, False)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        train(tmp_path / f"run{shown}", progress)
        assert ("4 / 4" in terminal.getvalue() and "examples/s" in terminal.getvalue()) == shown
        assert shown or not terminal.getvalue()


def test_a_function_is_called_and_nothing_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    heard: list[Progress] = []
    train(tmp_path / "run", heard.append)
    assert [state.step for state in heard if state.validation_error is not None] == [2, 4]
    assert capsys.readouterr().out == ""


def test_what_is_no_function_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"progress='yes': give True, False, None or a function of one `Progress`"):
        train(tmp_path / "run", "yes")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_the_log_gets_a_line_for_each_validation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Progress] = []
    with caplog.at_level(logging.INFO, "semivae"):
        train(tmp_path / "run", heard.append)
    infos = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert infos == [progress_line(state) for state in heard if state.validation_error is not None]
    assert {record.name for record in caplog.records} == {"semivae"}


def test_the_log_gets_the_warnings_of_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At so high a learning rate something goes wrong; whatever is found, the log says the same."""
    heard: list[Progress] = []
    changes = CHANGES | {"training.steps": 20, "training.validate_every": 5, "training.learning_rate": 0.1}
    semivae.train("digits_50labels", set=changes, out=tmp_path / "run", device="cpu", progress=heard.append)
    said = [warning for state in heard for warning in state.warnings]
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said, "this training has something to warn of"
    assert logged == said


def test_speed_is_of_the_steps_since_training_began_or_was_resumed(tmp_path: Path) -> None:
    heard: list[Progress] = []

    def stop(state: Progress) -> None:
        heard.append(state)
        if state.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", stop)
    assert heard[0].steps_per_second is None
    assert heard[-1].steps_per_second == 2 / heard[-1].seconds
    batches = sum(read_recipe("digits_50labels", CHANGES).streams[name].batch for name in ("labelled", "unlabelled"))
    assert batches == 64
    assert heard[-1].examples_per_second == 64 * 2 / heard[-1].seconds
    resumed: list[Progress] = []
    train(tmp_path / "run", resumed.append, resume=True)
    first = next(state for state in resumed if not state.about_data)
    last = resumed[-1]
    assert first.step == 1, "the last checkpoint before it was stopped"
    assert first.steps_per_second is None
    assert last.steps_per_second == (4 - first.step) / (last.seconds - first.seconds)


def test_speed_is_shown_with_three_digits() -> None:
    assert [rate_text(rate) for rate in (0.05123, 9.999, 20.34, 99.94, 99.96, 3045.4)] == [
        "0.0512",
        "10",
        "20.3",
        "99.9",
        "100",
        "3,045",
    ]
    state = Progress("model", 10, 30, 1.0, 2.0)
    assert speed_text(state) == ""
    state = replace(state, steps_per_second=20.34, examples_per_second=3045.4)
    assert progress_line(state) == "model 10/30 | 20.3 steps/s, 3,045 examples/s | 0:02 left"
