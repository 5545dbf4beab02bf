"""Pools of channels-first images: vector lanes across pixels."""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.pools import Walk
from fastconv.backends.native import INPUT, OUTPUT, SCRATCH, NativePlan, Stage, constant
from fastconv.backends.native.plan import scratch_stride
from fastconv.backends.native.pool.channels_first import ChannelsFirst, fold_of
from fastconv.backends.native.pool.cuts import AnyPoolProblem, Cuts, cells
from fastconv.backends.native.pool.operations import OPERATIONS, VECTORS
from fastconv.backends.native.pool.steps import Steps
from fastconv.backends.native.tile import Tile
from fastconv.machine import get_machine


class Planar(ChannelsFirst):
    """Max, average and Lp pools of 1 to 3 dimensions, down the lines and then across."""

    name = "planar"

    def why_not(self, problem: AnyPoolProblem) -> str | None:
        if problem.n > 3:
            return f"{problem.n} dimensions: this kernel is for up to three"
        return super().why_not(problem)

    def error_bound(self, problem: AnyPoolProblem) -> float:
        if problem.kind == "max":
            return 0.0
        cells = prod(int(w.counted.max()) for w in problem.windows())
        return float(cells + 1) * float(np.finfo(problem.dtype).eps)

    def plan(self, problem: AnyPoolProblem, *parameters: Array | None) -> NativePlan:
        machine = get_machine()
        kind = fold_of(problem)
        assert kind is not None
        cuts = Cuts(problem, machine.lanes(problem.dtype))
        tile = self.library.tile(problem.dtype, machine)
        tile = dataclasses.replace(tile, rows=1, vectors=VECTORS)
        steps = Steps(cuts, tile.columns, largest=kind == "max")
        size, window = problem.dtype.itemsize, cuts.windows[2]
        down, across = _counts(problem, cuts, tile)
        # Several planes of a block are treated as one that is taller.
        planes, (depth, height, width) = cuts.planes, cuts.output
        rows = [(top, bottom + (planes - 1) * cuts.size[1]) for top, bottom in cuts.row_table]
        checked, checked_place = steps.checked
        taps, stride = cuts.shuffled
        arguments = Walk(
            **self._kernels(tile, kind, cuts), source=INPUT(0),
            volume_bytes=planes * prod(cuts.size) * size, out=OUTPUT,
            out_bytes=planes * height * width * size, width=cuts.size[2], out_depth=depth,
            out_height=planes * height, out_width=width, rows=planes * cuts.rows,
            row_table=constant(rows, np.int64), column_blocks=len(cuts.column_table),
            column_table=constant(cuts.column_table), pitch=cuts.pitch, steps=len(steps.rows),
            step_table=constant(steps.table()), checked=checked, checked_place=checked_place,
            result=steps.result, windows=constant([window.start, cells(window)], np.int64),
            window_step=window.step, counts_down=constant(down), counts_across=constant(across),
            taps=taps, stride=stride, scratch_base=SCRATCH,
            scratch_stride=scratch_stride(steps.bytes),
        )  # fmt: skip
        images = problem.batch * problem.channels // planes * depth
        items = images * len(cuts.row_table) * len(cuts.column_table)
        return NativePlan(
            problem,
            [Stage(self.library.kernel("pool.walk", tile, kind == "max"), items, arguments)],
            scratch_bytes=steps.bytes,
            seconds=self.cost(problem, machine).seconds,
        )

    def _kernels(self, tile: Tile, kind: str, cuts: Cuts) -> dict[str, int]:
        """Return the addresses of the kernels that fold, and of those that emit, as fields."""
        kernel = self.library.kernel
        _, plain, ordered = OPERATIONS[kind]
        folds = [kernel("pool.fold", tile, operation) for operation in OPERATIONS[kind]]
        taps, stride = cuts.shuffled
        emits = [plain, ordered if taps > 1 else plain]
        if stride == 0:
            addresses = [kernel("pool.emit_windows", tile, kind)] * 2
        else:
            addresses = [kernel("pool.emit", tile, kind, how, taps, stride) for how in emits]
        names = ("fold_first", "fold", "fold_ordered", "emit", "emit_ordered")
        return dict(zip(names, [*folds, *addresses], strict=True))


def _counts(problem: AnyPoolProblem, cuts: Cuts, tile: Tile) -> tuple[Array, Array]:
    """Return the cells that means are over, down and across (ones past the end)."""
    d, h, w = (np.maximum(x.counted, 1).astype(np.float64) for x in cuts.windows)
    divisor = getattr(problem, "divisor_override", None)
    if divisor is not None:
        d, h, w = np.ones_like(d), np.ones_like(h), np.full_like(w, divisor)
    down = np.tile(np.outer(d, h).ravel(), cuts.planes)
    across = np.concatenate([w, np.ones(tile.columns)])
    return down.astype(tile.dtype), across.astype(tile.dtype)
