"""Arguments as callers write them (an int, a tuple, a word) brought into one form, or refused."""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
import reprlib
from collections.abc import Iterable, Mapping, Sequence, Set
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


@functools.cache
def name_of(dtype: np.dtype[Any]) -> str:
    """Return a dtype's name, which NumPy puts together each time that it is asked."""
    return dtype.name


# The most items that an argument is read to: what has more is not a list of sizes.
MOST_ITEMS = 128
_short = reprlib.Repr()
_short.maxlevel, _short.maxtuple, _short.maxlist = 3, 8, 8
_short.maxstring, _short.maxother = 80, 80


def shown(value: Any) -> str:
    """Return a value as an error message has it: its repr, cut where it is long."""
    try:
        return _short.repr(value)
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"


def is_sequence(value: Any) -> bool:
    """Return whether a value holds items in an order: no text, no set, no array of rank 0."""
    if isinstance(value, (str, bytes, bytearray, memoryview, Set, Mapping)):
        return False
    return isinstance(value, Iterable) and not (isinstance(value, np.ndarray) and value.ndim == 0)


def items_of(value: Iterable[Any], name: str) -> list[Any]:
    """Read a sequence's items; one that has too many, or no end, is a ValueError."""
    items = list(itertools.islice(value, MOST_ITEMS + 1))
    if len(items) > MOST_ITEMS:
        raise ValueError(f"{name} must have at most {MOST_ITEMS} items, but got more")
    return items


def optional_text(value: Any, name: str) -> str | None:
    """Return None or a str; anything else is a TypeError."""
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{name} must be a str or None, not {shown(value)}")


def dtype_of(value: Any, name: str) -> np.dtype[Any]:
    """Read a dtype in any of NumPy's spellings; what is none is a TypeError."""
    if value is not None and not isinstance(value, (bool, int, float, tuple, list, dict)):
        # NumPy asks the value itself, in many ways.
        with contextlib.suppress(Exception):
            read: np.dtype[Any] = np.dtype(value)
            return read
    raise TypeError(f"{name} must be a dtype, not {shown(value)}")


def integer(value: Any, name: str, *, least: int | None = None) -> int:
    """Return ``value`` as an int; a bool, a float or NaN is a TypeError, too small a ValueError."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an int, not {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an int or a tuple of ints, not {shown(value)} ({type(value).__name__})"
        ) from None
    if least is not None and number < least:
        words = {0: "must not be negative", 1: "should be greater than zero"}
        raise ValueError(
            f"{name} {words.get(least, f'must be at least {least}')}, but got {shown(number)}"
        )
    if not -(2**62) < number < 2**62:
        size = "large" if number > 0 else "small"
        raise ValueError(f"{name} is too {size}: {shown(number)}")
    return number


def integers(value: Any, n: int, name: str, *, least: int | None = None) -> Shape:
    """Return an int or a sequence of 1 or ``n`` ints as a tuple of ``n``."""
    if is_sequence(value):
        items = [integer(item, name, least=least) for item in items_of(value, name)]
        if len(items) == 1:
            items *= n
        if len(items) != n:
            raise ValueError(
                f"{name} must be an int or a tuple of {n} ints, but got {shown(value)}"
            )
        return tuple(items)
    return (integer(value, name, least=least),) * n


def shapes_of(value: Any, name: str = "input_shape") -> list[Shape]:
    """Read the shape of one input, or a sequence of those of several."""
    if not is_sequence(value):
        raise TypeError(
            f"{name} must be a tuple of ints, or a sequence of such tuples, not {shown(value)}"
        )
    items = items_of(value, name)
    several = bool(items) and all(is_sequence(item) for item in items)
    shapes = [items_of(item, name) for item in items] if several else [items]
    return [tuple(integer(size, name, least=0) for size in shape) for shape in shapes]


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
    """Return ``value`` as a finite or infinite float, -0.0 as 0.0; NaN is a ValueError."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if isinstance(value, (str, bytes, bytearray, bool)) or kind in "bcSUmM" or _has_axes(value):
        raise TypeError(f"{name} must be a number, not {shown(value)}")
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {shown(value)}") from None
    except OverflowError:
        raise ValueError(f"{name} is too large: {shown(value)}") from None
    if result != result:
        raise ValueError(f"{name} must not be NaN")
    # Problems are found again by their numbers, where -0.0 is equal to 0.0: it would be one at
    # one time and the other at another.
    return result + 0.0


def _has_axes(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > 0


def flag(value: Any, name: str) -> bool:
    """Return ``value`` as a bool; anything that is not a truth value or 0 or 1 is a TypeError."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{name} must be True or False, not {shown(value)}")


def one_of(value: Any, choices: Sequence[str], name: str) -> str:
    """Return ``value`` when it is one of ``choices``; else a ValueError that lists them."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(choices)}, not {shown(value)}")
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, but got {shown(value)}")
    return value


def channels_last(layout: Any, n: int) -> bool:
    """Return whether ``layout`` names channels last; the 2-D names serve any ``n`` dimensions."""
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
    """Return the array's dtype when it is accepted; else a TypeError that lists those accepted."""
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


def check_bias_dtype(bias: ArraySpec, dtype: np.dtype[Any]) -> None:
    """Refuse a bias that has neither the input's dtype nor that of its sums."""
    accepted = dict.fromkeys((dtype.name, accumulator(dtype).name))
    given = np.dtype(bias.dtype).name
    if given not in accepted:
        raise TypeError(f"expected bias of dtype {' or '.join(accepted)}, but got {given}")
