"""Complex numbers: real and imaginary parts as channels of their own, on the float kernels.

Channels last, a complex array is a real one of twice as many channels, as it is stored in memory;
channels first, planes are taken apart before and put together after. A weight w + iv becomes the
matrix ((w, -v), (v, w)) between the two parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost
from fastconv.backends.manifest.elements import ComplexPlanes
from fastconv.backends.numba.carry.contract import (
    FLOAT32,
    FLOAT64,
    Carrier,
    Edge,
    around,
    inner_plan,
    input_shapes,
    native,
)
from fastconv.backends.numba.cast import BLOCK
from fastconv.backends.numba.engine import INPUT, OUTPUT, NativePlan, Slot, Stage, array, kernel
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem, ConvTransposeProblem, LinearProblem, Shape

SERVED = (ConvProblem, ConvTransposeProblem, LinearProblem)


class Split(Carrier):
    """Four real products for each complex one."""

    def why_not(self, problem: Any, algorithm: Algorithm) -> str | None:
        if not isinstance(problem, SERVED):
            return f"dtype {problem.dtype.name}: convolutions and linear layers alone have kernels"
        return algorithm.why_not(self.inner(problem))

    def manner(self, problem: Any) -> str:
        return f"in {_real(problem).name}, parts as channels"

    def inner(self, problem: Any) -> Any:
        real = _real(problem)
        if isinstance(problem, LinearProblem):
            return dataclasses.replace(
                problem,
                dtype=real,
                in_features=2 * problem.in_features,
                out_features=2 * problem.out_features,
            )
        return dataclasses.replace(
            problem,
            dtype=real,
            in_channels=2 * problem.in_channels,
            out_channels=2 * problem.out_channels,
        )

    def cost(self, problem: Any, algorithm: Algorithm, machine: Machine) -> Cost:
        if _as_it_lies(problem):
            return algorithm.cost(self.inner(problem), machine)
        return super().cost(problem, algorithm, machine)

    def plan(
        self, problem: Any, algorithm: Algorithm, parameters: Sequence[Array | None]
    ) -> NativePlan:
        weight, bias = parameters
        assert weight is not None
        transposed = isinstance(problem, ConvTransposeProblem)
        parts = None if bias is None else bias.view(_real(problem))
        plan = inner_plan(algorithm, self.inner(problem), (_between(weight, transposed), parts))
        inputs, outputs = {}, {}
        if not _as_it_lies(problem):
            for number, shape in enumerate(input_shapes(problem)):
                inputs[number] = _taken_apart(INPUT(number), shape, problem)
            outputs = {OUTPUT.buffer: _put_together(problem)}
        seconds = self.cost(problem, algorithm, get_machine()).seconds
        return native(problem, around(plan, inputs, outputs), seconds)


def _real(problem: Any) -> np.dtype[Any]:
    return FLOAT32 if problem.dtype.name == "complex64" else FLOAT64


def _as_it_lies(problem: Any) -> bool:
    """Return whether the parts of a number are channels side by side already."""
    return isinstance(problem, LinearProblem) or problem.channels_last


def _between(weight: Array, transposed: bool) -> Array:
    """Return (out, in, ...) complex as (2 out, 2 in, ...) real; (in, out, ...) where transposed."""
    first, second, *kernel = weight.shape
    real = np.empty((first, 2, second, 2, *kernel), weight.real.dtype)
    real[:, 0, :, 0] = real[:, 1, :, 1] = weight.real
    cross = (0, 1) if transposed else (1, 0)
    real[:, cross[0], :, cross[1]] = weight.imag
    real[:, cross[1], :, cross[0]] = -weight.imag
    return real.reshape(2 * first, 2 * second, *kernel)


def _taken_apart(source: Slot, shape: Shape, problem: Any) -> Edge:
    planes, cells = prod(shape[:2]), prod(shape[2:])
    address, items = take_apart(_real(problem).name), _items(planes, cells)
    size = planes * cells * problem.dtype.itemsize

    def stage(slot: Slot) -> Stage:
        arguments = ComplexPlanes(source=source, target=slot, planes=planes, cells=cells)
        return Stage(address, items, arguments)

    return Edge(size, stage)


def _put_together(problem: Any) -> Edge:
    shape = problem.output_shape
    planes, cells = prod(shape[:2]), prod(shape[2:])
    address, items = put_together(_real(problem).name), _items(planes, cells)
    size = planes * cells * problem.dtype.itemsize

    def stage(slot: Slot) -> Stage:
        arguments = ComplexPlanes(source=slot, target=OUTPUT, planes=planes, cells=cells)
        return Stage(address, items, arguments)

    return Edge(size, stage)


def _items(planes: int, cells: int) -> int:
    return -(-planes // max(1, BLOCK // cells))


@kernel(ComplexPlanes)
def take_apart(name: str):  # type: ignore[no-untyped-def]
    """Make of each complex plane a real and an imaginary one: a work item is some planes."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        planes, cells = args.planes, args.cells
        each = max(1, BLOCK // cells)
        for plane in range(first * each, min(last * each, planes)):
            x = array(args.source + 2 * plane * cells * size, (cells, 2), real)
            y = array(args.target + 2 * plane * cells * size, (2, cells), real)
            for i in range(cells):
                y[0, i] = x[i, 0]
                y[1, i] = x[i, 1]

    return body


@kernel(ComplexPlanes)
def put_together(name: str):  # type: ignore[no-untyped-def]
    """Make of each two planes a complex one: a work item is some of those."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        planes, cells = args.planes, args.cells
        each = max(1, BLOCK // cells)
        for plane in range(first * each, min(last * each, planes)):
            x = array(args.source + 2 * plane * cells * size, (2, cells), real)
            y = array(args.target + 2 * plane * cells * size, (cells, 2), real)
            for i in range(cells):
                y[i, 0] = x[0, i]
                y[i, 1] = x[1, i]

    return body
