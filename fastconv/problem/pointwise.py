"""What is done to each element (activations), and softmax, which looks along one axis."""

from __future__ import annotations

import dataclasses
from math import prod
from typing import Any

import numpy as np

from fastconv.problem.activation import Activation
from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import (
    FLOATS,
    INTEGERS,
    LAYOUTS,
    axis_of,
    channels_last,
    check_dtype,
    check_same_dtype,
    dtype_of,
    one_of,
)

# Activations that give integers for integers.
CLAMPS = ("relu", "relu6", "hardtanh")


@record(frozen=True)
class ElementwiseProblem(Problem):
    """One activation applied to every element of an array of any rank."""

    shape: Shape
    activation: Activation

    @classmethod
    @remembered
    def of(cls, input: ArraySpec, activation: Any) -> ElementwiseProblem:
        """Validate; ``activation`` is a name or (name, parameter, ...)."""
        read = Activation.of(activation)
        if read is None:
            raise ValueError("activation must be a name, not None")
        accepted = FLOATS + INTEGERS if read.name in CLAMPS else FLOATS
        dtype = check_dtype(input, accepted, f"input of {read.name}")
        if dtype.name in INTEGERS and read.name == "hardtanh":
            read = _integer_limits(read, dtype)
        return cls(dtype=dtype, shape=tuple(input.shape), activation=read)

    @property
    def name(self) -> str:
        return self.activation.name

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return self.shape


# Functions of one number that are not activations, as NumPy names them; SciPy has ``erf``.
# Those of WITH_NUMBERS take numbers: max(0, min(1, a x + b)), and x where it is above a, else 0.
FUNCTIONS = ("absolute", "ceil", "erf", "exp", "floor", "negative", "reciprocal", "rint", "sqrt")
WITH_NUMBERS = {"hard_sigmoid": 2, "thresholded_relu": 1}


@record(frozen=True)
class FunctionProblem(Problem):
    """One of ``FUNCTIONS`` or ``WITH_NUMBERS`` applied to every element of an array of any rank."""

    shape: Shape
    function: str
    numbers: tuple[float, ...] = ()

    @classmethod
    @remembered
    def of(
        cls, input: ArraySpec, function: str, numbers: tuple[float, ...] = ()
    ) -> FunctionProblem:
        """Validate: float32 or float64, and as many numbers as the function takes."""
        one_of(function, (*FUNCTIONS, *WITH_NUMBERS), "function")
        dtype = check_dtype(input, ("float32", "float64"), f"input of {function}")
        if len(numbers) != WITH_NUMBERS.get(function, 0):
            raise ValueError(f"{function} takes {WITH_NUMBERS.get(function, 0)} numbers")
        return cls(dtype, tuple(input.shape), function, tuple(map(float, numbers)))

    @property
    def name(self) -> str:
        return self.function

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return self.shape


@record(frozen=True)
class PreluProblem(Problem):
    """Leaky relu whose slopes are an array: one for all, or one a channel."""

    shape: Shape
    slopes: int
    channels_last: bool = False

    @classmethod
    @remembered
    def of(cls, input: ArraySpec, weight: ArraySpec, *, layout: str = "NCHW") -> PreluProblem:
        """Validate the arguments of ``prelu``."""
        dtype = check_dtype(input, FLOATS, "input of prelu")
        check_same_dtype(input, weight, ("input", "weight"))
        last = any_rank_channels_last(layout, len(input.shape))
        problem = cls(dtype=dtype, shape=tuple(input.shape), slopes=1, channels_last=last)
        if len(weight.shape) > 1 or prod(weight.shape) not in (1, problem.channels):
            raise ValueError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{prod(weight.shape)} and channel size = {problem.channels}: weight must have "
                f"1 element or one a channel, in one dimension, but got {list(weight.shape)}"
            )
        return dataclasses.replace(problem, slopes=prod(weight.shape))

    @property
    def name(self) -> str:
        return "prelu"

    @property
    def channels(self) -> int:
        """Length of the channel axis: the second, or the last; 1 where there is but one axis."""
        if len(self.shape) < 2:
            return 1
        return self.shape[-1] if self.channels_last else self.shape[1]

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return self.shape

    @property
    def parameter_bytes(self) -> int:
        return self.slopes * self.dtype.itemsize


@record(frozen=True)
class SoftmaxProblem(Problem):
    """exp(x) over the sum of exp(x) along ``axis``, or its logarithm."""

    shape: Shape
    axis: int
    log: bool
    result: np.dtype

    @classmethod
    @remembered
    def of(
        cls, input: ArraySpec, dim: Any, *, log: bool = False, dtype: Any = None
    ) -> SoftmaxProblem:
        """Validate; with ``dtype`` the input is converted to it first."""
        name = "log_softmax" if log else "softmax"
        given = check_dtype(
            input, FLOATS if dtype is None else FLOATS + INTEGERS, f"input of {name}"
        )
        result = given if dtype is None else dtype_of(dtype, "dtype")
        if result.name not in FLOATS:
            raise TypeError(
                f"dtype of {name} must be one of {', '.join(FLOATS)}, not {result.name}"
            )
        if dim is None:
            raise ValueError(
                f"{name} needs dim, the axis along which the results sum to 1; torch's implicit "
                f"choice is deprecated there and not made here"
            )
        axis = axis_of(dim, max(1, len(input.shape)), "dim")
        return cls(dtype=given, shape=tuple(input.shape), axis=axis, log=bool(log), result=result)

    @property
    def name(self) -> str:
        return "log_softmax" if self.log else "softmax"

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return self.shape

    @property
    def output_dtype(self) -> np.dtype:
        return self.result

    @property
    def extents(self) -> tuple[int, int, int]:
        """Elements before, along and after the axis."""
        shape = self.shape or (1,)
        return prod(shape[: self.axis]), shape[self.axis], prod(shape[self.axis + 1 :])


def any_rank_channels_last(layout: Any, rank: int) -> bool:
    """Return whether channels are last in an array (N, C, ...) of any rank."""
    n = max(1, rank - 2)
    return channels_last(layout, n if n in LAYOUTS else 2)


def _integer_limits(activation: Activation, dtype: np.dtype) -> Activation:
    """Cut hardtanh's limits down to integers, as torch does; those that do not fit are refused."""
    if dtype.kind == "u" and activation.parameters[0] < 0:
        raise ValueError(
            f"cannot do hardtanh on an unsigned type with negative limits: min_val is "
            f"{activation.parameters[0]:g}, the input's dtype {dtype.name}"
        )
    limits = np.iinfo(dtype)
    if not all(limits.min <= value <= limits.max for value in activation.parameters):
        raise ValueError(
            f"value cannot be converted to type {dtype.name} without overflow: limits of hardtanh "
            f"must be in [{limits.min}, {limits.max}], but got {activation.parameters}"
        )
    return Activation("hardtanh", tuple(float(int(value)) for value in activation.parameters))
