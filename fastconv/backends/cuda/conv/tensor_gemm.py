"""Implicit GEMM on tensor cores: rows are output pixels, columns output channels.

As `implicit_gemm`, windows are found by a table: for each chunk of the sum how far it is from a
pixel's window, and which bits of the pixel must be set: those of its tap, in each dimension in
which windows leave the image. So strides, dilation, padding, groups and one to three dimensions
are one kernel. What is outside is copied as zeros.

A stage of both sides is 128 bytes of the left side deep. Copies of the next stages are on their way
while a block multiplies one; a barrier a stage is enough, since the stage that is written after it
was read before it. A thread's sums are four neighbouring channels (`sum_places`; the weights'
columns are packed in that order), so that the epilogue is that of float32's GEMM.
"""

from __future__ import annotations

from typing import Any

from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.cuda.activation import scalar
from fastconv.backends.cuda.conv.implicit_gemm import Geometry, Spread
from fastconv.backends.cuda.conv.tensor_tile import (
    CHUNK_WORDS,
    CHUNKS,
    LINE_WORDS,
    Products,
    TensorTile,
    stages_of,
)
from fastconv.backends.cuda.engine.cells import Cell, access, of_cells
from fastconv.backends.cuda.engine.intrinsics import (
    add4,
    fill,
    load4,
    map4,
    put4,
    take4,
)
from fastconv.backends.cuda.engine.kernel import Block, Body, Int32, kernel
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.cuda.engine.tensor import (
    commit_copies,
    copy_async,
    cut_tf32,
    matrices,
    multiplying,
    packing,
    rest_tf32,
    round_tf32,
    wait_copies,
)
from fastconv.problem.activation import Activation

# Words of a row of the table: chunks from a window's first to the tap, and two words of bits.
TABLE_WORDS = 4
# Bits that say that a pixel is inside; taps' bits come after it.
PIXEL_BITS = 1
# Bits of a pixel that fit in a word, and in two.
NARROW_BITS, MOST_BITS = 31, 63


