"""Sentences that are about no images where the data hold none, and that agree with their counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.recipe import read_recipe
from semivae.scenario.plan import roles_of
from semivae.text import EXAMPLES, IMAGES, count_of, either

ROWS, SHOWN = 240, re.compile(r"\b(images?|pictures?|pixels?)\b")
COMMANDS = [
    ["check", "RECIPE", "--data-root", "."],
    ["show", "RECIPE", "--data-root", "."],
    ["inspect", "train.csv"],
    ["evaluate", "RUN"],
    ["evaluate", "RUN", "--calibrate", "--vote", "--at-most-error", "60%"],
    ["diagnose", "RUN"],
    ["predict", "RUN", "new.csv", "--coverage", "90%", "--novelty", "--out", "p.csv"],
    ["embed", "RUN", "new.csv", "--out", "e.npz"],
    ["novelty", "RUN", "new.csv", "--out", "n.csv"],
    ["sample", "RUN", "--out", "s.csv"],
    ["impute", "RUN", "new.csv", "--out", "filled"],
    ["chain", "RUN", "--rounds", "4", "-n", "20", "--out", "chain"],
    ["likelihood", "RUN"],
    ["quality", "RUN", "--features", "RUN", "-n", "20"],
    ["codes", "RUN", "--out", "c.npz"],
    ["suggest", "RUN", "new.csv", "-n", "1", "--out", "first.csv"],
    ["strangers", "RUN", "new.csv"],
    ["doubts", "RUN", "--out", "d.csv"],
    ["export", "RUN", "--out", "x.safetensors"],
    ["card", "RUN"],
    ["report", "RUN", "--out", "r.html"],
]
NUMBERS = {"evaluate", "diagnose", "predict", "novelty", "likelihood", "card"}


def rows(path: Path, label: Sequence[str], count: int, labelled: int) -> None:
    """A table of two columns of numbers, whose first `labelled` rows have a label."""
    generator = np.random.default_rng(count)
    lines = ["a,b,label"]
    for row in range(count):
        kind = row % len(label)
        a, b = generator.normal(3.0 * kind, 1.0, 2)
        lines.append(f"{a:.3f},{b:.3f},{label[kind] if row < labelled else ''}")
    path.write_text("\n".join(lines) + "\n")


def trained(folder: Path, template: str, labels: Sequence[str]) -> Run:
    rows(folder / "train.csv", labels, ROWS, 160)
    rows(folder / "test.csv", labels, 60, 60)
    rows(folder / "new.csv", labels, 20, 0)
    text = Path(__file__).parent.parent.joinpath(f"recipes/{template}.yaml").read_text()
    (folder / "recipe.yaml").write_text(text)
    changes = {
        "source.path": "train.csv",
        "source.label": "label",
        "source.test": "test.csv",
        "split.validation": 60,
        "training.steps": 20,
        "training.validate_every": 10,
    }
    return semivae.train(folder / "recipe.yaml", set=changes, out=folder / "run", data_root=folder, device="cpu")


@pytest.fixture(scope="module")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("classes"), "table", ("elm", "fir", "oak"))


@pytest.fixture(scope="module")
def number_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("numbers"), "table_numbers", ("1.5", "2.5", "4.5"))


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words[:1] + words[2:3]))
def test_a_run_of_a_table_speaks_of_no_images(
    words: list[str], table_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks_of_rows(words, table_run, monkeypatch)


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if words[0] in NUMBERS and "--vote" not in words], ids=str
)
def test_a_run_of_numbers_in_a_table_speaks_of_no_images(
    words: list[str], number_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks_of_rows([word for word in words if word != "--novelty"], number_run, monkeypatch)  # numbers have none


def speaks_of_rows(words: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks all that a command says, and the texts that it writes, card and report among them."""
    folder = run.path.parent
    monkeypatch.chdir(folder)
    names = {"RUN": str(run.path), "RECIPE": str(folder / "recipe.yaml")}
    changed = ["--set", "source.path=train.csv", "--set", "source.label=label"] if "RECIPE" in words else []
    overwrite = ["--overwrite"] if "--out" in words or words[0] == "card" else []
    given = [*(names.get(word, word) for word in words), *changed, *overwrite]
    result = CliRunner().invoke(app, given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == (1 if words[0] == "strangers" else 0), result.output  # no stranger is in the recipe
    said = result.output
    if words[0] == "card":
        said += (run.path / "README.md").read_text()
    if words[0] == "report":
        page = re.sub(r"<(style|script|svg).*?</\1>", "", (folder / "r.html").read_text(), flags=re.DOTALL)
        said += re.sub(r"<[^>]*>", " ", page)
    found = [line for line in said.splitlines() if SHOWN.search(line.replace("no pictures", ""))]
    assert not found, found


def test_what_examples_are_called_follows_from_the_kind_of_input() -> None:
    recipes = Path(__file__).parent.parent / "recipes"
    called = {path.stem: roles_of(read_recipe(path)).nouns for path in recipes.glob("*.yaml")}
    assert {name for name, nouns in called.items() if nouns == EXAMPLES} == {"table", "table_grades", "table_numbers"}
    assert called["photos"] == IMAGES, "features are of photographs"
    changes = ["variables.x.shape=[7]"]
    assert roles_of(read_recipe(recipes / "arrays_numbers.yaml", changes)).nouns == EXAMPLES


def test_counts_and_verbs_agree() -> None:
    assert count_of(1, *IMAGES) == "1 image" and count_of(0, *IMAGES) == "0 images"
    assert count_of(2000, *EXAMPLES, before="test") == "2,000 test examples"
    assert (either(1, "is", "are"), either(2, "is", "are")) == ("is", "are")


def test_an_array_for_a_run_of_a_table_is_said_to_be_taken_as_it_is(table_run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((2, table_run.inputs.shape[0]), np.float32))
    result = CliRunner().invoke(app, ["predict", str(table_run.path), str(tmp_path / "rows.npy")])
    assert result.exit_code == 0 and "rows of an array are taken as the model has them" in result.stderr
    result = CliRunner().invoke(app, ["predict", str(table_run.path), str(table_run.path.parent / "new.csv")])
    assert result.exit_code == 0 and "taken as the model has them" not in result.stderr
