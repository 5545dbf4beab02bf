"""Means and variances of what is longer than a block reads: chunks first, then groups of chunks.

A chunk's moments are float32 sums of deviations from its own mean; chunks are put together in
float64, as two sums: of means, and of squares about the mean of all.
"""

from __future__ import annotations

import dataclasses

from numba import cuda
from numba import float32 as f32
from numba import float64 as f64
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.cuda.engine.blocks import THREADS, Lanes, lanes_for, sum_tree
from fastconv.backends.cuda.engine.cells import Cell, access, of_cells
from fastconv.backends.cuda.engine.kernel import Body, Float32, Float64, kernel
from fastconv.backends.cuda.engine.plan import WORKSPACE, Argument, Launch
from fastconv.backends.native.plan import INPUT

# Cells of a row that one block sums; and, where channels are last, what a lane sums.
CHUNK, PIXELS = 8192, 16
# Threads that put a group's chunks together.
_COMBINING = 64


@dataclasses.dataclass(frozen=True)
class Parts:
    """How groups are cut.

    ``outer`` x ``length`` x ``inner`` cells are summed along ``length``, in chunks; a group has
    ``across`` sums that are adjacent, of each chunk. Steps are from the sums of an image,
    a group and a chunk to the next one's.
    """

    images: int
    groups: int
    channels: int
    outer: int
    length: int
    inner: int
    chunk: int
    across: int
    image_step: int
    group_step: int
    chunk_step: int

    @property
    def chunks(self) -> int:
        """Chunks of a length."""
        return -(-self.length // self.chunk)

    @property
    def count(self) -> int:
        """Sums that chunks come to."""
        return self.outer * self.chunks * self.inner

    @classmethod
    def of_rows(cls, images: int, groups: int, channels: int, inner: int) -> Parts:
        """Cut groups that each are in one piece: channels of ``inner`` cells."""
        length = channels * inner
        chunks = -(-length // CHUNK)
        return cls(
            images, groups, channels, images * groups, length, 1, CHUNK, 1, groups * chunks,
            chunks, 1,
        )  # fmt: skip

    @classmethod
    def of_pixels(cls, images: int, groups: int, channels: int, inner: int) -> Parts:
        """Cut images of ``inner`` pixels whose channels are last."""
        whole = groups * channels
        chunk = PIXELS * lanes_for(inner * THREADS, whole).count
        chunks = -(-inner // chunk)
        return cls(
            images, groups, channels, images, inner, whole, chunk, channels, chunks * whole,
            channels, whole,
        )  # fmt: skip


@kernel
def chunk_moments(
    outer: int, length: int, inner: int, chunk: int, lanes: Lanes, dtype: str = "float32"
) -> tuple[Body, int]:
    """Return each chunk's mean and its sum of squares about it, in each of ``inner`` columns."""
    LENGTH, INNER, CHUNK_LENGTH, CHUNKS = length, inner, chunk, -(-length // chunk)
    LANES, STEP, COLUMNS, CELLS = lanes.count, lanes.step, lanes.columns, THREADS
    BESIDE, BLOCKS = inner == 1, -(-inner // lanes.columns)
    load = access(dtype).load

    def body(x: Cell, means: Float64, sums: Float64) -> None:
        cells = cuda.shared.array(CELLS, f32)
        thread = i32(cuda.threadIdx.x)
        lane = thread % i32(LANES) if BESIDE else thread // i32(COLUMNS)
        column = thread // i32(LANES) if BESIDE else thread % i32(COLUMNS)
        block = i32(cuda.blockIdx.x)
        column += block % i32(BLOCKS) * i32(COLUMNS)
        part = block // i32(BLOCKS)
        start = part % i32(CHUNKS) * i32(CHUNK_LENGTH)
        stop = min(start + i32(CHUNK_LENGTH), i32(LENGTH))
        own = min(column, i32(INNER - 1))
        base = i64(part // i32(CHUNKS)) * i64(LENGTH * INNER) + i64(own)
        count = f32(stop - start)
        total = f32(0)
        for j in range(start + lane, stop, LANES):
            total += load(x, base + i64(j) * i64(INNER))
        cells[thread] = total
        near = sum_tree(cells, thread, lane, i32(STEP), i32(LANES)) / count
        first = f32(0)
        second = f32(0)
        for j in range(start + lane, stop, LANES):
            off = load(x, base + i64(j) * i64(INNER)) - near
            first += off
            second += off * off
        cells[thread] = first
        first = sum_tree(cells, thread, lane, i32(STEP), i32(LANES))
        cells[thread] = second
        second = sum_tree(cells, thread, lane, i32(STEP), i32(LANES))
        if (lane == i32(0)) & (column < i32(INNER)):
            left = f64(first) / f64(count)
            place = i64(part) * i64(INNER) + i64(column)
            means[place] = f64(near) + left
            sums[place] = f64(second) - f64(first) * left

    return of_cells(body, dtype), THREADS


@kernel
def combine(parts: Parts, weight: bool, bias: bool, eps: float) -> tuple[Body, int]:
    """Put a group's chunks together: tables of mean, scale and shift, a channel of each image."""
    GROUPS, CHANNELS, LANES = parts.groups, parts.channels, _COMBINING
    ACROSS, COUNT = parts.across, parts.across * parts.chunks
    LENGTH, CHUNK_LENGTH, ALL = parts.length, parts.chunk, parts.length * parts.across
    IMAGE_STEP, GROUP_STEP, CHUNK_STEP = parts.image_step, parts.group_step, parts.chunk_step
    WEIGHT, BIAS, EPSILON = weight, bias, eps

    def body(
        means: Float64, sums: Float64, weights: Float32, biases: Float32, mean: Float32,
        scale: Float32, shift: Float32,
    ) -> None:  # fmt: skip
        cells = cuda.shared.array(LANES, f64)
        lane = i32(cuda.threadIdx.x)
        image = i64(cuda.blockIdx.x) // i64(GROUPS)
        group = i64(cuda.blockIdx.x) % i64(GROUPS)
        base = image * i64(IMAGE_STEP) + group * i64(GROUP_STEP)
        total = f64(0)
        for part in range(lane, COUNT, LANES):
            chunk = i64(part) // i64(ACROSS)
            cell = base + chunk * i64(CHUNK_STEP) + i64(part) % i64(ACROSS)
            length = min(i64(LENGTH) - chunk * i64(CHUNK_LENGTH), i64(CHUNK_LENGTH))
            total += f64(length) * means[cell]
        cells[lane] = total
        whole = sum_tree(cells, lane, lane, i32(1), i32(LANES)) / f64(ALL)
        total = f64(0)
        for part in range(lane, COUNT, LANES):
            chunk = i64(part) // i64(ACROSS)
            cell = base + chunk * i64(CHUNK_STEP) + i64(part) % i64(ACROSS)
            length = min(i64(LENGTH) - chunk * i64(CHUNK_LENGTH), i64(CHUNK_LENGTH))
            off = means[cell] - whole
            total += sums[cell] + f64(length) * off * off
        cells[lane] = total
        square = sum_tree(cells, lane, lane, i32(1), i32(LANES)) / f64(ALL)
        square = f64(0) if square < f64(0) else square
        inverse = f64(1) / (square + f64(EPSILON)) ** f64(0.5)
        # What float32 has no place for in the mean goes into the shift.
        rounded = f32(whole)
        rest = whole - f64(rounded)
        for number in range(lane, CHANNELS, LANES):
            channel = group * i64(CHANNELS) + i64(number)
            factor = inverse
            if WEIGHT:
                factor = factor * f64(weights[channel])
            added = -rest * factor
            if BIAS:
                added = added + f64(biases[channel])
            target = image * i64(GROUPS * CHANNELS) + channel
            mean[target] = rounded
            scale[target] = f32(factor)
            shift[target] = f32(added)

    return body, _COMBINING


def moments_of(
    parts: Parts, weight: Argument, bias: Argument, eps: float, dtype: str
) -> tuple[list[Launch], list[Argument], int]:
    """Return the launches, their tables' offsets (mean, scale, shift), the workspace's bytes."""
    lanes = lanes_for(min(parts.chunk, parts.length), parts.inner)
    kern = chunk_moments(parts.outer, parts.length, parts.inner, parts.chunk, lanes, dtype)
    blocks = parts.outer * parts.chunks * -(-parts.inner // lanes.columns)
    each = -(-8 * parts.count // 256) * 256
    channels = parts.images * parts.groups * parts.channels
    table = -(-4 * channels // 256) * 256
    means, sums = WORKSPACE, WORKSPACE + each
    tables: list[Argument] = [WORKSPACE + (2 * each + i * table) for i in range(3)]
    joining = combine(parts, weight is not None, bias is not None, eps)
    launches = [
        Launch(kern, (blocks, 1, 1), [INPUT(0), means, sums]),
        Launch(
            joining, (parts.images * parts.groups, 1, 1), [means, sums, weight, bias, *tables]
        ),
    ]  # fmt: skip
    return launches, tables, 2 * each + 3 * table
