"""Problems made once: the same arguments give the same problem, validated the first time."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from fastconv.problem.base import Shape

P = ParamSpec("P")
R = TypeVar("R")
_PLAIN = frozenset((int, str, bool, type(None)))
# Arguments that are arrays; only of these shape and dtype are all that matters.
_ARRAYS = (
    "input", "weight", "bias", "residual", "running_mean", "running_var", "indices", "query", "key",
    "value", "mask", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "peepholes", "initial_h",
    "initial_c", "lengths", "weight_ih_reverse", "weight_hh_reverse", "bias_ih_reverse",
    "bias_hh_reverse", "peepholes_reverse", "grid", "offset",
)  # fmt: skip


class Spec(NamedTuple):
    """What a problem looks at in an array."""

    shape: Shape
    dtype: np.dtype[Any]


class _Unknown(Exception):
    """An argument that cannot be a key."""


def remembered(build: Callable[P, R]) -> Callable[P, R]:
    """Remember what a problem's ``of`` gave for plain arguments; others are built each time.

    Arrays count by shape and dtype. What is equal but of another type (1, True, 1.0) is told
    apart, so that what is refused once is refused always.
    """
    kept = functools.lru_cache(maxsize=4096, typed=True)(build)
    code = build.__code__
    arrays = tuple(name in _ARRAYS for name in code.co_varnames[: code.co_argcount])

    @functools.wraps(build)
    def of(*arguments: P.args, **options: P.kwargs) -> R:
        if len(arguments) > len(arrays):
            return build(*arguments, **options)
        try:
            keys = [
                v if type(v) in _PLAIN else _key(v, array)
                for v, array in zip(arguments, arrays, strict=False)
            ]
            named = {
                name: v if type(v) in _PLAIN else _key(v, name in _ARRAYS)
                for name, v in options.items()
            }
        except _Unknown:
            return build(*arguments, **options)
        return kept(*keys, **named)

    return of


def _key(value: Any, array: bool) -> Any:
    if type(value) is float:
        # -0.0 is equal to 0.0, and is another value.
        if value or math.copysign(1, value) > 0:
            return value
    elif type(value) is tuple:
        if _plain_tuple(value):
            return value
    elif array and isinstance(value, np.ndarray):
        return Spec(value.shape, value.dtype)
    elif array and hasattr(value, "shape") and hasattr(value, "dtype"):
        return Spec(tuple(value.shape), value.dtype)
    elif isinstance(value, type):
        return value
    raise _Unknown


def _plain_tuple(values: tuple[Any, ...]) -> bool:
    """Return whether a tuple holds ints alone, or tuples of ints, or a name and its numbers."""
    if values and type(values[0]) is str:
        return all(type(v) in (str, int) or (type(v) is float and v) for v in values)
    return all(type(v) is int or (type(v) is tuple and _plain_tuple(v)) for v in values)
