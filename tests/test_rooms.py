"""The rooms of the house: imports point downwards only, and what must stay light stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "semivae"
MAY_IMPORT = {
    "errors": set(),
    "recipe": {"errors", "recipe"},
    "game": {"errors", "game"},
    "nets": {"nets"},
    "data": {"errors", "recipe", "game", "data"},
    "graphs": {"errors", "recipe", "game"},
    "scenario": {"errors", "recipe", "game", "nets", "data", "graphs"},
}
ANYTHING_BUT_CLI = {
    "alarms", "validation", "diagnosis", "graphs",
    "errors", "recipe", "game", "nets", "data", "scenario", "checkpoint", "devices", "diagnostics", "optimization",
    "training", "training_loop", "run", "run_folder", "interruption", "evaluation", "metrics", "generation",
    "export", "export_formats",
    "classification", "prior_samples", "segmentation", "generative",
}  # fmt: skip
FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.name not in ("__main__.py",) and path.parent.name != "cli"
)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names if node.module == "semivae")}
    return {name.split(".")[1] for name in names if name.startswith("semivae.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        assert imported_rooms(path) <= {"run", "training"}
    else:
        assert imported_rooms(path) <= MAY_IMPORT.get(room, ANYTHING_BUT_CLI)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [node.func.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]  # fmt: skip
    assert "print" not in calls


def test_recipes_are_read_without_torch() -> None:
    program = "import sys, semivae.recipe; semivae.recipe.read_recipe('digits_50labels'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
