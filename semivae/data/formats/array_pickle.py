"""Pickles of dicts, lists and byte arrays, read without calling anything that the file names.

`pickle` calls what a file asks for; NumPy's own constructors, called with wrong arguments, touch memory that is not
theirs. Here the opcodes are read by `pickletools` and followed with lists alone. An array is made only from what NumPy
writes: `_reconstruct(ndarray, (0,), b"b")`, then its state with a shape, the type u1 and as many bytes.
"""

from __future__ import annotations

import pickletools
import warnings
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

PUSHED = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4",
    "SHORT_BINSTRING", "BINSTRING", "STRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
NAMES = {
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
}  # fmt: skip


@dataclass(frozen=True)
class _Name:
    """What a pickle names: never looked up, only compared."""

    module: str
    name: str


class _Type:
    """A NumPy type of one byte without a sign."""


class _Array:
    """An array that has no content yet, then its `values`."""

    values: np.ndarray[Any, np.dtype[np.uint8]] | None = None


_MARK = object()


def read_array_pickle(content: bytes) -> object:
    """What a pickle holds: dicts with texts as keys, lists, tuples, numbers, texts, bytes and uint8 arrays.

    Raises:
        ValueError: it holds anything else, or is damaged.
    """
    reader = _Reader()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of escapes in damaged texts
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "STOP":
                return _plain(reader.pop())
            reader.follow(operation.name, argument)
    raise ValueError("it ends too early")


class _Reader:
    """The stack and the memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("it takes more than it holds")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise ValueError("it closes what was never opened")

    def follow(self, name: str, argument: Any) -> None:
        """Follow one opcode, by its name in `pickletools`."""
        if name in PUSHED:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            self.stack.append({} if name == "EMPTY_DICT" else [])
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.stack.append(self.pop())
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise ValueError("it takes up what it never laid down")
            self.stack.append(self.memo[argument])
        elif name.startswith("TUPLE") or name in ("LIST", "DICT"):
            self.stack.append(self._collected(name))
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            self._add(name)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self.stack.append(self._named(argument))
        elif name == "REDUCE":
            arguments, called = self.pop(), self.pop()
            self.stack.append(_made(called, arguments))
        elif name == "BUILD":
            state, made = self.pop(), self.pop()
            _fill(made, state)
            self.stack.append(made)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"it uses {name}, which has no place in an array")

    def _collected(self, name: str) -> object:
        if name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            return tuple(reversed([self.pop() for _ in range(int(name[-1]))]))
        values = self.since_mark()
        return _pairs(values) if name == "DICT" else tuple(values) if name == "TUPLE" else values

    def _add(self, name: str) -> None:
        several = name.endswith("S")
        values = self.since_mark() if several else [self.pop() for _ in range(1 if name == "APPEND" else 2)][::-1]
        target = self.pop()
        if name.startswith("APPEND") and isinstance(target, list):
            target.extend(values)
        elif name.startswith("SETITEM") and isinstance(target, dict):
            target.update(_pairs(values))
        else:
            raise ValueError("it adds to what is no list or dict")
        self.stack.append(target)

    def _named(self, written: str | None) -> _Name:
        if written is None:
            name, module = self.pop(), self.pop()
        else:
            module, _, name = written.partition(" ")
        if (module, name) not in NAMES:
            raise ValueError(f"it names {module}.{name}, which has no place in an array")
        return _Name(module, name)


def _pairs(values: list[Any]) -> dict[str, Any]:
    keys = values[::2]
    if len(values) % 2 or not all(isinstance(key, str) for key in keys):
        raise ValueError("a dict with keys that are no texts")
    return dict(zip(keys, values[1::2], strict=True))


def _made(called: Any, arguments: Any) -> object:
    """What NumPy's way of writing an array makes; `called` is only compared."""
    name = called.name if isinstance(called, _Name) else None
    match name, arguments:
        case "_reconstruct", (_Name(name="ndarray"), (0,), "b" | b"b"):
            return _Array()
        case "dtype", ("u1" | b"u1", *_):
            return _Type()
        case "encode", (str(text), "latin1" | b"latin1" | "latin-1"):  # bytes, as Python 3 writes them for Python 2
            return text.encode("latin1")
    raise ValueError("it calls something in a way that has no place in an array of bytes")


def _fill(made: Any, state: Any) -> None:
    if isinstance(made, _Type):  # byte order and the like, which one byte has not
        return
    match made, state:
        case _Array(values=None), (1, (int(), *_) as shape, _Type(), False | 0, str() | bytes() as data):
            content = data.encode("latin1") if isinstance(data, str) else data
            if not all(type(size) is int and size >= 0 for size in shape) or len(shape) > 2:
                raise ValueError("an array of a shape that is none")
            if prod(shape) != len(content):
                raise ValueError(f"an array {list(shape)} of {len(content):,} bytes")
            made.values = np.frombuffer(content, np.uint8).reshape(shape)
        case _:
            raise ValueError("an array that is not of bytes, row by row")


def _plain(value: Any) -> object:
    """Arrays and dicts of arrays with their values in the place of their stand-ins."""
    if isinstance(value, dict):
        return {key: _plain(part) if isinstance(part, _Array) else part for key, part in value.items()}
    return value.values if isinstance(value, _Array) else value
