"""Texts of messages."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence

Nouns = tuple[str, str]  # what one of the user's examples is called, and several
IMAGES: Nouns = ("image", "images")
EXAMPLES: Nouns = ("example", "examples")
PLAIN = re.compile(r"(?:[A-Za-z_/]|\.{1,2}/)[\w./-]*")  # a text that YAML reads as it stands; .5 and .inf are numbers
MEANT = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}  # likewise, but as something else


def join_names(names: Sequence[str], most: int = 5) -> str:
    """`names` in a line of a message: the first `most`, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` may be a slip of the pen for, capital letters aside; None if all are far."""
    folded = {each.casefold(): each for each in reversed(list(names))}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.75)
    return folded[found[0]] if found else None


def by_reason(reasons: Mapping[str, str], most: int = 5) -> str:
    """Names with the reasons of each, names of one reason together: `a, b and 7 more (too small); c (empty)`."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    texts = [f"{join_names(group, most)} ({reason})" for reason, group in names.items()]
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and files with {more:,} more reasons" if more > 0 else "")


def count_of(count: int, one: str, many: str, before: str = "") -> str:
    """A count and what is counted: `one` (with its verb) for a single one, else `many`; `before` it, an adjective.

    Every message that counts agrees with its count by this function or by `either`.
    """
    return f"{count:,} {before}{' ' if before else ''}{either(count, one, many)}"


def either(count: int, one: str, many: str) -> str:
    """`one` where a sentence that has just named `count` goes on about a single one, else `many`, such as is or are."""
    return one if count == 1 else many


def percent(share: float) -> str:
    """A share as it was asked for: 0.95 as 95%, 0.005 as 0.5%."""
    return f"{100 * share:.6g}%"


def shortened(text: str, most: int = 60) -> str:
    """`text` on one line, with escapes for signs that do not print, cut after `most` characters."""
    line = text[: most + 1] if text[: most + 1].isprintable() else repr(text[: most + 1])[1:-1]
    return line if len(line) <= most else line[: most - 3] + "..."


def short_repr(value: object) -> str:
    """A value in a message: as Python writes it, on one line, cut where it is long."""
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):  # Python writes no whole number of thousands of digits
        return f"a {type(value).__name__} that is too long to show"


def as_yaml(text: str) -> str:
    """`text` as it is written in a recipe, in quotes where YAML would read something else: a: b as "a: b"."""
    return text if PLAIN.fullmatch(text) and text.lower() not in MEANT else json.dumps(text, ensure_ascii=False)


def in_gigabytes(count: int) -> str:
    """A number of bytes as 12.5 GB, or below one GB as 350 MB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
