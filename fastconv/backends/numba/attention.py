"""The kernel of scaled dot product attention; csrc/attention.h has its twin."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.products import Attention
from fastconv.backends.native.matmul import PACKED
from fastconv.backends.numba.elementary import make_exp
from fastconv.backends.numba.engine import array, kernel, part
from fastconv.backends.numba.matmul import make_panel, make_store_part
from fastconv.backends.numba.simd import (
    Tile,
    tile_multiply_add,
    tile_store,
    tile_strided,
    tile_strided_within,
    tile_zero,
)
from fastconv.backends.numba.softmax import largest, total


@kernel(Attention)
def attention(tile: Tile):  # type: ignore[no-untyped-def]
    """Attend: a work item is some queries of an entry."""
    real, rows, width, size = np.dtype(tile.dtype).type, tile.rows, tile.columns, tile.size
    panel_of, store_part = make_panel(tile.dtype), make_store_part(tile)
    exp, low = make_exp(tile.dtype), np.dtype(tile.dtype).type(-np.inf)

    @part
    def weigh(row, mask, mask_step, count, zeros):  # type: ignore[no-untyped-def]
        """Turn scores into powers; return what their weighted sum is multiplied by."""
        if mask != 0 and count > 0:
            if mask_step == 0:
                more = array(mask, (1,), real)[0]
                for i in range(count):
                    row[i] += more
            else:
                line = array(mask, (count,), real)
                for i in range(count):
                    row[i] += line[i]
        for i in range(count, row.shape[0]):
            row[i] = 0
        seen = row[:count]
        top = low
        if count > 0:
            top = largest(seen)
            if top != top:
                for i in range(count):
                    if seen[i] > low:
                        top = seen[i]
        if zeros and top == low:
            for i in range(count):
                if seen[i] != seen[i]:
                    return real(np.nan)
                row[i] = 0
            return real(0)
        for i in range(count):
            seen[i] = exp(seen[i] - top)
        return real(1.0 / total(seen))

    @part
    def scores_of(args, base, step, keys_at, scores, pitch, seen, there):  # type: ignore[no-untyped-def]
        depth = args.key_width
        factor = real(args.scale)
        for column in range(0, seen, width):
            for r in range(0, there, rows):
                addresses = tile_strided_within(tile, base + r * step, step, there - r)
                values = tile_multiply_add(
                    tile, tile_zero(tile), addresses, 0, keys_at + column * depth * size, depth
                )
                start = scores + (r * pitch + column) * size
                tile_store(tile, values, tile_strided(tile, start, pitch * size))
        table = array(scores, (there, pitch), real)
        for r in range(there):
            for i in range(seen):
                table[r, i] *= factor

    @part
    def values_of(args, values_at, scores, pitch, seen, there, out, scratch):  # type: ignore[no-untyped-def]
        for column in range(0, args.value_width, width):
            for r in range(0, there, rows):
                start = scores + r * pitch * size
                addresses = tile_strided_within(tile, start, pitch * size, there - r)
                values = tile_multiply_add(
                    tile, tile_zero(tile), addresses, 0,
                    values_at + column * args.keys * size, seen,
                )  # fmt: skip
                store_part(
                    values, out + r * args.out_row + column * size, args.out_row, there - r,
                    args.value_width - column, scratch,
                )  # fmt: skip

    @part
    def lines_of(source, row_step, depth_step, there, depth, target):  # type: ignore[no-untyped-def]
        packed = array(target, (there, depth), real)
        for r in range(there):
            for k in range(depth):
                packed[r, k] = array(source + r * row_step + k * depth_step, (1,), real)[0]

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        keys, depth, wide = args.keys, args.key_width, args.value_width
        panels, block = (keys + width - 1) // width, args.query_block
        pitch, item_rows = panels * width, args.item_queries
        row_items = (args.queries + item_rows - 1) // item_rows
        factors = args.scratch_base + worker * args.scratch_stride
        queries = factors + (block * size + 63) // 64 * 64
        scores = queries
        if args.query_step != size:
            scores += (block * depth * size + 63) // 64 * 64
        own_keys = scores + (block * pitch * size + 63) // 64 * 64
        own_values = own_keys
        if args.key_step != PACKED:
            own_values += (pitch * depth * size + 63) // 64 * 64
        buffer = factors + args.scratch_stride - rows * width * size
        before = -1
        for item in range(first, last):
            entry, row_item = divmod(item, row_items)
            query = args.query + array(args.query_places + 8 * entry, (1,), np.int64)[0]
            keys_at = args.key + array(args.key_places + 8 * entry, (1,), np.int64)[0]
            values_at = args.value + array(args.value_places + 8 * entry, (1,), np.int64)[0]
            out = args.out + array(args.out_places + 8 * entry, (1,), np.int64)[0]
            mask = args.mask
            if mask != 0:
                mask += array(args.mask_places + 8 * entry, (1,), np.int64)[0]
            if args.key_step != PACKED:
                if entry != before:
                    for c in range(0, keys, width):
                        panel_of(
                            keys_at + c * args.key_row, args.key_step, args.key_row, depth,
                            keys - c, width, own_keys + c * depth * size,
                        )  # fmt: skip
                    for c in range(0, wide, width):
                        panel_of(
                            values_at + c * args.value_step, args.value_row,
                            args.value_step, keys, wide - c, width, own_values + c * keys * size,
                        )  # fmt: skip
                before = entry
                keys_at, values_at = own_keys, own_values
            end = min((row_item + 1) * item_rows, args.queries)
            for row in range(row_item * item_rows, end, block):
                there = min(block, end - row)
                seen = max(0, min(keys, row + there + args.causal))
                base = query + row * args.query_row
                step = args.query_row
                if args.query_step != size:
                    lines_of(base, step, args.query_step, there, depth, queries)
                    base, step = queries, depth * size
                scores_of(args, base, step, keys_at, scores, pitch, seen, there)
                table = array(scores, (there, pitch), real)
                shares = array(factors, (there,), real)
                for r in range(there):
                    line = mask
                    if mask != 0:
                        line += (row + r) * args.mask_row
                    count = max(0, min(keys, row + r + args.causal + 1))
                    zeros = args.zeros != 0 or keys == 0
                    shares[r] = weigh(table[r, :seen], line, args.mask_step, count, zeros)
                start = out + row * args.out_row
                values_of(args, values_at, scores, pitch, seen, there, start, buffer)
                for r in range(there):
                    result = array(start + r * args.out_row, (wide,), real)
                    for c in range(wide):
                        result[c] *= shares[r]

    return body
