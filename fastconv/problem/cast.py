"""Floats in another dtype: of 16 bits, or back from these."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import name_of

# Dtypes of 16 bits, and those that kernels cast to them and from them.
WIDE = {"float16": ("float32", "float64"), "bfloat16": ("float32",)}
CASTS = frozenset(
    pair for narrow, wide in WIDE.items() for w in wide for pair in ((narrow, w), (w, narrow))
)


@record(frozen=True)
class CastProblem(Problem):
    """Numbers in another dtype: each is rounded once, to the nearest, ties to even.

    Subnormal numbers keep their values, and NaN stays NaN.
    """

    shape: Shape
    result: np.dtype[Any]

    @classmethod
    @remembered
    def of(cls, value: ArraySpec, target: Any) -> CastProblem:
        """Validate: one of the dtypes has 16 bits.

        Raises
        ------
        TypeError
            For dtypes between which there are no kernels.
        """
        result = np.dtype(target)
        if (name_of(value.dtype), name_of(result)) not in CASTS:
            pairs = ", ".join(f"{a} to {b}" for a, b in sorted(CASTS))
            raise TypeError(f"cannot cast {value.dtype} to {result}; kernels cast {pairs}")
        return cls(value.dtype, tuple(value.shape), result)

    @property
    def name(self) -> str:
        return "cast"

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
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return prod(self.shape) * (self.dtype.itemsize + self.result.itemsize)
