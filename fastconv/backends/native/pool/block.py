"""The argument block of the pools that go tile by tile of an output row."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native import INPUT, OUTPUT, SCRATCH, constant
from fastconv.backends.native.plan import scratch_stride
from fastconv.backends.native.pool.cuts import AnyPoolProblem, cells
from fastconv.backends.native.pool.geometry import Geometry, tap_ranges
from fastconv.problem import PoolProblem
from fastconv.problem.pool import Windows


def shared_fields(
    problem: AnyPoolProblem, geometry: Geometry, scratch_bytes: int
) -> dict[str, Any]:
    """Return the fields of `PoolBlock`."""
    d, h, w = geometry.windows
    taps, table, stride, dilation, before = 0, np.zeros((2, 1), np.int64), 1, 1, 0
    if isinstance(problem, PoolProblem):
        taps, table = problem.kernel_size[-1], tap_ranges(problem)
        stride, dilation = problem.stride[-1], problem.dilation[-1]
        before = problem.padding[-1][0]
    depth, height, width = geometry.size
    out_depth, out_height, out_width = geometry.output
    d_table, h_table, w_table = (constant(window_table(x)) for x in geometry.windows)
    return {
        "source": INPUT(0), "out": OUTPUT, "depth": depth, "height": height, "width": width,
        "lanes": geometry.lanes, "out_depth": out_depth, "out_height": out_height,
        "out_width": out_width, "d_table": d_table, "h_table": h_table, "w_table": w_table,
        "d_step": d.step, "h_step": h.step, "w_step": w.step, "lane_block": geometry.lane_block,
        "tile": geometry.tile, "tiles": len(geometry.tile_from),
        "tile_from": constant(geometry.tile_from), "tile_to": constant(geometry.tile_to),
        "mode": geometry.mode, "taps": taps, "tap_table": constant(table), "stride": stride,
        "dilation": dilation, "before": before, "scratch_base": SCRATCH,
        "scratch_stride": scratch_stride(scratch_bytes),
    }  # fmt: skip


def window_table(windows: Windows) -> Array:
    """Return windows as kernels read them: start, cells, first tap; a row each."""
    return np.stack([windows.start, cells(windows), windows.first_tap])
