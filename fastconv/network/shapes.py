"""What shape NumPy's functions give, without running them: the rules that tracing knows."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.problem import Shape

One = tuple[Shape, np.dtype[Any]]
Spec = One | list[One]


def shape_of(value: Any) -> Shape:
    """Return the shape of an array, a traced value or a number."""
    return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)


def elementwise(ufunc: Any, inputs: Sequence[Any]) -> One:
    """Return the shape and dtype of a universal function's result."""
    given = {shape_of(v) for v in inputs} - {()}
    shape = given.pop() if len(given) == 1 else np.broadcast_shapes(*map(shape_of, inputs))
    kinds = [v.dtype if hasattr(v, "dtype") else (type(v), v) for v in inputs]
    try:
        return tuple(shape), _result_dtype(ufunc, *kinds)
    except TypeError:  # a list is not a key
        return tuple(shape), _result_dtype.__wrapped__(ufunc, *kinds)


@functools.lru_cache(maxsize=1024)
def _result_dtype(ufunc: Any, *kinds: Any) -> np.dtype[Any]:
    """Return the dtype of a universal function's result; a value that is not an array: its type."""
    # An array of one element has the array's say in promotion, where a scalar has not.
    samples = [np.zeros(1, k) if isinstance(k, np.dtype) else k[1] for k in kinds]
    with np.errstate(all="ignore"):
        found: np.dtype[Any] = ufunc(*samples).dtype
    return found


def reshape(value: Any, shape: Any, **_: Any) -> One:
    """Resolve one -1 by the number of elements."""
    wanted: list[Any] = [int(n) for n in (shape if hasattr(shape, "__iter__") else (shape,))]
    size = prod(value.shape)
    if wanted.count(-1) == 1:
        rest = prod(n for n in wanted if n != -1)
        wanted[wanted.index(-1)] = size // rest if rest else 0
    if prod(wanted) != size or any(n < 0 for n in wanted):
        raise ValueError(f"cannot reshape a value of shape {list(value.shape)} into {list(shape)}")
    return tuple(wanted), value.dtype


def transpose(value: Any, axes: Any = None) -> One:
    """Permute dimensions."""
    order = tuple(axes) if axes is not None else tuple(reversed(range(len(value.shape))))
    if sorted(a % len(value.shape) for a in order) != list(range(len(value.shape))):
        raise ValueError(f"axes {order} do not match a value of shape {list(value.shape)}")
    return tuple(value.shape[a] for a in order), value.dtype


def concatenate(values: Sequence[Any], axis: int = 0, **_: Any) -> One:
    """Add lengths up along one axis; all others must agree."""
    first = values[0].shape
    axis = axis % len(first)
    for value in values:
        rest = [
            (a, b) for i, (a, b) in enumerate(zip(first, value.shape, strict=True)) if i != axis
        ]
        if len(value.shape) != len(first) or any(a != b for a, b in rest):
            raise ValueError(
                f"all values must agree but for axis {axis}, but got "
                f"{', '.join(str(list(v.shape)) for v in values)}"
            )
    shape = list(first)
    shape[axis] = sum(value.shape[axis] for value in values)
    return tuple(shape), np.result_type(*(value.dtype for value in values))


def stack(values: Sequence[Any], axis: int = 0, **_: Any) -> One:
    """Put values of one shape along a new axis."""
    shape = list(values[0].shape)
    shape.insert(axis % (len(shape) + 1), len(values))
    return tuple(shape), np.result_type(*(value.dtype for value in values))


def reduce(value: Any, axis: Any = None, keepdims: bool = False, **_: Any) -> One:
    """Take axes away, or leave them as one."""
    n = len(value.shape)
    given = range(n) if axis is None else (axis if hasattr(axis, "__iter__") else (axis,))
    gone = {int(a) % n for a in given}
    if keepdims:
        return tuple(1 if i in gone else s for i, s in enumerate(value.shape)), value.dtype
    return tuple(s for i, s in enumerate(value.shape) if i not in gone), value.dtype


