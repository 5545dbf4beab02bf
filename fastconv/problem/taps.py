"""Tables of interpolation: which cells of one dimension an output cell is summed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.problem.record import record

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@record(frozen=True)
class Taps:
    """The weighted cells that each output cell of one dimension is summed from.

    Output ``o`` is the sum of ``weight[t]`` times cell ``index[t]``, ``t`` from ``first[o]`` up
    to ``first[o + 1]``.
    """

    first: Integers
    index: Integers
    weight: Floats

    @property
    def most(self) -> int:
        """The largest number of cells that one output cell is summed from."""
        return int(np.diff(self.first).max(initial=0))

    @property
    def uniform(self) -> bool:
        """Whether every output cell is summed from equally many."""
        counts = np.diff(self.first)
        return counts.size == 0 or bool(counts.min() == counts.max())


def regular_taps(index: Any, weight: Any) -> Taps:
    """Return taps from tables of (output cells, cells each)."""
    length, each = index.shape
    first = np.arange(length + 1, dtype=np.int64) * each
    return Taps(first, index.astype(np.int64).ravel(), np.asarray(weight).ravel())


def _ragged(low: Integers, high: Integers) -> tuple[Integers, Integers, Integers]:
    """Return ``first``, the cells from ``low`` to ``high`` of each output cell, and its number."""
    count = high - low
    first = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    output = np.repeat(np.arange(len(low)), count)
    return first, np.arange(first[-1]) - first[output] + low[output], output


def area_taps(size: int, length: int) -> Taps:
    """Equal parts, rounded outwards to whole cells, as adaptive average pooling has them."""
    cells = np.arange(length, dtype=np.int64)
    low, high = cells * size // length, -(-(cells + 1) * size // length)
    first, index, output = _ragged(low, high)
    return Taps(first, index, 1 / (high - low)[output])


def linear_taps(real: Floats, size: int) -> Taps:
    """Two neighbours, weighted by nearness to the place; the image's edges go on for ever."""
    low, part = _split(np.maximum(real, 0), size)
    index = np.stack([low, np.minimum(low + 1, size - 1)], axis=1)
    return regular_taps(index, np.stack([1 - part, part], axis=1))


def cubic_taps(real: Floats, size: int) -> Taps:
    """Four neighbours by cubic convolution; the image's edges go on for ever."""
    low, part = _split(real, size)
    index = np.clip(low[:, None] + np.arange(-1, 3), 0, size - 1)
    distances = np.stack([part + 1, part, 1 - part, 2 - part], axis=1)
    return regular_taps(index, _keys(distances, -0.75))


def _split(real: Floats, size: int) -> tuple[Integers, Floats]:
    """Return the cell at or before each place, and how far past it the place is."""
    low = np.minimum(np.floor(real).astype(np.int64), size - 1)
    return low, np.clip(real - low, 0, 1)


def _keys(x: Floats, a: float) -> Floats:
    """Cubic convolution (Keys, 1981) at distances ``x``."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.asarray(np.where(x <= 1, near, np.where(x < 2, far, 0)))


def _triangle(x: Floats) -> Floats:
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def _lanczos(x: Floats) -> Floats:
    return np.asarray(np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0))


# mode -> half of the window's width in cells, and the window's shape
_FILTERS: dict[str, tuple[float, Callable[[Floats], Floats]]] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, lambda x: _keys(x, -0.5)),
    "lanczos": (3.0, _lanczos),
}


def antialiased_taps(mode: str, size: int, length: int, scale: np.floating[Any]) -> Taps:
    """Windows that widen as the image shrinks, weights normalised: as Pillow resizes."""
    half, shape = _FILTERS[mode]
    kind = scale.dtype.type
    widening = max(scale, kind(1))
    support = kind(half) * widening
    center = scale * (np.arange(length, dtype=scale.dtype) + kind(0.5))
    low = np.maximum((center - support + kind(0.5)).astype(np.int64), 0)
    high = np.minimum((center + support + kind(0.5)).astype(np.int64), size)
    first, index, output = _ragged(low, high)
    weight = shape((index - center[output].astype(np.float64) + 0.5) / np.float64(widening))
    return Taps(first, index, weight / np.add.reduceat(weight, first[:-1])[output])
