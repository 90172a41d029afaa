"""What pydantic found wrong, said for the writer of a recipe: one message per mistake, with a suggestion.

Where the schema allows several forms ("a name, or a section with keys a and b"), pydantic complains about all of
them; only the complaints about the form that was evidently meant are kept.
"""

from __future__ import annotations

import difflib
import itertools
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import ErrorDetails

from semivae.recipe.document import MOST_PROBLEMS, KeyPath, Problem
from semivae.recipe.section import Section
from semivae.text import join_names, short_repr, shortened


@dataclass(frozen=True)
class _Spot:
    """Where an error points: the keys as the user wrote them, what may stand there, and the section around it."""

    path: KeyPath
    annotation: Any
    section: type[Section] | None


def explain(errors: Iterable[ErrorDetails], top: type[Section], data: object) -> list[Problem]:
    """The problems behind pydantic's `errors` of validating `data` as `top`; of very many the first `MOST_PROBLEMS`."""
    found: dict[KeyPath, Problem] = {}
    meant: set[KeyPath] = set()  # keys that are missing because they are misspelt
    short: set[KeyPath] = set()
    for error in errors:
        if len(found) >= MOST_PROBLEMS:
            break
        spot = _follow(error["loc"], _Spot((), top, None), data)
        if spot is None:
            continue
        message = _message(error, spot)
        found.setdefault(spot.path, Problem(spot.path, message))
        if error["type"] == "extra_forbidden":
            guess = _guess(spot.path[-1], _known_keys(spot))
            meant.update({(*spot.path[:-1], guess)} if guess else set())
        if error["type"] == "too_short":
            short.add(spot.path)
    missing = {error["loc"] for error in errors if error["type"] == "missing"}
    # pydantic does not count wrong entries, and would call a list too short for them
    short = {path for path in short if any(below[:-1] == path for below in found)}
    return [
        problem
        for path, problem in found.items()
        if path not in short and not (path in meant and _is_missing(path, missing))
    ]


def suggestion(word: object, known: Iterable[str]) -> str:
    """` did you mean steps?` or the list of what is known."""
    names = list(known)
    guess = _guess(word, names)
    return f"did you mean {guess}?" if guess else f"known: {join_names(names, most=20)}"


def _guess(word: object, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(short_repr(word).strip("'"), list(known)[:MOST_PROBLEMS], n=1, cutoff=0.6)
    return close[0] if close else None


def _is_missing(path: KeyPath, missing: set[tuple[int | str, ...]]) -> bool:
    return any(loc[-1] == path[-1] for loc in missing)


# From pydantic's location to the user's keys -----------------------------------------------------------------------


def _follow(loc: tuple[int | str, ...], spot: _Spot, data: object) -> _Spot | None:
    """Walk schema and data along `loc`; None where `loc` is about a form that the user evidently did not mean."""
    annotation, section = _bare(spot.annotation), spot.section
    if not loc:
        return _Spot(spot.path, annotation, section)
    members = _members(annotation)
    if members:
        member, rest = _choose(members, loc, data)
        return None if member is None else _follow(rest, _Spot(spot.path, member, section), data)
    key, rest = loc[0], loc[1:]
    if get_origin(annotation) is not tuple:
        key = str(key)  # a key that YAML read as a number is shown as it is written
    below = _Spot((*spot.path, key), Any, section)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        field = annotation.model_fields.get(str(key))
        below = _Spot(below.path, field.annotation if field else Any, annotation)
    elif get_origin(annotation) is dict and rest != ("[key]",):
        below = _Spot(below.path, get_args(annotation)[1], None)
    elif get_origin(annotation) is tuple:
        below = _Spot(below.path, get_args(annotation)[0], None)
    return _follow(tuple(part for part in rest if part != "[key]"), below, _item(data, key))


def _item(data: object, key: int | str) -> object:
    if isinstance(data, Mapping):
        return data.get(key)
    if isinstance(data, list | tuple) and isinstance(key, int) and key < len(data):
        return data[key]
    return None


def _bare(annotation: Any) -> Any:
    return _bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def _members(annotation: Any) -> list[Any]:
    """The forms of a union, flattened; empty if there is one form only (`None` does not count)."""
    annotation = _bare(annotation)
    if get_origin(annotation) not in (Union, types.UnionType):
        return []
    flat: list[Any] = []
    for member in get_args(annotation):
        flat.extend(_members(member) or [_bare(member)])
    return [member for member in flat if member is not type(None)]


def _choose(members: list[Any], loc: tuple[int | str, ...], data: object) -> tuple[Any, tuple[int | str, ...]]:
    """The form that `loc` speaks of and the rest of `loc`; (None, ...) if the user meant another form."""
    if len(members) == 1:
        return members[0], loc
    sections = [member for member in members if isinstance(member, type) and issubclass(member, Section)]
    tagged = {tag: section for section in sections for tag in _tags(section)}
    if loc[0] in tagged:
        return tagged[str(loc[0])], loc[1:]
    if isinstance(data, Mapping) and sections:
        meant = max(sections, key=lambda section: _resemblance(section, data))
        return (meant, loc[1:]) if _speaks_of(loc[0], meant) else (None, ())
    if any(_speaks_of(loc[0], section) for section in sections):
        return None, ()
    return Union[tuple(members)], loc[1:]  # noqa: UP007  a union that is made at run time


def _speaks_of(form: int | str, section: Any) -> bool:
    """Whether pydantic means this section; one with a check of its own is called function-after[CHECK, SECTION]."""
    return form == section.__name__ or str(form).endswith(f", {section.__name__}]")


def _tags(section: Any) -> tuple[str, ...]:
    if not (isinstance(section, type) and issubclass(section, Section)):
        return ()
    field = section.model_fields.get("name")
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()


def _resemblance(section: type[Section], data: Mapping[Any, Any]) -> float:
    def closest(key: object) -> float:
        ratios = (difflib.SequenceMatcher(None, str(key), name).ratio() for name in section.model_fields)
        return max(ratios, default=0.0)

    return sum(closest(shortened(str(key))) for key in itertools.islice(data, MOST_PROBLEMS))


def _known_keys(spot: _Spot) -> list[str]:
    return list(spot.section.model_fields) if spot.section else []


# Messages ----------------------------------------------------------------------------------------------------------

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list, such as [a, b]",
    "dict": "a section of `key: value` lines",
    "model": "a section of `key: value` lines",
}
_BOUNDS = {
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
}


