"""Mutants of a Python source: copies with one small thing changed, such as + into -, a number, or a call left out."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
MODULES = ("torch", "F", "nn", "math", "copy", "itertools", "constraints")
UNSEEN = ("device", "validate_args")  # arguments of which no test on a CPU can see anything
DECLARATIONS = ("abstractmethod", "property", "classmethod", "staticmethod", "dataclass", "cached_property")
Change = tuple[int, int, int, int, str]  # first line and column, last line and column, the text instead


@dataclass(frozen=True)
class Mutant:
    """A source with one change; `before` and `after` are the first line that differs, `line` is its number."""

    line: int
    before: str
    after: str
    source: str


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a source, in its order. Left alone are docstrings, annotations, assertions and texts of errors."""
    raw = source.encode()
    starts = [0, *itertools.accumulate(len(line) for line in raw.splitlines(keepends=True))]
    found: dict[str, Mutant] = {}
    for first, column, last, end, text in sorted(set(_changes(ast.parse(source)))):
        mutant = (raw[: starts[first - 1] + column] + text.encode() + raw[starts[last - 1] + end :]).decode()
        pairs = itertools.zip_longest(source.splitlines(), mutant.splitlines(), fillvalue="")
        number, (old, new) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
        found.setdefault(mutant, Mutant(number, old.strip(), new.strip(), mutant))
    return list(found.values())


def _changes(node: ast.AST) -> Iterator[Change]:
    for part in _parts(node):
        yield from _changes(part)
    if isinstance(node, ast.expr):
        yield from (_instead(node, f"({ast.unparse(other)})") for other in _other_expressions(node))
    elif isinstance(node, ast.stmt):
        yield from _other_statements(node)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """The children that may change."""
    match node:
        case ast.FunctionDef():
            yield from (value for value in (*node.args.defaults, *node.args.kw_defaults) if value is not None)
            yield from node.body
        case ast.ClassDef():
            yield from node.body
        case ast.AnnAssign(value=value):
            yield from [value] if value else []
        case ast.keyword(arg=name) if name in UNSEEN:
            pass
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            pass
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Raise() | ast.JoinedStr():
            pass
        case ast.Subscript(value=ast.Name(id="Literal" | "Callable" | "tuple" | "dict")):
            pass
        case _:
            yield from ast.iter_child_nodes(node)


def _other_expressions(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(value=float() as value):
            yield from (ast.Constant(other) for other in ({2 * value, 0.0} if value else {1.0}))
        case ast.Constant(value=str() as value):
            yield ast.Constant(value + "_")
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for other in COMPARISONS[type(operator)]:
                    yield ast.Compare(node.left, [*node.ops[:place], other(), *node.ops[place + 1 :]], node.comparators)
        case ast.BinOp(op=operator) if type(operator) in OPERATORS:
            yield ast.BinOp(node.left, OPERATORS[type(operator)](), node.right)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
            yield ast.Constant(-value - 1)  # 1 for -1 is the same dimension of what has two
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield node.operand
        case ast.IfExp():
            yield ast.IfExp(node.test, node.orelse, node.body)
        case ast.Call():
            for place, keyword in enumerate(node.keywords):
                if keyword.arg in UNSEEN:
                    continue
                yield ast.Call(node.func, node.args, [*node.keywords[:place], *node.keywords[place + 1 :]])
            if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
                yield node.func.value
            elif node.args and not isinstance(node.args[0], ast.Starred):
                yield node.args[0]


def _other_statements(node: ast.stmt) -> Iterator[Change]:
    match node:
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield _instead(node, "return None")
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield _instead(node, "pass")
        case ast.Continue() | ast.Break():
            yield _instead(node, "break" if isinstance(node, ast.Continue) else "continue")
        case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare):
            yield _instead(test, f"not ({ast.unparse(test)})")
        case ast.With():
            yield from (_instead(item.context_expr, "__import__('contextlib').nullcontext()") for item in node.items)
        case ast.FunctionDef():
            for decorator in node.decorator_list:
                if not any(name in ast.unparse(decorator) for name in DECLARATIONS):
                    yield _instead(decorator, "(lambda function: function)")


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in MODULES


def _instead(node: ast.expr | ast.stmt, text: str) -> Change:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset, text
