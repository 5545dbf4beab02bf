"""What a traced module takes for granted of its inputs' sizes, as conditions to look at later.

torch writes them as Python: ``L['x'].size()[2] // 2 >= 1``. They are read here as expressions of
sizes and numbers, and nothing else, for `fastconv.network.sizes` to evaluate.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Mapping

from fastconv.network.sizes import Condition, Expression

_BINARY: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%",
}  # fmt: skip
_COMPARED: dict[type, str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_CALLED = ("max", "min", "abs")


def condition(code: str, places: Mapping[str, int]) -> Condition:
    """Read one condition; ``places`` has the inputs' places by name.

    Raises
    ------
    ValueError
        For an expression of another kind.
    """
    expression = _read(ast.parse(code, mode="eval").body, places)
    return re.sub(r"L\['(\w+)'\]", r"\1", code.replace(".size()", ".shape")), expression


def _read(tree: ast.expr, places: Mapping[str, int]) -> Expression:
    match tree:
        case ast.Constant(value=int(number)):
            return ("number", int(number))
        case ast.BoolOp(op=kind, values=values):
            word = "and" if isinstance(kind, ast.And) else "or"
            return (word, *(_read(value, places) for value in values))
        case ast.UnaryOp(op=ast.Not() | ast.USub() as kind, operand=of):
            return ("not" if isinstance(kind, ast.Not) else "neg", _read(of, places))
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _BINARY:
            return (_BINARY[type(kind)], _read(left, places), _read(right, places))
        case ast.Compare(ops=kinds) if all(type(kind) in _COMPARED for kind in kinds):
            return _comparison(tree, places)
        case ast.Call(func=ast.Name(id=str(name)), args=given) if name in _CALLED:
            return (name, *(_read(value, places) for value in given))
    return _size(tree, places)


def _comparison(tree: ast.Compare, places: Mapping[str, int]) -> Expression:
    values = [_read(value, places) for value in (tree.left, *tree.comparators)]
    words = [_COMPARED[type(kind)] for kind in tree.ops]
    pairs = zip(words, itertools.pairwise(values), strict=True)
    parts = tuple((word, *pair) for word, pair in pairs)
    return parts[0] if len(parts) == 1 else ("and", *parts)


def _size(tree: ast.expr, places: Mapping[str, int]) -> Expression:
    """Read ``L['name'].size()[axis]``."""
    match tree:
        case ast.Subscript(
            value=ast.Call(func=ast.Attribute(value=of, attr="size"), args=[]),
            slice=ast.Constant(value=int(axis)),
        ) if (name := _input(of)) in places:
            return ("size", places[name], int(axis))
    raise ValueError(f"a condition on sizes that cannot be read: {ast.unparse(tree)}")


def _input(tree: ast.expr) -> str:
    """Return the name of an input: x of L['x'], x_0 of L['x'][0]."""
    match tree:
        case ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value=str(name))):
            return str(name)
        case ast.Subscript(value=of, slice=ast.Constant(value=int() | str() as part)):
            return f"{_input(of)}_{part}"
    return ""
