"""The four kernels of a filtered convolution.

One transforms inputs, one multiplies, one transforms outputs, and one walks the blocks of tiles and
calls the others.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.backends.native.conv.winograd import words as w
from fastconv.backends.native.conv.winograd.layout import line_tile
from fastconv.backends.native.cook_toom import CHAIN_CHANNELS, transform
from fastconv.backends.numba.conv.winograd.plain import make_mend
from fastconv.backends.numba.engine import array, as_float, kernel, part
from fastconv.backends.numba.engine.memory import call_kernel
from fastconv.backends.numba.gemm import make_finish
from fastconv.backends.numba.linear_map import Matrix, linear_map
from fastconv.backends.numba.simd import (
    Tile,
    tile_add,
    tile_load,
    tile_multiply_blocks,
    tile_store,
    tile_strided,
    tile_zero,
)

Filter = tuple[int, int]


def make_apply(tile: Tile, down: Matrix, across: Matrix) -> Any:
    """Make the function that multiplies a square of vectors with a matrix from each side.

    Vectors lie ``row`` and ``column`` bytes apart; the result's rows go to ``target`` +
    i * ``target_row`` + j * ``target_column``.
    """
    vector = tile.lanes * tile.size
    wide, high = len(across.entries[0]), len(down.entries)
    line = wide * vector

    @part
    def apply(source, row, column, between, target, target_row, target_column):  # type: ignore[no-untyped-def]
        for j in range(wide):
            linear_map(tile, down, source + j * column, row, between + j * vector, line)
        for i in range(high):
            linear_map(
                tile, across, between + i * line, vector, target + i * target_row, target_column
            )

    @part
    def apply_across(source, row, column, between, target, target_row, target_column):  # type: ignore[no-untyped-def]
        linear_map(tile, across, source, column, target, target_column)

    return apply_across if len(down.entries) == len(down.entries[0]) == 1 else apply


@part
def find_tile(args, number):  # type: ignore[no-untyped-def]
    """Give a tile's image, its sub-image down and across, its row and column of tiles.

    A band of tiles of all sub-images comes before the next: outputs that share a cache line are
    then written by one worker.
    """
    image, place = divmod(number, args[w.TILES_IMAGE])
    y, place = divmod(place, args[w.TILES_BAND])
    sub, x = divmod(place, args[w.TILES_ACROSS])
    sy, sx = divmod(sub, args[w.SUBS_ACROSS])
    return image, sy, sx, y, x


@kernel
def transform_input(tile: Tile, down: Filter, across: Filter):  # type: ignore[no-untyped-def]
    """Transform the inputs of a block's tiles: a work item is one of them.

    A[frequency, register tile, block of channels, row of the register tile, lane]; rows past the
    last tile repeat it, so that nothing is left unset.
    """
    high, wide = transform(*down), transform(*across)
    apply = make_apply(tile, Matrix.of(high.bt), Matrix.of(wide.bt))
    vector = tile.lanes * tile.size
    n = wide.n

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        blocks, rows = args[w.CHANNEL_BLOCKS], args[w.TILE_ROWS]
        down_stride, across_stride = args[w.STRIDE_DOWN], args[w.STRIDE_ACROSS]
        group = args[w.GROUP] * blocks * vector
        for t in range(first, last):
            tile_number = min(args[w.START] + t, args[w.TILES] - 1)
            image, sy, sx, y, x = find_tile(args, tile_number)
            source = args[w.SOURCE] + image * args[w.SOURCE_IMAGE] + group
            source += y * args[w.STEP_DOWN] + sy * args[w.SOURCE_ROW]
            source += x * args[w.STEP_ACROSS] + sx * args[w.SOURCE_COLUMN]
            q, r = divmod(t, rows)
            target = args[w.BASE] + args[w.INPUTS] + q * args[w.A_TILE] + r * vector
            for py in range(args[w.PHASES_DOWN]):
                for px in range(args[w.PHASES_ACROSS]):
                    phase = source + py * args[w.SOURCE_ROW] + px * args[w.SOURCE_COLUMN]
                    for c in range(blocks):
                        apply(
                            phase + c * vector, down_stride * args[w.SOURCE_ROW],
                            across_stride * args[w.SOURCE_COLUMN], args[w.BASE] + args[w.BETWEEN],
                            target, n * args[w.A_FREQUENCY], args[w.A_FREQUENCY],
                        )  # fmt: skip
                        target += rows * vector

    return body


def _make_panel(tile: Tile) -> Any:
    """Make the function that multiplies a frequency's inputs with one panel of its weights."""
    rows = tile.rows
    block = tile.rows * tile.lanes * tile.size
    step = tile.lanes * tile.columns * tile.size
    chain = CHAIN_CHANNELS // tile.lanes

    @part
    def panel(args, inputs, weights, products, segments, count):  # type: ignore[no-untyped-def]
        blocks, p_tile = args[w.CHANNEL_BLOCKS], args[w.P_TILE]
        for t in range(0, args[w.COUNT], rows):
            places = tile_strided(tile, products + t * p_tile, p_tile)
            b = weights
            for s in range(count):
                a = inputs + segments[s] * block
                for done in range(0, blocks, chain):
                    some = min(chain, blocks - done)
                    values = tile_multiply_blocks(tile, tile_zero(tile), a, b, some)
                    if s + done > 0:
                        values = tile_add(tile, values, places)
                    tile_store(tile, values, places)
                    a += some * block
                    b += some * step
            inputs += args[w.A_TILE]

    return panel


