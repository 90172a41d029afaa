"""What the pages for users tell them to type works: commands, Python and recipes are run in the order of the page.

Every page has a workspace of its own with the data that it speaks of (`tests/docs_data.py`). Trainings take a few
steps: where a page states `training.steps`, `docs/shortened.py` lowers it; commands that do not state it get it. What
is printed is not compared, for so short a training knows nothing.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from docs.shortened import shorten
from semivae.cli import app
from semivae.recipe import read_recipe
from semivae.recipe.reading import find_recipe
from tests.docs_data import PREPARATIONS, names

ROOT = Path(__file__).parents[1]
STEPS = 4
# What needs data that must be downloaded, or a GPU: tests/test_docs.py still checks the words of these commands.
NEEDS = ("mnist", "cifar10", "faces", "celebamask", "svhn", "pip install", "push", "hf://")
SLOW = {
    "README.md",
    "docs/command-line.md",
    "docs/own-data.md",
    "docs/notebooks/photographs.md",
    "docs/notebooks/table.md",
    "docs/tasks/attributes.md",
    "docs/tasks/few-labels.md",
    "docs/tasks/masks.md",
    "docs/tasks/own-method.md",
    "docs/tasks/pretrained-networks.md",
    "docs/tasks/photographs.md",
    "docs/tasks/pictures.md",
    "docs/tasks/strangers.md",
}
# Pages whose code another test runs with what it needs.
ELSEWHERE = {
    "docs/exported-files.md": "tests/test_export_preparation.py",
    "docs/scikit-learn.md": "tests/test_docs.py",
}
PAGES = sorted(
    page
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if "_build" not in page.parts
    and str(page.relative_to(ROOT)) not in ELSEWHERE
    and re.search(r"^(\$ )?semivae |^```(python|\{code-cell\})$", page.read_text(), re.M)
)


class Block(NamedTuple):
    """A fenced block of a page: its language, its text and the line where it begins."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        yield Block(found[1], found[2], text[: found.start()].count("\n") + 1)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `semivae ...` of a block, with its trainings shortened."""
    for line in text.splitlines():
        for part in line.removeprefix("$ ").partition("  #")[0].split("&&"):
            words = shlex.split(part.strip().partition(" > ")[0]) if part.strip().startswith("semivae ") else []
            if not words or words[1].isupper() or any(need in word for word in words for need in NEEDS):
                continue
            if "--at-most-error" in words:
                words[words.index("--at-most-error") + 1] = "95%"  # what a shortened training can promise
            if "--more-steps" in words:
                words[words.index("--more-steps") + 1] = str(STEPS)
            if "train" in words[:4]:  # after --import FILE, too
                words += ["--set", f"training.steps={STEPS}", "--set", "training.validate_every=2"]
            yield words[1:]


def write_recipe(text: str) -> None:
    """Keeps a whole recipe under the name in its first line, `# NAME.yaml`; checks sections of one by putting them in.

    The sections take the place of those of a shipped recipe, the template that reads the same kind of source, or the
    one for digits.
    """
    from ruamel.yaml import YAML

    if named := re.match(r"# (\w+\.yaml)\n", text):
        Path(named[1]).write_text(text, encoding="utf-8")
        read_recipe(named[1])
        return
    yaml = YAML()
    sections: dict[str, Any] = yaml.load(text)
    kind = sections.get("source", {}).get("name", "digits")
    base = {"folder": "folder", "arrays": "folder", "table": "table", "masks": "masks"}.get(kind, "digits_50labels")
    base = "photos" if "features" in sections else base
    recipe = yaml.load(find_recipe(base).read_text(encoding="utf-8"))
    recipe.update(sections)
    with Path("sections.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(recipe, file)
    read_recipe("sections.yaml")


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if str(page.relative_to(ROOT)) in SLOW else []) for page in PAGES],
    ids=lambda page: str(page.relative_to(ROOT)),
)
@pytest.mark.filterwarnings("ignore::semivae.errors.DataWarning")  # so few examples are rightly warned of
@pytest.mark.usefixtures("registrations_end")
def test_everything_on_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", "recipes")
    name = str(page.relative_to(ROOT))
    known = names()
    PREPARATIONS.get(name, lambda: None)()
    for block in blocks(page):
        place = f"{name}, line {block.line}"
        if block.language in ("python", "{code-cell}"):
            # what a shortened training can promise
            code = shorten(block.text, STEPS).replace("at_most_error=0.01", "at_most_error=0.95")
            assert code.count("semivae.train(") == code.count('"training.steps"'), f"{place}: state training.steps"
            if named := re.match(r"# (\w+\.py)\n", code):
                Path(named[1]).write_text(code, encoding="utf-8")
                continue
            exec(compile("\n" * block.line + code, str(page), "exec"), known)
        elif block.language == "yaml":
            write_recipe(shorten(block.text, STEPS))
        elif not block.language:
            for words in commands(block.text):
                result = CliRunner().invoke(app, words, catch_exceptions=False)
                assert result.exit_code == 0, f"{place}: semivae {shlex.join(words)}\n{result.output}"


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_other_pages_are_run_by_the_test_that_is_named(page: str, test: str) -> None:
    assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")
