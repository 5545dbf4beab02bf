"""Quantising and back, as their definitions read."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference
from fastconv.problem.quantise import DequantizeProblem, QuantizeProblem


def _scales(problem: Any, scale: Array, zero: Array | None) -> tuple[Array, Array]:
    """Return each element's scale in float32, and its zero point in int64."""
    numbers = problem.by_row.numbers().reshape(problem.shape)
    none = np.zeros(scale.size, np.int64)
    zeros = none if zero is None else zero.reshape(-1).astype(np.int64)
    return scale.reshape(-1)[numbers], zeros[numbers]


class Quantize(Reference):
    """The quotient as float32 has it; all that follows is exact."""

    def compute(self, problem: QuantizeProblem, parameters: Any, *inputs: Any) -> Array:
        scale, zero = _scales(problem, *inputs[1:])
        limits = np.iinfo(problem.result)
        quotient = np.asarray(inputs[0] / scale, np.float64)
        low, high = limits.min - zero, limits.max - zero
        whole = np.rint(np.where(quotient > low, np.minimum(quotient, high), low))
        return np.asarray((whole + zero).astype(problem.result))


class Dequantize(Reference):
    """The difference as float32 has it, times the scale."""

    def compute(self, problem: DequantizeProblem, parameters: Any, *inputs: Any) -> Array:
        scale, zero = _scales(problem, *inputs[1:])
        narrow = np.float32
        above = inputs[0].astype(narrow) - zero.astype(narrow)
        return np.asarray(above * scale, narrow)
