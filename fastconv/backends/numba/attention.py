"""The kernel of scaled dot product attention; csrc/attention.h has its twin."""

from __future__ import annotations

import numpy as np

from fastconv.backends.native import attention as w
from fastconv.backends.native.matmul import PACKED
from fastconv.backends.numba.elementary import make_exp
from fastconv.backends.numba.engine import array, as_float, kernel, part
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


@kernel
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
        depth = args[w.KEY_WIDTH]
        factor = real(as_float(args[w.SCALE]))
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
        for column in range(0, args[w.VALUE_WIDTH], width):
            for r in range(0, there, rows):
                start = scores + r * pitch * size
                addresses = tile_strided_within(tile, start, pitch * size, there - r)
                values = tile_multiply_add(
                    tile, tile_zero(tile), addresses, 0,
                    values_at + column * args[w.KEYS] * size, seen,
                )  # fmt: skip
                store_part(
                    values, out + r * args[w.OUT_ROW] + column * size, args[w.OUT_ROW], there - r,
                    args[w.VALUE_WIDTH] - column, scratch,
                )  # fmt: skip

    @part
    def lines_of(source, row_step, depth_step, there, depth, target):  # type: ignore[no-untyped-def]
        packed = array(target, (there, depth), real)
        for r in range(there):
            for k in range(depth):
                packed[r, k] = array(source + r * row_step + k * depth_step, (1,), real)[0]

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        keys, depth, wide = args[w.KEYS], args[w.KEY_WIDTH], args[w.VALUE_WIDTH]
        panels, block = (keys + width - 1) // width, args[w.QUERY_BLOCK]
        pitch, item_rows = panels * width, args[w.ITEM_QUERIES]
        row_items = (args[w.QUERIES] + item_rows - 1) // item_rows
        factors = args[w.SCRATCH_BASE] + worker * args[w.SCRATCH_STRIDE]
        queries = factors + (block * size + 63) // 64 * 64
        scores = queries
        if args[w.QUERY_STEP] != size:
            scores += (block * depth * size + 63) // 64 * 64
        own_keys = scores + (block * pitch * size + 63) // 64 * 64
        own_values = own_keys
        if args[w.KEY_STEP] != PACKED:
            own_values += (pitch * depth * size + 63) // 64 * 64
        buffer = factors + args[w.SCRATCH_STRIDE] - rows * width * size
        before = -1
        for item in range(first, last):
            entry, row_item = divmod(item, row_items)
            query = args[w.QUERY] + array(args[w.QUERY_PLACES] + 8 * entry, (1,), np.int64)[0]
            keys_at = args[w.KEY] + array(args[w.KEY_PLACES] + 8 * entry, (1,), np.int64)[0]
            values_at = args[w.VALUE] + array(args[w.VALUE_PLACES] + 8 * entry, (1,), np.int64)[0]
            out = args[w.OUT] + array(args[w.OUT_PLACES] + 8 * entry, (1,), np.int64)[0]
            mask = args[w.MASK]
            if mask != 0:
                mask += array(args[w.MASK_PLACES] + 8 * entry, (1,), np.int64)[0]
            if args[w.KEY_STEP] != PACKED:
                if entry != before:
                    for c in range(0, keys, width):
                        panel_of(
                            keys_at + c * args[w.KEY_ROW], args[w.KEY_STEP], args[w.KEY_ROW], depth,
                            keys - c, width, own_keys + c * depth * size,
                        )  # fmt: skip
                    for c in range(0, wide, width):
                        panel_of(
                            values_at + c * args[w.VALUE_STEP], args[w.VALUE_ROW],
                            args[w.VALUE_STEP], keys, wide - c, width, own_values + c * keys * size,
                        )  # fmt: skip
                before = entry
                keys_at, values_at = own_keys, own_values
            end = min((row_item + 1) * item_rows, args[w.QUERIES])
            for row in range(row_item * item_rows, end, block):
                there = min(block, end - row)
                seen = max(0, min(keys, row + there + args[w.CAUSAL]))
                base = query + row * args[w.QUERY_ROW]
                step = args[w.QUERY_ROW]
                if args[w.QUERY_STEP] != size:
                    lines_of(base, step, args[w.QUERY_STEP], there, depth, queries)
                    base, step = queries, depth * size
                scores_of(args, base, step, keys_at, scores, pitch, seen, there)
                table = array(scores, (there, pitch), real)
                shares = array(factors, (there,), real)
                for r in range(there):
                    line = mask
                    if mask != 0:
                        line += (row + r) * args[w.MASK_ROW]
                    count = max(0, min(keys, row + r + args[w.CAUSAL] + 1))
                    zeros = args[w.ZEROS] != 0 or keys == 0
                    shares[r] = weigh(table[r, :seen], line, args[w.MASK_STEP], count, zeros)
                start = out + row * args[w.OUT_ROW]
                values_of(args, values_at, scores, pitch, seen, there, start, buffer)
                for r in range(there):
                    result = array(start + r * args[w.OUT_ROW], (wide,), real)
                    for c in range(wide):
                        result[c] *= shares[r]

    return body