@kernel
def multiply(tile: Tile, tail: int):  # type: ignore[no-untyped-def]
    """Multiply a block's transformed inputs with a part's weights: a work item is a frequency.

    A group's last panel has ``tail`` vectors, where that is not 0.
    """
    vector = tile.columns * tile.size
    wide = _make_panel(tile)
    narrow = _make_panel(dataclasses.replace(tile, vectors=tail)) if tail else wide

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        phases = args[w.PHASES_DOWN] * args[w.PHASES_ACROSS]
        segments = array(args[w.SEGMENT_STARTS], (args[w.FREQUENCIES], phases), np.int64)
        counts = array(args[w.SEGMENT_COUNTS], (args[w.FREQUENCIES],), np.int64)
        starts = array(args[w.PANEL_STARTS], (args[w.FREQUENCIES],), np.int64)
        sizes = array(args[w.PANEL_BYTES], (args[w.FREQUENCIES],), np.int64)
        weights = args[w.WEIGHTS] + args[w.GROUP] * args[w.WEIGHTS_GROUP]
        for q in range(first, last):
            inputs = args[w.BASE] + args[w.INPUTS] + q * args[w.A_FREQUENCY]
            products = args[w.BASE] + args[w.PRODUCTS] + q * args[w.P_FREQUENCY]
            for number in range(args[w.FIRST_PANEL], args[w.LAST_PANEL]):
                start = weights + starts[q] + number * sizes[q]
                place = products + (number - args[w.FIRST_PANEL]) * vector
                if number == args[w.PANELS] - 1:
                    narrow(args, inputs, start, place, segments[q], counts[q])
                else:
                    wide(args, inputs, start, place, segments[q], counts[q])

    return body


