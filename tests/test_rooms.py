"""The floors of the house: imports point down, nothing goes in a circle, and what must stay light stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "semivae"

# A room may import its own modules and rooms on lower floors. Rooms on one floor do not see each other.
FLOORS = (
    ("family_facts",),
    ("version", "errors", "text", "metrics", "variables", "seeds"),
    ("parallel",),
    ("devices", "files", "recipe", "nets", "game"),
    ("data", "extending"),
    ("tasks",),
    ("scenario",),
    ("runs", "monitoring"),
    ("training", "classification"),
    ("generative", "export", "label_errors", "display"),
    ("reports", "inspection", "loggers"),
    ("page",),
    ("api",),
    ("cli", "sklearn"),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Exceptions to the table: what a room does not import although it lies lower, as it must work without it.
NEVER = {
    "recipe": {"metrics", "variables", "seeds"},
    "nets": {"errors", "text", "metrics", "variables", "seeds"},
    "game": {"text", "metrics", "seeds"},
    "generative": {"training"},
    "export": {"training"},
    "reports": {"training"},
    "inspection": {"training"},
    "page": {"training"},
}

Edge = tuple[str, str]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that one of them imports: at the top, inside functions, and for type checkers alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & set(known)
            named = {alias.name for alias in node.names if f"{node.module}.{alias.name}" not in known}
            found |= inner | ({node.module} if named else set())
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{name} has a relative import"
    return found - {name}


def room_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "semivae"


@cache
def all_imports() -> dict[str, set[str]]:
    known = modules()
    return {name: imports(name, path, known) for name, path in known.items()}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or by way of others (Tarjan's components of two or more)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(edges.get(name, set())):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            found.extend([sorted(group)] if len(group) > 1 else [])

    for name in sorted(edges):
        if name not in order:
            visit(name)
    return found


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_import_each_other() -> None:
    assert circles(all_imports()) == []


def test_imports_point_to_lower_floors() -> None:
    wrong = [
        f"{name} -> {other}"
        for name, others in all_imports().items()
        for other in sorted(others)
        if room_of(name) not in ("semivae", "__main__") and not may_import(room_of(name), room_of(other))
    ]
    assert wrong == []


def may_import(room: str, other: str) -> bool:
    if room == other:
        return True
    if other == "semivae":  # the version alone
        return room == "cli"
    return FLOOR_OF[other] < FLOOR_OF[room] and other not in NEVER.get(room, set())


def test_every_room_has_its_floor() -> None:
    assert {room_of(name) for name in modules()} - {"semivae", "__main__"} == set(FLOOR_OF)


def test_only_the_command_line_prints_and_estimators_that_are_verbose() -> None:
    wrong = [
        name
        for name, path in modules().items()
        if room_of(name) != "cli" and name != "semivae.sklearn.base"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_the_method_stays_short_enough_for_one_sitting() -> None:
    """The files that CONTRIBUTING names, in its order; what else is in `game/` serves them or one kind of factor."""
    files = ("graphs", "plan", "conditionals", "families", "players", "game")
    lengths = [len((PACKAGE / f"game/{name}.py").read_text(encoding="utf-8").splitlines()) for name in files]
    assert sum(lengths) < 900


def test_recipes_are_read_without_torch() -> None:
    program = "import sys, semivae.recipe; semivae.recipe.read_recipe('digits_50labels'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
