"""fp32 implicit GEMM: rows are output pixels, columns output channels, the sum goes over taps.

Windows are found by a table: for each step of the sum, or each product, how far it is from a
pixel's window, and where its tap is. So strides, dilation, padding, groups and one to three
dimensions are one kernel. Single products of small windows have a bit for each of their tap's
coordinates instead, which one instruction compares with those that are outside for a pixel. Both
sides of a step of 8 are stored in shared memory twice: while a block multiplies one, its threads
hold the next step's pixels in registers, and its weights are copied.
"""

from __future__ import annotations

import dataclasses

from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64
from numba import uint32 as u32

from fastconv.backends.cuda.conv.epilogue import epilogue
from fastconv.backends.cuda.engine.copying import copy4, load_if, part, wait_copies
from fastconv.backends.cuda.engine.intrinsics import (
    add4,
    fill,
    load4,
    load4_where,
    multiply_add,
    put4,
    store,
    store4,
    take4,
)
from fastconv.backends.cuda.engine.kernel import Body, Float32, Int32, kernel
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.cuda.tile import DEPTH, SKEW, THREAD, Tile
from fastconv.problem.activation import Activation

# Words of a row of the table: cells from a window's first to the tap, and the tap's place in it.
TABLE_WORDS = 4
# Of a row for one product of a small window: cells to the tap, and its coordinates' bits.
BIT_WORDS = 2
# The bit of products behind the sum's end; those below it are for coordinates.
END_BIT = 30
# A place that is outside every image: the sum's last quad may have fewer taps.
OUTSIDE = 1 << 30


