"""What computes nothing answers at once: torch, whose import takes seconds, is not imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

FOR_COMPUTING = {"torch", "torchvision", "sklearn", "scipy", "onnx"}
FOR_READING = {"ruamel", "numpy"}  # not pydantic: newer versions of typer read options with it
PROGRAM = """
import sys
from semivae.cli import main

try:
    main()
finally:
    print("imported:", *{name.partition(".")[0] for name in sys.modules})
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("train", "--help"),
        ("predict", "--help"),
        ("recipes",),
        ("schema",),
        ("check", "digits_50labels", "mnist_ladder", "faces_masks", "folder", "table"),
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    _, found, imported = done.stdout.rpartition("imported:")
    assert found
    unwanted = FOR_COMPUTING if words[0] in ("recipes", "schema", "check") else FOR_COMPUTING | FOR_READING
    assert unwanted.isdisjoint(imported.split())


@pytest.mark.parametrize("words", [("--help",), ("train", "--help")], ids=" ".join)
def test_help_says_where_data_and_runs_lie(words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", "semivae", *words], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    assert "SEMIVAE_DATA names, else from data/ in the current folder" in text
    assert "Runs are written to runs/ in the current folder" in text
