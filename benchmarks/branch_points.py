"""Where the package asks what its data are: is the label a map? is there a label? is x a table?

    python -m benchmarks.branch_points             this checkout
    python -m benchmarks.branch_points OTHER       another one, to compare with

A question that is asked at many places is an object that nobody has made. What is counted are conditions in the source:
comparisons, calls of predicates, and values whose truth is tested; readers and formats are left out, as they check
what lies in files. `tests/test_branch_points.py` holds the ceiling: each
place that may ask is named there, with the reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

# Regular expressions that a condition, as `ast.unparse` writes it, is searched for. Also those that are gone, so that
# they do not come back, and earlier checkouts can be counted.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "is the label a map?": (
        r"\bhas_places$",
        r"\b(task|task_of\(.*\)|task_named\(.*\)) is (not )?(MAPS|CLASSES)\b",
        r"\btask\.name (==|!=|in)\b",
        r"(\.kind|\['kind'\]) (==|!=|in)\b",
        r"^(map_of|is_map|is_segmentation|speaks_of_maps)\(",
        r"^map\(speaks_of_maps\b",
        r"\blabel (==|!=) '\w+'",
        r"^variable (==|!=) 'y'",
        r"^spec\.observe == \('s',\)",
        r"\b(labels?|codes\[label\])\.(ndim|dim\(\)) (==|!=)",
        r"^(\w+\.)*variables\[(\w+\.)*label\]\.shape( or \(\))?$",
        r"^shape$",
        r"\.target\.shape$",
        r"\bmaps is (not )?None",
        r"^(view\.|self\.)?is_map$",
    ),
    "is there a label?": (
        r"^(self\.|\w+\.)*_?label is (not )?None",
        r"^roles_of\(\w+(\.recipe)?\)\.label is (not )?None",
        r"\broles\.(read|predicted) is (not )?None",
        r"^(not )?(self\.|\w+\.)*roles\.labels$",
        r"\bis (not )?NOTHING\b",
    ),
    "are its values classes?": (
        r"family (==|!=) '(categorical|ordinal)'",
        r"family (not )?in \(.*'(categorical|ordinal)'",
        r"(categorical|ordinal)' (==|!=) .*family$",
    ),
    "is x a table?": (
        r"\bencoding is (not )?None",
        r"\b(TABLE_)?ENDINGS\b",
        r"\blen\((\w+\.)*shape\) (==|!=) [13]",
        r"\.(dim\(\)|ndim) (==|!=) 4",
        r"\bimages_only$",
        r"\bare_images$",
    ),
}


@dataclass(frozen=True, order=True)
class Place:
    """One condition that asks."""

    question: str
    file: str
    line: int
    condition: str


def conditions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Comparisons, calls, and the names, attributes and entries whose truth is tested, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.Call):
            yield node.lineno, ast.unparse(node)
        for test in _tests(node):
            for operand in _operands(test):
                if isinstance(operand, ast.Name | ast.Attribute | ast.Subscript):
                    yield operand.lineno, ast.unparse(operand)


def _tests(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        return [node.test]
    if isinstance(node, ast.comprehension):
        return node.ifs
    if isinstance(node, ast.BoolOp) and not isinstance(node.values[-1], ast.Tuple | ast.Constant):  # `shape or ()`
        return node.values
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [node.operand]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "bool":
        return node.args
    return []


def _operands(test: ast.expr) -> Iterator[ast.expr]:
    if isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from _operands(value)
    elif isinstance(test, ast.UnaryOp):
        yield from _operands(test.operand)
    else:
        yield test


def places(package: Path) -> list[Place]:
    """All conditions of a package that ask one of the questions; of one line and question the shortest."""
    found: dict[tuple[str, str, int], str] = {}
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        if file.startswith(("data/readers/", "data/formats/")):
            continue
        for line, condition in conditions(ast.parse(path.read_text(encoding="utf-8"))):
            for question, patterns in QUESTIONS.items():
                if any(re.search(pattern, condition) for pattern in patterns):
                    key = (question, file, line)
                    found[key] = min(found.get(key, condition), condition, key=len)
    return sorted(Place(*key, condition) for key, condition in found.items())


def main(checkout: Annotated[Path, typer.Argument(help="Its folder semivae is counted.")] = Path()) -> None:
    """Show where the package asks what its data are."""
    found, console = places(checkout / "semivae"), Console(markup=False, highlight=False)
    for question in QUESTIONS:
        asked = [place for place in found if place.question == question]
        files = len({place.file for place in asked})
        table = Table(
            "where", "condition", title=f"{question} {len(asked)} times in {files} files", title_justify="left"
        )
        for place in asked:
            table.add_row(f"{place.file}:{place.line}", place.condition)
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
