"""Random recipes and changes: reading gives a recipe that survives being written, or a RecipeError; nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semivae.errors import RecipeError
from semivae.recipe import change_recipe, dump_recipe, find_recipe, read_recipe
from semivae.recipe.document import write_document
from semivae.recipe.parsing import UnreadableError, parse_value
from semivae.recipe.schema import Recipe

TEXT = find_recipe("mnist_100labels").read_text(encoding="utf-8")
DATA: Any = parse_value(TEXT)
RECIPE = read_recipe("mnist_100labels")
WORDS = (
    "x",
    "y",
    "h",
    "uniform",
    "learned",
    "hidden",
    "left_out",
    "teach",
    "average",
    "encoder",
    "name",
    "mlp",
    "weight",
)
SIGNS = "{}[],:&*!|>%@`\"'#-?<~=\\ \n\t0179.eExX_abcxyz\0\x85\ufeff\U0001f600"
# the same cases in every run, so that a change is to blame for what it breaks
quick = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

numbers = st.one_of(
    st.integers(), st.sampled_from([0, 1, -1, 2**63, 10**400, -(10**4000)]), st.floats(), st.booleans(), st.none()
)
keys = st.one_of(st.sampled_from(WORDS), st.text(max_size=8), numbers)
values = st.recursive(
    st.one_of(numbers, keys, st.binary(max_size=4), st.dates()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in nested sections and lists."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path] * bool(path) + [place for key, below in items for place in places(below, (*path, key))]


PLACES = places(DATA)


def read(get: Any) -> Recipe | None:
    """What reading gives; None where it is refused, in lines that each say something."""
    try:
        recipe: Recipe = get()
    except RecipeError as error:
        lines = str(error).splitlines()
        assert lines and all(line.strip() and len(line) < 1000 for line in lines)
        return None
    return recipe


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random") / "mine.yaml"


@quick
@given(st.sampled_from(PLACES), values, st.booleans())
def test_a_value_is_replaced_by_any_other(place: tuple[Any, ...], value: Any, added: bool) -> None:
    data = copy.deepcopy(DATA)
    section = data
    for key in place[:-1]:
        section = section[key]
    if added and isinstance(section, dict):
        section[value if isinstance(value, str) else "more"] = value
    else:
        section[place[-1]] = value
    recipe = read(lambda: change_recipe(RECIPE, {key: data[key] for key in data if key != ""}))
    assert recipe is None or isinstance(recipe, Recipe)


@quick
@given(st.integers(0, len(TEXT)), st.text(SIGNS, max_size=6), st.integers(0, 6))
def test_the_text_is_cut_and_pasted_into(file: Path, place: int, pasted: str, cut: int) -> None:
    file.write_text(TEXT[:place] + pasted + TEXT[place + cut :], encoding="utf-8", newline="")
    recipe = read(lambda: read_recipe(file))
    if recipe is not None:
        file.write_text(dump_recipe(recipe), encoding="utf-8")
        assert read_recipe(file) == recipe


@quick
@given(st.text(SIGNS, max_size=60) | st.text(max_size=60) | st.dictionaries(st.text(), values).map(write_document))
def test_any_text_is_read_or_refused(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="")
    assert read(lambda: read_recipe(file)) is None


@quick
@given(st.binary(max_size=60))
def test_any_bytes_are_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert read(lambda: read_recipe(file)) is None


@quick
@given(
    st.sampled_from([".".join(map(str, place)) for place in PLACES]) | st.text(max_size=12),
    st.text(SIGNS, max_size=12) | st.sampled_from(["{}", "[]", "null", "~", "left_out", "9" * 400, "&a [*a]", "1e400"]),
)
def test_any_change_is_made_or_refused(key: str, value: str) -> None:
    recipe = read(lambda: read_recipe("mnist_100labels", [f"{key}={value}"]))
    assert recipe is None or read(lambda: change_recipe(recipe, {})) == recipe


@quick
@given(st.text(SIGNS, max_size=30))
def test_any_value_is_parsed_or_refused(text: str) -> None:
    try:
        parse_value(text)
    except UnreadableError as error:
        assert error.message and "\n" not in error.message
