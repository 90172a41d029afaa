"""Texts of messages."""

from __future__ import annotations

from collections.abc import Sequence


def join_names(names: Sequence[str], most: int = 5) -> str:
    """`names` in a line of a message: the first `most`, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
