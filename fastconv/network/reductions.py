"""Reductions over axes, in the value's own dtype; 16-bit floats in float32, rounded once."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv import settings
from fastconv.dispatch import solve
from fastconv.network.wide import all_in_float32
from fastconv.problem import ReduceProblem
from fastconv.problem.reduce import side_by_side

Reduction = Callable[..., Any]
# Numbers from which on NumPy's plain sums along other axes than the last are made in float64.
_LONG = 1 << 12


def axes_of(axes: Any) -> tuple[int, ...]:
    """Return axes as a tuple."""
    return tuple(int(a) for a in np.atleast_1d(np.asarray(axes)))


def _reduced(value: Any, function: str, axis: Any, keepdims: bool) -> Any:
    """Reduce by a kernel; None where there is none for these axes or this dtype."""
    shape = tuple(value.shape)
    if value.dtype.name not in ("float32", "float64") or 0 in shape or not shape:
        return None
    if settings.backend() == "cuda":
        return None
    ends = side_by_side(axis, shape)
    if ends is None:
        return None
    found = solve(ReduceProblem.of(value, function, *ends), (value,))
    if keepdims:
        return found
    rank = len(shape)
    gone = set(range(rank)) if axis is None else {a % rank for a in axis}
    return found.reshape(tuple(n for i, n in enumerate(shape) if i not in gone))


def _sum(value: Any, **where: Any) -> Any:
    found = _reduced(value, "sum", where["axis"], where["keepdims"])
    if found is not None:
        return found
    if not _is_long(value, where["axis"]):
        return np.sum(value, dtype=value.dtype, **where)
    return np.sum(value, dtype=np.dtype(np.float64), **where).astype(value.dtype)


def _is_long(value: Any, axis: Any) -> bool:
    """Return whether NumPy would add many float32 one by one: in pairs it adds the last axis."""
    rank = len(value.shape)
    if value.dtype != np.float32 or axis is None or (rank - 1) in [a % rank for a in axis]:
        return False
    return bool(prod(value.shape[a] for a in axis) >= _LONG)


def _mean(value: Any, *, axis: Any, keepdims: bool) -> Any:
    """Average; whole planes go through the pool that is made for them, and all as a sum."""
    rank = len(value.shape)
    if value.dtype.kind == "f" and (axis is None or len({a % rank for a in axis}) == rank):
        total = _reduced(value, "sum", axis, keepdims)
        if total is not None:
            return total / value.dtype.type(prod(value.shape))
    if value.dtype.name in ("float32", "float64") and rank in (3, 4, 5) and 0 not in value.shape:
        places = range(rank) if axis is None else axis
        if sorted(a % rank for a in places) == list(range(2, rank)):
            pooled = functional.global_avg_pool(value)
            return pooled if keepdims else pooled.reshape(tuple(value.shape[:2]))
    if value.dtype.kind in "iu" or _is_long(value, axis):
        wide = np.dtype(np.float64)
        return np.mean(value, dtype=wide, axis=axis, keepdims=keepdims).astype(value.dtype)
    return np.mean(value, axis=axis, keepdims=keepdims)


def _extreme(function: Any, largest: bool) -> Reduction:
    """Take the largest or the smallest; of nothing that is the dtype's other end."""

    def reduce(value: Any, **where: Any) -> Any:
        if 0 not in value.shape:
            kept = None if largest else _reduced(value, "min", where["axis"], where["keepdims"])
            return function(value, **where) if kept is None else kept
        if value.dtype.kind == "b":
            return function(value, initial=not largest, **where)
        if value.dtype.kind in "iu":
            limits = np.iinfo(value.dtype)
            return function(value, initial=limits.min if largest else limits.max, **where)
        return function(value, initial=-np.inf if largest else np.inf, **where)

    return reduce


def _product(value: Any, **where: Any) -> Any:
    return np.prod(value, dtype=value.dtype, **where)


def _square_root(value: Any) -> Any:
    return np.sqrt(value).astype(value.dtype)


def _log_sum_exp(value: Any, *, axis: Any, keepdims: bool) -> Any:
    """Shift by the largest, so that nothing overflows."""
    if 0 in value.shape:
        return np.log(_sum(np.exp(value), axis=axis, keepdims=keepdims)).astype(value.dtype)
    top = np.max(value, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(top), top, top.dtype.type(0))
    total = _sum(np.exp(value - shift), axis=axis, keepdims=True)
    result = (np.log(total) + shift).astype(value.dtype)
    if keepdims:
        return result
    rank = len(value.shape)
    return np.squeeze(result, axis=tuple(range(rank)) if axis is None else axis)


def _reduction(function: Reduction, single: Callable[[Any], Any] | None = None) -> Reduction:
    """Make an operation of a reduction; ``single`` is what it does to one element."""

    def reduce(value: Any, axes: Any = None, keepdims: bool = True, noop: bool = False) -> Any:
        empty = axes is None or np.asarray(axes).size == 0
        if empty and noop:
            return value if single is None else single(value)
        return function(value, axis=None if empty else axes_of(axes), keepdims=keepdims)

    return reduce


_PLAIN: dict[str, Reduction] = {
    "reduce_mean": _reduction(_mean),
    "reduce_sum": _reduction(_sum),
    "reduce_max": _reduction(_extreme(np.max, True)),
    "reduce_min": _reduction(_extreme(np.min, False)),
    "reduce_prod": _reduction(_product),
    "reduce_l1": _reduction(lambda v, **where: _sum(np.abs(v), **where), np.abs),
    "reduce_l2": _reduction(lambda v, **where: _square_root(_sum(v * v, **where)), np.abs),
    "reduce_sum_square": _reduction(lambda v, **where: _sum(v * v, **where), lambda v: v * v),
    "reduce_log_sum": _reduction(
        lambda v, **where: np.log(_sum(v, **where)).astype(v.dtype), lambda v: np.log(v)
    ),
    "reduce_log_sum_exp": _reduction(_log_sum_exp),
}
REDUCTIONS: dict[str, Reduction] = all_in_float32(_PLAIN)
