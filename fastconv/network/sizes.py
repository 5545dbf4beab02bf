"""Operations on sizes that are known only at run time, and what is done with them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.problem import Shape


def size_of(value: Any, *, axis: int) -> Any:
    """Return one length of a value's shape as int64."""
    return np.array(value.shape[axis], np.int64)


def stack_sizes(*sizes: Any, template: Sequence[int | None]) -> Any:
    """Return numbers as an int64 array: those of the template, and ``sizes`` where it has None."""
    given = iter(sizes)
    return np.array([int(next(given)) if n is None else n for n in template], np.int64)


# ("size", input, axis), ("number", n), or an operator's name and what it takes.
Expression = tuple[Any, ...]
# A condition in words, and the expression that says whether it holds.
Condition = tuple[str, Expression]

_OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv,
    "%": operator.mod, "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge, "neg": operator.neg, "not": operator.not_, "abs": abs,
    "max": max, "min": min, "and": lambda *values: all(values), "or": lambda *values: any(values),
}  # fmt: skip


def evaluate(expression: Expression, shapes: Sequence[Shape]) -> int:
    """Work out an expression of sizes.

    Raises
    ------
    ValueError
        For an operator that is not known, or a division by zero.
    """
    word, *given = expression
    if word == "number":
        return int(given[0])
    if word == "size":
        place, axis = given
        return int(shapes[place][axis])
    if word not in _OPERATORS:
        raise ValueError(f"sizes are not worked out by {word!r}")
    values = [evaluate(value, shapes) for value in given]
    try:
        return int(_OPERATORS[word](*values))
    except ZeroDivisionError:
        raise ValueError(f"a size is divided by zero: {word} of {values}") from None


def require_sizes(*values: Any, conditions: Sequence[Condition]) -> Any:
    """Return the first value, if the shapes of all satisfy the conditions.

    Raises
    ------
    ValueError
        That names the first condition which does not hold.
    """
    shapes: list[Shape] = [tuple(value.shape) for value in values]
    for text, expression in conditions:
        if not evaluate(expression, shapes):
            given = ", ".join(str(list(shape)) for shape in shapes)
            raise ValueError(
                f"sizes must satisfy {text}, but got inputs of shape {given}; convert the module "
                f"again with example inputs of such sizes"
            )
    return values[0]


def interpolate_to(value: Any, size: Any, **options: Any) -> Any:
    """Resize to a size that is known only at run time."""
    return functional.interpolate(value, size=tuple(int(n) for n in size), **options)


def pad_by(value: Any, pad: Any, **options: Any) -> Any:
    """Pad by numbers of cells that are known only at run time."""
    return functional.pad(value, [int(n) for n in pad], **options)


SIZES: dict[str, Callable[..., Any]] = {
    "size_of": size_of,
    "stack_sizes": stack_sizes,
    "require_sizes": require_sizes,
    "interpolate_to": interpolate_to,
    "pad_by": pad_by,
}
