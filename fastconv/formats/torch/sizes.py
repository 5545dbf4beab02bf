"""Arithmetic on sizes that are known only at run time: Python's operators and torch's sym_*."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import torch

from fastconv.formats.torch.call import Unsupported

if TYPE_CHECKING:
    from fastconv.formats.torch.builder import Builder

_OPERATORS: dict[Any, str] = {
    operator.add: "add",
    operator.sub: "sub",
    operator.mul: "mul",
    operator.neg: "neg",
    operator.floordiv: "floor_divide",
    operator.mod: "mod",
    torch.sym_max: "maximum",
    torch.sym_min: "minimum",
}
_FOLDED = (math.floor, math.ceil, math.trunc, operator.truediv, torch.sym_int, torch.sym_float)


def translate(source: Any, builder: Builder) -> None:
    """Translate a call of a Python operator on sizes; Unsupported for others.

    One of only known numbers does not come here: it is computed beforehand.
    """
    op = _OPERATORS.get(source.target)
    if op is None:
        kind = "arithmetic on sizes" if source.target in _FOLDED else "no translation"
        raise Unsupported(kind)
    builder.answer(source, op, [_number(builder, source, value) for value in source.args], {})


def _number(builder: Builder, source: Any, value: Any) -> str:
    if builder.is_open(value):
        return builder.name_of(value)
    return builder.keep(f"{source.name}:number", int(builder.settled(value)))
