"""Breaks the method one small piece at a time, and says what no test notices: `python -m benchmarks.mutation`.

Every mutant (`benchmarks.mutants`) of semivae/game/ is tested in a copy of the tree, in a process forked from one that
has imported torch, by the tests that run the line (`benchmarks.covering`), until the first that fails. Verdicts are
kept in a log of JSON lines: a run that was stopped goes on, and a file that has changed is tested again. Survivors that
mean the same as the original are listed, with the reason, in benchmarks/mutation_survivors.md. Needs POSIX.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import hashlib
import importlib
import itertools
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.covering import Covering, Recorder, file_of
from benchmarks.mutants import Mutant, mutants_of

PACKAGE = "semivae/game"
COPIED = ("semivae", "tests", "recipes", "benchmarks", "pyproject.toml")
TESTS = re.compile(r"\bsemivae\.game\b|\bgame_steps\b")  # in the files of tests that see the method
WARM = (
    "numpy",
    "pydantic",
    "pytest",
    "ruamel.yaml",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.datasets",
    "torch.distributed.tensor",
    "typer",
)
OPTIONS = ("-x", "-q", "-o", "addopts=", "-m", "not slow", "-p", "no:cacheprovider")
EQUIVALENT = re.compile(r"^- `(?P<file>[^`]+)`: `(?P<before>.+)` -> `(?P<after>.+)`: .+$", re.MULTILINE)
SURVIVED, KILLED, SLOW = "survived", "killed", "out of time"
OUT_OF_TIME = (signal.SIGXCPU, signal.SIGALRM)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files below semivae/game/; all where none is named.")
    ] = None,
    root: Annotated[Path, typer.Option(help="The tree to test; it is copied, and never changed.")] = Path(),
    log: Annotated[Path, typer.Option(help="Verdicts, one JSON object a line.")] = Path("runs/mutation.jsonl"),
    limit: Annotated[int, typer.Option(help="Seconds of a processor that the tests of one mutant may take.")] = 120,
    survivors: Annotated[bool, typer.Option(help="Test those again that have survived.")] = False,
    sample: Annotated[int | None, typer.Option(help="Test, and report, a random sample of so many.")] = None,
    seed: Annotated[int, typer.Option(help="The seed of the sample.")] = 0,
    only_report: Annotated[bool, typer.Option(help="Test nothing, print what the log holds.")] = False,
) -> None:
    """Tests mutants, and prints killed and survived by file, and the lines of the survivors."""
    chosen = files or sorted(str(path.relative_to(root / PACKAGE)) for path in (root / PACKAGE).rglob("*.py"))
    found = {name: mutants_of((root / PACKAGE / name).read_text()) for name in chosen}
    order = [(name, mutant) for name, mutants in found.items() for mutant in mutants]
    if sample is not None:
        order = sampled(order, sample, seed)
        found = {name: [mutant for of, mutant in order if of == name] for name in chosen}
    verdicts = read_log(log)
    untested = (None, SURVIVED) if survivors else (None,)
    left = [(name, mutant) for name, mutant in order if verdicts.get(key_of(name, mutant)) in untested]
    if left and not only_report:
        with tempfile.TemporaryDirectory() as folder:
            tree, covering = copied(root.resolve(), Path(folder))
            for name, mutant in left:
                verdicts |= judge(tree, covering, name, mutant, limit, log)
    print(report(found, verdicts, root / "benchmarks" / "mutation_survivors.md"))


def sampled(mutants: Sequence[tuple[str, Mutant]], count: int, seed: int) -> list[tuple[str, Mutant]]:
    """A random sample in random order. One that is stopped early is a smaller sample, and a larger one holds it."""
    return sorted(mutants, key=lambda pair: hashlib.sha256(f"{seed}{key_of(*pair)}".encode()).digest())[:count]


def key_of(name: str, mutant: Mutant) -> str:
    """Tells mutants apart, also those of another state of their file; comments and docstrings play no part."""
    tree = ast.parse(mutant.source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None
    return hashlib.sha256(f"{name}\0{ast.dump(tree)}".encode()).hexdigest()[:16]


def read_log(log: Path) -> dict[str, str]:
    """The last verdict on every mutant, by its key."""
    lines = log.read_text().splitlines() if log.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]  # the last one may have been cut off
    return {row["key"]: row["verdict"] for row in rows}


def copied(root: Path, folder: Path) -> tuple[Path, Covering]:
    """A copy of the tree that passes its tests, and which of them run which line.

    Raises:
        typer.Exit: the tests fail before anything is broken.
    """
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (root / name).exists():
            shutil.copy2(root / name, folder / name)
    for name in WARM:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # or every child would go through all of torch for garbage
    texts = {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob("tests/test_*.py"))}
    tests = [path for path, text in texts.items() if TESTS.search(text) and "benchmark" not in path]
    if verdict := run_tests(folder, tests, 0, [Recorder(folder / PACKAGE, folder)]):
        print(f"the tests end with {verdict} before anything is broken: run pytest {' '.join(tests)}", file=sys.stderr)
        raise typer.Exit(1)
    return folder, Covering.read(folder / PACKAGE, folder)


def judge(tree: Path, covering: Covering, name: str, mutant: Mutant, limit: int, log: Path) -> dict[str, str]:
    """Tests one mutant; returns the verdict by its key, and writes it to the log. What no test runs has survived."""
    path = tree / PACKAGE / name
    original, written = path.read_text(), path.stat().st_mtime
    started = time.monotonic()
    try:
        path.write_text(mutant.source)
        os.utime(path, (written + 10, written + 10))  # or the original's bytecode may be taken for it
        code = run_tests(tree, covering.tests(name, original, mutant.line), limit)
    finally:
        path.write_text(original)
        os.utime(path, (written, written))
    key, verdict = key_of(name, mutant), SURVIVED if code == 0 else SLOW if -code in OUT_OF_TIME else KILLED
    row = {
        "key": key,
        "file": name,
        "line": mutant.line,
        "before": mutant.before,
        "after": mutant.after,
        "verdict": verdict,
        "seconds": round(time.monotonic() - started, 1),
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return {key: verdict}


def run_tests(tree: Path, tests: Sequence[str], limit: int, plugins: Sequence[object] = ()) -> int:
    """Runs pytest in a forked process until the first failure; its exit status, or minus the signal that ended it.

    Args:
        tree: the folder to run in.
        tests: names of tests, those of a file side by side, or of files.
        limit: seconds of a processor that they may take, which a busy machine does not shorten; 0: any.
        plugins: of pytest, for a run that is recorded as one; others end with the first file that fails.
    """
    child = os.fork()
    if not child:
        try:
            os.chdir(tree)
            if limit:
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 10))
                signal.alarm(10 * limit)  # for what waits for ever
                os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # or the next mutant of equal length may be taken for this
            sys.path.insert(0, str(tree))
            sys.dont_write_bytecode = limit > 0
            for name in [name for name in sys.modules if name.split(".")[0] in ("semivae", "tests", "benchmarks")]:
                del sys.modules[name]
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            import pytest

            files = [list(tests)] if plugins else [list(group) for _, group in itertools.groupby(tests, key=file_of)]
            for chosen in files:
                if code := pytest.main([*OPTIONS, *chosen], plugins=plugins):
                    os._exit(int(code))
            os._exit(0)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def report(found: Mapping[str, Sequence[Mutant]], verdicts: Mapping[str, str], listed: Path) -> str:
    """Text: killed and survived by file, then the lines of those that survived and are not listed as equivalent."""
    known = (
        {(m["file"], m["before"], m["after"]) for m in EQUIVALENT.finditer(listed.read_text())}
        if listed.exists()
        else set()
    )
    lines, alive, sums = [f"{'file':32} {'killed':>7} {'survived':>9} {'equivalent':>11} {'untested':>9}"], [], [0] * 4
    for name, mutants in found.items():
        counts = [0, 0, 0, 0]
        for mutant in mutants:
            verdict = verdicts.get(key_of(name, mutant))
            equivalent = verdict == SURVIVED and (name, mutant.before, mutant.after) in known
            counts[3 if verdict is None else 2 if equivalent else 1 if verdict == SURVIVED else 0] += 1
            if verdict == SURVIVED and not equivalent:
                alive.append(f"{PACKAGE}/{name}:{mutant.line}\n- {mutant.before}\n+ {mutant.after}")
        lines.append(f"{name:32} {counts[0]:7} {counts[1]:9} {counts[2]:11} {counts[3]:9}")
        sums = [one + other for one, other in zip(sums, counts, strict=True)]
    lines.append(f"{'all':32} {sums[0]:7} {sums[1]:9} {sums[2]:11} {sums[3]:9}")
    if judged := sums[0] + sums[1]:
        lines.append(f"{sums[0] / judged:.1%} of {judged} mutants killed, the equivalent ones apart")
    return "\n".join([*lines, "", *alive])


if __name__ == "__main__":
    app()
