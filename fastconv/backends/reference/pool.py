"""Pools by their definitions: one window at a time, summed in float64."""

from __future__ import annotations

from itertools import product
from math import isinf, prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference, narrow, spatial, wide
from fastconv.backends.reference.conv import channels_first
from fastconv.problem import AdaptivePoolProblem, MaxUnpoolProblem, PoolProblem
from fastconv.problem.pool import Windows, window_weights

Place = tuple[int, ...]


class Pool(Reference):
    """Every pool; the windows come from the problem."""

    def compute(
        self, problem: PoolProblem | AdaptivePoolProblem, parameters: Any, *inputs: Any
    ) -> Any:
        x = channels_first(inputs[0], problem)
        windows = problem.windows()
        places = list(product(*map(range, problem.output_size)))
        if problem.kind == "max":
            values, indices = _max(x, windows, problem, places)
            if not problem.return_indices:
                return _lay_out(values, problem)
            return _lay_out(values, problem), _lay_out(indices, problem)
        result = np.empty((*x.shape[:2], *problem.output_size))
        x = wide(x)
        weights = _weights(problem, parameters)
        for place in places:
            window = x[_cells(windows, place)]
            result[spatial(*place)] = _reduce(window, windows, problem, weights, place)
        return narrow(_lay_out(result, problem), problem.output_dtype)


class MaxUnpool(Reference):
    """Scatter: of several values for one place the last stays."""

    def compute(self, problem: MaxUnpoolProblem, parameters: Any, *inputs: Any) -> Array:
        x, indices = (channels_first(value, problem) for value in inputs)
        problem.check_range(int(indices.min()), int(indices.max()))
        flat = (*x.shape[:2], -1)
        result = np.zeros((*x.shape[:2], prod(problem.output_size)), x.dtype)
        np.put_along_axis(result, indices.reshape(flat), x.reshape(flat), axis=2)
        return _lay_out(result.reshape(*x.shape[:2], *problem.output_size), problem)


def _max(
    x: Array, windows: tuple[Windows, ...], problem: Any, places: list[Place]
) -> tuple[Array, Array]:
    """Return the largest cells and where they are; -1 for a window that sees no cell."""
    shape = (*x.shape[:2], *problem.output_size)
    is_integer = x.dtype.kind in "iu"
    least = np.iinfo(x.dtype).min if is_integer else -np.inf
    values, indices = np.full(shape, least, x.dtype), np.full(shape, -1, np.int64)
    plane = np.arange(prod(x.shape[2:])).reshape(x.shape[2:])
    for place in places:
        cells = _cells(windows, place)
        where = plane[cells].ravel()
        if where.size == 0:
            continue
        window = x[cells].reshape(*x.shape[:2], -1)
        # NumPy's argmax takes the first NaN, else the first of the largest.
        best = wide(window).argmax(axis=2)[..., None]
        values[spatial(*place)] = np.take_along_axis(window, best, axis=2)[..., 0]
        indices[spatial(*place)] = where[best[..., 0]]
    return values, indices


def _reduce(
    window: Array, windows: tuple[Windows, ...], problem: Any, weights: Array | None, place: Place
) -> Any:
    axes = tuple(range(2, window.ndim))
    if problem.kind == "avg":
        total = window.sum(axis=axes)
        divisor = getattr(problem, "divisor_override", None)
        return total / (divisor or prod(int(w.counted[o]) for w, o in _each(windows, place)))
    if problem.kind == "lp":
        size = np.abs(window)
        if isinf(problem.norm_type):
            return size.max(axis=axes)
        return (size**problem.norm_type).sum(axis=axes) ** (1 / problem.norm_type)
    assert weights is not None
    first = [int(w.first_tap[o]) for w, o in _each(windows, place)]
    seen = tuple(slice(f, f + n) for f, n in zip(first, window.shape[2:], strict=True))
    counted = tuple(slice(w.counted_from[o], w.counted_to[o]) for w, o in _each(windows, place))
    return (window * weights[seen]).sum(axis=axes) / weights[counted].sum()


def _weights(problem: Any, parameters: Any) -> Array | None:
    if problem.kind != "weighted":
        return None
    (given,) = parameters
    return (
        wide(given) if given is not None else window_weights(problem.weights, problem.kernel_size)
    )


def _cells(windows: tuple[Windows, ...], place: Place) -> Any:
    return spatial(*(slice(w.start[o], w.stop[o], w.step) for w, o in _each(windows, place)))


def _each(windows: tuple[Windows, ...], place: Place) -> list[tuple[Windows, int]]:
    return list(zip(windows, place, strict=True))


def _lay_out(array: Array, problem: Any) -> Array:
    if problem.channels_last:
        array = np.moveaxis(array, 1, -1)
    return np.ascontiguousarray(array)
