"""Which tests run each line of a package: coverage.py, with a context for every test, as a plugin of pytest."""

from __future__ import annotations

import ast
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage
import pytest

SETUP = " (setup)"  # behind a test whose fixtures run a line: its whole file may see what they make


class Recorder:
    """A plugin of pytest that records the lines and the seconds of every test."""

    def __init__(self, package: Path, out: Path) -> None:
        self.out, self.seconds = out, dict[str, float]()
        self.coverage = coverage.Coverage(
            data_file=str(out / "lines.coverage"), include=[f"{package}/*"], config_file=False
        )

    def pytest_sessionstart(self) -> None:
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[Any]:
        self.coverage.switch_context(item.nodeid + SETUP)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[Any]:
        self.coverage.switch_context(item.nodeid)
        started = time.perf_counter()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.perf_counter() - started

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        self.coverage.save()
        (self.out / "seconds.json").write_text(json.dumps(self.seconds))


@dataclass(frozen=True)
class Covering:
    """What a recorded run of the tests says of the lines of a package."""

    seconds: dict[str, float]
    lines: dict[str, dict[int, list[str]]]  # file -> line -> contexts that ran it

    @classmethod
    def read(cls, package: Path, out: Path) -> Covering:
        """Returns what `Recorder` has written to `out`; files by their path below `package`."""
        data = coverage.CoverageData(str(out / "lines.coverage"))
        data.read()
        lines = {str(Path(file).relative_to(package)): data.contexts_by_lineno(file) for file in data.measured_files()}
        return cls(json.loads((out / "seconds.json").read_text()), lines)

    def tests(self, name: str, source: str, line: int) -> list[str]:
        """Returns the tests that run the statement at a line of a file, file by file: first the quicker half of them.

        A line that is run while modules are imported can matter to every test that runs any line of the file.
        """
        contexts = self.lines.get(name, {})
        first, last = statement_at(source, line)
        found = {each for number in range(first, last + 1) for each in contexts.get(number, ())}
        if "" in found:
            found = {each for some in contexts.values() for each in some}
        files = {file_of(each) for each in found if each.endswith(SETUP)}
        chosen = [test for test in self.seconds if test in found or file_of(test) in files]
        quickest: dict[str, float] = {}
        for test in chosen:
            quickest[file_of(test)] = min(quickest.get(file_of(test), self.seconds[test]), self.seconds[test])
        usual = statistics.median(self.seconds[test] for test in chosen) if chosen else 0.0
        return sorted(chosen, key=lambda test: (self.seconds[test] > usual, quickest[file_of(test)], file_of(test)))


def file_of(test: str) -> str:
    """Returns the file of a test, or of a context, by its name."""
    return test.partition("::")[0]


def statement_at(source: str, line: int) -> tuple[int, int]:
    """Returns the first and last line of the innermost statement at a line; of a compound one, those of its head."""
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    return max(
        ((node.lineno, _end(node)) for node in statements if node.lineno <= line <= _end(node)), default=(line, line)
    )


def _end(node: ast.stmt) -> int:
    body = getattr(node, "body", None)
    return max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
