"""Hostile and careless texts: a recipe is read or refused quickly, in messages of one line, whatever it holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from semivae.cli.opening import given_values
from semivae.errors import RecipeError
from semivae.recipe import change_recipe, find_recipe, read_recipe
from semivae.recipe.document import MOST_PROBLEMS
from semivae.recipe.parsing import DEEPEST, MOST_VALUES, UnreadableError, parse_value

GOOD = find_recipe("digits_50labels").read_text(encoding="utf-8")
DIGITS = "9" * 5000
HEX = "0x" + "f" * 5000


def bomb(levels: int = 12) -> str:
    """Ten to the power of `levels` values in so many lines."""
    lines = ["k0: &k0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"k{level}: &k{level} [{', '.join([f'*k{level - 1}'] * 10)}]")
    return "\n".join(lines) + "\n"


def merges(levels: int = 40) -> str:
    """As `bomb`, by merge keys."""
    lines = ["k0: &k0 {a0: 1, b0: 2}"]
    for level in range(1, levels):
        lines.append(f"k{level}: &k{level} {{<<: [{', '.join([f'*k{level - 1}'] * 4)}], a{level}: 1}}")
    return "\n".join(lines) + "\n"


TEXTS = {
    "alias bomb": (bomb(), f"5: more than {MOST_VALUES:,} values, aliases counted"),
    "merge bomb": (merges(), f"more than {MOST_VALUES:,} values, aliases counted"),
    "alias in itself": ("source: {name: digits}\ny: &y [*y]", "2: the alias *y lies within its own value"),
    "alias in itself, deeper": ("a: &a {b: {c: [1, {d: *a}]}}", "1: the alias *a lies within its own value"),
    "merge of itself": ("a: &a {<<: *a}", "1: the alias *a lies within its own value"),
    "alias of all": ("&a {b: *a}", "1: the alias *a lies within its own value"),
    "deep lists": ("a: " + "[" * 10_000, f"1: sections and lists lie more than {DEEPEST} deep"),
    "deep sections": ("{a: " * 100_000, f"1: sections and lists lie more than {DEEPEST} deep"),
    "deep keys": ("? " * 100_000, f"1: sections and lists lie more than {DEEPEST} deep"),
    "long number": (f"a: 1\nb: {DIGITS}", "2: a number of 5,000 digits; no option takes one so large"),
    "long hex number": (f"a: {HEX}", "1: a number of 5,002 digits"),
    "long octal number": (f"a: 0o{'7' * 5000}", "1: a number of 5,002 digits"),
    "long negative number": (f"a: -{DIGITS}", "1: a number of 5,001 digits"),
    "long number as key": (f"{{{'9' * 300}: 1}}", "1: a key of 300 characters; keys are short names"),
    "long key": (f"a:\n  {'k' * 300}: 1", "2: a key of 300 characters"),
    "long text": (f"a: {'x' * 1_000_000}", "more than 1,000,000 characters; a recipe is shorter"),
    "half a character": ('a: "\\ud800"', "1: a text has half of a surrogate pair"),
    "no number in its tag": ("a: !!int x", "a value cannot be read"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_too_large_to_read_is_refused_wherever_it_is_read(name: str, tmp_path: Path) -> None:
    text, message = TEXTS[name]
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    for read in (lambda: read_recipe(path), lambda: read_recipe("digits_50labels", [f"about={text}"])):
        with pytest.raises(RecipeError) as caught:
            read()
        first = str(caught.value)
        assert len(first.splitlines()) == 1 and len(first) < 300
    with pytest.raises(RecipeError, match=r"mine\.yaml") as caught:
        read_recipe(path)
    assert message in str(caught.value)
    with pytest.raises(UnreadableError):
        parse_value(text)
    with pytest.raises(typer.BadParameter) as refused:
        given_values([f"y={text}"])
    assert len(refused.value.message) < 300


def test_a_long_list_is_refused_while_it_is_read() -> None:
    with pytest.raises(UnreadableError, match=f"more than {MOST_VALUES:,} values"):
        parse_value(f"[{'1, ' * MOST_VALUES}]")


def test_a_device_without_an_end_is_not_read_to_its_end() -> None:
    if os.path.exists("/dev/zero"):
        with pytest.raises(RecipeError, match="/dev/zero: more than 1,000,000 characters"):
            read_recipe("/dev/zero")


def test_aliases_within_bounds_stay(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("  strong: {", "  base: &base {shift: 0.01}\n  strong: {<<: *base, ", 1))
    view = read_recipe(path).views["strong"]
    assert (view.shift, view.rotate) == (0.12, 20)  # its own entries go before those merged in
    path.write_text(GOOD.replace("  strong: {", "  again: &w {shift: 0.01}\n  third: *w\n  strong: {", 1))
    assert read_recipe(path).views["third"].shift == 0.01


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("variables.h.shape", "[9223372036854775808]", "shape[0]: must be at most 9.22337e+18"),
        ("variables.y.classes", "1" + "0" * 19, "classes: must be at most 9.22337e+18"),
        ("streams.labels.batch", "1" + "0" * 240, "batch: must be at most 9.22337e+18, not 1000"),
        ("streams.labels.batch", "0x" + "f" * 240, "batch: must be at most 9.22337e+18"),
        ("streams.labels.values", "{counts: [1" + "0" * 240 + ", 1]}", "counts[0]: must be at most 9.22337e+18"),
        ("split.labelled", "1" + "0" * 30, "labelled: must be at most 9.22337e+18"),
        ("split.validation", "1" + "0" * 30, "validation: must be at most 9.22337e+18"),
        ("training.steps", "1" + "0" * 30, "steps: must be at most 9.22337e+18"),
        ("training.warmup", "1" + "0" * 30, "warmup: must be at most 9.22337e+18"),
        ("training.learning_rate", "1e999", "learning_rate: must be a finite number"),
        ("encoder.y.net.hidden", "1" + "0" * 30, "hidden: must be at most 9.22337e+18"),
        ("encoder.y.net.channels", f"[{'1, ' * 60}]", "channels: may have at most 50 entries, has 60"),
        ("encoder.y.net", "{name: wide_resnet, depth: 6000004}", "depth: must be at most 1000"),
        ("encoder.y.net", "{name: pooled_resnet, blocks: 1000000}", "blocks: must be at most 50"),
        ("source", "{name: folder, path: x, size: 1000000000}", "size: must be at most 16384"),
    ],
)
def test_sizes_that_no_machine_has_are_refused(key: str, value: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe("digits_50labels", [f"{key}={value}"])
    line = str(caught.value).splitlines()[0]
    assert line.startswith(f"--set: {key}") and message in line and len(line) < 200


def test_numbers_of_programs_are_refused_in_words() -> None:
    recipe = read_recipe("digits_50labels")
    for value in (10**5000, [10**5000], {"weight": 10**5000}, -(10**5000)):
        with pytest.raises(RecipeError, match=r"training\.clip"):
            change_recipe(recipe, {"training.clip": value})


def test_of_very_many_mistakes_the_first_are_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD + "".join(f"k{number}: 1\n" for number in range(3_000)), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == MOST_PROBLEMS + 1 and "these are the first 100 mistakes" in lines[-1]
    keys = ", ".join(f"k{number}: 1" for number in range(3_000))  # where forms are told apart by their keys
    with pytest.raises(RecipeError):
        read_recipe("digits_50labels", [f"streams.labels.loss_weights.y={{{keys}}}"])


@pytest.mark.parametrize(
    "path", ['"C:\\Users\\me"', '"C:\\data\\images"', '"D:\\images\\"', '"C:\\x"', '"\\\\srv\\share"']
)
def test_windows_paths_in_double_quotes_are_explained(path: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    source = f"{{name: folder, path: {path}}}"
    file.write_text(GOOD.replace("source: {name: digits}", f"source: {source}"), encoding="utf-8")
    hint = "write / instead, or use single quotes"
    if path == '"\\\\srv\\share"':  # a proper escape, and one that is none
        source = source.replace("\\share", "\\temp")
    with pytest.raises(RecipeError, match=hint) as caught:
        read_recipe(file)
    assert ":2:" in str(caught.value) or f":{GOOD[: GOOD.index('source:')].count(chr(10)) + 1}:" in str(caught.value)
    with pytest.raises(RecipeError, match=hint):
        read_recipe("digits_50labels", [f"source={source}"])


@pytest.mark.parametrize("path", ['"C:\\new"', '"C:\\train"', '"D:\\backup"', '"C:\\0"'])
def test_windows_paths_that_double_quotes_changed_are_refused(path: str) -> None:
    for source in (f"{{name: folder, path: {path}}}", f"{{name: table, path: t.csv, label: y, test: {path}}}"):
        with pytest.raises(RecipeError, match=r"has the control character .*: a backslash in double quotes"):
            read_recipe("digits_50labels", [f"source={source}"])
    right = read_recipe("digits_50labels", ["source={name: folder, path: 'C:\\new'}"]).source
    assert getattr(right, "path", "") == "C:\\new"


@pytest.mark.parametrize("name", ["my_images.yml", "my_images", "my_image.yaml", "my-images.yaml", "My_images.yaml"])
def test_a_recipe_beside_the_missing_one_is_suggested(name: str, tmp_path: Path) -> None:
    (tmp_path / "my_images.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RecipeError, match=r"there is no such file.*did you mean .*my_images\.yaml\?$"):
        read_recipe(tmp_path / name)
    with pytest.raises(RecipeError, match="known: "):
        read_recipe(tmp_path / "unlike.yaml")


def test_an_alias_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(bomb(30), encoding="utf-8")
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2 ** 30, 2 ** 30))\n"
    code += "from semivae.recipe import read_recipe; read_recipe(sys.argv[1])"
    if sys.platform.startswith("linux"):
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
        assert "RecipeError" in done.stderr and "aliases counted" in done.stderr
