"""Implicit GEMM on Hopper's tensor cores: tiles come by TMA, warpgroups multiply them.

Factors are fp16, bf16 or tf32. One thread of a warp of its own, the producer, has the pixels' and
the weights' tiles of each step copied into a ring of stages; warpgroups multiply them as they come.
A stage has two barriers: the producer fills it, consumers empty it. Sums are stored in registers
until the end, then go through the stages' memory, so that rows are written as they are stored.
"""

from __future__ import annotations

import dataclasses

from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64
from numba import uint32 as u32
from numba import uint64 as u64

from fastconv.backends.cuda.activation import scalar
from fastconv.backends.cuda.conv.implicit_gemm import Geometry
from fastconv.backends.cuda.engine.cells import Cell, access, of_cells
from fastconv.backends.cuda.engine.hopper import (
    acquire_map,
    barrier_arrive,
    barrier_expect,
    barrier_init,
    barrier_wait,
    commit_products,
    fence_barriers,
    load_pixels,
    load_tile,
    multiply_tiles,
    products_fence,
    products_wait,
    shared_address,
    spread,
)
from fastconv.backends.cuda.engine.intrinsics import add4, fill, load4, map4, put4, take4
from fastconv.backends.cuda.engine.kernel import REGISTERS, Block, Body, TensorMap, kernel
from fastconv.backends.cuda.engine.source import unroll
from fastconv.backends.cuda.engine.warpgroup import ADDRESS, ATOM, WARPGROUP, descriptor
from fastconv.backends.cuda.engine.warpgroup import ROWS as GROUP_ROWS
from fastconv.problem.activation import Activation

