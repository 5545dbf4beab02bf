"""Operations of 16-bit floats computed in float32: what is between overflows nowhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastconv.network.casting import as_type
from fastconv.problem.values import SIXTEEN

Operation = Callable[..., Any]


def widened(value: Any) -> Any:
    """Return float32 for a value of 16-bit floats, and any other value as it is."""
    name = getattr(getattr(value, "dtype", None), "name", "")
    return as_type(value, np.float32) if name in SIXTEEN else value


def in_float32(function: Operation) -> Operation:
    """Make an operation that computes 16-bit floats in float32, and rounds its results once.

    Results have the first argument's dtype where that is one of 16-bit floats.
    """

    @functools.wraps(function)
    def computed(*values: Any, **options: Any) -> Any:
        dtype = values[0].dtype
        if dtype.name not in SIXTEEN:
            return function(*values, **options)
        result = function(*map(widened, values), **options)
        if isinstance(result, tuple):
            return tuple(as_type(each, dtype) for each in result)
        return as_type(result, dtype)

    return computed


def all_in_float32(operations: Mapping[str, Operation]) -> dict[str, Operation]:
    """Make all of some operations `in_float32`."""
    return {name: in_float32(function) for name, function in operations.items()}
