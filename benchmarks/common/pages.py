"""Pages in Markdown, and the JSON files that they are made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.machine import machine_text
from semivae.errors import RunError
from semivae.files import write_whole


def read_content(path: Path, form: str) -> dict[str, Any]:
    """A benchmark's JSON file of this format, {} where there is none. Raises RunError for any other file."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); choose another place with --out") from error
    if not isinstance(content, dict) or content.get("format") != form:
        raise RunError(f"{path}: exists and is no table of this benchmark; choose another place with --out")
    return content


def json_path(target: Path) -> Path:
    """TARGET.json, whatever dots the name has."""
    return target.with_name(target.name + ".json")


def write_page(target: Path, content: str, page: str) -> None:
    """Writes TARGET.json and TARGET.md. Raises RunError where one cannot be written."""
    write_text(json_path(target), content)
    write_text(target.with_name(target.name + ".md"), page)


def write_text(path: Path, text: str) -> None:
    """Writes a file in one move. Raises RunError where it cannot be written."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first row is its heading."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]])


def period(entries: Iterable[Mapping[str, Any]]) -> str:
    """The day or the days on which these entries were measured."""
    days = sorted(entry["date"][:10] for entry in entries)
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def machine_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for every machine that these entries were measured on, then one for every set of versions."""
    machines = [machine_text(entry["machine"]) for entry in entries]
    versions = [versions_text(entry["versions"]) for entry in entries]
    return [f"- {text}." for text in (*dict.fromkeys(machines), *dict.fromkeys(versions))]


def versions_text(versions: Mapping[str, str | None]) -> str:
    """`benchmarks.common.machine.versions` in one line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)
