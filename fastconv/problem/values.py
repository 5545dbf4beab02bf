"""Arguments as callers write them (an int, a tuple, a word) brought into one form, or refused."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Shape

SIXTEEN = ("float16", "bfloat16")
FLOATS = (*SIXTEEN, "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
COMPLEX = ("complex64", "complex128")
LAYOUTS = {
    1: ("NCW", "NWC"),
    2: ("NCHW", "NHWC"),
    3: ("NCDHW", "NDHWC"),
}


def integer(value: Any, name: str, *, least: int | None = None) -> int:
    """Give ``value`` as an int; a bool, a float or NaN is a TypeError, too small a ValueError."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an int, not {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an int or a tuple of ints, not {value!r} ({type(value).__name__})"
        ) from None
    if least is not None and number < least:
        words = {0: "must not be negative", 1: "should be greater than zero"}
        raise ValueError(
            f"{name} {words.get(least, f'must be at least {least}')}, but got {number}"
        )
    if number >= 2**62:
        raise ValueError(f"{name} is too large: {number}")
    return number


def integers(value: Any, n: int, name: str, *, least: int | None = None) -> Shape:
    """Give an int or a sequence of 1 or ``n`` ints as a tuple of ``n``."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be an int or a tuple of {n} ints, not {value!r}")
    if isinstance(value, Iterable) and not (isinstance(value, np.ndarray) and value.ndim == 0):
        items = [integer(item, name, least=least) for item in value]
        if len(items) == 1:
            items *= n
        if len(items) != n:
            raise ValueError(f"{name} must be an int or a tuple of {n} ints, but got {value!r}")
        return tuple(items)
    return (integer(value, name, least=least),) * n


def axis_of(value: Any, rank: int, name: str) -> int:
    """Read a dimension's number, which may count from the end; give it counted from 0."""
    axis = integer(value, name)
    if not -rank <= axis < rank:
        raise ValueError(
            f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but "
            f"got {axis})"
        )
    return axis % rank


def number(value: Any, name: str) -> float:
    """Give ``value`` as a finite or infinite float; NaN is a ValueError."""
    if isinstance(value, (str, bytes, bool)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {value!r}") from None
    if result != result:
        raise ValueError(f"{name} must not be NaN")
    return result


def flag(value: Any, name: str) -> bool:
    """Give ``value`` as a bool; anything that is not a truth value or 0 or 1 is a TypeError."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{name} must be True or False, not {value!r}")


def one_of(value: Any, choices: Sequence[str], name: str) -> str:
    """Give ``value`` when it is one of ``choices``; else a ValueError that lists them."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, but got {value!r}")
    return value


def channels_last(layout: Any, n: int) -> bool:
    """Tell whether ``layout`` names channels last; the 2-D names serve any ``n`` dimensions."""
    names = LAYOUTS[n]
    one_of(layout, tuple(dict.fromkeys(names + LAYOUTS[2])), "layout")
    return layout in (names[1], LAYOUTS[2][1])


def split_shape(shape: Shape, last: bool) -> tuple[int, int, Shape]:
    """Split a batched shape into batch, channels and spatial size."""
    if last:
        return shape[0], shape[-1], tuple(shape[1:-1])
    return shape[0], shape[1], tuple(shape[2:])


def join_shape(batch: int, channels: int, size: Shape, last: bool) -> Shape:
    """Join what ``split_shape`` splits."""
    return (batch, *size, channels) if last else (batch, channels, *size)


def check_dtype(array: ArraySpec, accepted: Sequence[str], name: str) -> np.dtype[Any]:
    """Give the array's dtype when it is accepted; else a TypeError that lists those accepted."""
    dtype = np.dtype(array.dtype)
    if dtype.name not in accepted:
        raise TypeError(f"{name} has dtype {dtype.name}; accepted are {', '.join(accepted)}")
    return dtype


def check_same_dtype(first: ArraySpec, other: ArraySpec | None, names: tuple[str, str]) -> None:
    """Refuse two arrays of different dtypes: nothing is converted behind the caller's back."""
    if other is not None and np.dtype(first.dtype) != np.dtype(other.dtype):
        a, b = np.dtype(first.dtype).name, np.dtype(other.dtype).name
        raise TypeError(
            f"expected {names[0]} and {names[1]} to have the same dtype, but got {a} and {b}; "
            f"convert one with .astype({a!r})"
        )


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Dtype of a sum's result: floats keep theirs, int8 and int16 give int32, others int64."""
    if dtype.kind not in "iu":
        return dtype
    return np.dtype(np.int32 if dtype.name in ("int8", "int16") else np.int64)