@kernel
def transform_output(tile: Tile, down: Filter, across: Filter):  # type: ignore[no-untyped-def]
    """Transform a block's products and store them: a work item is one of its tiles.

    Tiles beside each other are stored together, a line of outputs at a time.
    """
    high, wide = transform(*down), transform(*across)
    apply = make_apply(tile, Matrix.of(high.at), Matrix.of(wide.at))
    tall, m, n = high.m, wide.m, wide.n
    vector = tile.lanes * tile.size
    pixels = line_tile(tile, m)
    together = pixels.rows // m
    line = pixels.rows * vector
    finish = make_finish(pixels)
    mend = make_mend(tile, m)
    lanes = tile.lanes

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        across_count, wide_sub = args[w.TILES_ACROSS], args[w.SUB_WIDTH]
        subs_down, subs_across = args[w.SUBS_DOWN], args[w.SUBS_ACROSS]
        slope, low, high = as_float(args[w.SLOPE]), as_float(args[w.LOW]), as_float(args[w.HIGH])
        lines = args[w.BASE] + args[w.LINES]
        panel = args[w.P_TILE] // args[w.PART_PANELS]
        channel, begin = args[w.GROUP] * args[w.PANELS] * panel, args[w.FIRST_PANEL] * panel
        wide_part = (args[w.LAST_PANEL] - args[w.FIRST_PANEL]) * panel
        t = first
        while t < last:
            image, sy, sx, y, x = find_tile(args, args[w.START] + t)
            height = (args[w.HEIGHT] - sy + subs_down - 1) // subs_down
            width = (args[w.WIDTH] - sx + subs_across - 1) // subs_across
            some = min(together, last - t, across_count - x)
            pixel = (sy * subs_across + sx) * args[w.SUB_HEIGHT] * wide_sub
            pixel += y * tall * wide_sub + x * m
            end = min(some * m, width - x * m)
            shift = image * args[w.OUT_IMAGE] + args[w.GROUP] * args[w.OUT_GROUP]
            residual = args[w.RESIDUAL]
            if residual != 0:
                residual += shift
            for c in range(0, wide_part, vector):
                if (begin + c) // vector * lanes >= args[w.COLUMNS]:
                    break
                for g in range(some):
                    source = args[w.BASE] + args[w.PRODUCTS] + (t + g) * args[w.P_TILE] + c
                    apply(
                        source, n * args[w.P_FREQUENCY], args[w.P_FREQUENCY],
                        args[w.BASE] + args[w.BETWEEN], lines + g * m * vector, line, vector,
                    )  # fmt: skip
                valid = min(tall, height - y * tall) if end > 0 else 0
                column = (begin + c) // vector * lanes
                mend(args, image, sy, sx, y, x, column, valid, end, lines, line)
                for i in range(valid):
                    first_pixel = pixel + i * wide_sub
                    finish(
                        tile_load(pixels, tile_strided(pixels, lines + i * line, vector)),
                        args[w.BIAS] + channel + begin + c, args[w.OUT] + shift, residual,
                        args[w.OUT_ROWS], args[w.OUT_COLUMN], first_pixel, first_pixel + end,
                        column, args[w.COLUMNS], slope, low, high,
                        args[w.BASE] + w.COUNT_WORDS * 8,
                    )  # fmt: skip
            t += some

    return body


@kernel
def filtered():  # type: ignore[no-untyped-def]
    """Walk the work: an item is a part of the output channels of one group of a block of tiles.

    A worker that does several parts of a block transforms its inputs once.
    """

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        base = args[w.SCRATCH_BASE] + worker * args[w.SCRATCH_STRIDE]
        words = array(base, (w.COUNT_WORDS,), np.int64)
        for i in range(w.COUNT_WORDS):
            words[i] = args[i]
        words[w.BASE] = base
        before = -1
        item = first
        while item < last:
            whole, part = divmod(item, args[w.PARTS])
            begin = args[w.PANELS] * part // args[w.PARTS]
            # Parts of a block that follow each other are done as one, as far as there is room.
            most = min(args[w.PARTS] - part, last - item)
            end, some = args[w.PANELS] * (part + 1) // args[w.PARTS], 1
            while some < most:
                further = args[w.PANELS] * (part + some + 1) // args[w.PARTS]
                if further - begin > args[w.PART_PANELS]:
                    break
                end, some = further, some + 1
            item += some
            block, group = divmod(whole, args[w.GROUPS])
            start = block * args[w.BLOCK_TILES]
            count = min(args[w.BLOCK_TILES], args[w.TILES] - start)
            rows = args[w.TILE_ROWS]
            words[w.START], words[w.COUNT], words[w.GROUP] = start, count, group
            words[w.FIRST_PANEL], words[w.LAST_PANEL] = begin, end
            if whole != before:
                filled = (count + rows - 1) // rows * rows
                call_kernel(args[w.INPUT_KERNEL], base, 0, filled, worker)
                before = whole
            call_kernel(args[w.MULTIPLY_KERNEL], base, 0, args[w.FREQUENCIES], worker)
            call_kernel(args[w.OUTPUT_KERNEL], base, 0, count, worker)

    return body
