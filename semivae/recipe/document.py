"""A recipe's file as plain values, with the line on which each of them is written."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from semivae.errors import RecipeError
from semivae.recipe.former_names import Renamed, present_path, renamed
from semivae.recipe.parsing import LARGEST_TEXT, UnreadableError, tree_of, values_of
from semivae.text import short_repr, shortened

MOST_PROBLEMS = 100  # that are told at once; a text of nothing but mistakes would take hours to explain
NEAR_A_LINE = "; check the indentation, brackets and quotes near this line"
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One mistake: the keys that lead to it, and what is wrong with what to do about it.

    `place` is given only where no line of the file is to blame (a `--set` that cannot be applied).
    """

    path: KeyPath
    message: str
    place: str | None = None


@dataclass
class Document:
    """Plain values (`data`) and, for each path of keys into them, the place where it was written (`file.yaml:12`).

    All paths are under present names. So that messages can cite what the user wrote, `former` holds, by path, the names
    of earlier versions that were written instead, and `changed`, for what `put` has set, the path that was given.
    """

    name: str
    data: dict[str, object]
    places: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    former: Renamed = field(default_factory=lambda: Renamed(None))
    changed: dict[KeyPath, KeyPath] = field(default_factory=dict)

    def __post_init__(self) -> None:
        new = renamed(self.data)
        assert isinstance(new.data, dict)
        self.data, self.former = new.data, new
        twice = {path: self.place(path) for path in new.twice}
        self.places = {
            path if path in twice else present_path(path): place
            for path, place in self.places.items()
            if not any(path[: len(both)] == both and len(path) > len(both) for both in twice)
        }
        self.problems += [_given_twice(path) for path in twice]

    def place(self, path: KeyPath) -> str:
        """Where `path` is written; for what is missing, where the section that lacks it is written."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.name

    def report(self, problems: Sequence[Problem]) -> RecipeError:
        """One error with a line per problem, in the order of the file."""
        rows = sorted(problems, key=lambda problem: _place_order(self._place_of(problem)))
        lines = list(dict.fromkeys(self._line(problem) for problem in rows))
        more = [f"{self.name}: these are the first {MOST_PROBLEMS} mistakes; correct them, then look for more"]
        return RecipeError("\n".join(lines if len(lines) < MOST_PROBLEMS else [*lines[:MOST_PROBLEMS], *more]))

    def _place_of(self, problem: Problem) -> str:
        return problem.place or self.place(problem.path)

    def _line(self, problem: Problem) -> str:
        path = dotted(self.written(problem.path))
        return ": ".join(part for part in (self._place_of(problem), path, problem.message) if part)

    def written(self, path: KeyPath) -> KeyPath:
        """The keys of a path as the user wrote them, under former names where those were written."""
        lengths = [length for length in range(len(path) + 1) if path[:length] in self.changed]
        start = lengths[-1] if lengths else 0
        below = [self.former.keys.get(path[: depth + 1], path[depth]) for depth in range(start, len(path))]
        return (*self.changed.get(path[:start], ()), *below)

    def notices(self) -> list[str]:
        """What is written under a former name: a line for each such name, with the first place of it."""
        lines: dict[tuple[str, str], str] = {}
        keys = [(former, str(path[-1]), self.place(path)) for path, former in self.former.keys.items()]
        for path, given in self.changed.items():
            keys += [(str(old), str(new), self.place(path)) for old, new in zip(given, path, strict=True) if old != new]
        for path, (old, new) in self.former.values.items():
            key = self.written(path)[-1]
            keys.append((f"{key}: {old}", f"{path[-1]}: {new}", self.place(path)))
        for old, new, place in keys:
            lines.setdefault((old, new), place)
        return [f"{place}: {former} is now called {present}" for (former, present), place in lines.items()]

    def put(self, path: KeyPath, value: object, place: str) -> Problem | None:
        """Set one value as `--set` does. Sections that are missing are made; the schema judges them later."""
        given, path = path, present_path(path)
        new = renamed(value, path)
        value = new.data
        section: object = self.data
        for depth, key in enumerate(path[:-1]):
            assert isinstance(section, dict)
            if key not in section:
                section[key] = {}
                self.places[path[: depth + 1]] = place
            below = section[key]
            if not isinstance(below, dict):
                return Problem(
                    path, f"{dotted(given[: depth + 1])} is {short_repr(below)}, not a section with keys", place
                )
            section[key] = dict(below)  # an alias (`*weak`) is one section at two places; only this one changes
            section = section[key]
        assert isinstance(section, dict)
        section[path[-1]] = value
        self.places = {known: at for known, at in self.places.items() if known[: len(path)] != path}
        self.places[path] = place
        for known in (self.former.keys, self.former.values, self.changed):
            for old in [below for below in known if below[: len(path)] == path]:
                del known[old]
        self.former.keys.update(new.keys)
        self.former.values.update(new.values)
        self.changed[path] = given
        return Problem(new.twice[0], _given_twice(new.twice[0]).message, place) if new.twice else None


def _given_twice(path: KeyPath) -> Problem:
    """A key that stands under its former and its present name, at a path under the former one."""
    return Problem(path, f"{path[-1]} is the former name of {present_path(path)[-1]}, which is given too; keep one")


def dotted(path: KeyPath) -> str:
    """The keys as they are written in `--set`: `streams.labelled.observe[0]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{shortened(key)}" for key in path).removeprefix(".")


def read_document(path: Path) -> Document:
    """Read a YAML file whose top is a mapping.

    Raises:
        RecipeError: the file is missing, a folder, not text, empty, not YAML, out of bounds, or not a mapping.
    """
    name = str(path)
    text = _read_text(path)
    try:
        parsed = _parsed(text)
    except UnreadableError as error:
        line = f":{error.line}" if error.line else ""
        message = f"not YAML: {error.message}{NEAR_A_LINE if error.line else ''}" if error.syntax else error.message
        raise RecipeError(f"{name}{line}: {message}") from None
    data = copy.deepcopy(parsed.data)
    places = {keys: f"{name}:{line}" for keys, line in parsed.lines.items()}
    problems = [Problem(keys, f"written twice, here and at {name}:{line}; keep one") for keys, line in parsed.repeats]
    if data is None:
        raise RecipeError(f"{name}: the file is empty; `semivae copy digits_50labels` gives a recipe to start from")
    if not isinstance(data, dict):
        raise RecipeError(f"{name}: a recipe is a list of `key: value` sections (source, split, ...), this file is not")
    return Document(name, data, places, problems)


class _Parsed(NamedTuple):
    """The values of a text, the line of each, and for keys that are written again their further lines; not copied."""

    data: object
    lines: dict[KeyPath, int]
    repeats: list[tuple[KeyPath, int]]


@lru_cache(maxsize=64)  # a training reads its recipe several times, a comparison of runs the same text in many folders
def _parsed(text: str) -> _Parsed:
    """Returns what a text says.

    Raises:
        UnreadableError: as `tree_of` and `values_of`.
    """
    root = tree_of(text)
    lines: dict[KeyPath, int] = {}
    repeats = list(_walk(root, (), lines, set()))
    return _Parsed(values_of(root, repeats=True), lines, repeats)  # `repeats` has all of them, with their lines


def write_document(data: Mapping[str, object]) -> str:
    """YAML text of plain values: one key a line, lists on one line, keys in the order given."""
    # The round-trip writer, since the safe one sorts keys and the order of a player's factors means something.
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.width = 120
    stream = io.StringIO()
    yaml.dump(_styled(data), stream)
    return stream.getvalue()


def _styled(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _styled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = CommentedSeq(value)
        items.fa.set_flow_style()
        return items
    return value


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(4 * LARGEST_TEXT + 1)  # a character has at most 4 bytes, and a device has no end
        if len(content) > 4 * LARGEST_TEXT:
            raise RecipeError(f"{path}: more than {LARGEST_TEXT:,} characters; a recipe is shorter")
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        own = path / "recipe.yaml"
        data = "; a recipe for data is written by semivae start"
        hint = f"; it holds a run, whose recipe is {own}" if own.is_file() else data
        raise RecipeError(f"{path}: this is a folder, not a recipe file{hint}") from None
    except UnicodeDecodeError:
        raise RecipeError(
            f"{path}: this is not a text file (it is not UTF-8), so it is no recipe; for data, semivae start writes one"
        ) from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    return text


def _walk(node: Node | None, path: KeyPath, lines: dict[KeyPath, int], seen: set[int]) -> Iterator[tuple[KeyPath, int]]:
    """Fills `lines` for all that is below `node`, and yields the keys that are written again, with that line."""
    if node is None or id(node) in seen:  # an alias: its first place has been noted
        return
    seen.add(id(node))
    for key, value, line in _children(node):
        below = (*path, key)
        if below in lines:
            yield below, line
            continue
        lines[below] = line
        yield from _walk(value, below, lines, seen)


def _children(node: Node) -> Iterable[tuple[str | int, Node, int]]:
    """Key, value and line (from 1) of what a section or list holds."""
    if isinstance(node, MappingNode):
        names = [key.value if isinstance(key, ScalarNode) else "?" for key, _ in node.value]
        return [(name, value, key.start_mark.line + 1) for name, (key, value) in zip(names, node.value, strict=True)]
    if isinstance(node, SequenceNode):
        return [(index, item, item.start_mark.line + 1) for index, item in enumerate(node.value)]
    return []


def _place_order(place: str) -> tuple[bool, int]:
    """Lines of the file in order, then what does not come from a line."""
    _, _, line = place.rpartition(":")
    return (False, int(line)) if line.isdigit() else (True, 0)
