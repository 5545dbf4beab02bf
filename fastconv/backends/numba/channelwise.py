"""A function of each element and of numbers of its channel: batch norm's last step, and PReLU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.plan import constant
from fastconv.backends.native.pointwise import BLOCK
from fastconv.backends.numba.elementary import inlined, pick
from fastconv.backends.numba.engine import INPUT, OUTPUT, NativePlan, Slot, Stage, array, kernel
from fastconv.backends.numba.pointwise import Pointwise
from fastconv.problem import PreluProblem

# Runs of one channel's elements below this are walked along a table with an entry an element.
SHORT = 32
# Tables are repeated until they are so long, so that loops over them are worth their start.
TABLE = 256


@dataclasses.dataclass(frozen=True)
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


def _affine(name: str) -> Callable[..., Any]:
    """X a + b, in float64, so that a mean far from zero costs no digits."""
    real = np.dtype(name).type
    return lambda x, a, b: real(np.float64(x) * a + b)


def _prelu(name: str) -> Callable[..., Any]:
    zero = np.dtype(name).type(0)
    return lambda x, a, b: pick(x > zero, x, x * a)


_FUNCTIONS = {"affine": _affine, "prelu": _prelu}


def table_dtype(function: str, name: str) -> str:
    """Dtype of a function's tables."""
    return "float64" if function == "affine" else name


@kernel
def by_table(function: str, name: str):  # type: ignore[no-untyped-def]
    """Elements meet a table's entries in turn: a work item is a block of an image's elements."""
    apply, real = inlined(_FUNCTIONS[function](name)), np.dtype(name).type
    entry, size = np.dtype(table_dtype(function, name)).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        image_count, period, block, blocks = args[2], args[3], args[4], args[5]
        for item in range(first, last):
            image, part = divmod(item, blocks)
            a = array(args[6] + image * args[8], (period,), entry)
            b = array(args[7] + image * args[8], (period,), entry)
            stop = min((part + 1) * block, image_count)
            for start in range(part * block, stop, period):
                count = min(period, stop - start)
                shift = (image * image_count + start) * size
                source = array(args[0] + shift, (count,), real)
                target = array(args[1] + shift, (count,), real)
                for i in range(count):
                    target[i] = apply(source[i], a[i], b[i])

    return body


@kernel
def by_row(function: str, name: str):  # type: ignore[no-untyped-def]
    """Rows have an entry each: a work item is a chunk of a row, or some short rows."""
    apply, real = inlined(_FUNCTIONS[function](name)), np.dtype(name).type
    entry, size = np.dtype(table_dtype(function, name)).type, np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        rows, length, chunk, chunks, per_item = args[2], args[3], args[4], args[5], args[6]
        entries = args[9]
        table_a = array(args[7], (entries,), entry)
        table_b = array(args[8], (entries,), entry)
        for item in range(first, last):
            block, part = divmod(item, chunks)
            count = min(chunk, length - part * chunk)
            for row in range(block * per_item, min((block + 1) * per_item, rows)):
                a, b = table_a[row % entries], table_b[row % entries]
                shift = (row * length + part * chunk) * size
                source = array(args[0] + shift, (count,), real)
                target = array(args[1] + shift, (count,), real)
                for i in range(count):
                    target[i] = apply(source[i], a, b)

    return body


@dataclasses.dataclass(frozen=True)
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
    def words(self) -> tuple[int, int, int, int, int]:
        """Rows, length, chunk, chunks and rows of an item, as argument blocks hold them."""
        return self.rows, self.length, BLOCK, self.chunks, self.per_item


def shared_stage(function: str, name: str, extent: Extent, first: Array, second: Array) -> Stage:
    """Give the stage from input to output for tables, one entry a channel, that images share."""
    run = 1 if extent.last else extent.inner
    tables = [np.asarray(t, table_dtype(function, name)) for t in (first, second)]
    if run >= SHORT:
        rows = Rows(extent.images * extent.channels, run)
        a, b = (constant(t) for t in tables)
        arguments = (INPUT(0), OUTPUT, *rows.words, a, b, extent.channels)
        return Stage(by_row(function, name), rows.items, arguments)
    times = max(1, TABLE // (extent.channels * run))
    a, b = (constant(np.tile(np.repeat(t, run), times)) for t in tables)
    whole = dataclasses.replace(extent, images=1, inner=extent.images * extent.inner)
    return _table_stage(function, name, whole, len(a.array), (a, b), 0)


def image_stage(function: str, name: str, extent: Extent, first: Slot, second: Slot) -> Stage:
    """Give the stage from input to output for tables with an entry a channel of each image."""
    if extent.last:
        stride = extent.channels * np.dtype(table_dtype(function, name)).itemsize
        return _table_stage(function, name, extent, extent.channels, (first, second), stride)
    count = extent.images * extent.channels
    rows = Rows(count, extent.inner)
    arguments = (INPUT(0), OUTPUT, *rows.words, first, second, count)
    return Stage(by_row(function, name), rows.items, arguments)


def _table_stage(
    function: str, name: str, extent: Extent, period: int, tables: Any, stride: int
) -> Stage:
    block = max(1, BLOCK // period) * period
    blocks = -(-extent.image // block)
    arguments = (INPUT(0), OUTPUT, extent.image, period, block, blocks, *tables, stride)
    return Stage(by_table(function, name), extent.images * blocks, arguments)


class Prelu(Pointwise):
    """A slope a channel, or one for all."""

    name = "channelwise"

    def operations(self, problem: PreluProblem) -> float:
        return 3

    def plan(self, problem: PreluProblem, *parameters: Array | None) -> NativePlan:
        weight = parameters[0]
        assert weight is not None
        slopes = weight.reshape(-1)
        extent = _extent(problem)
        stage = shared_stage("prelu", problem.dtype.name, extent, slopes, slopes)
        return self.native_plan(problem, [stage])


def _extent(problem: PreluProblem) -> Extent:
    size = int(np.prod(problem.shape, dtype=np.int64))
    channels = problem.slopes
    if channels == 1 or problem.channels_last or len(problem.shape) < 3:
        return Extent(1, channels, size // channels, True)
    inner = int(np.prod(problem.shape[2:], dtype=np.int64))
    return Extent(problem.shape[0], channels, inner, False)
