"""Integers for numbers and back: one scale for all, one a slice of an axis, or one a block."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import axis_of, check_dtype

# Integers that kernels quantise to, and those that they make numbers of.
TARGETS = ("int8", "uint8", "int16", "uint16")
SOURCES = (*TARGETS, "int32")


@record(frozen=True)
class ScaleRows:
    """An array as rows, each of which has one scale or, with ``each``, one for every element.

    Row r's scale is number r // period * scale_rows + r % period // step, times ``length`` with
    ``each``.
    """

    rows: int
    length: int
    period: int = 1
    step: int = 1
    scale_rows: int = 0
    each: bool = False

    def numbers(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the number of each element's scale."""
        row = np.arange(self.rows)
        first = row // self.period * self.scale_rows + row % self.period // self.step
        wide = self.length if self.each else 1
        within = np.arange(self.length) if self.each else np.zeros(self.length, np.int64)
        return np.asarray(first[:, None] * wide + within, np.int64)


@record(frozen=True)
class _ScaledProblem(Problem):
    shape: Shape
    result: np.dtype[Any]
    scales: Shape
    axis: int
    block: int

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return self.shape

    @property
    def output_dtype(self) -> np.dtype[Any]:
        return self.result

    @property
    def flops(self) -> int:
        return 2 * prod(self.shape)

    @property
    def by_row(self) -> ScaleRows:
        """How scales belong to elements."""
        count = prod(self.scales)
        if count == 1:
            return ScaleRows(1, prod(self.shape))
        lead, length, inner = (
            prod(self.shape[: self.axis]), self.shape[self.axis], prod(self.shape[self.axis + 1 :])
        )  # fmt: skip
        if not self.block:
            if inner == 1:
                return ScaleRows(lead, length, each=True)
            return ScaleRows(lead * length, inner, length)
        blocks = self.scales[self.axis]
        if inner == 1 and length % self.block == 0:
            return ScaleRows(lead * blocks, self.block, blocks, 1, blocks)
        return ScaleRows(lead * length, inner, length, self.block, blocks, each=True)


def _read(name: str, value: ArraySpec, scale: ArraySpec, axis: int, block: int) -> Any:
    """Validate shapes; return the axis and the block as the problem holds them."""
    shape, scales = tuple(value.shape), tuple(scale.shape)
    if prod(scales) == 1 and not block:
        return (), 0, 0
    axis = axis_of(axis, max(1, len(shape)), "axis")
    if block:
        step = min(block, max(shape[axis], 1))
        wanted = (*shape[:axis], -(-shape[axis] // step), *shape[axis + 1 :])
        if block < 0 or scales != wanted:
            raise ValueError(
                f"{name} with blocks of {block} along axis {axis} of {list(shape)} takes scales "
                f"of shape {list(wanted)}, but got {list(scales)}"
            )
        return scales, axis, step
    if len(scales) != 1 or scales[0] != shape[axis]:
        raise ValueError(
            f"{name} takes one scale, or one for each of the {shape[axis]} slices of axis {axis} "
            f"of {list(shape)}, but got scales of shape {list(scales)}"
        )
    return scales, axis, 0


@record(frozen=True)
class QuantizeProblem(_ScaledProblem):
    """round(x / scale) to even, plus the zero point, clamped to what the integers hold.

    Inputs are (value, scale, zero point or None); NaN gives the least integer.
    """

    @classmethod
    @remembered
    def of(
        cls, value: ArraySpec, scale: ArraySpec, target: Any, *, axis: int = 1, block: int = 0
    ) -> QuantizeProblem:
        """Validate; scales are float32 as the value is."""
        dtype = check_dtype(value, ("float32",), "input of quantize")
        scales, axis, block = _read("quantize", value, scale, axis, block)
        return cls(dtype, tuple(value.shape), np.dtype(target), scales, axis, block)

    @property
    def name(self) -> str:
        return "quantize"

    @property
    def bytes(self) -> int:
        return prod(self.shape) * (self.dtype.itemsize + self.result.itemsize)


@record(frozen=True)
class DequantizeProblem(_ScaledProblem):
    """(q - zero point) scale, in float32. Inputs are (value, scale, zero point or None)."""

    @classmethod
    @remembered
    def of(
        cls, value: ArraySpec, scale: ArraySpec, *, axis: int = 1, block: int = 0
    ) -> DequantizeProblem:
        """Validate; scales are float32."""
        dtype = check_dtype(value, SOURCES, "input of dequantize")
        scales, axis, block = _read("dequantize", value, scale, axis, block)
        return cls(dtype, tuple(value.shape), np.dtype(np.float32), scales, axis, block)

    @property
    def name(self) -> str:
        return "dequantize"

    @property
    def bytes(self) -> int:
        return prod(self.shape) * (self.dtype.itemsize + self.result.itemsize)
