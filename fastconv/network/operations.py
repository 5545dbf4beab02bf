"""The operations that nodes name: the functional API's, and a few of NumPy's on whole arrays.

Each takes arrays or traced values. Those that shape things at run time (reshape to a computed
shape, slice at computed places) take small integer arrays, which a trace knows too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.network.contributed import CONTRIBUTED
from fastconv.network.control import CONTROL
from fastconv.network.indexing import INDEXING, told_beforehand
from fastconv.network.limits import allow
from fastconv.network.normalising import NORMALISING
from fastconv.network.pointwise import POINTWISE
from fastconv.network.products import PRODUCTS
from fastconv.network.quantised import QUANTISED
from fastconv.network.recorded import RECORDED
from fastconv.network.recurrent import RECURRENT
from fastconv.network.reductions import REDUCTIONS, axes_of
from fastconv.network.regions import REGIONS
from fastconv.network.sampling import SAMPLING
from fastconv.network.sequences import SEQUENCES
from fastconv.network.signals import SIGNALS
from fastconv.network.sizes import SIZES
from fastconv.network.trace import Traced
from fastconv.network.transforms import TRANSFORMS
from fastconv.network.windowed import WINDOWED
from fastconv.problem.values import FLOATS, INTEGERS, axis_of

Operation = Callable[..., Any]
# Dtypes that NumPy itself casts as ONNX does.
CAST_TO = {*FLOATS, *INTEGERS, "uint64", "bool"}


def operation(name: str) -> Operation:
    """Return the operation of a name: one of the table here, or of the functional API.

    Raises
    ------
    ValueError
        For a name that neither has.
    """
    found = OPERATIONS.get(name) or getattr(functional, name, None)
    if found is None:
        raise ValueError(f"there is no operation named {name!r}")
    return found


def shape(value: Any, start: int = 0, end: int | None = None) -> Any:
    """Return the shape as int64."""
    return np.array(value.shape[start:end], np.int64)


def reshape(value: Any, target: Any, allow_zero: bool = False) -> Any:
    """Reshape; 0 keeps the input's length unless ``allow_zero``, one -1 is worked out."""
    wanted = [int(n) for n in np.asarray(target)]
    if not allow_zero:
        wanted = [value.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return value.reshape(tuple(wanted))


def flatten(value: Any, axis: int = 1) -> Any:
    """Return a matrix: what is before ``axis``, what is after."""
    rank = len(value.shape)
    axis = rank if axis == rank else axis_of(axis, rank, "axis")
    rows = int(np.prod(value.shape[:axis], dtype=np.int64))
    columns = int(np.prod(value.shape[axis:], dtype=np.int64))
    return value.reshape((rows, columns))


def slice_(
    value: Any, starts: Any, ends: Any, axes: Any | None = None, steps: Any | None = None
) -> Any:
    """Take a range along each of ``axes``, with ONNX's clamping."""
    firsts, lasts = np.asarray(starts).tolist(), np.asarray(ends).tolist()
    places = list(range(len(firsts))) if axes is None else np.asarray(axes).tolist()
    strides = [1] * len(firsts) if steps is None else np.asarray(steps).tolist()
    key = [slice(None)] * len(value.shape)
    for first, last, axis, step in zip(firsts, lasts, places, strides, strict=True):
        length = value.shape[axis]
        stop: int | None = last + length if last < 0 else last
        if step < 0 and (stop is None or stop < 0):
            stop = None
        start = first + length if first < 0 else first
        start = min(max(start, 0), length - 1) if step < 0 else max(start, 0)
        key[axis] = slice(start, stop if stop is None or stop >= 0 else 0, step)
    return value[tuple(key)]


def split(value: Any, sections: Any = None, axis: int = 0, parts: int | None = None) -> Any:
    """Cut along an axis into given lengths, or into ``parts`` of which the last may be shorter."""
    length = value.shape[axis]
    if sections is None:
        if parts is None:
            raise ValueError("split needs the lengths or the number of its parts")
        size = -(-length // parts)
        sections = [max(0, min(size, length - size * i)) for i in range(parts)]
    lengths = [int(n) for n in np.asarray(sections)]
    if sum(lengths) != length:
        raise ValueError(f"split into {lengths} does not add up to a length of {length}")
    return tuple(np.split(value, np.cumsum(lengths)[:-1].tolist(), axis=axis))


def squeeze(value: Any, axes: Any = None) -> Any:
    """Take away dimensions of length one: ``axes``, or all of them."""
    return np.squeeze(value, axis=None if axes is None else axes_of(axes))


def unsqueeze(value: Any, axes: Any) -> Any:
    """Add dimensions of length one at ``axes``."""
    return np.expand_dims(value, axes_of(axes))


def expand(value: Any, target: Any) -> Any:
    """Broadcast both ways with a shape."""
    wanted = np.broadcast_shapes(value.shape, tuple(int(n) for n in np.asarray(target)))
    allow(wanted, value.dtype)
    return np.broadcast_to(value, wanted)


def hardmax(value: Any, *, axis: int) -> Any:
    """Return 1 at the first largest entry along an axis, 0 elsewhere."""
    if 0 in value.shape:
        return value
    best = np.argmax(value, axis=axis, keepdims=True)
    found = np.zeros(value.shape, value.dtype)
    np.put_along_axis(found, best, 1, axis)
    return found


def _concat(*values: Any, axis: int) -> Any:
    return np.concatenate(values, axis=axis)


def _transpose(value: Any, axes: Sequence[int] | None = None) -> Any:
    return np.transpose(value, axes)


def softmax_from(value: Any, *, function: str, axis: int) -> Any:
    """Return softmax over all dimensions from ``axis`` on together, as in ONNX up to opset 12."""
    rows = flatten(value, axis)
    return getattr(functional, function)(rows, dim=1).reshape(value.shape)


def _size(value: Any) -> Any:
    return np.array(int(np.prod(value.shape, dtype=object)), np.int64)


def _filled(target: Any, *, value: Any) -> Any:
    lengths = tuple(int(n) for n in np.asarray(target))
    allow(lengths, np.asarray(value).dtype)
    return np.full(lengths, value)


def _range(start: Any, limit: Any, delta: Any) -> Any:
    """Return start, start + delta, ... below the limit, each computed from its place."""
    first, last, step = (np.asarray(v).reshape(-1)[0] for v in (start, limit, delta))
    if step == 0:
        raise ValueError("a range needs a step other than 0")
    wide = float if first.dtype.kind not in "iu" else int
    count = max(0, math.ceil((wide(last) - wide(first)) / wide(step)))
    allow((count,), first.dtype)
    return (np.arange(count) * wide(step) + wide(first)).astype(first.dtype)


def _tile(value: Any, repeats: Any) -> Any:
    times = tuple(int(n) for n in np.asarray(repeats))
    if len(times) != len(value.shape):
        raise ValueError(f"tile takes a number a dimension, but got {times}")
    lengths = tuple(n * r for n, r in zip(value.shape, times, strict=True))
    allow(lengths, value.dtype)
    return told_beforehand(_Tiled(times), [(lengths, value.dtype)], value)


class _Tiled:
    """A value repeated along each axis."""

    __name__ = "tile"

    def __init__(self, times: tuple[int, ...]) -> None:
        self._times = times

    def __call__(self, value: Any) -> Any:
        return np.tile(value, self._times)

    def into(self, out: Any, value: Any) -> None:
        """Write it into an array: every other axis is one of repeats."""
        pairs = zip(self._times, value.shape, strict=True)
        split = out.reshape(tuple(n for pair in pairs for n in pair))
        split[...] = value.reshape(tuple(m for n in value.shape for m in (1, n)))


def cast(value: Any, *, dtype: Any, otherwise: Callable[..., Any] | None = None) -> Any:
    """Return a value in another dtype; what is not a number goes ``otherwise``."""
    if otherwise is not None and value.dtype.name not in CAST_TO:
        return otherwise(value)
    return _as_dtype(value, np.dtype(dtype))


def cast_like(value: Any, like: Any, *, otherwise: Callable[..., Any] | None = None) -> Any:
    """Return a value in another one's dtype; where one of them is not a number, ``otherwise``."""
    if otherwise is not None and {value.dtype.name, like.dtype.name} - CAST_TO:
        return otherwise(value, like)
    return _as_dtype(value, like.dtype)


def _as_dtype(value: Any, dtype: np.dtype[Any]) -> Any:
    return value if value.dtype == dtype else value.astype(dtype)


def tile_along(value: Any, *, times: int, axis: int) -> Any:
    """Repeat a value along one axis."""
    repeats = [1] * len(value.shape)
    repeats[axis] = times
    return _tile(value, repeats)


def call(*values: Any, function: Any) -> Any:
    """Call what is not an operation of this package on arrays, sequences, or None.

    Traced values go by its own rule of shapes, ``specs``, where that tells all of them.
    """
    traced = next((value for value in values if isinstance(value, Traced)), None)
    specs = getattr(function, "specs", lambda _: None)(values)
    if traced is None:
        for shape, dtype in specs or ():
            # An open length has at least one element, or there is nothing to allocate.
            allow((1 if n is None else n for n in shape), dtype, what=f"a result of {function}")
        return function(*values)
    if specs is None or any(n is None for shape, _ in specs for n in shape):
        raise TypeError(f"{function} runs on data alone: it cannot be traced")
    return traced.answer(function, values, specs)


OPERATIONS: dict[str, Operation] = {
    **WINDOWED,
    **INDEXING,
    **REDUCTIONS,
    **QUANTISED,
    **CONTROL,
    **CONTRIBUTED,
    **POINTWISE,
    **PRODUCTS,
    **NORMALISING,
    **SEQUENCES,
    **SAMPLING,
    **SIGNALS,
    **REGIONS,
    **RECORDED,
    **RECURRENT,
    **SIZES,
    **TRANSFORMS,
    "call": call,
    "softmax_from": softmax_from,
    "tile": _tile,
    "tile_along": tile_along,
    "size": _size,
    "filled": _filled,
    "range": _range,
    "identity": lambda value: value,
    "cast": cast,
    "concat": _concat,
    "expand": expand,
    "flatten": flatten,
    "hardmax": hardmax,
    "hardmax_from": lambda value, axis: hardmax(flatten(value, axis), axis=1).reshape(value.shape),
    "full_like": lambda value, *, fill, dtype: np.full(
        value.shape, fill, value.dtype if dtype is None else dtype
    ),
    "cast_like": cast_like,
    "reshape": reshape,
    "shape": shape,
    "slice": slice_,
    "split": split,
    "squeeze": squeeze,
    "transpose": _transpose,
    "unsqueeze": unsqueeze,
}
