"""A section of a recipe on one line, as templates have it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from semivae.text import as_yaml


def flow(section: Mapping[str, object]) -> str:
    """Returns the YAML of a section, `{name: folder, size: 32}`."""
    return "{" + ", ".join(f"{as_yaml(key)}: {_value(value)}" for key, value in section.items()) + "}"


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):
        return flow(value)
    return as_yaml(value) if isinstance(value, str) else json.dumps(value)
