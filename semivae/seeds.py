"""One seed for every purpose, made from names and numbers."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator

import torch


def seed_for(*parts: object) -> int:
    """A seed that depends on all `parts` and on nothing else: same parts, same seed, on every machine.

    Args:
        parts: strings and integers, for example `seed_for(training_seed, "labelled", epoch)`.

    Returns:
        An integer in [0, 2**63), the leading bits of a SHA-256.
    """
    text = json.dumps([str(part) for part in parts])  # JSON keeps ("a", "bc") apart from ("ab", "c")
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextlib.contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Inside, torch's generators start from `seed`; outside, they are as if nothing had been drawn. None: no change."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
