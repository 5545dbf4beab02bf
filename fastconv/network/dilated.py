"""Sums over dilated windows, for the pools that have no dilation: a depthwise filter of ones."""

from __future__ import annotations

import dataclasses
from functools import reduce
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.network.limits import allow
from fastconv.problem import Shape
from fastconv.problem.windows import Pairs, span


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows along each dimension; ``padding`` ends where the last window ends."""

    size: Shape
    kernel: Shape
    stride: Shape
    padding: Pairs
    declared: Pairs
    dilation: Shape
    out: Shape

    @classmethod
    def of(
        cls, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> Windows:
        """Work out how many windows there are, and what they see beyond the input."""
        n = len(size)
        k, s, d = (tuple(v) * (n if len(v) == 1 else 1) for v in (kernel, stride, dilation))
        if padding == "same":
            padding = same_upper(size, k, s, d)
        elif padding == 0:
            padding = ((0, 0),) * n
        out, reached = [], []
        for length, taps, step, gap, (before, after) in zip(size, k, s, d, padding, strict=True):
            room = length + before + after - span(taps, gap)
            count = (-(-room // step) if ceil_mode else room // step) + 1
            if ceil_mode and (count - 1) * step >= length + before:
                count -= 1
            if count < 1:
                raise ValueError(
                    f"a window of {span(taps, gap)} cells does not fit a length of {length} with "
                    f"padding {before} and {after}"
                )
            out.append(count)
            reached.append((before, max(after, (count - 1) * step - room + after)))
        return cls(tuple(size), k, s, tuple(reached), tuple(padding), d, tuple(out))

    def sums(self, value: Any) -> Any:
        """Add the cells of each window up."""
        channels = value.shape[1]
        allow((channels, *self.kernel), value.dtype, what="a filter of ones")
        ones = np.ones((channels, 1, *self.kernel), value.dtype)
        function = getattr(functional, f"conv{len(self.size)}d")
        total = function(value, ones, None, self.stride, self.padding, self.dilation, channels)
        return total[(slice(None), slice(None), *(slice(n) for n in self.out))]

    def counts(self, with_padding: bool) -> Any:
        """Return how many cells of the input (or of its declared padding too) each window sees."""
        columns = []
        for axis, length in enumerate(self.size):
            before, after = self.declared[axis]
            allow((self.out[axis], self.kernel[axis]), np.int64, what="the cells of all windows")
            first, last = (-before, length + after) if with_padding else (0, length)
            starts = np.arange(self.out[axis]) * self.stride[axis] - before
            cells = starts[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]
            columns.append(((cells >= first) & (cells < last)).sum(axis=1))
        return reduce(np.multiply.outer, columns)


def same_upper(size: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> Pairs:
    """Return ONNX's SAME_UPPER: one output a stride, the odd cell at the end."""
    pairs = []
    for length, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max(0, (-(-length // s) - 1) * s + span(k, d) - length)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)
