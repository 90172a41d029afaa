"""Names of earlier versions, which recipes may keep: they are read as the names of today.

A table, in one place, maps each former key or value to its present name; the schema knows only the present ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

# `*` stands for any one name
FORMER_KEYS: dict[tuple[str, ...], str] = {
    ("streams", "*", "teach"): "loss_weights",
    ("training", "average"): "ema_decay",
}
FORMER_VALUES: dict[tuple[str, ...], dict[str, str]] = {
    ("streams", "*", "values"): {"left_out": "hidden"},
}


@dataclass
class Renamed:
    """Plain values under present names, and what was renamed.

    Args:
        data: the values; sections that nothing changes are those that were given.
        keys: for each present path of a renamed key, the former key.
        values: for each path of a renamed value, the former and the present value.
        twice: paths, under former keys, of keys that are given under both names.
    """

    data: object
    keys: dict[Path, str] = field(default_factory=dict)
    values: dict[Path, tuple[str, str]] = field(default_factory=dict)
    twice: list[Path] = field(default_factory=list)


def renamed(data: object, path: Path = ()) -> Renamed:
    """The values that stand at `path` of a recipe under present names; of a key given twice the present one counts."""
    result = Renamed(data)
    result.data = _renamed(data, path, result)
    return result


def present_path(path: Path) -> Path:
    """A path of keys under present names."""
    return tuple(_present_key(path[: depth + 1]) for depth in range(len(path)))


def _present_key(path: Path) -> str | int:
    """The present name of the last key of a path, which may be any key."""
    return next((name for former, name in FORMER_KEYS.items() if _fits(former, path)), path[-1])


def _renamed(value: object, path: Path, result: Renamed) -> object:
    if isinstance(value, str):
        for place, names in FORMER_VALUES.items():
            if _fits(place, path) and value in names:
                result.values[path] = (value, names[value])
                return names[value]
    if not isinstance(value, Mapping) or not any(_fits(place[: len(path)], path) for place in _places() if place):
        return value
    changed: dict[object, object] = {}
    for key, below in value.items():
        former = (*path, key)
        present = _present_key(former)
        if present != key and present in value:
            result.twice.append(former)
            continue
        if present != key:
            result.keys[(*path, present)] = str(key)
        changed[present] = _renamed(below, (*path, present), result)
    return changed


def _places() -> Iterator[tuple[str, ...]]:
    """All places at which something may be renamed."""
    yield from FORMER_KEYS
    yield from FORMER_VALUES


def _fits(place: tuple[str, ...], path: Path) -> bool:
    return len(place) == len(path) and all(part in ("*", key) for part, key in zip(place, path, strict=True))