# Floats behind each row of sums in shared memory: what a warp stores there is in all banks once.
_SKEW = 8
# Shared memory of a multiprocessor, and what the system takes of it for each block.
SHARED_BYTES, RESERVED_BYTES = 228 << 10, 1 << 10
# Registers of a thread besides its sums, and of one that finishes some fours of them together.
_OWN_REGISTERS, _FINISHING_REGISTERS = 40, 88
_WARP = 32
# Arrays' dtypes, as instructions name them.
_HALVES = {"f16": "float16", "bf16": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class Tile:
    """What a block computes: 64 pixels a warpgroup, by ``columns`` output channels.

    A step of the sum has a line of 128, 64 or 32 bytes of a tap's channels, ``item`` bytes each.
    """

    warpgroups: int
    columns: int
    stages: int
    line: int = 128
    item: int = 2

    @property
    def rows(self) -> int:
        """Pixels of a block."""
        return GROUP_ROWS * self.warpgroups

    @property
    def threads(self) -> int:
        """Those of the warpgroups, and the producer's warp."""
        return WARPGROUP * self.warpgroups + _WARP

    @property
    def stage_bytes(self) -> int:
        """The pixels' and the weights' tile of a step."""
        return (self.rows + self.columns) * self.line

    @property
    def depth(self) -> int:
        """Channels of a step."""
        return self.line // self.item

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block: room to begin where the swizzle does, stages, barriers."""
        sums = self.rows * (self.columns + _SKEW) * 4
        return ATOM + max(self.stages * self.stage_bytes, sums) + 16 * self.stages

    @property
    def resident(self) -> int:
        """Blocks that share a multiprocessor, of whose memory and registers each takes its part."""
        memory = SHARED_BYTES // (self.shared_bytes + RESERVED_BYTES)
        need = max(self.columns // 2 + _OWN_REGISTERS, _FINISHING_REGISTERS)
        return min(memory, REGISTERS // (self.threads * need))

    @property
    def block(self) -> Block:
        """What a block takes of a multiprocessor."""
        return Block(self.threads, self.shared_bytes, self.resident)


@kernel
def hopper_gemm(
    tile: Tile,
    geometry: Geometry,
    dimensions: int,
    kernel_size: tuple[int, int, int],
    dilation: tuple[int, int, int],
    kind: str,
    bias: bool,
    residual: bool,
    activation: Activation | None,
) -> tuple[Body, Block]:
    """Convolve: a block computes a tile of one group.

    ``kind``: f16, bf16, or tf32 of float32 arrays.
    """
    ROWS, COLUMNS, STAGES = tile.rows, tile.columns, tile.stages
    SUMS = COLUMNS // 2
    DEPTH, LINE, STAGE, LEFT = tile.depth, tile.line, tile.stage_bytes, tile.rows * tile.line
    DESCRIPTOR = descriptor(tile.line)
    BARRIERS = tile.shared_bytes - ATOM - 16 * STAGES
    CONSUMERS = WARPGROUP * tile.warpgroups
    WARPS = CONSUMERS // _WARP
    OUT_D, OUT_H, OUT_W = geometry.output_size
    STRIDE_D, STRIDE_H, STRIDE_W = geometry.stride
    BEFORE_D, BEFORE_H, BEFORE_W = geometry.before
    TAPS_H, TAPS_W = kernel_size[1:]
    DILATION_D, DILATION_H, DILATION_W = dilation
    PIXELS, OUT_C = geometry.rows, geometry.out_channels
    GROUP_IN, GROUP_OUT = geometry.group_inputs, geometry.group_outputs
    # Channels of a tap, in whole steps: what is behind the last one is read as zero.
    TAP = -(-GROUP_IN // DEPTH) * DEPTH
    STEPS = geometry.taps * TAP // DEPTH
    TILES = -(-GROUP_OUT // COLUMNS)
    PITCH, QUADS = COLUMNS + _SKEW, COLUMNS // 4
    # Fours of sums, and those of a thread that are finished together: a block that is alone waits
    # for what it adds, and has registers for more.
    ALL_QUADS, EACH = ROWS * QUADS, 8 if tile.resident == 1 else 4
    HELD = 4 * EACH
    OUT_QUADS = GROUP_OUT % 4 == 0
    BIAS, RESIDUAL, ACTIVATION = bias, residual, activation is not None
    activate = map4(scalar(activation))
    pixels_at, multiply = load_pixels(dimensions), multiply_tiles(COLUMNS, tile.line, kind)
    sums_fence = products_fence(SUMS)
    wait_but_one, wait_all = products_wait(SUMS, 1), products_wait(SUMS, 0)
    spread_sums = spread(COLUMNS, PITCH)
    dtype = _HALVES[kind] if tile.item == 2 else "float32"
    cells = access(dtype)
    load_quad, load_some = cells.load4, cells.load_first
    store_quad, store_some = cells.store4, cells.store_first

    def body(x: TensorMap, weight: TensorMap, offsets: Cell, other: Cell, y: Cell) -> None:
        memory = cuda.shared.array(0, f32)
        sums = cuda.local.array(SUMS, f32)
        others = cuda.local.array(HELD, f32)
        thread = i32(cuda.threadIdx.x)
        first_row = i32(cuda.blockIdx.x) // i32(TILES) * i32(ROWS)
        first_column = i32(cuda.blockIdx.x) % i32(TILES) * i32(COLUMNS)
        group = i32(cuda.blockIdx.y)
        address = shared_address(memory)
        base = (address + u32(ATOM - 1)) & u32(0xFFFFFFFF - (ATOM - 1))
        full = base + u32(BARRIERS)
        empty = full + u32(8 * STAGES)
        if thread == i32(CONSUMERS):
            for i in unroll(STAGES):
                barrier_init(full + u32(8 * i), u32(1))
                barrier_init(empty + u32(8 * i), u32(WARPS))
            fence_barriers()
            acquire_map(x)
            acquire_map(weight)
        cuda.syncthreads()

        def position(quad):  # type: ignore[no-untyped-def]
            """Return the pixel and the channel of four sums, and how many channels there are."""
            column = first_column + quad % i32(QUADS) * i32(4)
            pixel = first_row + quad // i32(QUADS)
            return pixel, group * i32(GROUP_OUT) + column, i32(GROUP_OUT) - column

        stage = u32(0)
        parity = u32(0)
        if thread >= i32(CONSUMERS):
            if thread == i32(CONSUMERS):
                rest = first_row // i32(OUT_W)
                w = first_row % i32(OUT_W) * i32(STRIDE_W) - i32(BEFORE_W)
                h = rest % i32(OUT_H) * i32(STRIDE_H) - i32(BEFORE_H)
                rest = rest // i32(OUT_H)
                d = rest % i32(OUT_D) * i32(STRIDE_D) - i32(BEFORE_D)
                image = rest // i32(OUT_D)
                row = group * i32(GROUP_OUT) + first_column
                channel = i32(0)
                tap_d = i32(0)
                tap_h = i32(0)
                tap_w = i32(0)
                for step in range(STEPS):
                    if step >= STAGES:
                        barrier_wait(empty + stage * u32(8), parity ^ u32(1))
                    own = full + stage * u32(8)
                    left = base + stage * u32(STAGE)
                    barrier_expect(own, u32(STAGE))
                    pixels_at(
                        x, left, own, group * i32(GROUP_IN) + channel, d, h, w, image,
                        tap_d, tap_h, tap_w,
                    )  # fmt: skip
                    load_tile(weight, left + u32(LEFT), own, i32(step) * i32(DEPTH), row)
                    channel = channel + i32(DEPTH)
                    if channel == i32(TAP):
                        channel = i32(0)
                        tap_w = tap_w + i32(DILATION_W)
                        if tap_w == i32(TAPS_W * DILATION_W):
                            tap_w = i32(0)
                            tap_h = tap_h + i32(DILATION_H)
                            if tap_h == i32(TAPS_H * DILATION_H):
                                tap_h = i32(0)
                                tap_d = tap_d + i32(DILATION_D)
                    stage = stage + u32(1)
                    if stage == u32(STAGES):
                        stage = u32(0)
                        parity = parity ^ u32(1)
        else:
            fill(sums, SUMS, f32(0))
            before = u32(0)
            own_rows = u32(thread // i32(WARPGROUP)) * u32(GROUP_ROWS * LINE)
            for step in range(STEPS):
                barrier_wait(full + stage * u32(8), parity)
                left = base + stage * u32(STAGE)
                sums_fence(sums)
                multiply(
                    sums,
                    u64(DESCRIPTOR) | u64(((left + own_rows) & u32(ADDRESS)) >> u32(4)),
                    u64(DESCRIPTOR) | u64(((left + u32(LEFT)) & u32(ADDRESS)) >> u32(4)),
                )
                commit_products()
                # The step before is done: its stage may be filled again.
                wait_but_one(sums)
                if (step > 0) & (thread % i32(_WARP) == i32(0)):
                    barrier_arrive(empty + before * u32(8))
                before = stage
                stage = stage + u32(1)
                if stage == u32(STAGES):
                    stage = u32(0)
                    parity = parity ^ u32(1)
            wait_all(sums)
        # All that was copied has been waited for, and all products are done: the stages are free.
        cuda.syncthreads()
        start = i32((base - address) // u32(4))
        if thread < i32(CONSUMERS):
            line = thread // i32(_WARP) * i32(16) + thread % i32(_WARP) // i32(4)
            spread_sums(memory, start + line * i32(PITCH) + thread % i32(4) * i32(2), sums)
        cuda.syncthreads()
        if thread < i32(CONSUMERS):
            for first in range(thread, ALL_QUADS, EACH * CONSUMERS):
                if RESIDUAL:
                    # All are on their way before the first is waited for.
                    for i in unroll(EACH):
                        pixel, column, count = position(i32(first) + i32(i * CONSUMERS))
                        if OUT_QUADS:
                            # What is outside is not stored: any place will do.
                            pixel = min(pixel, i32(PIXELS - 1))
                            column = column if count > i32(0) else i32(0)
                            four = load_quad(other, i64(pixel) * i64(OUT_C) + i64(column))
                        else:
                            count = count if pixel < i32(PIXELS) else i32(0)
                            place = i64(pixel) * i64(OUT_C) + i64(column)
                            four = load_some(other, place, count)
                        put4(others, 4 * i, four)
                for i in unroll(EACH):
                    quad = i32(first) + i32(i * CONSUMERS)
                    pixel, column, count = position(quad)
                    if (pixel < i32(PIXELS)) & (count > i32(0)):
                        place = i64(pixel) * i64(OUT_C) + i64(column)
                        line = quad // i32(QUADS) * i32(PITCH) + quad % i32(QUADS) * i32(4)
                        four = load4(memory, start + line)
                        if BIAS:
                            if OUT_QUADS:
                                four = add4(four, load_quad(offsets, column))
                            else:
                                four = add4(four, load_some(offsets, column, count))
                        if RESIDUAL:
                            four = add4(four, take4(others, 4 * i))
                        if ACTIVATION:
                            four = activate(four)
                        if OUT_QUADS:
                            store_quad(y, place, four)
                        else:
                            store_some(y, place, four, count)

    return of_cells(body, dtype), tile.block
