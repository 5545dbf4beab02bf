"""fp32 Winograd F(m x m, 3 x 3) in one kernel: what is transformed never leaves the chip.

A block holds 32 tiles and some filters at all frequencies. In each step its threads transform the
next few channels, one tile of one channel each, ask for those behind them, and multiply the present
ones: a GEMM a frequency with all sums in registers. At the end products change hands through the
same shared memory, and each thread transforms tiles of four filters back (Lavin and Gray, 2015;
Yan, Wang and Chu, Optimizing batched Winograd convolution on GPUs, PPoPP 2020).
"""

from __future__ import annotations

import dataclasses

from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64
from numba import uint32 as u32

from fastconv.backends.cuda.conv.epilogue import epilogue
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.engine.copying import (
    copy4,
    copy_bit,
    load_bit,
    thread_again,
    wait_copies,
)
from fastconv.backends.cuda.engine.intrinsics import (
    add4,
    fill,
    load,
    load4,
    multiply_add_at,
    put4,
    store,
    store4,
    take4,
)
from fastconv.backends.cuda.engine.kernel import Block, Body, Float32, kernel
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.cuda.engine.transform import add_column, linear
from fastconv.backends.native.conv.winograd.axis import Axis
from fastconv.problem.activation import Activation

# Tiles of a block.
TILES = 32
_WARP, _BANKS = 32, 32
# Bits of a mask that are used: the sign is left alone.
_MASK_BITS = 31


@dataclasses.dataclass(frozen=True)
class Filtering:
    """How a block is cut for tiles of ``m`` x ``m`` outputs.

    Parameters
    ----------
    m
        Outputs of a tile in each dimension.
    filters
        Output channels of a block.
    depth
        Input channels of a step.
    row_quads
        Quads of tiles that a thread multiplies with two quads of filters.
    frequencies
        Frequencies of a thread.
    exchanged
        Filters whose products change hands at a time.
    resident
        Blocks that share a multiprocessor.
    """

    m: int
    filters: int
    depth: int
    row_quads: int
    frequencies: int
    exchanged: int
    resident: int

    @property
    def n(self) -> int:
        """Points of a tile in each dimension."""
        return self.m + 2

    @property
    def points(self) -> int:
        """Frequencies of a tile."""
        return self.n**2

    @property
    def staged(self) -> bool:
        """Whether tiles wait for their transform in shared memory: in registers where they can."""
        return self.n > 4

    @property
    def shares(self) -> int:
        """Threads that share a frequency's products."""
        return TILES // (4 * self.row_quads) * (self.filters // 8)

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.points // self.frequencies * self.shares

    @property
    def line(self) -> int:
        """Floats of a channel's tiles: what a warp writes is in different banks."""
        return TILES + _BANKS // self.depth

    @property
    def shift(self) -> int:
        """Floats between frequencies, so that those of one warp are in different banks."""
        return _BANKS // 2 if self.shares < _WARP else 0

    @property
    def left(self) -> int:
        """Floats of a step's tiles."""
        return self.points * (self.depth * self.line + self.shift)

    @property
    def right(self) -> int:
        """Floats of a step's weights, and what is between them."""
        return self.points * (self.depth * self.filters + self.shift)

    @property
    def exchange_line(self) -> int:
        """Floats of a tile's products that change hands."""
        return self.exchanged + 4

    @property
    def shared_bytes(self) -> int:
        """Shared memory: two steps of both sides, and later the products."""
        steps = 2 * (self.left + self.right) + self.staged * self.points * TILES * self.depth
        return 4 * max(steps, self.points * TILES * self.exchange_line)


# F(2 x 2) of many filters: 128 sums a thread, for which a block has a multiprocessor's registers.
# Of few filters or tiles: 64 sums, and two blocks.
WIDE, NARROW = Filtering(2, 64, 8, 2, 2, 32, 1), Filtering(2, 32, 8, 2, 1, 32, 2)
# F(4 x 4): 96 sums, and three warps for each of a multiprocessor's four parts, of which one
# transforms; within the 99 KiB of shared memory that GPUs since sm_80 grant.
LARGE = Filtering(4, 32, 4, 1, 3, 16, 1)