def squeeze(value: Any, axis: Any = None) -> One:
    """Take dimensions of length one away."""
    n = len(value.shape)
    given: Any = [i for i, s in enumerate(value.shape) if s == 1] if axis is None else axis
    axes = [int(a) for a in (given if hasattr(given, "__iter__") else (given,))]
    if any(not -n <= axis < n or value.shape[axis] != 1 for axis in axes):
        raise ValueError(f"axes {axes} of a value of shape {list(value.shape)} are not of length 1")
    gone = {axis % n for axis in axes}
    return tuple(s for i, s in enumerate(value.shape) if i not in gone), value.dtype


def expand_dims(value: Any, axis: Any) -> One:
    """Add dimensions of length one."""
    axes = [int(a) for a in (axis if hasattr(axis, "__iter__") else (axis,))]
    n = len(value.shape) + len(axes)
    if any(not -n <= axis < n for axis in axes):
        raise ValueError(f"axes {axes} are outside a value of {n} dimensions")
    added = {a % n for a in axes}
    rest = iter(value.shape)
    return tuple(1 if i in added else next(rest) for i in range(n)), value.dtype


def split(value: Any, sections: Any, axis: int = 0) -> list[One]:
    """Cut along one axis, at given places or into equal parts."""
    length = value.shape[axis]
    if hasattr(sections, "__iter__"):
        edges = [0, *(int(s) for s in sections), length]
    else:
        edges = [length * i // int(sections) for i in range(int(sections) + 1)]
    parts = []
    for start, stop in itertools.pairwise(edges):
        shape = list(value.shape)
        shape[axis] = max(0, min(stop, length) - start)
        parts.append((tuple(shape), value.dtype))
    return parts


def matmul(a: Any, b: Any, **_: Any) -> One:
    """Multiply matrices, broadcasting what is before the last two dimensions."""
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matrices of shape {list(a.shape)} and {list(b.shape)} do not multiply")
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return (*lead, a.shape[-2], b.shape[-1]), np.result_type(a.dtype, b.dtype)


def broadcast_to(value: Any, shape: Any, **_: Any) -> One:
    """Return the shape asked for."""
    wanted = tuple(int(n) for n in shape)
    if np.broadcast_shapes(value.shape, wanted) != wanted:
        raise ValueError(f"a value of shape {list(value.shape)} does not broadcast to {wanted}")
    return wanted, value.dtype


def indexed(shape: Shape, key: Any) -> Shape:
    """Return the shape that indexing gives: an array of no memory is indexed instead."""
    return tuple(np.broadcast_to(np.zeros((), np.bool_), shape)[key].shape)


def like(value: Any, *_: Any, **__: Any) -> One:
    """Return the value's own shape and dtype."""
    return tuple(value.shape), value.dtype


def where(condition: Any, yes: Any, no: Any) -> One:
    """Broadcast three values."""
    shape = np.broadcast_shapes(*map(shape_of, (condition, yes, no)))
    return tuple(shape), np.result_type(*(getattr(v, "dtype", v) for v in (yes, no)))


def tile(value: Any, repeats: Any) -> One:
    """Repeat each dimension."""
    return tuple(s * int(r) for s, r in zip(value.shape, repeats, strict=True)), value.dtype


RULES: dict[str, Callable[..., Spec]] = {
    "reshape": reshape,
    "transpose": transpose,
    "concatenate": concatenate,
    "stack": stack,
    "mean": reduce,
    "sum": reduce,
    "max": reduce,
    "amax": reduce,
    "min": reduce,
    "amin": reduce,
    "prod": reduce,
    "squeeze": squeeze,
    "expand_dims": expand_dims,
    "split": split,
    "array_split": split,
    "matmul": matmul,
    "broadcast_to": broadcast_to,
    "clip": like,
    "tile": tile,
    "where": where,
    "flip": like,
    "roll": like,
    "ravel": lambda value, **_: ((prod(value.shape),), value.dtype),
}
