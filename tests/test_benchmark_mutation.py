"""The mutation tester on a tree of one file: what it breaks, what it finds, and that it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.mutants import mutants_of
from benchmarks.mutation import EQUIVALENT, app, sampled


def changed(source: str) -> set[str]:
    return {mutant.after for mutant in mutants_of(source)}


@pytest.mark.parametrize(
    ("line", "mutants"),
    [
        ("a = b < c", {"a = (b <= c)", "a = (b >= c)"}),
        ("a = b + c * d", {"a = (b - c * d)", "a = b + (c / d)"}),
        ("a = b and not c", {"a = (b or not c)", "a = b and (c)"}),
        ("a = 3", {"a = (4)", "a = (2)"}),
        ("a = -1", {"a = (-2)"}),
        ("a = 0.5", {"a = (1.0)", "a = (0.0)"}),
        ("a = True", {"a = (False)"}),
        ("a = b if c else d", {"a = (d if c else b)"}),
        ("a = f(b, c=d)", {"a = (f(b))", "a = (b)"}),
        ("a = b.detach()", {"a = (b)"}),
        ("a.append(b)", {"pass", "(a)"}),
        ("a += b", {"pass"}),
        ("a: Literal['b', 'c'] = d", set()),
        ("assert a > 1", set()),
        ('"""About 1 + 1."""', set()),
        ("torch.zeros(a, device=b)", {"pass", "(a)"}),
    ],
)
def test_what_is_broken(line: str, mutants: set[str]) -> None:
    assert changed(line) == mutants


def test_what_is_broken_in_functions() -> None:
    source = '''@torch.no_grad()
def f(a: int = 1) -> int:
    """Two."""
    if a:
        raise ValueError(f"{a} é")
    return a
'''
    assert changed(source) == {
        "@(lambda function: function)",
        "def f(a: int = (2)) -> int:",
        "def f(a: int = (0)) -> int:",
        "if not (a):",
        "pass",
        "return None",
    }
    assert all(compile(mutant.source, "mutant", "exec") for mutant in mutants_of(source))


SMALL = "def large(number: int) -> bool:\n    return number > 9\n"
TESTS = """from semivae.game.small import large

def test_large() -> None:
    assert large(10) and not large(5)
"""


def tree(folder: Path, source: str, tests: str) -> list[str]:
    """Writes a tree of one file, and returns the options of a run there."""
    files = {"semivae/__init__.py": "", "semivae/game/small.py": source, "tests/test_game_small.py": tests}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return ["--root", str(folder), "--log", str(folder / "log.jsonl")]


def verdicts(folder: Path) -> dict[str, str]:
    rows = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return {row["after"].removeprefix("return "): row["verdict"] for row in rows}


def test_survivors_are_found_listed_and_not_tested_twice(tmp_path: Path) -> None:
    options = tree(tmp_path, SMALL, TESTS)
    found = CliRunner().invoke(app, options)
    assert found.exit_code == 0, found.output
    assert verdicts(tmp_path) == {
        "None": "killed",
        "(number >= 9)": "survived",
        "(number <= 9)": "killed",
        "number > (10)": "killed",
        "number > (8)": "survived",
    }
    assert "60.0% of 5 mutants killed" in found.output
    assert "semivae/game/small.py:2\n- return number > 9\n+ return (number >= 9)" in found.output
    assert (tmp_path / "semivae/game/small.py").read_text() == SMALL

    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "mutation_survivors.md").write_text(
        "- `small.py`: `return number > 9` -> `return (number >= 9)`: nobody asks for 9.\n"
    )
    kept = (tmp_path / "log.jsonl").read_text()
    again = CliRunner().invoke(app, options)
    assert (tmp_path / "log.jsonl").read_text() == kept and "75.0% of 4 mutants killed" in again.output
    assert "(number >= 9)" not in again.output and "number > (8)" in again.output


def test_a_mutant_that_never_ends_is_stopped(tmp_path: Path) -> None:
    source = "def once() -> None:\n    for _ in iter(int, 1):\n        break\n"
    options = tree(tmp_path, source, "from semivae.game.small import once\n\n\ndef test_once() -> None:\n    once()\n")
    CliRunner().invoke(app, [*options, "--limit", "1"])
    assert verdicts(tmp_path)["continue"] == "out of time"


def test_no_mutant_is_taken_for_another_of_equal_length(tmp_path: Path) -> None:
    """As would be where a process that a test starts kept the bytecode of the first."""
    source = "def both() -> tuple[int, int]:\n    return 1, 5\n"
    tests = """import subprocess
import sys

from semivae.game.small import both


def test_second() -> None:
    subprocess.run([sys.executable, "-c", "import semivae.game.small"], check=True)
    assert both()[1] == 5
"""
    CliRunner().invoke(app, tree(tmp_path, source, tests))
    expected = {"(2), 5": "survived", "(0), 5": "survived", "1, (6)": "killed", "1, (4)": "killed", "None": "killed"}
    assert verdicts(tmp_path) == expected


def test_nothing_is_broken_where_the_tests_fail_already(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, tree(tmp_path, SMALL, "assert False"))
    assert result.exit_code == 1 and not (tmp_path / "log.jsonl").exists()
    assert "before anything is broken" in result.output


def test_samples_are_the_same_every_time_and_within_larger_ones(tmp_path: Path) -> None:
    options = tree(tmp_path, SMALL, TESTS)

    def report(*more: str) -> str:
        return CliRunner().invoke(app, [*options, *more]).output

    assert "of 2 mutants killed" in report("--sample", "2") and len(two := verdicts(tmp_path)) == 2
    assert "of 2 mutants killed" in report("--sample", "2") and verdicts(tmp_path) == two
    assert "of 3 mutants killed" in report("--sample", "3") and two.items() < verdicts(tmp_path).items()
    assert "60.0% of 5 mutants killed" in report()
    pairs = [("small.py", mutant) for mutant in mutants_of(SMALL)]
    assert {sampled(pairs, 1, seed)[0][1].after for seed in range(100)} == {mutant.after for _, mutant in pairs}


def test_equivalent_mutants_are_of_lines_that_are_there() -> None:
    """A line that was changed would be listed as a survivor again."""
    root = Path(__file__).parent.parent
    listed = (root / "benchmarks" / "mutation_survivors.md").read_text()
    for found in EQUIVALENT.finditer(listed):
        lines = (root / "semivae" / "game" / found["file"]).read_text().splitlines()
        assert found["before"] in {line.strip() for line in lines}, found["before"]
