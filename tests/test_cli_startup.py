"""What computes nothing answers at once: torch, whose import takes seconds, is not imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import semivae
from semivae.recipe import change_recipe, read_recipe

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


def test_predicting_imports_neither_torchs_compiler_nor_what_it_does_not_use(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.zeros((1, 8, 8), np.uint8))
    recipe = change_recipe(read_recipe("digits_50labels"), {"training.steps": 1, "training.twin": False})
    semivae.train(recipe, out=tmp_path / "run", device="cpu")
    program = PROGRAM.replace('name.partition(".")[0] for name', "name for name")
    words = ["predict", str(tmp_path / "run"), str(tmp_path / "one.npz")]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    imported = set(done.stdout.rpartition("imported:")[2].split())
    unwanted = {"torch._dynamo", "torchvision", "sympy", "sklearn", "scipy", "onnx", "timm", "jinja2"}
    assert "torch" in imported
    assert unwanted & imported == set()


@pytest.mark.parametrize("words", [("--help",), ("train", "--help")], ids=" ".join)
def test_help_says_where_data_and_runs_lie(words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", "semivae", *words], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    assert "SEMIVAE_DATA names, else from data/ in the current folder" in text
    assert "Runs are written to runs/ in the current folder" in text


def test_what_stays_to_the_end_is_looked_through_by_no_collection() -> None:
    program = """
import gc, sys
from pathlib import Path
from semivae.cli.importing import kept_modules
before = gc.get_freeze_count()
collections = []
gc.callbacks.append(lambda phase, facts: collections.append(phase))
with kept_modules():
    import torch
assert not collections, "the collector ran among the imports"
assert gc.isenabled()
assert gc.get_freeze_count() - before > 100_000, gc.get_freeze_count()
gc.disable()
with kept_modules():
    pass
assert not gc.isenabled(), "it was off, and stays off"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
