"""YAML text to plain values, within bounds: no text makes reading slow, large or endless.

YAML 1.2 by ruamel.yaml, safe: `1e-3` is a number, `no` is text, no tag builds an object, and a key written twice is
a mistake rather than a silent loss of the first. Size, depth and aliases are judged on the tree of nodes, where an
alias costs nothing yet, before any value is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

LARGEST_TEXT = 1_000_000  # characters
MOST_VALUES = 50_000  # keys and values, each alias counted as all that it stands for
DEEPEST = 50  # sections and lists within each other
MOST_DIGITS = 250  # of a whole number; no float reaches 10^309
LONGEST_KEY = 250  # characters

ESCAPED = "a backslash in double quotes begins an escape sequence; write / instead, or use single quotes"


class UnreadableError(Exception):
    """A text that cannot be read as values, or must not be.

    Args:
        message: what is wrong and what to do.
        line: where, from 1, if known.
        syntax: whether the text is not YAML at all.
    """

    def __init__(self, message: str, line: int | None = None, syntax: bool = False) -> None:
        super().__init__(message)
        self.message, self.line, self.syntax = message, line, syntax


def parse_value(text: str) -> object:
    """A value as YAML reads it: `0.1`, `true`, `[1, 2]`, `{weak: weak}`, or text.

    Raises:
        UnreadableError: as `tree_of`, a key is written twice, or a value is not what its tag says.
    """
    return values_of(tree_of(text))


class _BoundedComposer(Composer):
    """Gives up on texts that are too long or too deep as soon as that is seen."""

    depth = count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        self.count += 1
        if self.depth > DEEPEST or self.count > MOST_VALUES:
            mark = self.parser.peek_event().start_mark
            raise _too_deep(mark.line + 1) if self.depth > DEEPEST else _too_many(mark.line + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _too_deep(line: int) -> UnreadableError:
    return UnreadableError(f"sections and lists lie more than {DEEPEST} deep in each other; no recipe does", line)


def _too_many(line: int | None) -> UnreadableError:
    return UnreadableError(f"more than {MOST_VALUES:,} values, aliases counted; put long lists into a file", line)


def _yaml(repeats: bool) -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _BoundedComposer
    yaml.allow_duplicate_keys = repeats
    return yaml


def tree_of(text: str) -> Node | None:
    """The nodes of a YAML text; None for an empty one.

    Raises:
        UnreadableError: the text is not YAML, too long, too deep, or has an alias within its own value.
    """
    if len(text) > LARGEST_TEXT:
        raise UnreadableError(f"more than {LARGEST_TEXT:,} characters; a recipe is shorter")
    try:
        node: Node | None = _yaml(True).compose(text)
    except YAMLError as error:
        raise _explained(error, text) from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # ruamel.yaml lets these out of its scanner and parser: a %YAML directive without a number
        raise UnreadableError(f"a value cannot be read ({error})", syntax=True) from None
    if node is not None:
        _judge(node)
    return node


def values_of(node: Node | None, repeats: bool = False) -> object:
    """The values of a tree, in which this resolves `<<`; with `repeats`, of a key written twice the first one counts.

    Raises:
        UnreadableError: a key is written twice, or a value is not what its tag says.
    """
    if node is None:
        return None
    try:
        value: object = _yaml(repeats).constructor.construct_document(node)
    except DuplicateKeyError as error:
        raise UnreadableError("a key is written twice; keep one", _line_of(error)) from None
    except YAMLError as error:
        raise _explained(error, "") from None
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        # ruamel.yaml lets these out of its constructors: `!!int x`, `2026-99-99`
        raise UnreadableError(f"a value cannot be read ({error})", syntax=True) from None
    return value


def _judge(root: Node) -> None:
    """Raises UnreadableError for aliases within themselves, too many values, and numbers or keys that are too long."""
    sizes: dict[int, int] = {}  # of what is below each node, aliases counted; 0 while that is being counted
    stack: list[tuple[Node, Iterator[Node]]] = [(root, _below(root))]
    sizes[id(root)] = 0
    _judge_node(root)
    while stack:
        node, below = stack[-1]
        child = next(below, None)
        if child is None:
            stack.pop()
            sizes[id(node)] = 1 + sum(sizes[id(each)] for each in _below(node))
            if sizes[id(node)] > MOST_VALUES:
                raise _too_many(node.start_mark.line + 1)
        elif id(child) not in sizes:
            sizes[id(child)] = 0
            stack.append((child, _below(child)))
            _judge_node(child)
        elif not sizes[id(child)]:
            line = node.start_mark.line + 1
            raise UnreadableError(f"the alias *{child.anchor} lies within its own value; write the value out", line)


def _judge_node(node: Node) -> None:
    line = node.start_mark.line + 1
    if isinstance(node, MappingNode):
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and len(key.value) > LONGEST_KEY:
                raise UnreadableError(f"a key of {len(key.value):,} characters; keys are short names", line)
    if isinstance(node, ScalarNode) and not _is_unicode(node.value):
        raise UnreadableError("a text has half of a surrogate pair, which is no character; remove it", line)
    if isinstance(node, ScalarNode) and str(node.tag).endswith(":int") and len(node.value) > MOST_DIGITS:
        raise UnreadableError(f"a number of {len(node.value):,} digits; no option takes one so large", line)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _below(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, SequenceNode):
        yield from node.value


def _explained(error: YAMLError, text: str) -> UnreadableError:
    """What ruamel.yaml found, in one line."""
    if not isinstance(error, MarkedYAMLError):
        return UnreadableError(" ".join(str(error).split()), syntax=True)
    if _is_windows_path(error, text):
        return UnreadableError(ESCAPED, _line_of(error, error.context_mark))
    words = ", ".join(part for part in (error.context, error.problem) if part)
    return UnreadableError(" ".join(words.split()), _line_of(error), syntax=True)


def _is_windows_path(error: MarkedYAMLError, text: str) -> bool:
    """Whether a backslash in double quotes is to blame: a wrong escape, or `"C:\\data\\"`, whose end is escaped."""
    if "scanning a double-quoted scalar" in (error.context or ""):
        return "escape" in (error.problem or "")
    lines = text.splitlines()
    line = _line_of(error, error.context_mark)
    return "scanning a quoted scalar" in (error.context or "") and '\\"' in (lines[line - 1] if line else "")


def _line_of(error: MarkedYAMLError, mark: Any = None) -> int | None:
    mark = mark or error.problem_mark or error.context_mark
    return None if mark is None else mark.line + 1
