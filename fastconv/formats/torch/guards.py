"""What a traced module takes for granted of its inputs' sizes, as conditions to look at later.

torch writes them as Python: ``L['x'].size()[2] // 2 >= 1``. They are read here as expressions of
sizes and numbers, and nothing else.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastconv.problem import Shape

Condition = tuple[str, Callable[..., bool]]
_Value = Callable[[Sequence[Shape]], Any]

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.Div: operator.truediv,
}  # fmt: skip
_COMPARED: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_CALLED: dict[str, Callable[..., Any]] = {"max": max, "min": min, "abs": abs, "int": int}


def condition(code: str, places: Mapping[str, int]) -> Condition:
    """Read one condition; ``places`` has the inputs' places by name.

    Raises
    ------
    ValueError
        For an expression of another kind.
    """
    value = _read(ast.parse(code, mode="eval").body, places)
    text = re.sub(r"L\['(\w+)'\]", r"\1", code.replace(".size()", ".shape"))

    def holds(*shapes: Shape) -> bool:
        return bool(value(shapes))

    return text, holds


def _read(tree: ast.expr, places: Mapping[str, int]) -> _Value:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, (int, float)):
        number = tree.value
        return lambda shapes: number
    if isinstance(tree, ast.BoolOp):
        parts = [_read(value, places) for value in tree.values]
        combine = all if isinstance(tree.op, ast.And) else any
        return lambda shapes: combine(part(shapes) for part in parts)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, (ast.Not, ast.USub)):
        of = _read(tree.operand, places)
        change = operator.not_ if isinstance(tree.op, ast.Not) else operator.neg
        return lambda shapes: change(of(shapes))
    if isinstance(tree, ast.BinOp) and type(tree.op) in _BINARY:
        function = _BINARY[type(tree.op)]
        left, right = _read(tree.left, places), _read(tree.right, places)
        return lambda shapes: function(left(shapes), right(shapes))
    if isinstance(tree, ast.Compare) and all(type(op) in _COMPARED for op in tree.ops):
        return _comparison(tree, places)
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in _CALLED:
        called, given = _CALLED[tree.func.id], [_read(value, places) for value in tree.args]
        return lambda shapes: called(*(value(shapes) for value in given))
    return _size(tree, places)


def _comparison(tree: ast.Compare, places: Mapping[str, int]) -> _Value:
    values = [_read(value, places) for value in (tree.left, *tree.comparators)]
    tests = [_COMPARED[type(op)] for op in tree.ops]

    def compared(shapes: Sequence[Shape]) -> bool:
        found = [value(shapes) for value in values]
        return all(t(a, b) for t, a, b in zip(tests, found[:-1], found[1:], strict=True))

    return compared


def _size(tree: ast.expr, places: Mapping[str, int]) -> _Value:
    """Read ``L['name'].size()[axis]``."""
    match tree:
        case ast.Subscript(
            value=ast.Call(func=ast.Attribute(value=of, attr="size"), args=[]),
            slice=ast.Constant(value=int(axis)),
        ) if (name := _input(of)) in places:
            place = places[name]
            return lambda shapes: shapes[place][axis]
    raise ValueError(f"a condition on sizes that cannot be read: {ast.unparse(tree)}")


def _input(tree: ast.expr) -> str:
    """Give the name of an input: x of L['x'], x_0 of L['x'][0]."""
    match tree:
        case ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value=str(name))):
            return name
        case ast.Subscript(value=of, slice=ast.Constant(value=int() | str() as part)):
            return f"{_input(of)}_{part}"
    return ""