def tiles_of(geometry: Geometry, m: int) -> tuple[int, int]:
    """Return an image's tiles down and across."""
    _, height, width = geometry.output_size
    return -(-height // m), -(-width // m)


@kernel
def winograd(
    filtering: Filtering,
    geometry: Geometry,
    bias: bool,
    residual: bool,
    activation: Activation | None,
) -> tuple[Body, Block]:
    """Convolve by F(m x m, 3 x 3): a block computes some tiles of some filters of one group."""
    M, N, POINTS = filtering.m, filtering.n, filtering.points
    DEPTH, FILTERS, THREADS = filtering.depth, filtering.filters, filtering.threads
    OWN, SHARES, ROW_QUADS = filtering.frequencies, filtering.shares, filtering.row_quads
    ACROSS, ROWS = FILTERS // 8, 4 * filtering.row_quads
    SUMS = OWN * ROWS * 8
    LINE, LEFT, HALF = filtering.line, filtering.left, filtering.left + filtering.right
    LEFT_POINT = DEPTH * LINE + filtering.shift
    RIGHT_POINT = DEPTH * FILTERS + filtering.shift
    ITEMS = TILES * DEPTH
    STAGED, STAGED_START = filtering.staged, 2 * HALF
    QUADS_POINT = DEPTH * FILTERS // 4
    WEIGHT_LOADS = POINTS * QUADS_POINT // THREADS
    POINTS_LOAD = THREADS // QUADS_POINT
    WEIGHTS_STEP = POINTS * DEPTH * FILTERS
    CELLS = N * N
    MASK_ROWS = _MASK_BITS // N
    MASKS = -(-N // MASK_ROWS)
    DOWN, BESIDE = tiles_of(geometry, M)
    ALL_TILES = geometry.batch * DOWN * BESIDE
    _, IN_H, IN_W = geometry.input_size
    _, OUT_H, OUT_W = geometry.output_size
    _, BEFORE_H, BEFORE_W = geometry.before
    IN_C, OUT_C = geometry.in_channels, geometry.out_channels
    GROUP_IN, GROUP_OUT = geometry.group_inputs, geometry.group_outputs
    STEPS, SLICES = -(-GROUP_IN // DEPTH), geometry.slices
    SLICE, SLICE_CELLS = -(-STEPS // SLICES), geometry.rows * OUT_C
    APART, INSIDE = geometry.apart, geometry.slices > 1 and not geometry.apart
    FILTER_BLOCKS = -(-GROUP_OUT // FILTERS)
    EXCHANGED, EXCHANGE_LINE = filtering.exchanged, filtering.exchange_line
    ROUNDS = FILTERS // EXCHANGED
    QUADS_EXCHANGED = EXCHANGED // 4
    BACK_ITEMS = TILES * QUADS_EXCHANGED
    LINE_OUT, TILE_OUT = 4 * N, 4 * M * M
    axis = Axis.of(M, 3, 1)
    assert axis is not None
    forward, back = linear(axis.matrix("bt")), linear(axis.matrix("at"))
    add_row = add_column(axis.matrix("at"), 4 * M)
    finish = epilogue(bias, residual, activation, GROUP_OUT % 4 == 0)

    def body(x: Float32, weight: Float32, offsets: Float32, other: Float32, y: Float32) -> None:
        shared = cuda.shared.array(0, f32)
        sums = cuda.local.array(SUMS, f32)
        thread = i32(cuda.threadIdx.x)
        first_tile = i32(cuda.blockIdx.x) * i32(TILES)
        filter_block = i32(cuda.blockIdx.y)
        group = i32(cuda.blockIdx.z)
        own_slice = i32(0)
        if APART:
            own_slice = i32(group % i32(SLICES))
            group = i32(group // i32(SLICES))
        # A thread loads one channel of one tile. Those behind the last are loaded as that one.
        channel = i32(thread % i32(DEPTH))
        own_tile = i32(thread // i32(DEPTH))
        own_inputs = i32(i32(GROUP_IN) - channel)
        tile = min(first_tile + own_tile, i32(ALL_TILES - 1))
        rest = tile // i32(BESIDE)
        h = rest % i32(DOWN) * i32(M) - i32(BEFORE_H)
        w = tile % i32(BESIDE) * i32(M) - i32(BEFORE_W)
        image = rest // i32(DOWN)
        line = (i64(image) * i64(IN_H) + i64(h)) * i64(IN_W) + i64(w)
        window = line * i64(IN_C) + i64(group * i32(GROUP_IN) + channel)
        # Which of a tile's cells are inside the image, a bit each; as many rows a word as fit.
        masks = cuda.local.array(MASKS, i32)
        fill(masks, MASKS, i32(0))
        for i in unroll(N):
            for j in unroll(N):
                if (u32(h + i32(i)) < u32(IN_H)) & (u32(w + i32(j)) < u32(IN_W)):
                    bit = i32(1 << (i % MASK_ROWS * N + j))
                    masks[i // MASK_ROWS] = i32(masks[i // MASK_ROWS] | bit)
        weights = i64(group * i32(FILTER_BLOCKS) + filter_block) * i64(STEPS * WEIGHTS_STEP)
        weights = weights + i64(thread * i32(4))
        cells = cuda.local.array(CELLS, f32)
        staged = i32(i32(STAGED_START) + thread)
        place_left = i32(channel * i32(LINE) + own_tile)
        quad = thread % i32(QUADS_POINT) * i32(4)
        place_right = i32(i32(LEFT) + thread // i32(QUADS_POINT) * i32(RIGHT_POINT) + quad)
        point = i32(thread // i32(SHARES) * i32(OWN))
        tx = i32(thread % i32(SHARES) % i32(ACROSS))
        ty = i32(thread % i32(SHARES) // i32(ACROSS))
        own_left = i32(point * i32(LEFT_POINT) + ty * i32(4))
        own_right = i32(i32(LEFT) + point * i32(RIGHT_POINT) + tx * i32(4))

        def request(step):  # type: ignore[no-untyped-def]
            """Begin to load a step's cells of one tile: zeros outside, and behind the last step."""
            start = window + i64(step) * i64(DEPTH)
            there = i32(step * i32(DEPTH)) < own_inputs
            for i in unroll(N):
                mask = masks[i // MASK_ROWS] if there else i32(0)
                for j in unroll(N):
                    far, bit = (i * IN_W + j) * IN_C, i % MASK_ROWS * N + j
                    if STAGED:
                        copy_bit(shared, staged, (i * N + j) * ITEMS, x, start, far, mask, bit)
                    else:
                        cells[i * N + j] = load_bit(x, start, far, mask, bit)

        def copy_weights(step, at):  # type: ignore[no-untyped-def]
            start = weights + i64(step) * i64(WEIGHTS_STEP)
            to = i32(at + place_right)
            for i in unroll(WEIGHT_LOADS):
                near, far = i * POINTS_LOAD * RIGHT_POINT, i * THREADS * 4
                copy4(shared, to, near, weight, start, far)

        def keep(at):  # type: ignore[no-untyped-def]
            """Transform the tile that was requested into one half of the shared memory."""
            if STAGED:
                for i in unroll(CELLS):
                    cells[i] = load(shared, staged + i32(i * ITEMS))
            for i in unroll(N):
                forward(cells, i * N, 1)
            for j in unroll(N):
                forward(cells, j, N)
            for i in unroll(CELLS):
                store(shared, i32(at + place_left) + i32(i * LEFT_POINT), cells[i])

        def multiply(at):  # type: ignore[no-untyped-def]
            for k in unroll(DEPTH):
                for p in unroll(OWN):
                    rows = i32(at + own_left) + i32(p * LEFT_POINT + k * LINE)
                    columns = i32(at + own_right) + i32(p * RIGHT_POINT + k * FILTERS)
                    right = load4(shared, columns) + load4(shared, columns + i32(FILTERS // 2))
                    if ROW_QUADS == 2:
                        left = load4(shared, rows) + load4(shared, rows + i32(TILES // 2))
                        multiply_add_at(sums, 8 * ROWS * p, left, right)
                    else:
                        multiply_add_at(sums, 8 * ROWS * p, load4(shared, rows), right)

        row = cuda.local.array(LINE_OUT, f32)
        result = cuda.local.array(TILE_OUT, f32)

        def convolve(number):  # type: ignore[no-untyped-def]
            """Sum a slice of the channels, and store what it makes of the tiles."""
            first = i32(number * i32(SLICE))
            last = i32(min(first + i32(SLICE), i32(STEPS)))
            fill(sums, SUMS, f32(0))
            # Tiles are requested two steps before they are multiplied, and transformed one before.
            if thread < i32(ITEMS):
                request(first)
            copy_weights(first, i32(0))
            wait_copies()
            if thread < i32(ITEMS):
                keep(i32(0))
                request(i32(first + i32(1)))
            wait_copies()
            cuda.syncthreads()
            at = i32(0)
            for step in range(i32(first + i32(1)), last):
                next_half = i32(i32(HALF) - at)
                if thread < i32(ITEMS):
                    keep(next_half)
                    request(i32(step + i32(1)))
                copy_weights(step, next_half)
                multiply(at)
                at = next_half
                wait_copies()
                cuda.syncthreads()
            multiply(at)
            cuda.syncthreads()

            own_thread = i32(thread_again())
            own_point = i32(own_thread // i32(SHARES) * i32(OWN))
            across = i32(own_thread % i32(SHARES) % i32(ACROSS))
            down = i32(own_thread % i32(SHARES) // i32(ACROSS))
            for turn in unroll(ROUNDS):
                for p in unroll(OWN):
                    for i in unroll(ROWS):
                        own = down * i32(4) + i32(i // 4 * (TILES // 2) + i % 4)
                        place = ((own_point + i32(p)) * i32(TILES) + own) * i32(EXCHANGE_LINE)
                        place = place + across * i32(4)
                        for q in unroll(2 * turn // ROUNDS, 2 * (turn + 1) // ROUNDS):
                            beside = i32(q * (FILTERS // 2) - turn * EXCHANGED)
                            four = take4(sums, 8 * (ROWS * p + i) + 4 * q)
                            store4(shared, place + beside, four)
                cuda.syncthreads()
                if own_thread < i32(BACK_ITEMS):
                    own = own_thread // i32(QUADS_EXCHANGED)
                    quad = own_thread % i32(QUADS_EXCHANGED) * i32(4)
                    fill(result, TILE_OUT, f32(0))
                    for i in unroll(N):
                        for j in unroll(N):
                            place = (i32((i * N + j) * TILES) + own) * i32(EXCHANGE_LINE) + quad
                            put4(row, 4 * j, load4(shared, place))
                        for lane in unroll(4):
                            back(row, lane, 4)
                        add_row(result, i, row)
                    column = filter_block * i32(FILTERS) + i32(turn * EXCHANGED) + quad
                    tile = first_tile + own
                    rest = tile // i32(BESIDE)
                    h = rest % i32(DOWN) * i32(M)
                    w = tile % i32(BESIDE) * i32(M)
                    line = (i64(rest // i32(DOWN)) * i64(OUT_H) + i64(h)) * i64(OUT_W) + i64(w)
                    channel = group * i32(GROUP_OUT) + column
                    cell = line * i64(OUT_C) + i64(channel)
                    count = i32(GROUP_OUT) - column
                    if (tile < i32(ALL_TILES)) & (count > i32(0)):
                        for i in unroll(M):
                            for j in unroll(M):
                                if (h + i32(i) < i32(OUT_H)) & (w + i32(j) < i32(OUT_W)):
                                    place = cell + i64((i * OUT_W + j) * OUT_C)
                                    four = take4(result, 4 * (i * M + j))
                                    if APART:
                                        place = place + i64(number) * i64(SLICE_CELLS)
                                    if INSIDE:
                                        if number > i32(0):
                                            four = add4(load4(y, place), four)
                                        if number < i32(SLICES - 1):
                                            store4(y, place, four)
                                        else:
                                            finish(four, offsets, other, y, channel, place, count)
                                    else:
                                        finish(four, offsets, other, y, channel, place, count)
                if turn + 1 < ROUNDS:
                    cuda.syncthreads()

        if INSIDE:
            for number in range(i32(0), i32(SLICES)):
                convolve(number)
                cuda.syncthreads()
        else:
            convolve(own_slice)

    return body, Block(THREADS, filtering.shared_bytes, filtering.resident)