def tap_bits(geometry: Geometry, kernel_size: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Return at which bits the taps of each dimension begin, and the first that is of none."""
    at = [PIXEL_BITS]
    for taps, checked in zip(kernel_size, geometry.leaves):
        at.append(at[-1] + (taps if checked else 0))
    return at[0], at[1], at[2], at[3]


@kernel
def tensor_gemm(
    tile: TensorTile,
    products: Products,
    geometry: Geometry,
    kernel_size: tuple[int, int, int],
    dilation: tuple[int, int, int],
    bias: bool,
    residual: bool,
    activation: Activation | None,
) -> tuple[Body, Block]:
    """Convolve: a block computes a tile of one group; channels come in whole chunks."""
    ROWS, COLUMNS, THREADS, STAGES = tile.rows, tile.columns, tile.threads, tile.stages
    WARP_ROWS, WARP_COLUMNS = tile.warp_rows, tile.warp_columns
    WARPS_ACROSS = COLUMNS // WARP_COLUMNS
    LINE_TILES, COLUMN_TILES, PAIRS = WARP_ROWS // 16, WARP_COLUMNS // 8, WARP_COLUMNS // 16
    SUMS, LEFT_CELLS, RIGHT_CELLS = 4 * LINE_TILES * COLUMN_TILES, 4 * LINE_TILES, 4 * PAIRS
    LINE, TILE_LINES = LINE_WORDS, 16 * LINE_WORDS
    LEFT, RIGHT_CHUNKS = ROWS * LINE_WORDS, COLUMNS * CHUNKS
    STAGE = (ROWS + COLUMNS) * LINE_WORDS
    # Lines that the threads fill at a time: a multiple of 8, so that a thread's chunk is alike in
    # all of its lines.
    LINES = THREADS // CHUNKS
    ROW_LOADS, COLUMN_LOADS = ROWS // LINES, COLUMNS // LINES
    assert ROWS % LINES == COLUMNS % LINES == LINES % 8 == 0
    STEP_CHUNKS = products.step_chunks
    STEPS, AHEAD, WAITING = CHUNKS // STEP_CHUNKS, STAGES - 1, STAGES - 2
    PACKED, THRICE = products.packed, products.thrice
    ROUNDED = products.factor == "tf32" and not THRICE
    PIXELS = geometry.rows
    OUT_D, OUT_H, OUT_W = geometry.output_size
    IN_D, IN_H, IN_W = geometry.input_size
    STRIDE_D, STRIDE_H, STRIDE_W = geometry.stride
    BEFORE_D, BEFORE_H, BEFORE_W = geometry.before
    TAPS_D, TAPS_H, TAPS_W = kernel_size
    DILATION_D, DILATION_H, DILATION_W = dilation
    CHECK_D, CHECK_H, CHECK_W = geometry.leaves
    AT_D, AT_H, AT_W, AT_END = tap_bits(geometry, kernel_size)
    WIDE = AT_END >= NARROW_BITS
    bits = i64 if WIDE else i32
    PIXEL_CHUNKS = geometry.in_channels // products.chunk
    GROUP_CHUNKS = geometry.group_inputs // products.chunk
    SUM_STAGES = stages_of(geometry.taps, geometry.group_inputs, products)
    GROUP_OUT, OUT_C = geometry.group_outputs, geometry.out_channels
    COLUMN_BLOCKS = -(-GROUP_OUT // COLUMNS)
    OUT_QUADS = GROUP_OUT % 4 == 0
    SPREAD = geometry.spread is not None
    spread = geometry.spread or Spread((1, 1, 1), (1, 1, 1))
    FULL_D, FULL_H, FULL_W = spread.size
    STEP_D, STEP_H, STEP_W = spread.step
    BIAS, RESIDUAL, ACTIVATION = bias, residual, activation is not None
    activate = map4(scalar(activation))
    load_tile = matrices(TILE_LINES)
    multiply = multiplying(products.factor, LINE_TILES, COLUMN_TILES)
    pack: Any = packing(products.factor) if PACKED else None
    cells = access(products.stored)
    load, load_some = cells.load4, cells.load_first
    store, store_some = cells.store4, cells.store_first

    def body(x: Int32, weight: Int32, table: Int32, offsets: Cell, other: Cell, y: Cell) -> None:
        words = cuda.shared.array(0, i32)
        sums = cuda.local.array(SUMS, f32)
        a = cuda.local.array(LEFT_CELLS, i32)
        b = cuda.local.array(RIGHT_CELLS, i32)
        a_rest = cuda.local.array(LEFT_CELLS, i32)
        b_rest = cuda.local.array(RIGHT_CELLS, i32)
        window = cuda.local.array(ROW_LOADS, i32)
        seen = cuda.local.array(ROW_LOADS, bits)
        # Of the table's row for the next copies: chunks from a window's first, bits needed.
        away = cuda.local.array(1, i32)
        needed = cuda.local.array(1, bits)
        fill(sums, SUMS, f32(0))
        thread = i32(cuda.threadIdx.x)
        # Blocks that follow each other read the same pixels: they find them in the cache.
        block = i32(cuda.blockIdx.x)
        column_block = block % i32(COLUMN_BLOCKS)
        first_row = block // i32(COLUMN_BLOCKS) * i32(ROWS)
        first_column = column_block * i32(COLUMNS)
        group = i32(cuda.blockIdx.y)
        own_chunk = thread & i32(CHUNKS - 1)
        own_line = thread >> i32(3)

        def inside(first, size, taps, step):  # type: ignore[no-untyped-def]
            """Return the bits of the taps from ``first`` on, at every ``step``, in an image."""
            end = min(max((size - first + step - i32(1)) // step, i32(0)), taps)
            begin = min(max((step - i32(1) - first) // step, i32(0)), end)
            return (bits(1) << bits(end)) - (bits(1) << bits(begin))

        for row in unroll(ROW_LOADS):
            pixel = first_row + own_line + i32(row * LINES)
            w = pixel % i32(OUT_W) * i32(STRIDE_W) - i32(BEFORE_W)
            rest = pixel // i32(OUT_W)
            h = rest % i32(OUT_H) * i32(STRIDE_H) - i32(BEFORE_H)
            rest = rest // i32(OUT_H)
            d = rest % i32(OUT_D) * i32(STRIDE_D) - i32(BEFORE_D)
            image = rest // i32(OUT_D)
            line = (i64(image) * i64(IN_D) + i64(d)) * i64(IN_H) + i64(h)
            cell = (line * i64(IN_W) + i64(w)) * i64(PIXEL_CHUNKS)
            window[row] = i32(cell + i64(group * i32(GROUP_CHUNKS)))
            own = bits(1)
            if CHECK_D:
                own = own | inside(d, i32(IN_D), i32(TAPS_D), i32(DILATION_D)) << bits(AT_D)
            if CHECK_H:
                own = own | inside(h, i32(IN_H), i32(TAPS_H), i32(DILATION_H)) << bits(AT_H)
            if CHECK_W:
                own = own | inside(w, i32(IN_W), i32(TAPS_W), i32(DILATION_W)) << bits(AT_W)
            # Pixels behind the last have no bit: they are zeros, and are not stored.
            seen[row] = own if pixel < i32(PIXELS) else bits(0)

        def look(stage):  # type: ignore[no-untyped-def]
            """Read the table for a stage; there is one row more than stages."""
            row = (stage * i32(CHUNKS) + own_chunk) * i32(TABLE_WORDS)
            offset, low, high, _ = load4(table, row)
            away[0] = offset
            needed[0] = bits(low)
            if WIDE:
                needed[0] = (bits(high) << bits(NARROW_BITS)) | bits(low)

        right_block = group * i32(COLUMN_BLOCKS) + column_block
        right_first = right_block * i32(SUM_STAGES * RIGHT_CHUNKS) + thread
        own_place = own_line * i32(LINE) + ((own_chunk ^ (own_line & i32(7))) << i32(2))

        def begin(stage, slot):  # type: ignore[no-untyped-def]
            """Begin to copy a stage to a slot of the shared memory."""
            need = needed[0]
            for row in unroll(ROW_LOADS):
                place = slot + own_place + i32(row * LINES * LINE)
                there = (seen[row] & need) == need
                copy_async(words, place, x, window[row] + away[0], there)
            for quad in unroll(COLUMN_LOADS):
                place = slot + i32(LEFT + quad * THREADS * 4) + (thread << i32(2))
                chunk = right_first + stage * i32(RIGHT_CHUNKS) + i32(quad * THREADS)
                copy_async(words, place, weight, chunk, True)
            look(stage + i32(1))

        lane = thread & i32(31)
        warp = thread >> i32(5)
        warp_row = warp // i32(WARPS_ACROSS) * i32(WARP_ROWS)
        warp_column = warp % i32(WARPS_ACROSS) * i32(WARP_COLUMNS)
        # Lines that lanes name to ldmatrix: on the left 16 lines of one chunk, then of the next; on
        # the right 8 columns of both chunks, then the next 8, or for what is packed as on the left.
        left_line = (warp_row + (lane & i32(15))) * i32(LINE)
        left_chunk = (lane >> i32(4)) ^ (lane & i32(7))
        own_column, right_chunk = lane & i32(15), lane >> i32(4)
        if not PACKED:
            own_column = (lane & i32(7)) + ((lane >> i32(4)) << i32(3))
            right_chunk = (lane >> i32(3)) & i32(1)
        right_line = (warp_column + own_column) * i32(LINE) + i32(LEFT)
        right_chunk = right_chunk ^ (lane & i32(7))

        def compute(slot):  # type: ignore[no-untyped-def]
            """Add a stage's products to the sums."""
            for step in unroll(STEPS):
                left = slot + left_line + ((left_chunk ^ i32(STEP_CHUNKS * step)) << i32(2))
                right = slot + right_line + ((right_chunk ^ i32(STEP_CHUNKS * step)) << i32(2))
                for i in unroll(LINE_TILES):
                    put4(a, 4 * i, load_tile(words, left, i))
                for pair in unroll(PAIRS):
                    put4(b, 4 * pair, load_tile(words, right, pair))
                if PACKED:
                    left = left ^ i32(2 * CHUNK_WORDS)
                    right = right ^ i32(2 * CHUNK_WORDS)
                    for i in unroll(LINE_TILES):
                        put4(a, 4 * i, pack(take4(a, 4 * i), load_tile(words, left, i)))
                    for pair in unroll(PAIRS):
                        four = pack(take4(b, 4 * pair), load_tile(words, right, pair))
                        put4(b, 4 * pair, (four[0], four[2], four[1], four[3]))
                if THRICE:
                    for i in unroll(LINE_TILES):
                        whole = take4(a, 4 * i)
                        put4(a, 4 * i, cut_tf32(whole))
                        put4(a_rest, 4 * i, rest_tf32(whole, cut_tf32(whole)))
                    for pair in unroll(PAIRS):
                        whole = take4(b, 4 * pair)
                        put4(b, 4 * pair, cut_tf32(whole))
                        put4(b_rest, 4 * pair, rest_tf32(whole, cut_tf32(whole)))
                    # The smaller products first: they would be lost next to the large sums.
                    multiply(sums, a_rest, b)
                    multiply(sums, a, b_rest)
                if ROUNDED:
                    for i in unroll(LINE_TILES):
                        put4(a, 4 * i, round_tf32(take4(a, 4 * i)))
                    for pair in unroll(PAIRS):
                        put4(b, 4 * pair, round_tf32(take4(b, 4 * pair)))
                multiply(sums, a, b)

        look(i32(0))
        for stage in unroll(AHEAD):
            if stage < SUM_STAGES:
                begin(i32(stage), i32(stage * STAGE))
            commit_copies()
        reading = i32(0)
        writing = i32(AHEAD * STAGE)
        for stage in range(SUM_STAGES):
            # The oldest stage has arrived, for all threads, and no thread reads the one before.
            wait_copies(WAITING)
            cuda.syncthreads()
            if i32(stage) + i32(AHEAD) < i32(SUM_STAGES):
                begin(i32(stage) + i32(AHEAD), writing)
            commit_copies()
            compute(reading)
            reading = reading + i32(STAGE)
            reading = i32(0) if reading == i32(STAGES * STAGE) else reading
            writing = writing + i32(STAGE)
            writing = i32(0) if writing == i32(STAGES * STAGE) else writing
        for i in unroll(LINE_TILES):
            for half in unroll(2):
                pixel = first_row + warp_row + i32(16 * i + 8 * half) + (lane >> i32(2))
                cell = i64(pixel)
                if SPREAD:
                    rest = pixel // i32(OUT_W)
                    w = pixel % i32(OUT_W) * i32(STEP_W)
                    h = rest % i32(OUT_H) * i32(STEP_H)
                    rest = rest // i32(OUT_H)
                    d = rest % i32(OUT_D) * i32(STEP_D)
                    plane = i64(rest // i32(OUT_D)) * i64(FULL_D) + i64(d)
                    cell = (plane * i64(FULL_H) + i64(h)) * i64(FULL_W) + i64(w)
                for pair in unroll(PAIRS):
                    column = first_column + warp_column + i32(16 * pair)
                    column = column + ((lane & i32(3)) << i32(2))
                    if (pixel < i32(PIXELS)) & (column < i32(GROUP_OUT)):
                        channel = group * i32(GROUP_OUT) + column
                        place = cell * i64(OUT_C) + i64(channel)
                        count = i32(GROUP_OUT) - column
                        four = take4(sums, ((2 * i + half) * PAIRS + pair) * 4)
                        if BIAS:
                            if OUT_QUADS:
                                four = add4(four, load(offsets, channel))
                            else:
                                four = add4(four, load_some(offsets, channel, count))
                        if RESIDUAL:
                            if OUT_QUADS:
                                four = add4(four, load(other, place))
                            else:
                                four = add4(four, load_some(other, place, count))
                        if ACTIVATION:
                            four = activate(four)
                        if OUT_QUADS:
                            store(y, place, four)
                        else:
                            store_some(y, place, four, count)

    return of_cells(body, products.stored), Block(
        THREADS, 4 * STAGES * STAGE, 1 if THRICE else None
    )
