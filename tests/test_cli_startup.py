"""What computes nothing answers at once: torch, whose import takes seconds, is not imported for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

KEPT = Path(__file__).parent / "data" / "run_0_1_0" / "classes"
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
SEVERAL = """
import json, sys
from semivae.cli import main

before = set()
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
    now = {name.partition(".")[0] for name in sys.modules}
    print("imported:", *(now - before), flush=True)
    before = now
"""


@pytest.mark.parametrize("computes", [False, True])
def test_nothing_heavy_is_imported(computes: bool) -> None:
    """One process for those that read nothing, and one for those that read recipes."""
    read: list[list[str]] = [
        ["recipes"],
        ["schema"],
        ["check", "digits_50labels", "mnist_ladder", "faces_masks", "folder", "table"],
    ]
    told = [["--version"], ["predict", "--help"], ["--help"], ["train", "--help"]]
    commands = read if computes else told
    words = [sys.executable, "-c", SEVERAL, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    imported = [text.split() for text in re.findall(r"^imported:(.*)$", done.stdout, re.MULTILINE)]
    assert len(imported) == len(commands) and imported[0]
    unwanted = FOR_COMPUTING if computes else FOR_COMPUTING | FOR_READING
    for asked, found in zip(commands, imported, strict=True):
        assert unwanted.isdisjoint(found), asked
    if not computes:
        for text in re.split(r"^imported:.*$", done.stdout, flags=re.MULTILINE)[2:4]:
            said = " ".join(text.split())
            assert "SEMIVAE_DATA names, else from data/ in the current folder" in said
            assert "Runs are written to runs/ in the current folder" in said


def test_predicting_imports_neither_torchs_compiler_nor_what_it_does_not_use(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.zeros((1, 8, 8), np.uint8))
    program = PROGRAM.replace('name.partition(".")[0] for name', "name for name")
    words = ["predict", str(KEPT), str(tmp_path / "one.npz")]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    imported = set(done.stdout.rpartition("imported:")[2].split())
    unwanted = {"torch._dynamo", "torchvision", "sympy", "sklearn", "scipy", "onnx", "timm", "jinja2"}
    assert "torch" in imported and "semivae.api" in imported and "semivae.sklearn" not in imported
    assert unwanted & imported == set()


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
