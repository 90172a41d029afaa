"""What all benchmarks share: errors of commands, pages and their JSON files, the machine; and their commands."""

from __future__ import annotations

import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from benchmarks.common import machine
from benchmarks.common.commands import command_line
from benchmarks.common.pages import machine_lines, markdown_table, period, read_content, write_page, write_text
from semivae.errors import RunError

ROOT = Path(__file__).parents[1]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["accuracy", "hierarchies", "segmentation"])
def test_a_benchmark_is_a_command(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `python -m` runs it."""
    monkeypatch.setattr(sys, "argv", [f"{name}/__main__.py", "--help"])
    with pytest.raises(SystemExit) as ended, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # other tests have imported it
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    assert not ended.value.code
    assert f"python -m benchmarks.{name} " in capsys.readouterr().out


def test_an_interruption_names_the_command_that_continues() -> None:
    script = "from benchmarks.common.commands import user_errors\nwith user_errors(): raise KeyboardInterrupt"
    stopped = python("-c", script, "--set", "source={name: folder}")
    assert "stopped; what is done is kept. The same command continues: python -c" in stopped.stderr
    assert "--set 'source={name: folder}'" in stopped.stderr


def test_the_command_of_a_module_is_one_that_runs() -> None:
    started = ["/usr/bin/python3", "-m", "benchmarks.accuracy", "digits 50"]
    assert command_line(started) == "python -m benchmarks.accuracy 'digits 50'"


def test_a_page_and_its_file_keep_the_dots_of_the_name(tmp_path: Path) -> None:
    write_page(tmp_path / "table.v2", '{"format": "f"}', "# Page")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.v2.json", "table.v2.md"]
    assert read_content(tmp_path / "table.v2.json", "f") == {"format": "f"}


@pytest.mark.parametrize(
    ("content", "message"), [("{", "cannot be read"), ("[]", "no table"), ('{"format": "g"}', "no table")]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "table.json").write_text(content)
    with pytest.raises(RunError, match=rf"table\.json.*{message}.*--out"):
        read_content(tmp_path / "table.json", "f")


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"page\.md: cannot be written .*choose another place"):
        write_text(tmp_path / "file" / "page.md", "")


def test_a_table_in_markdown() -> None:
    assert markdown_table([["", "a"], ["x", "1"], ["y", "2"]]) == "|  | a |\n| --- | --- |\n| x | 1 |\n| y | 2 |"


def test_days_machines_and_versions_are_named_once() -> None:
    def entry(day: str, cores: int, torch: str | None) -> dict[str, object]:
        facts = {"cpu": "Fast CPU", "cores": cores, "threads": 1, "instructions": ["avx2"], "gpu": None}
        return {"date": f"{day}T10:00:00+00:00", "machine": facts, "versions": {"torch": torch, "revision": None}}

    entries = [entry("2026-11-24", 2, "2.15"), entry("2026-11-23", 1, "2.15"), entry("2026-11-25", 2, "2.14")]
    assert period(entries) == "2026-11-23 to 2026-11-25" and period(entries[:1]) == "2026-11-24"
    assert machine_lines(entries) == [
        "- Fast CPU, 2 core(s), 1 thread(s) (avx2).",
        "- Fast CPU, 1 core(s), 1 thread(s) (avx2).",
        "- torch 2.15.",
        "- torch 2.14.",
    ]


def test_machine_reads_the_processor(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Fast CPU\nflags\t\t: fpu amx_bf16 avx2 avx\n\nmodel name : Fast CPU\n")
    assert machine._processor(path) == ("Fast CPU", ["avx2", "amx_bf16"])
    name, flags = machine._processor(tmp_path / "none")
    assert name and flags == []
    assert machine.revision(tmp_path) is None
