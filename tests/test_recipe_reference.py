"""docs/recipe.md and the JSON schema: complete, current, and true to what is read."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from semivae.cli import app
from semivae.recipe import shipped_recipes
from semivae.recipe.document import read_document
from semivae.recipe.former_names import FORMER_KEYS, FORMER_VALUES
from semivae.recipe.parsing import parse_value
from semivae.recipe.reference import HEADINGS, anchor, json_schema, reference_page
from semivae.recipe.registered import REGISTERED
from semivae.recipe.schema import Recipe
from semivae.recipe.section import Section

PAGE = Path(__file__).parents[1] / "docs" / "recipe.md"


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a value of some type may hold, all levels."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
        for field in annotation.model_fields.values():
            yield from sections_in(field.annotation)
    for part in typing.get_args(annotation):
        yield from sections_in(part)


SECTIONS = sorted(set(sections_in(Recipe)), key=lambda section: section.__name__)


def test_the_page_is_current() -> None:
    if PAGE.exists():  # an sdist has no docs
        hint = "run: semivae schema --markdown > docs/recipe.md"
        assert PAGE.read_text(encoding="utf-8") == reference_page() + "\n", hint


def test_the_page_shows_every_section_and_key() -> None:
    assert {*SECTIONS} == {Recipe, *HEADINGS}
    page = reference_page()
    for section in SECTIONS:
        for name, field in section.model_fields.items():
            assert field.description and field.description.endswith("."), f"{section.__name__}.{name}"
            assert f"| `{name}` |" in page and field.description in page


def test_every_link_on_the_page_leads_somewhere() -> None:
    page = reference_page()
    anchors = [anchor(heading) for heading in re.findall(r"^#+ (.*)$", page, re.MULTILINE)]
    assert len(set(anchors)) == len(anchors), "two headings have one anchor"
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= set(anchors)


@pytest.mark.parametrize("section", [section for section in SECTIONS if section is not Recipe])
def test_every_example_is_valid(section: type[Section], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTERED, "network", {"patches"})
    assert section.example
    section.model_validate(parse_value(section.example))


def check(schema: dict[str, Any], value: object, top: dict[str, Any]) -> bool:
    """Whether a value fits a JSON schema, for the keywords that change from section to section."""
    if "$ref" in schema:
        return check(top["$defs"][schema["$ref"].rpartition("/")[2]], value, top)
    for forms in ("anyOf", "oneOf"):
        if forms in schema:
            return any(check(form, value, top) for form in schema[forms])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    if schema.get("type") == "object" and isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", {})
        patterns = [*schema.get("patternProperties", {}).values()]
        forms_of = {key: known.get(key, patterns[0] if patterns else other) for key in value}
        fits = all(form is not False and check(form, value[key], top) for key, form in forms_of.items())
        return fits and all(key in value for key in schema.get("required", []))
    if schema.get("type") == "array":
        return isinstance(value, list) and all(check(schema.get("items", {}), item, top) for item in value)
    if schema.get("type") in ("number", "integer"):
        low, above = schema.get("minimum", value), schema.get("exclusiveMinimum", float("-inf"))
        return isinstance(value, int | float) and low <= value and above < value
    return True


def test_the_json_schema_takes_the_shipped_recipes_and_refuses_former_names() -> None:
    schema = json_schema()
    for path in shipped_recipes().values():
        recipe = read_document(path).data
        assert check(schema, recipe, schema), path
        assert not check(schema, {**recipe, "trainin": {}}, schema)
    for path_, name in FORMER_KEYS.items():
        assert f'"{path_[-1]}"' not in json.dumps(schema) and f'"{name}"' in json.dumps(schema)
    for names in FORMER_VALUES.values():
        assert all(
            f'"{old}"' not in json.dumps(schema) and f'"{new}"' in json.dumps(schema) for old, new in names.items()
        )


def test_the_json_schema_has_standard_keywords_only() -> None:
    schema = json_schema()
    assert schema["$schema"].startswith("https://json-schema.org/") and schema["title"] and schema["description"]
    assert not re.search(r'"(gt|ge|lt|le)"', json.dumps(schema))  # pydantic's, where a bound does not reach its number


def test_the_command_prints_both() -> None:
    assert json.loads(CliRunner().invoke(app, ["schema"]).stdout) == json_schema()
    assert CliRunner().invoke(app, ["schema", "--markdown"]).stdout == reference_page() + "\n"
