"""A section of a recipe on one line, as templates have it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from semivae.recipe.parsing import parse_value

PLAIN = re.compile(r"[A-Za-z_/][\w./-]*")  # a text that needs no quotes, unless it is read as another value


def flow(section: Mapping[str, object]) -> str:
    """Returns the YAML of a section, `{name: folder, size: 32}`."""
    return "{" + ", ".join(f"{scalar(key)}: {_value(value)}" for key, value in section.items()) + "}"


def scalar(text: str) -> str:
    """Returns the YAML of a text: as it stands, or in quotes, which JSON and YAML share."""
    return text if PLAIN.fullmatch(text) and parse_value(text) == text else json.dumps(text, ensure_ascii=False)


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):
        return flow(value)
    return scalar(value) if isinstance(value, str) else json.dumps(value)
