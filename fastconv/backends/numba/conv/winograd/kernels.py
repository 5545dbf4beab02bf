"""The four kernels of a filtered convolution.

One transforms inputs, one multiplies, one transforms outputs, and one walks the blocks of tiles and
calls the others.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.backends.manifest.convolutions import Winograd
from fastconv.backends.native.conv.winograd.layout import BLOCK_WORDS, line_tile
from fastconv.backends.native.cook_toom import CHAIN_CHANNELS, transform
from fastconv.backends.numba.conv.winograd.plain import make_mend
from fastconv.backends.numba.engine import array, kernel, part
from fastconv.backends.numba.engine.arguments import record_at
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
_block_at = record_at(Winograd)


def make_apply(tile: Tile, down: Matrix, across: Matrix) -> Any:
    """Make the function that multiplies a square of vectors with a matrix from each side.

    Vectors are ``row`` and ``column`` bytes apart; the result's rows go to ``target`` +
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
    """Return a tile's image, its sub-image down and across, its row and column of tiles.

    A band of tiles of all sub-images comes before the next: outputs that share a cache line are
    then written by one worker.
    """
    image, place = divmod(number, args.tiles_image)
    y, place = divmod(place, args.tiles_band)
    sub, x = divmod(place, args.tiles_across)
    sy, sx = divmod(sub, args.subs_across)
    return image, sy, sx, y, x


@kernel(Winograd)
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
        blocks, rows = args.channel_blocks, args.tile_rows
        down_stride, across_stride = args.stride_down, args.stride_across
        group = args.group * blocks * vector
        for t in range(first, last):
            tile_number = min(args.start + t, args.tiles - 1)
            image, sy, sx, y, x = find_tile(args, tile_number)
            source = args.source + image * args.source_image + group
            source += y * args.step_down + sy * args.source_row
            source += x * args.step_across + sx * args.source_column
            q, r = divmod(t, rows)
            target = args.base + args.inputs + q * args.a_tile + r * vector
            for py in range(args.phases_down):
                for px in range(args.phases_across):
                    phase = source + py * args.source_row + px * args.source_column
                    for c in range(blocks):
                        apply(
                            phase + c * vector, down_stride * args.source_row,
                            across_stride * args.source_column, args.base + args.between,
                            target, n * args.a_frequency, args.a_frequency,
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
        blocks, p_tile = args.channel_blocks, args.p_tile
        for t in range(0, args.count, rows):
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
            inputs += args.a_tile

    return panel


@kernel(Winograd)
def multiply(tile: Tile, tail: int):  # type: ignore[no-untyped-def]
    """Multiply a block's transformed inputs with a part's weights: a work item is a frequency.

    A group's last panel has ``tail`` vectors, where that is not 0.
    """
    vector = tile.columns * tile.size
    wide = _make_panel(tile)
    narrow = _make_panel(dataclasses.replace(tile, vectors=tail)) if tail else wide

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        phases = args.phases_down * args.phases_across
        segments = array(args.segment_starts, (args.frequencies, phases), np.int64)
        counts = array(args.segment_counts, (args.frequencies,), np.int64)
        starts = array(args.panel_starts, (args.frequencies,), np.int64)
        sizes = array(args.panel_bytes, (args.frequencies,), np.int64)
        weights = args.weights + args.group * args.weights_group
        for q in range(first, last):
            inputs = args.base + args.inputs + q * args.a_frequency
            products = args.base + args.products + q * args.p_frequency
            for number in range(args.first_panel, args.last_panel):
                start = weights + starts[q] + number * sizes[q]
                place = products + (number - args.first_panel) * vector
                if number == args.panels - 1:
                    narrow(args, inputs, start, place, segments[q], counts[q])
                else:
                    wide(args, inputs, start, place, segments[q], counts[q])

    return body


@kernel(Winograd)
def transform_output(tile: Tile, down: Filter, across: Filter):  # type: ignore[no-untyped-def]
    """Transform a block's products and store them: a work item is one of its tiles.

    Tiles next to each other are stored together, a line of outputs at a time.
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
        across_count, wide_sub = args.tiles_across, args.sub_width
        subs_down, subs_across = args.subs_down, args.subs_across
        slope, low, high = args.slope, args.low, args.high
        lines = args.base + args.lines
        panel = args.p_tile // args.part_panels
        channel, begin = args.group * args.panels * panel, args.first_panel * panel
        wide_part = (args.last_panel - args.first_panel) * panel
        t = first
        while t < last:
            image, sy, sx, y, x = find_tile(args, args.start + t)
            height = (args.height - sy + subs_down - 1) // subs_down
            width = (args.width - sx + subs_across - 1) // subs_across
            some = min(together, last - t, across_count - x)
            pixel = (sy * subs_across + sx) * args.sub_height * wide_sub
            pixel += y * tall * wide_sub + x * m
            end = min(some * m, width - x * m)
            shift = image * args.out_image + args.group * args.out_group
            residual = args.residual
            if residual != 0:
                residual += shift
            for c in range(0, wide_part, vector):
                if (begin + c) // vector * lanes >= args.columns:
                    break
                for g in range(some):
                    source = args.base + args.products + (t + g) * args.p_tile + c
                    apply(
                        source, n * args.p_frequency, args.p_frequency,
                        args.base + args.between, lines + g * m * vector, line, vector,
                    )  # fmt: skip
                valid = min(tall, height - y * tall) if end > 0 else 0
                column = (begin + c) // vector * lanes
                mend(args, image, sy, sx, y, x, column, valid, end, lines, line)
                for i in range(valid):
                    first_pixel = pixel + i * wide_sub
                    finish(
                        tile_load(pixels, tile_strided(pixels, lines + i * line, vector)),
                        args.bias + channel + begin + c, args.out + shift, residual,
                        args.out_rows, args.out_column, first_pixel, first_pixel + end,
                        column, args.columns, slope, low, high,
                        args.base + BLOCK_WORDS * 8,
                    )  # fmt: skip
            t += some

    return body


@kernel(Winograd)
def filtered():  # type: ignore[no-untyped-def]
    """Walk the work: an item is a part of the output channels of one group of a block of tiles.

    A worker that does several parts of a block transforms its inputs once.
    """

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        base = args.scratch_base + worker * args.scratch_stride
        own, words = _block_at(base), array(base, (BLOCK_WORDS,), np.int64)
        for i in range(BLOCK_WORDS):
            words[i] = args[i]
        own.base = base
        before = -1
        item = first
        while item < last:
            whole, part = divmod(item, args.parts)
            begin = args.panels * part // args.parts
            # Parts of a block that follow each other are done as one, as far as there is room.
            most = min(args.parts - part, last - item)
            end, some = args.panels * (part + 1) // args.parts, 1
            while some < most:
                further = args.panels * (part + some + 1) // args.parts
                if further - begin > args.part_panels:
                    break
                end, some = further, some + 1
            item += some
            block, group = divmod(whole, args.groups)
            start = block * args.block_tiles
            count = min(args.block_tiles, args.tiles - start)
            rows = args.tile_rows
            own.start, own.count, own.group = start, count, group
            own.first_panel, own.last_panel = begin, end
            if whole != before:
                filled = (count + rows - 1) // rows * rows
                call_kernel(args.input_kernel, base, 0, filled, worker)
                before = whole
            call_kernel(args.multiply_kernel, base, 0, args.frequencies, worker)
            call_kernel(args.output_kernel, base, 0, count, worker)

    return body
