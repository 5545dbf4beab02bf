"""Max unpooling on the GPU: of several values for one place the last stays, as on the CPU.

First each place learns the last of the cells that go there: the largest number is the same in
whatever order cells claim it. Then each place takes its cell's value, or zero.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numba import cuda
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.base import Array, Plan, Result
from fastconv.backends.cuda.algorithm import HostPlan
from fastconv.backends.cuda.engine.atomics import raise_to
from fastconv.backends.cuda.engine.kernel import Body, Int32, Int64, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, WORKSPACE, CudaPlan, Launch
from fastconv.backends.cuda.engine.words import Word, of_words
from fastconv.backends.cuda.moves import Axis, Moving, moving
from fastconv.backends.native.plan import INPUT, constant
from fastconv.problem import MaxUnpoolProblem

_THREADS = 256


@kernel
def claim(planes: int, cells: int, places: int, lanes: int) -> tuple[Body, int]:
    """Let cells claim places, by their number from 1 on; ``lanes`` planes are side by side."""
    THREADS, ITEMS = _THREADS, planes * cells
    CELLS, PLACES, LANES = cells, places, lanes

    def body(indices: Int64, owners: Int32) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            lane = item % i64(LANES)
            rest = item // i64(LANES)
            place = indices[item]
            # A place that does not exist has no owner.
            if (place >= i64(0)) & (place < i64(PLACES)):
                number = i32(rest % i64(CELLS)) + i32(1)
                target = (rest // i64(CELLS) * i64(PLACES) + place) * i64(LANES) + lane
                raise_to(owners, target, number)

    return body, THREADS


@kernel
def settle(size: int, planes: int, cells: int, places: int, lanes: int) -> tuple[Body, int]:
    """Store its owner's value at each place, or zero."""
    THREADS, ITEMS = _THREADS, planes * places
    CELLS, PLACES, LANES = cells, places, lanes

    def body(x: Word, owners: Int32, y: Word) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            lane = item % i64(LANES)
            image = item // i64(LANES * PLACES)
            owner = owners[item]
            value = i64(0)
            if owner > i32(0):
                cell = (image * i64(CELLS) + i64(owner - i32(1))) * i64(LANES) + lane
                value = i64(x[cell])
            y[item] = value

    return of_words(body, size), THREADS


class Scatter(Moving):
    """Claim, then settle."""

    name = "scatter"

    def why_not(self, problem: MaxUnpoolProblem) -> str | None:
        if problem.dtype.itemsize > 8:
            return f"{problem.dtype.name}: cells of up to 8 bytes are moved"
        if prod(problem.input_size) >= 2**31 - 1:
            return "planes of 2^31 cells: their numbers have 32 bits"
        return super().why_not(problem)

    def launches(self, problem: MaxUnpoolProblem, *parameters: Array | None) -> CudaPlan:
        return plan_unpool(problem)

    def plan(self, problem: MaxUnpoolProblem, *parameters: Array | None) -> Plan:
        return _Checked(problem, self.launches(problem))


class _Checked(HostPlan):
    """A plan that looks at indices in main memory before it runs.

    Those on a GPU are not waited for: a place outside of the plane is left out there.
    """

    def __init__(self, problem: MaxUnpoolProblem, plan: CudaPlan) -> None:
        super().__init__(problem, plan)
        self._problem = problem

    def run(self, *inputs: Array | None, out: Array | None = None) -> Result:
        indices = inputs[1]
        assert indices is not None
        self._problem.check_range(int(indices.min()), int(indices.max()))
        return super().run(*inputs, out=out)


def plan_unpool(problem: MaxUnpoolProblem) -> CudaPlan:
    """Plan max unpooling."""
    lanes = problem.channels if problem.channels_last else 1
    cells, places = prod(problem.input_size), prod(problem.output_size)
    planes = problem.batch * problem.channels
    one = constant(np.zeros(4, np.int32))
    cleared = moving(4, [Axis(planes * places, 0, 1)], one, WORKSPACE)
    arguments: list[Any] = [INPUT(0), WORKSPACE, OUTPUT]
    size = problem.dtype.itemsize
    launches = [
        cleared,
        Launch(claim(planes, cells, places, lanes), _grid(planes * cells), [INPUT(1), WORKSPACE]),
        Launch(settle(size, planes, cells, places, lanes), _grid(planes * places), arguments),
    ]
    return CudaPlan(launches, workspace_bytes=4 * planes * places)


def _grid(items: int) -> tuple[int, int, int]:
    return -(-items // _THREADS), 1, 1
