"""The kernel of max unpooling: planes of zeros, then values where their indices say."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.numba.engine import INPUT, OUTPUT, NativePlan, Stage, array, kernel
from fastconv.problem import MaxUnpoolProblem

LANE_BLOCK = 64
SOURCE, INDICES, OUT, CELLS, PLANE, LANES = range(6)


def unpool_stage(problem: MaxUnpoolProblem) -> Stage:
    """Give the stage that solves ``problem``."""
    lanes = problem.channels if problem.channels_last else 1
    images = problem.batch * problem.channels // lanes
    cells, plane = (int(np.prod(size)) for size in (problem.input_size, problem.output_size))
    words: list[Any] = [INPUT(0), INPUT(1), OUTPUT, cells, plane, lanes]
    return Stage(unpool(problem.dtype.itemsize), images * -(-lanes // LANE_BLOCK), words)


class UnpoolPlan(NativePlan):
    """A native plan that looks at the indices before it runs."""

    def __init__(self, problem: MaxUnpoolProblem, *, seconds: float) -> None:
        super().__init__(problem, [unpool_stage(problem)], seconds=seconds)
        self._problem = problem

    def run(self, *inputs: Array | None, out: Array | None = None) -> Any:
        """Run, unless an index leaves the output's plane."""
        indices = inputs[1]
        assert indices is not None
        self._problem.check_range(int(indices.min()), int(indices.max()))
        return super().run(*inputs, out=out)


@kernel
def unpool(itemsize: int):  # type: ignore[no-untyped-def]
    """Scatter: a work item is one image's block of lanes; values are moved as bits."""
    kind = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[itemsize]

    def body(args, first_item, last_item, worker):  # type: ignore[no-untyped-def]
        cells, plane, lanes = args[CELLS], args[PLANE], args[LANES]
        blocks = (lanes + LANE_BLOCK - 1) // LANE_BLOCK
        for item in range(first_item, last_item):
            image, block = divmod(item, blocks)
            first = block * LANE_BLOCK
            last = min(lanes, first + LANE_BLOCK)
            x = array(args[SOURCE] + image * cells * lanes * itemsize, (cells, lanes), kind)
            places = array(args[INDICES] + image * cells * lanes * 8, (cells, lanes), np.int64)
            out = array(args[OUT] + image * plane * lanes * itemsize, (plane, lanes), kind)
            for row in range(plane):
                for c in range(first, last):
                    out[row, c] = 0
            for row in range(cells):
                for c in range(first, last):
                    place = places[row, c]
                    # What is run inside a larger program has not been looked at before.
                    if 0 <= place < plane:
                        out[place, c] = x[row, c]

    return body
