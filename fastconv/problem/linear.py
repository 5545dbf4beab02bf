"""A matrix product with a weight: the fully connected layer."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.problem.activation import Activation
from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.conv import DEFAULT_RTOL, check_activation, check_precision, check_rtol
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import (
    COMPLEX,
    FLOATS,
    INTEGERS,
    accumulator,
    check_bias_dtype,
    check_dtype,
    check_same_dtype,
)

DTYPES = FLOATS + INTEGERS + COMPLEX


@record(frozen=True)
class LinearProblem(Problem):
    """activation(rows @ weight.T + bias): weight (out_features, in_features), rows in ``batch``."""

    batch: int
    in_features: int
    out_features: int
    bias: bool = False
    activation: Activation | None = None
    rtol: float = DEFAULT_RTOL
    precision: str | None = None

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        weight: ArraySpec,
        bias: ArraySpec | None = None,
        *,
        activation: Any = None,
        rtol: Any = DEFAULT_RTOL,
        precision: Any = None,
    ) -> LinearProblem:
        """Validate the arguments of ``linear``; the input's leading axes are rows."""
        dtype = check_dtype(input, DTYPES, "input of linear")
        check_dtype(weight, DTYPES, "weight of linear")
        check_same_dtype(input, weight, ("input", "weight"))
        if len(weight.shape) != 2:
            raise ValueError(
                f"weight of linear must have 2 dimensions (out_features, in_features), but got "
                f"{list(weight.shape)}"
            )
        if not input.shape:
            raise ValueError("both arguments to linear need to be at least 1D, but input is 0D")
        out_features, in_features = weight.shape
        rows = prod(input.shape[:-1])
        if input.shape[-1] != in_features:
            raise ValueError(
                f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1]} and "
                f"{in_features}x{out_features}): the input's last axis must be the weight's "
                f"in_features, but got input {list(input.shape)}, weight {list(weight.shape)}"
            )
        _check_bias(bias, dtype, out_features)
        return cls(
            dtype=dtype,
            batch=rows,
            in_features=in_features,
            out_features=out_features,
            bias=bias is not None,
            activation=check_activation(activation, dtype),
            rtol=check_rtol(rtol),
            precision=check_precision(precision, dtype),
        )

    @property
    def name(self) -> str:
        return "linear"

    @property
    def input_shape(self) -> Shape:
        return (self.batch, self.in_features)

    @property
    def weight_shape(self) -> Shape:
        """(out_features, in_features)."""
        return (self.out_features, self.in_features)

    @property
    def output_shape(self) -> Shape:
        return (self.batch, self.out_features)

    @property
    def output_dtype(self) -> np.dtype:
        return accumulator(self.dtype)

    @property
    def sum_length(self) -> int:
        """Products summed into one output element."""
        return self.in_features

    @property
    def macs(self) -> int:
        return self.batch * self.in_features * self.out_features

    @property
    def parameter_bytes(self) -> int:
        return (self.in_features + self.bias) * self.out_features * self.dtype.itemsize


def _check_bias(bias: ArraySpec | None, dtype: np.dtype, out_features: int) -> None:
    if bias is None:
        return
    if tuple(bias.shape) != (out_features,):
        raise ValueError(
            f"expected bias of linear to be 1-dimensional with {out_features} elements, but got "
            f"bias of size {list(bias.shape)}"
        )
    check_bias_dtype(bias, dtype)
