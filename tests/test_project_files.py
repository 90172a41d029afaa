"""The files that others read about the project: they agree with each other and with the package."""

from __future__ import annotations

import ast
import importlib.metadata
import itertools
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import semivae

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def normalised(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_the_citation_is_of_this_version_and_licence() -> None:
    citation = yaml(ROOT / "CITATION.cff")
    assert citation["version"] == semivae.__version__
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert citation["references"][0]["title"] == "Symmetric Equilibrium Learning of VAEs"


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_have_what_the_format_asks_for(path: Path) -> None:
    form = yaml(path)
    assert form["name"] and form["description"]
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in asked}) == len(asked)
    for field in asked:
        assert field["attributes"]["label"]
        assert field["type"] in ("textarea", "input", "dropdown", "checkboxes")


def test_every_import_is_of_a_declared_dependency() -> None:
    """Otherwise an installed semivae would fail where only what it asks for is there."""
    extras = {name: needed for name, needed in PROJECT["optional-dependencies"].items() if name not in ("docs", "test")}
    declared = {
        normalised(re.match(r"[\w.-]+", requirement)[0])  # type: ignore[index]
        for requirement in (*PROJECT["dependencies"], *itertools.chain(*extras.values()))
    }
    declared |= {"pydantic-core", "annotated-types"}  # pydantic asks for the ones that it fits
    declared |= {"mlflow"}  # the module of mlflow-skinny, where that is not installed
    packages = importlib.metadata.packages_distributions()
    for path in (ROOT / "semivae").rglob("*.py"):
        for module in imported_modules(path) - {"semivae"} - sys.stdlib_module_names:
            sources = {normalised(name) for name in packages.get(module, [module])}
            assert sources & declared, f"{path} imports {module}, which pyproject.toml does not ask for"


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}
