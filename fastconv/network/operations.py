"""The operations that nodes name: the functional API's, and a few of NumPy's on whole arrays.

Each takes arrays or traced values. Those that shape things at run time (reshape to a computed
shape, slice at computed places) take small integer arrays, which a trace knows too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.network.windowed import WINDOWED

Operation = Callable[..., Any]


def operation(name: str) -> Operation:
    """Give the operation of a name: one of the table here, or of the functional API.

    Raises
    ------
    ValueError
        For a name that neither has.
    """
    found = OPERATIONS.get(name) or getattr(functional, name, None)
    if found is None:
        raise ValueError(f"there is no operation named {name!r}")
    return found


def _fold(function: Callable[[Any, Any], Any]) -> Operation:
    def folded(*values: Any) -> Any:
        total = values[0]
        for value in values[1:]:
            total = function(total, value)
        return total

    return folded


def _divide(a: Any, b: Any) -> Any:
    """Divide; integers towards zero, as ONNX has it."""
    if np.dtype(a.dtype).kind in "iu":
        return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
    return a / b


def shape(value: Any, start: int = 0, end: int | None = None) -> Any:
    """Give the shape as int64."""
    return np.array(value.shape[start:end], np.int64)


def reshape(value: Any, target: Any, allow_zero: bool = False) -> Any:
    """Reshape; 0 keeps the input's length unless ``allow_zero``, one -1 is worked out."""
    wanted = [int(n) for n in np.asarray(target)]
    if not allow_zero:
        wanted = [value.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return value.reshape(tuple(wanted))


def flatten(value: Any, axis: int = 1) -> Any:
    """Give a matrix: what is before ``axis``, what is after."""
    axis = axis + len(value.shape) if axis < 0 else axis
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
        sections = [min(size, length - size * i) for i in range(parts)]
    lengths = [int(n) for n in np.asarray(sections)]
    if sum(lengths) != length:
        raise ValueError(f"split into {lengths} does not add up to a length of {length}")
    return tuple(np.split(value, np.cumsum(lengths)[:-1].tolist(), axis=axis))


def squeeze(value: Any, axes: Any = None) -> Any:
    """Take away dimensions of length one: ``axes``, or all of them."""
    return np.squeeze(value, axis=None if axes is None else _axes(axes))


def unsqueeze(value: Any, axes: Any) -> Any:
    """Add dimensions of length one at ``axes``."""
    return np.expand_dims(value, _axes(axes))


def gather(value: Any, indices: Any, axis: int = 0) -> Any:
    """Take entries along an axis."""
    axis = axis + len(value.shape) if axis < 0 else axis
    return value[(slice(None),) * axis + (np.asarray(indices),)]


def expand(value: Any, target: Any) -> Any:
    """Broadcast both ways with a shape."""
    wanted = np.broadcast_shapes(value.shape, tuple(int(n) for n in np.asarray(target)))
    return np.broadcast_to(value, wanted)


def clip(value: Any, low: Any = None, high: Any = None) -> Any:
    """Clamp to limits that may be absent; NaN passes."""
    if low is not None:
        value = np.maximum(value, low)
    return value if high is None else np.minimum(value, high)


def gemm(
    a: Any, b: Any, c: Any = None, alpha: float = 1.0, beta: float = 1.0,
    transpose_a: bool = False, transpose_b: bool = False,
) -> Any:  # fmt: skip
    """Alpha op(a) op(b) + beta c, as BLAS has it."""
    left = np.transpose(a) if transpose_a else a
    weight = b if transpose_b else np.transpose(b)
    plain = alpha == 1 and beta == 1 and len(np.shape(c)) == 1 if c is not None else alpha == 1
    if plain and (c is None or np.shape(c)[0] == weight.shape[0]):
        return functional.linear(left, weight, c)
    product = functional.linear(left, weight) * np.asarray(alpha, a.dtype)
    return product if c is None else product + c * np.asarray(beta, a.dtype)


def matmul(a: Any, b: Any) -> Any:
    """Multiply matrices; a matrix on the right goes through ``linear``."""
    if len(b.shape) == 2 and len(a.shape) >= 1:
        return functional.linear(a, np.transpose(b))
    return np.matmul(a, b)


def _reduction(function: Any) -> Operation:
    def reduce(value: Any, axes: Any = None, keepdims: bool = True, noop: bool = False) -> Any:
        empty = axes is None or np.asarray(axes).size == 0
        if empty and noop:
            return value
        return function(value, axis=None if empty else _axes(axes), keepdims=keepdims)

    return reduce


def _axes(axes: Any) -> tuple[int, ...]:
    return tuple(int(a) for a in np.atleast_1d(np.asarray(axes)))


def _concat(*values: Any, axis: int) -> Any:
    return np.concatenate(values, axis=axis)


def _transpose(value: Any, axes: Sequence[int] | None = None) -> Any:
    return np.transpose(value, axes)


def layer_norm_from(
    value: Any, weight: Any = None, bias: Any = None, *, axis: int, eps: float
) -> Any:
    """Normalise over the dimensions from ``axis`` on."""
    return functional.layer_norm(value, value.shape[axis % len(value.shape) :], weight, bias, eps)


def layer_norm_with_moments(
    value: Any, weight: Any = None, bias: Any = None, *, axis: int, eps: float
) -> Any:
    """Normalise as `layer_norm_from`; give the mean and 1 / standard deviation besides."""
    axes = tuple(range(axis % len(value.shape), len(value.shape)))
    mean = np.mean(value, axis=axes, keepdims=True)
    variance = np.mean((value - mean) ** 2, axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(variance + np.asarray(eps, value.dtype))
    return layer_norm_from(value, weight, bias, axis=axis, eps=eps), mean, inverse


def softmax_from(value: Any, *, function: str, axis: int) -> Any:
    """Give softmax over all dimensions from ``axis`` on together, as ONNX had it up to opset 12."""
    rows = flatten(value, axis)
    return getattr(functional, function)(rows, dim=1).reshape(value.shape)


def _mean_of(*values: Any) -> Any:
    return OPERATIONS["sum"](*values) / len(values)


def _size(value: Any) -> Any:
    return np.array(int(np.prod(value.shape, dtype=object)), np.int64)


def _filled(target: Any, *, value: Any) -> Any:
    return np.full(tuple(int(n) for n in np.asarray(target)), value)


def _range(start: Any, limit: Any, delta: Any) -> Any:
    dtype = np.asarray(start).dtype
    return np.arange(*(np.asarray(v).item() for v in (start, limit, delta)), dtype=dtype)


OPERATIONS: dict[str, Operation] = {
    **WINDOWED,
    "layer_norm_from": layer_norm_from,
    "layer_norm_with_moments": layer_norm_with_moments,
    "softmax_from": softmax_from,
    "group_norm_of": lambda x, w, b, *, num_groups, eps: functional.group_norm(
        x, num_groups, w, b, eps
    ),
    "scaled_elu": lambda x, *, alpha, gamma: gamma * functional.elu(x, alpha),
    "hard_sigmoid": lambda x, *, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "thresholded_relu": lambda x, *, alpha: np.where(x > alpha, x, x.dtype.type(0)),
    "prelu_broadcast": lambda x, slope: np.where(x < 0, x * slope, x),
    "mean_of": _mean_of,
    "sign": lambda value: np.sign(value),
    "round": lambda value: np.rint(value),
    "greater_equal": lambda a, b: a >= b,
    "less_equal": lambda a, b: a <= b,
    "logical_not": lambda value: np.logical_not(value),
    "logical_and": lambda a, b: np.logical_and(a, b),
    "logical_or": lambda a, b: np.logical_or(a, b),
    "tile": lambda value, repeats: np.tile(value, tuple(int(n) for n in np.asarray(repeats))),
    "size": _size,
    "filled": _filled,
    "range": _range,
    "reduce_l1": lambda value, *rest, **options: OPERATIONS["reduce_sum"](
        np.abs(value), *rest, **options
    ),
    "reduce_l2": lambda value, *rest, **options: np.sqrt(
        OPERATIONS["reduce_sum"](value * value, *rest, **options)
    ),
    "identity": lambda value: value,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": _divide,
    "pow": lambda a, b: (a**b).astype(a.dtype),
    "sum": _fold(lambda a, b: a + b),
    "maximum": _fold(np.maximum),
    "minimum": _fold(np.minimum),
    "neg": lambda value: -value,
    "abs": lambda value: np.abs(value),
    "sqrt": lambda value: np.sqrt(value),
    "exp": lambda value: np.exp(value),
    "log": lambda value: np.log(value),
    "floor": lambda value: np.floor(value),
    "ceil": lambda value: np.ceil(value),
    "reciprocal": lambda value: np.reciprocal(value),
    "equal": lambda a, b: a == b,
    "greater": lambda a, b: a > b,
    "less": lambda a, b: a < b,
    "where": lambda condition, a, b: np.where(condition, a, b),
    "cast": lambda value, dtype: value.astype(np.dtype(dtype)),
    "clip": clip,
    "concat": _concat,
    "expand": expand,
    "flatten": flatten,
    "gather": gather,
    "gemm": gemm,
    "matmul": matmul,
    "reshape": reshape,
    "shape": shape,
    "slice": slice_,
    "split": split,
    "squeeze": squeeze,
    "transpose": _transpose,
    "unsqueeze": unsqueeze,
    "reduce_mean": _reduction(np.mean),
    "reduce_sum": _reduction(np.sum),
    "reduce_max": _reduction(np.max),
    "reduce_min": _reduction(np.min),
    "reduce_prod": _reduction(np.prod),
}
