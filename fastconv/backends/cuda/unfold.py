"""Windows as columns and back on the GPU: columns gathered, images summed by what reaches them."""

from __future__ import annotations

from math import prod

import numpy as np
from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64
from numba import uint32 as u32
from numba import uint64 as u64

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.cells import DTYPES, Cell, access, of_cells
from fastconv.backends.cuda.engine.kernel import Body, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan, Launch
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.cuda.engine.words import Word, of_words, type_of
from fastconv.backends.cuda.moves import Moving
from fastconv.backends.native.plan import INPUT
from fastconv.problem import FoldProblem, UnfoldProblem

_THREADS = 256
# Cells of the columns that a thread gathers, all of them loaded before one is stored.
_EACH = 4


def _steps(problem: UnfoldProblem | FoldProblem) -> tuple[int, int, int, int]:
    """Return the cells from an image, a channel, a line and a pixel to the next one."""
    channels, (height, width) = problem.channels, problem.image_size
    if problem.channels_last:
        return height * width * channels, 1, width * channels, channels
    return channels * height * width, height * width, width, 1


@kernel
def gather(problem: UnfoldProblem) -> tuple[Body, int]:
    """Gather columns: (image, channel, tap, block)."""
    THREADS, SPAN, EACH = _THREADS, _THREADS * _EACH, _EACH
    ITEMS, CHANNELS = prod(problem.columns_shape), problem.channels
    HEIGHT, WIDTH = problem.image_size
    TAPS_Y, TAPS_X = problem.kernel_size
    BLOCKS_Y, BLOCKS_X = problem.blocks
    STRIDE_Y, STRIDE_X = problem.stride
    DILATION_Y, DILATION_X = problem.dilation
    (TOP, _), (LEFT, _) = problem.padding
    IMAGE, CHANNEL, LINE, PIXEL = _steps(problem)
    WORD = type_of(problem.dtype.itemsize)

    def body(x: Word, y: Word) -> None:
        held = cuda.local.array(EACH, WORD)
        start = u64(cuda.blockIdx.x) * u64(SPAN) + u64(cuda.threadIdx.x)
        for e in unroll(EACH):
            rest = i64(min(start + u64(e * THREADS), u64(ITEMS - 1)))
            block_x = i32(rest % i64(BLOCKS_X))
            rest = rest // i64(BLOCKS_X)
            block_y = i32(rest % i64(BLOCKS_Y))
            rest = rest // i64(BLOCKS_Y)
            tap_x = i32(rest % i64(TAPS_X))
            rest = rest // i64(TAPS_X)
            tap_y = i32(rest % i64(TAPS_Y))
            rest = rest // i64(TAPS_Y)
            v = block_y * i32(STRIDE_Y) + tap_y * i32(DILATION_Y) - i32(TOP)
            u = block_x * i32(STRIDE_X) + tap_x * i32(DILATION_X) - i32(LEFT)
            plane = rest // i64(CHANNELS) * i64(IMAGE) + rest % i64(CHANNELS) * i64(CHANNEL)
            inside = (u32(v) < u32(HEIGHT)) & (u32(u) < u32(WIDTH))
            cell = plane + i64(v) * i64(LINE) + i64(u) * i64(PIXEL)
            held[e] = x[cell] if inside else WORD(0)
        for e in unroll(EACH):
            item = start + u64(e * THREADS)
            if item < u64(ITEMS):
                y[i64(item)] = held[e]

    return of_words(body, problem.dtype.itemsize), THREADS


@kernel
def sum_windows(problem: FoldProblem) -> tuple[Body, int]:
    """Sum, for each cell of the image, the columns' cells that are on it, tap after tap."""
    THREADS, ITEMS, CHANNELS = _THREADS, prod(problem.image_shape), problem.channels
    HEIGHT, WIDTH = problem.image_size
    TAPS_Y, TAPS_X = problem.kernel_size
    BLOCKS_Y, BLOCKS_X = problem.blocks
    STRIDE_Y, STRIDE_X = problem.stride
    DILATION_Y, DILATION_X = problem.dilation
    (TOP, _), (LEFT, _) = problem.padding
    LAST = problem.channels_last
    load, store = access(problem.dtype.name).load, access(problem.dtype.name).store

    def body(x: Cell, y: Cell) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            rest = item
            if LAST:
                channel = rest % i64(CHANNELS)
                rest = rest // i64(CHANNELS)
            u = i32(rest % i64(WIDTH)) + i32(LEFT)
            rest = rest // i64(WIDTH)
            v = i32(rest % i64(HEIGHT)) + i32(TOP)
            plane = rest // i64(HEIGHT)
            if LAST:
                plane = plane * i64(CHANNELS) + channel
            total = f32(0)
            for i in range(TAPS_Y):
                # How far the window's first cell is from the padded image's.
                first = v - i32(i) * i32(DILATION_Y)
                block_y = first // i32(STRIDE_Y)
                fits = block_y * i32(STRIDE_Y) == first
                if fits & (u32(block_y) < u32(BLOCKS_Y)):
                    for j in range(TAPS_X):
                        left = u - i32(j) * i32(DILATION_X)
                        block_x = left // i32(STRIDE_X)
                        fits = block_x * i32(STRIDE_X) == left
                        if fits & (u32(block_x) < u32(BLOCKS_X)):
                            row = (plane * i64(TAPS_Y) + i64(i)) * i64(TAPS_X) + i64(j)
                            line = row * i64(BLOCKS_Y) + i64(block_y)
                            total += load(x, line * i64(BLOCKS_X) + i64(block_x))
            store(y, item, total)

    return of_cells(body, problem.dtype.name), THREADS


class Unfold(Moving):
    """Windows gathered into columns."""

    name = "gather"

    def why_not(self, problem: UnfoldProblem) -> str | None:
        if problem.dtype.itemsize > 8:
            return f"{problem.dtype.name}: cells of up to 8 bytes are moved"
        return super().why_not(problem)

    def launches(self, problem: UnfoldProblem, *parameters: Array | None) -> CudaPlan:
        blocks = -(-prod(problem.columns_shape) // (_THREADS * _EACH))
        return CudaPlan([Launch(gather(problem), (blocks, 1, 1), [INPUT(0), OUTPUT])])


class Fold(CudaAlgorithm):
    """Each cell of the image summed by one thread, in one order."""

    name = "gather"
    dtypes = DTYPES

    def error_bound(self, problem: FoldProblem) -> float:
        return float(np.finfo(np.float32).eps) * prod(problem.kernel_size)

    def launches(self, problem: FoldProblem, *parameters: Array | None) -> CudaPlan:
        blocks = -(-prod(problem.image_shape) // _THREADS)
        return CudaPlan([Launch(sum_windows(problem), (blocks, 1, 1), [INPUT(0), OUTPUT])])
