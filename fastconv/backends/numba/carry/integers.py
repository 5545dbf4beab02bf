"""Integers: exact sums, in the smallest of float32, float64 and int64 that holds them.

A float32 holds every sum whose terms add up, in size, to 2^24 at most, a float64 to 2^53, in any
order; beyond that int64 wraps as it should. The terms' sizes follow from the dtype, and where that
does not do, from the weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array
from fastconv.backends.manifest.elements import FinishIntegers
from fastconv.backends.numba.carry.contract import (
    FLOAT32,
    FLOAT64,
    INT64,
    Carrier,
    Edge,
    Program,
    around,
    inner_plan,
    native,
)
from fastconv.backends.numba.carry.pieces import in_pieces
from fastconv.backends.numba.cast import BLOCK, cast_stage
from fastconv.backends.numba.engine import (
    INPUT,
    OUTPUT,
    NativePlan,
    Slot,
    Stage,
    array,
    constant,
    kernel,
)
from fastconv.machine import get_machine
from fastconv.problem import (
    ConvProblem,
    ConvTransposeProblem,
    ElementwiseProblem,
    FoldProblem,
    LinearProblem,
)

# Dtypes, and the size up to which they hold integers; int64 wraps.
_HELD = ((FLOAT32, 2.0**24), (FLOAT64, 2.0**53), (INT64, np.inf))
_WEIGHTED = (ConvProblem, ConvTransposeProblem, LinearProblem)
# What has kernels for int64, where floats do not hold the sums: (problem type, algorithm).
_WRAPPING = {
    (ConvProblem, "direct"),
    (ConvProblem, "im2col"),
    (ConvProblem, "depthwise"),
    (ConvProblem, "planar"),
    (ConvProblem, "depthwise_planar"),
    (ConvTransposeProblem, "direct"),
    (LinearProblem, "direct"),
    (FoldProblem, "rows"),
}


class Integral(Carrier):
    """Converts at both ends; the residual and the activation are for the one at the end."""

    def why_not(self, problem: Any, algorithm: Algorithm) -> str | None:
        name = problem.dtype.name
        if type(problem) not in _LARGEST:
            return f"dtype {name}: convolutions, linear layers, fold and clamps alone have kernels"
        if algorithm.approximates:
            return f"dtype {name} is exact, and this algorithm's transforms are not"
        wraps = _holding(_largest(problem))[0] == INT64
        if wraps and (type(problem), algorithm.name) not in _WRAPPING:
            return f"results of {name} may be beyond 2^53: this algorithm has no kernel for int64"
        return algorithm.why_not(dataclasses.replace(self.inner(problem), dtype=FLOAT64))

    def manner(self, problem: Any) -> str:
        dtype, _ = _holding(_largest(problem))
        weighted = dtype != FLOAT32 and isinstance(problem, _WEIGHTED)
        return f"exact in {dtype.name}{', or narrower as the weights allow' if weighted else ''}"

    def inner(self, problem: Any) -> Any:
        return _inner(problem, _holding(_largest(problem))[0])

    def error_bound(self, problem: Any, algorithm: Algorithm) -> float:
        return 0.0

    def plan(
        self, problem: Any, algorithm: Algorithm, parameters: Sequence[Array | None]
    ) -> NativePlan:
        largest = _largest(problem)
        if largest > _HELD[0][1] and parameters:
            largest = min(largest, _largest_given(problem, parameters))
        dtype, limit = _holding(largest)
        held = [None if p is None else p.astype(dtype) for p in parameters]
        late = None
        if len(parameters) > 1 and parameters[1] is not None:
            sizes = np.abs(parameters[1].astype(np.float64))
            if largest + sizes.max() > limit:
                late, held[1] = parameters[1].astype(INT64), None
        program = in_pieces(problem, lambda piece: _program(piece, algorithm, held, dtype, late))
        return native(problem, program, self.cost(problem, algorithm, get_machine()).seconds)


def _inner(problem: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(problem, (ConvProblem, ConvTransposeProblem)):
        return dataclasses.replace(problem, dtype=dtype, residual=False, activation=None)
    if isinstance(problem, LinearProblem):
        return dataclasses.replace(problem, dtype=dtype, activation=None)
    return dataclasses.replace(problem, dtype=dtype)


def _program(
    problem: Any,
    algorithm: Algorithm,
    parameters: Sequence[Array | None],
    dtype: np.dtype[Any],
    late: Array | None,
) -> Program:
    inner = _inner(problem, dtype)
    plan = inner_plan(algorithm, inner, parameters)
    count = prod(problem.input_shape)
    inputs = {}
    if problem.dtype != dtype:
        inputs[0] = Edge(
            count * dtype.itemsize,
            lambda slot: cast_stage(INPUT(0), slot, count, (problem.dtype, dtype)),
        )
    end = _End.of(problem, late)
    if end == _End() and problem.output_dtype == dtype:
        return around(plan, inputs, {})
    size = prod(problem.output_shape) * dtype.itemsize
    output = Edge(size, lambda slot: _finish_stage(problem, slot, dtype, late))
    return around(plan, inputs, {OUTPUT.buffer: output})


@dataclasses.dataclass(frozen=True)
class _End:
    """What is left to do with a sum: a constant of the kernel that does it."""

    bias: bool = False
    residual: bool = False
    clamps: bool = False

    @classmethod
    def of(cls, problem: Any, late: Array | None) -> _End:
        """Return what a problem's plan leaves over."""
        if isinstance(problem, (ElementwiseProblem, FoldProblem)):
            return cls()
        residual = getattr(problem, "residual", False)
        return cls(late is not None, residual, problem.activation is not None)