def _message(error: ErrorDetails, spot: _Spot) -> str:
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key; {suggestion(spot.path[-1], _known_keys(spot))}"
    if kind == "missing":
        return "is missing and has no default; add it"
    if kind == "invalid_key":
        return "keys are names, this is not one; remove it"
    if kind in ("union_tag_invalid", "union_tag_not_found") or _tags_at(spot):
        return _tag_message(given, spot)
    choices = _choices(spot.annotation)
    if choices and not (kind in _BOUNDS and isinstance(given, int | float)):
        guess = _guess(given, choices)
        forms = [*_scalar_forms(spot.annotation), "one of " + ", ".join(choices) if len(choices) > 1 else choices[0]]
        return f"must be {' or '.join(forms)}, not {short_repr(given)}" + (f"; did you mean {guess}?" if guess else "")
    if kind in _BOUNDS:
        return f"{_BOUNDS[kind].format(**context)}, not {short_repr(given)}"
    return _plain_message(kind, given, context, error["msg"])


def _plain_message(kind: str, given: object, context: Mapping[str, Any], fallback: str) -> str:
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return f"{short_repr(given)} is no name; names have lower-case letters, digits and _, and start with a letter"
    if kind == "too_short":
        return f"needs at least {context['min_length']} entries, has {context['actual_length']}"
    if kind == "too_long":
        return f"may have at most {context['max_length']:,} entries, has {context['actual_length'] or 'more'}"
    if kind == "finite_number":
        return "must be a finite number"
    for start, words in _KINDS.items():
        if kind.startswith(start):
            return f"must be {words}, not {short_repr(given)}"
    return f"{fallback} (given: {short_repr(given)})"


def _tag_message(given: object, spot: _Spot) -> str:
    tags = _tags_at(spot)
    if not isinstance(given, Mapping):
        return f"must be a section with a name, such as {{name: {tags[0]}}}, not {short_repr(given)}"
    if "name" in given:
        return f"unknown name {short_repr(given['name'])}; {suggestion(given['name'], tags)}"
    return f"name is missing; give one of {', '.join(tags)}"


def _tags_at(spot: _Spot) -> list[str]:
    return [tag for member in _members(spot.annotation) for tag in _tags(member)]


def _choices(annotation: Any) -> list[str]:
    forms = _members(annotation) or [_bare(annotation)]
    return [str(choice) for form in forms if get_origin(form) is Literal for choice in get_args(form)]


def _scalar_forms(annotation: Any) -> list[str]:
    words = {int: "a whole number", float: "a number", str: "a name"}
    return [words[form] for form in _members(annotation) if form in words]
