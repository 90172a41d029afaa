"""The pages for users: their links lead somewhere, and their commands, options and recipes are those that exist."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

import semivae
import semivae.sklearn
from docs.figures import IMAGES, figures
from semivae.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "data" / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def code(page: Path, language: str = "") -> list[str]:
    """The page's fenced blocks of this language."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [block for found, block in blocks if found == language]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(page: Path) -> list[list[str]]:
    """The words of every `semivae COMMAND ...` in the page's blocks of code, comments and redirections left out."""
    lines = [line.removeprefix("$ ") for block in code(page) for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.partition("  #")[0].split("&&")]
    words = [shlex.split(part.partition(" > ")[0]) for part in parts if part.startswith("semivae ")]
    return [line for line in words if not line[1].isupper()]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_their_options_exist(page: Path) -> None:
    for _, *line in command_lines(page):
        command, *words = line[2:] if line[0] == "--import" else line
        assert command in COMMANDS, command
        known = {
            option for parameter in COMMANDS[command].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= known, (command, words)


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "benchmarks").glob("*/*.md"))], ids=name_of)
def test_benchmarks_are_modules_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "python benchmarks/" not in text
    for name in re.findall(r"python -m (benchmarks\.\w+)", text):
        assert find_spec(name), name


def test_every_benchmark_is_named_where_they_are_listed() -> None:
    pages = [ROOT / "docs" / "benchmarks.md", ROOT / "CONTRIBUTING.md"]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    files = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "benchmarks").glob("*/__main__.py")]
    run = [path for path in files if path.name == "__main__.py" or "__main__" in path.read_text(encoding="utf-8")]
    names = {path.parent.name if path.name == "__main__.py" else path.stem for path in run}
    assert {"accuracy", "grades"} <= names
    assert not {name for name in names if not re.search(rf"benchmarks\.{name}\b", text)}


def test_the_first_page_leads_to_every_task() -> None:
    found = set(re.findall(r"\]\(tasks/([\w-]+)\.md", prose(ROOT / "docs" / "index.md")))
    assert found >= {page.stem for page in (ROOT / "docs" / "tasks").glob("*.md")}


def test_the_reference_names_every_public_class_and_function() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert not {name for name in semivae.sklearn.__all__ if f"semivae.sklearn.{name}" not in text}
    assert not {name for name in semivae.__all__ if not re.search(rf"semivae\..*\b{name}\b", text)}


def test_every_command_has_a_section_with_an_example() -> None:
    page = ROOT / "docs" / "command-line.md"
    assert set(COMMANDS) <= anchors(page)
    assert set(COMMANDS) == {line[1] for line in command_lines(page)}


def test_the_readme_stays_short_and_begins_with_its_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert code(ROOT / "README.md")[0].splitlines() == [
        "pip install -e . && semivae train recipes/digits_50labels.yaml",
        "pip install -e '.[test]' && pytest",
    ]


def test_the_examples_for_scikit_learn_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page shows, line by line, in fewer and larger steps; the model that it saves and opens predicts."""
    monkeypatch.chdir(tmp_path)
    fewer = 'steps=50, set={"training.learning_rate": 5e-3}'
    blocks = [block.replace("steps=200", fewer) for block in code(ROOT / "docs" / "scikit-learn.md", "python")]
    assert len(blocks) == 2 and all(fewer in block for block in blocks)
    namespace: dict[str, Any] = {}
    exec(compile(blocks[0], "docs/scikit-learn.md", "exec"), namespace)
    assert namespace["model"].score(namespace["X"], namespace["truth"]) > 0.9
    exec(compile(blocks[1], "docs/scikit-learn.md", "exec"), namespace := {})
    assert namespace["model"].average_precision(namespace["X"], namespace["truth"]) > 0.75


def test_figures_are_those_that_the_project_draws() -> None:
    """The figure of the plan too: `python -m docs.figures` draws it from the plan."""
    assert {path.name for path in IMAGES.glob("*.svg")} == set(figures())
    for name, text in figures().items():
        assert (IMAGES / name).read_text(encoding="utf-8") == text, "run: python -m docs.figures"