def _finish_stage(problem: Any, source: Slot, dtype: np.dtype[Any], late: Array | None) -> Stage:
    """Return the stage that adds bias and residual, clamps, and wraps to the output's dtype."""
    end = _End.of(problem, late)
    count = prod(problem.output_shape)
    high = 6 if end.clamps and problem.activation.name == "relu6" else np.iinfo(np.int64).max
    after = isinstance(problem, LinearProblem) or not end.bias or problem.channels_last
    run = 1 if after else prod(problem.output_size)
    arguments = FinishIntegers(
        source=source, residual=INPUT(1) if end.residual else 0, target=OUTPUT, count=count,
        high=int(high), bias=0 if late is None else constant(late),
        channels=1 if late is None else len(late), run=run,
    )  # fmt: skip
    return Stage(finish(dtype.name, problem.output_dtype.name, end), -(-count // BLOCK), arguments)


def _holding(largest: float) -> tuple[np.dtype[Any], float]:
    """Return the dtype that holds integers up to so large a size, and its own limit."""
    return next(pair for pair in _HELD if largest <= pair[1])


def _size(dtype: np.dtype[Any]) -> float:
    limits = np.iinfo(dtype)
    return float(max(-int(limits.min), int(limits.max)))


def _terms(problem: Any) -> float:
    """Bound the terms of a sum of products by the dtype alone."""
    if isinstance(problem, LinearProblem):
        length = problem.in_features
    else:
        length = problem.in_channels // problem.groups * prod(problem.kernel_size)
    return float(length * _size(problem.dtype) ** 2)


_LARGEST: dict[type, Any] = {
    ConvProblem: _terms,
    ConvTransposeProblem: _terms,
    LinearProblem: _terms,
    FoldProblem: lambda problem: prod(problem.kernel_size) * _size(problem.dtype),
    ElementwiseProblem: lambda problem: _size(problem.dtype),
}


def _largest(problem: Any) -> float:
    """Bound the sizes that a sum's terms add up to, whatever the data."""
    return float(_LARGEST[type(problem)](problem))


def _largest_given(problem: Any, parameters: Sequence[Array | None]) -> float:
    """Bound the same for the weights given."""
    weight = parameters[0]
    assert weight is not None
    sizes = np.abs(weight.astype(np.float64))
    if isinstance(problem, ConvTransposeProblem):
        per_group = problem.in_channels // problem.groups
        split = sizes.reshape(problem.groups, per_group, weight.shape[1], -1)
        sums = split.sum(axis=(1, 3))
    else:
        sums = sizes.reshape(len(sizes), -1).sum(axis=1)
    # The bound itself is a sum of floats: a little is left for its roundings.
    return float(sums.max()) * _size(problem.dtype) * (1 + 1e-9)


@kernel(FinishIntegers)
def finish(source: str, target: str, end: _End):  # type: ignore[no-untyped-def]
    """Finish sums in int64: a work item is a block of elements."""
    given, made = np.dtype(source).type, np.dtype(target).type
    from_size, to_size = np.dtype(source).itemsize, np.dtype(target).itemsize
    # What float32 carries fits into 32 bits, which every CPU converts by vectors.
    whole = np.int32 if source == "float32" else np.int64
    has_bias, residual, clamps = end.bias, end.residual, end.clamps

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        start = first * BLOCK
        count = min(last * BLOCK, args.count) - start
        x = array(args.source + start * from_size, (count,), given)
        y = array(args.target + start * to_size, (count,), made)
        channels, run = args.channels, args.run
        bias = array(args.bias, (channels,), np.int64)
        other = array(args.residual + start * to_size, (count,), made)
        for i in range(count):
            total = np.int64(whole(x[i]))
            if has_bias:
                total += bias[(start + i) // run % channels]
            if residual:
                total += np.int64(other[i])
            if clamps:
                total = min(max(total, np.int64(0)), args.high)
            y[i] = made(total)

    return body
