"""A function of each element and of numbers of its channel: batch norm's last step, and PReLU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.manifest.elements import ByRow, ByTable
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Packed, Slot, Stage
from fastconv.backends.native.pointwise import BLOCK, Pointwise, limits_of
from fastconv.backends.native.weights import packed_repeat
from fastconv.problem import Activation, PreluProblem
from fastconv.problem.record import record

# Runs of one channel's elements below this are walked along a table with an entry an element.
SHORT = 32
# Tables are repeated until they are so long, so that loops over them are worth their start.
TABLE = 256


@record(frozen=True)
class Extent:
    """Images of channels of ``inner`` elements each, channels before those or after them."""

    images: int
    channels: int
    inner: int
    last: bool

    @property
    def image(self) -> int:
        """Elements of an image."""
        return self.channels * self.inner


@record(frozen=True)
class Rows:
    """Rows cut into chunks, and chunks or short rows gathered into work items."""

    rows: int
    length: int

    @property
    def chunks(self) -> int:
        """Chunks of a row."""
        return -(-self.length // BLOCK)

    @property
    def items(self) -> int:
        """Work items."""
        return -(-self.rows // self.per_item) * self.chunks

    @property
    def per_item(self) -> int:
        """Rows of a work item."""
        return max(1, BLOCK // self.length)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the argument blocks that are rows'."""
        return {
            "rows": self.rows, "row_length": self.length, "row_chunk": BLOCK,
            "row_chunks": self.chunks, "rows_per_item": self.per_item,
        }  # fmt: skip


def table_dtype(function: str, name: str) -> str:
    """Dtype of a function's tables."""
    return "float64" if function == "affine" else name


def shared_stage(
    library: Library, function: str, name: str, extent: Extent,
    tables: Callable[[int, int], tuple[Packed, Packed]], activation: Activation | None = None,
) -> Stage:  # fmt: skip
    """Return the stage from input to output for tables that images share, one entry per channel.

    ``tables(run, times)`` packs them, each entry ``run`` times in a row, all of them ``times``
    times. The stage does an activation that is a clamp, and leaves others.
    """
    limits = limits_of(activation)
    run = 1 if extent.last else extent.inner
    if run >= SHORT:
        rows = Rows(extent.images * extent.channels, run)
        a, b = tables(1, 1)
        return _row_stage(library, function, name, rows, (a, b), extent.channels, limits)
    times = max(1, TABLE // (extent.channels * run))
    whole = dataclasses.replace(extent, images=1, inner=extent.images * extent.inner)
    kernel = library.kernel("channelwise.by_table", function, name)
    period = extent.channels * run * times
    return _table_stage(kernel, whole, period, tables(run, times), 0, limits)


def image_stage(
    library: Library, function: str, name: str, extent: Extent, first: Slot, second: Slot,
    activation: Activation | None = None,
) -> Stage:  # fmt: skip
    """Return the same for tables with an entry a channel of each image."""
    limits = limits_of(activation)
    if extent.last:
        stride = extent.channels * np.dtype(table_dtype(function, name)).itemsize
        kernel = library.kernel("channelwise.by_table", function, name)
        return _table_stage(kernel, extent, extent.channels, (first, second), stride, limits)
    count = extent.images * extent.channels
    rows = Rows(count, extent.inner)
    return _row_stage(library, function, name, rows, (first, second), count, limits)


def _row_stage(
    library: Library, function: str, name: str, rows: Rows, tables: Any, count: int,
    limits: tuple[float, float],
) -> Stage:  # fmt: skip
    first, second = tables
    low, high = limits
    arguments = ByRow(
        source=INPUT(0), target=OUTPUT, first_entries=first, second_entries=second,
        entry_count=count, low=low, high=high, **rows.fields,
    )  # fmt: skip
    return Stage(library.kernel("channelwise.by_row", function, name), rows.items, arguments)


def _table_stage(
    kernel: int, extent: Extent, period: int, tables: Any, stride: int, limits: tuple[float, float]
) -> Stage:
    block = max(1, BLOCK // period) * period
    blocks = -(-extent.image // block)
    first, second = tables
    low, high = limits
    arguments = ByTable(
        source=INPUT(0), target=OUTPUT, image=extent.image, period=period, block=block,
        blocks=blocks, first_table=first, second_table=second, table_step=stride, low=low,
        high=high,
    )  # fmt: skip
    return Stage(kernel, extent.images * blocks, arguments)


class Prelu(Pointwise):
    """A slope a channel, or one for all."""

    name = "channelwise"

    def operations(self, problem: PreluProblem) -> float:
        return 3

    def geometry(self, problem: PreluProblem) -> NativePlan:
        extent = _extent(problem)
        name = problem.dtype.name

        def slopes(run: int, times: int) -> tuple[Packed, Packed]:
            table = packed_repeat(self.library, name, 0, extent.channels, run=run, times=times)
            return table, table

        return self.native_plan(
            problem, [shared_stage(self.library, "prelu", name, extent, slopes)]
        )


def _extent(problem: PreluProblem) -> Extent:
    size = int(np.prod(problem.shape, dtype=np.int64))
    channels = problem.slopes
    if channels == 1 or problem.channels_last or len(problem.shape) < 3:
        return Extent(1, channels, size // channels, True)
    inner = int(np.prod(problem.shape[2:], dtype=np.int64))
    return Extent(problem.shape[0], channels, inner, False)