@dataclasses.dataclass(frozen=True)
class Spread:
    """A larger image in which output pixels are: its size, and the step between them."""

    size: tuple[int, int, int]
    step: tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """What of a convolution is baked into its kernel; sizes are (depth, height, width)."""

    batch: int
    input_size: tuple[int, int, int]
    output_size: tuple[int, int, int]
    stride: tuple[int, int, int]
    before: tuple[int, int, int]
    in_channels: int
    out_channels: int
    groups: int
    taps: int
    # Whether windows reach beyond the image, a dimension.
    leaves: tuple[bool, bool, bool]
    # Elements from one input pixel to the next; 0: as many as channels.
    pitch: int = 0
    # Where output pixels are; None: one after the other.
    spread: Spread | None = None
    # Slices of the sum, added in order, and whether each has blocks of its own: then a block
    # stores its slice's sums as (slices, rows, channels), and nothing is added to them.
    slices: int = 1
    apart: bool = False
    # Taps and the cells from one to the next, a dimension; None: they are anywhere.
    lattice: tuple[tuple[int, int], ...] | None = None

    @property
    def rows(self) -> int:
        """Output pixels."""
        depth, height, width = self.output_size
        return self.batch * depth * height * width

    @property
    def group_inputs(self) -> int:
        """Input channels of a group."""
        return self.in_channels // self.groups

    @property
    def group_outputs(self) -> int:
        """Output channels of a group."""
        return self.out_channels // self.groups

    @property
    def whole_steps(self) -> bool:
        """Whether all channels of a step are of one tap, and aligned."""
        return self.group_inputs % DEPTH == 0 and self.pitch % 4 == 0

    @property
    def checks(self) -> tuple[bool, bool, bool]:
        """In which dimensions a tap may be outside the image; a sum rounded up ends there."""
        depth, height, width = self.leaves
        rounded = self.taps * self.group_inputs % DEPTH != 0
        return depth, height, width or rounded

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits for a tap's coordinates, a dimension: as many as it may leave the image by."""
        lattice = self.lattice or ((0, 1),) * 3
        return tuple(
            taps if leaves else 0 for (taps, _), leaves in zip(lattice, self.leaves, strict=True)
        )

    @property
    def has_bits(self) -> bool:
        """Whether the table has products, by their taps' bits."""
        few = self.lattice is not None and sum(self.bits) <= END_BIT
        return few and not self.whole_steps and any(self.checks)

    @property
    def depth(self) -> int:
        """Steps of the sum, rounded up to whole ones of shared memory."""
        return -(-self.taps * self.group_inputs // DEPTH) * DEPTH

    @property
    def slice_depth(self) -> int:
        """Terms of each slice but the last."""
        return -(-self.depth // DEPTH // self.slices) * DEPTH


@kernel
def implicit_gemm(
    tile: Tile, geometry: Geometry, bias: bool, residual: bool, activation: Activation | None
) -> tuple[Body, int]:
    """Convolve: a block computes a tile of one group."""
    ROWS, COLUMNS, THREADS = tile.rows, tile.columns, tile.threads
    ROW_LOADS, COLUMN_LOADS = tile.row_loads, tile.column_loads
    ROW_CELLS = 4 * ROW_LOADS
    LINE = ROWS + SKEW
    LEFT, RIGHT = DEPTH * LINE, DEPTH * COLUMNS
    LEFT_BOTH, RIGHT_BOTH = 2 * LEFT, 2 * RIGHT
    ACROSS = COLUMNS // THREAD
    HALF_ROWS, HALF_COLUMNS = ROWS // 2, COLUMNS // 2
    PIXELS = geometry.rows
    OUT_D, OUT_H, OUT_W = geometry.output_size
    IN_D, IN_H, IN_W = geometry.input_size
    STRIDE_D, STRIDE_H, STRIDE_W = geometry.stride
    BEFORE_D, BEFORE_H, BEFORE_W = geometry.before
    IN_C, OUT_C = geometry.pitch or geometry.in_channels, geometry.out_channels
    SPREAD = geometry.spread is not None
    spread = geometry.spread or Spread((1, 1, 1), (1, 1, 1))
    FULL_D, FULL_H, FULL_W = spread.size
    STEP_D, STEP_H, STEP_W = spread.step
    GROUP_IN, GROUP_OUT = geometry.group_inputs, geometry.group_outputs
    SUM, SLICES, SLICE = geometry.depth, geometry.slices, geometry.slice_depth
    APART, INSIDE = geometry.apart, geometry.slices > 1 and not geometry.apart
    TOTALS = 64 * THREADS
    PADDED = -(-GROUP_OUT // COLUMNS) * COLUMNS
    SHARE = 2 // ROW_LOADS
    WHOLE = geometry.whole_steps
    CHECK_D, CHECK_H, CHECK_W = geometry.checks
    BITS = geometry.has_bits
    BITS_D, BITS_H, BITS_W = geometry.bits if BITS else (0, 0, 0)
    (_, APART_D), (_, APART_H), (_, APART_W) = geometry.lattice or ((0, 1),) * 3
    QUADS_ACROSS = COLUMNS // 4
    LINES_LOAD = THREADS // QUADS_ACROSS
    finish = epilogue(bias, residual, activation, GROUP_OUT % 4 == 0)

    def body(
        x: Float32, weight: Float32, table: Int32, offsets: Float32, other: Float32, y: Float32
    ) -> None:
        left = cuda.shared.array(LEFT_BOTH, f32)
        right = cuda.shared.array(RIGHT_BOTH, f32)
        sums = cuda.local.array(64, f32)
        fill(sums, 64, f32(0))
        thread = i32(cuda.threadIdx.x)
        first_row = i32(cuda.blockIdx.x) * i32(ROWS)
        first_column = i32(cuda.blockIdx.y) * i32(COLUMNS)
        group = i32(cuda.blockIdx.z)
        # Which terms of the sum are this block's; where slices have blocks of their own, a grid's
        # last dimension counts them first.
        begin, end = i32(0), i32(SUM)
        if APART:
            begin = i32(group % i32(SLICES) * i32(SLICE))
            end = i32(min(begin + i32(SLICE), i32(SUM)))
            group = i32(group // i32(SLICES))
        # A thread loads one pixel's channels: both quads of a step, or one. Pixels behind the last
        # are computed as that one, and not stored.
        own_pixel = i32(thread // i32(SHARE))
        first_cell = i32(thread % i32(SHARE) * i32(4))
        pixel = min(first_row + own_pixel, i32(PIXELS - 1))
        out_w = pixel % i32(OUT_W)
        rest = pixel // i32(OUT_W)
        out_h = rest % i32(OUT_H)
        rest = rest // i32(OUT_H)
        d = rest % i32(OUT_D) * i32(STRIDE_D) - i32(BEFORE_D)
        h = out_h * i32(STRIDE_H) - i32(BEFORE_H)
        w = out_w * i32(STRIDE_W) - i32(BEFORE_W)
        image = rest // i32(OUT_D)
        pixels = part(x, i64(image) * i64(IN_D * IN_H * IN_W * IN_C))
        # Offsets inside an image have 32 bits.
        line = (d * i32(IN_H) + h) * i32(IN_W) + w
        window = i32(line * i32(IN_C) + group * i32(GROUP_IN))
        if WHOLE:
            window = i32(window + first_cell)
        first = i64(group) * i64((SUM + DEPTH) * PADDED) + i64(first_column)
        first = first + i64(thread // i32(QUADS_ACROSS)) * i64(PADDED)
        weights = part(weight, first + i64(thread % i32(QUADS_ACROSS) * i32(4)))
        # Which coordinates of taps are outside the image for this pixel, a bit each.
        outside = i32(1 << END_BIT)
        for i in unroll(BITS_D):
            if u32(d + i32(i * APART_D)) >= u32(IN_D):
                outside = i32(outside | i32(1 << i))
        for i in unroll(BITS_H):
            if u32(h + i32(i * APART_H)) >= u32(IN_H):
                outside = i32(outside | i32(1 << (BITS_D + i)))
        for i in unroll(BITS_W):
            if u32(w + i32(i * APART_W)) >= u32(IN_W):
                outside = i32(outside | i32(1 << (BITS_D + BITS_H + i)))
        a = cuda.local.array(ROW_CELLS, f32)
        tx = i32(thread % i32(ACROSS))
        ty = i32(thread // i32(ACROSS))
        place_left = i32(first_cell * i32(LINE) + own_pixel)
        place_right = i32(thread * i32(4))

        def inside_image(d, h, w):  # type: ignore[no-untyped-def]
            inside = True
            if CHECK_D:
                inside = inside & (u32(d) < u32(IN_D))
            if CHECK_H:
                inside = inside & (u32(h) < u32(IN_H))
            if CHECK_W:
                inside = inside & (u32(w) < u32(IN_W))
            return inside

        def fetch(step, half):  # type: ignore[no-untyped-def]
            """Load a step of pixels into registers, and begin to copy its weights."""
            terms = i64(i32(step + first_cell))
            for load in unroll(ROW_LOADS):
                if WHOLE:
                    # All channels of a step are of one tap.
                    if load == 0:
                        offset, dd, dh, dw = load4(table, step // i32(DEPTH) * i32(TABLE_WORDS))
                        inside = inside_image(d + dd, h + dh, w + dw)
                        start = i32(window + offset)
                    put4(a, 4 * load, load4_where(pixels, i64(start) + i64(4 * load), inside))
                elif BITS:
                    for i in unroll(4 * load, 4 * load + 4, 2):
                        two = load4(table, terms * i64(BIT_WORDS) + i64(i * BIT_WORDS))
                        for j in unroll(2):
                            inside = (outside & two[2 * j + 1]) == i32(0)
                            place = i64(i32(window + two[2 * j]))
                            a[i + j] = load_if(pixels, place, inside)
                else:
                    for i in unroll(4):
                        term = terms * i64(TABLE_WORDS) + i64((4 * load + i) * TABLE_WORDS)
                        offset, dd, dh, dw = load4(table, term)
                        inside = inside_image(d + dd, h + dh, w + dw)
                        a[4 * load + i] = load_if(pixels, i64(i32(window + offset)), inside)
            to = i32(half * i32(RIGHT) + place_right)
            for load in unroll(COLUMN_LOADS):
                near, far = load * THREADS * 4, load * LINES_LOAD * PADDED
                copy4(right, to, near, weights, i64(step) * i64(PADDED), far)

        def keep(half):  # type: ignore[no-untyped-def]
            """Store what was fetched in one half of the shared memory, and wait for copies."""
            for load in unroll(ROW_LOADS):
                place = i32(half * i32(LEFT) + place_left)
                for i in unroll(4):
                    store(left, place + i32((4 * load + i) * LINE), a[4 * load + i])
            wait_copies()

        def cell_of(pixel):  # type: ignore[no-untyped-def]
            """Return where an output pixel is."""
            cell = i64(pixel)
            if SPREAD:
                rest = pixel // i32(OUT_W)
                w = pixel % i32(OUT_W) * i32(STEP_W)
                h = rest % i32(OUT_H) * i32(STEP_H)
                rest = rest // i32(OUT_H)
                d = rest % i32(OUT_D) * i32(STEP_D)
                line = (i64(rest // i32(OUT_D)) * i64(FULL_D) + i64(d)) * i64(FULL_H) + i64(h)
                cell = line * i64(FULL_W) + i64(w)
            return cell

        def advance(step, half):  # type: ignore[no-untyped-def]
            """Multiply a step while the next one is fetched; give the half that holds that."""
            fetch(step, i32(half ^ i32(1)))
            for k in unroll(DEPTH):
                rows = i32(half * i32(LEFT) + ty * i32(4)) + i32(k * LINE)
                columns = i32(half * i32(RIGHT) + tx * i32(4)) + i32(k * COLUMNS)
                multiply_add(
                    sums,
                    load4(left, rows) + load4(left, rows + i32(HALF_ROWS)),
                    load4(right, columns) + load4(right, columns + i32(HALF_COLUMNS)),
                )
            keep(i32(half ^ i32(1)))
            cuda.syncthreads()
            return i32(half ^ i32(1))

        fetch(begin, i32(0))
        keep(i32(0))
        cuda.syncthreads()
        half = i32(0)
        # The last step that is fetched is one of zeros behind the sum: no round is another's like.
        if INSIDE:
            totals = cuda.shared.array(TOTALS, f32)
            for first in range(i32(0), i32(SUM), i32(SLICE)):
                last = i32(min(first + i32(SLICE), i32(SUM)))
                for step in range(i32(first + i32(DEPTH)), i32(last + i32(DEPTH)), i32(DEPTH)):
                    half = advance(step, half)
                for i in unroll(16):
                    place = i32(i32(i * THREADS * 4) + thread * i32(4))
                    four = take4(sums, 4 * i)
                    if first > i32(0):
                        four = add4(load4(totals, place), four)
                    store4(totals, place, four)
                fill(sums, 64, f32(0))
            for i in unroll(16):
                place = i32(i32(i * THREADS * 4) + thread * i32(4))
                put4(sums, 4 * i, load4(totals, place))
        else:
            for step in range(i32(begin + i32(DEPTH)), i32(end + i32(DEPTH)), i32(DEPTH)):
                half = advance(step, half)
        slice_start = i64(0)
        if APART:
            slice_start = i64(i32(cuda.blockIdx.z) % i32(SLICES)) * i64(PIXELS * OUT_C)
        for i in unroll(THREAD):
            pixel = first_row + i32(i // 4 * HALF_ROWS + i % 4) + ty * i32(4)
            for q in unroll(2):
                column = first_column + i32(q * HALF_COLUMNS) + tx * i32(4)
                if (pixel < i32(PIXELS)) & (column < i32(GROUP_OUT)):
                    channel = group * i32(GROUP_OUT) + column
                    place = slice_start + cell_of(pixel) * i64(OUT_C) + i64(channel)
                    four = take4(sums, 8 * i + 4 * q)
                    finish(four, offsets, other, y, channel, place, i32(GROUP_OUT) - column)

    return body, THREADS
