"""The kernel that transforms filters for overlap-save; csrc/fft_filters.h has its twin."""

from __future__ import annotations

import dataclasses

import numpy as np

from fastconv.backends.native.conv.fft import words as w
from fastconv.backends.numba.conv.fft.butterflies import make_passes
from fastconv.backends.numba.engine import array, as_float, kernel
from fastconv.backends.numba.simd import Tile
from fastconv.backends.numba.transpose import transpose_block


@kernel
def filters(tile: Tile, flat: bool):  # type: ignore[no-untyped-def]
    """Transform filters in float64, as many rows at once as a vector of it has lanes.

    A work item is a filter; flat: as many of them as there are lanes.
    """
    wide = dataclasses.replace(tile, dtype="float64", lanes=tile.lanes * tile.size // 8)
    forward = make_passes(wide, False)
    real, size, lanes, few = np.dtype(tile.dtype).type, tile.size, tile.lanes, wide.lanes

    def of_rows(args, first, last, worker):  # type: ignore[no-untyped-def]
        length, scale = args[w.FILTER_LENGTH], as_float(args[w.FILTER_SCALE])
        base = args[w.FILTER_SCRATCH] + worker * args[w.FILTER_SCRATCH_STRIDE]
        line = array(base, (length, 2, few), np.float64)
        for item in range(first, last):
            line[:] = 0
            some = min(few, args[w.FILTER_COUNT] - item * few)
            for f in range(some):
                taps = args[w.FILTER_TAPS] + (item * few + f) * args[w.FILTER_APART]
                for b in range(args[w.FILTER_COLUMNS]):
                    tap = array(taps + b * args[w.FILTER_COLUMN_APART], (1,), real)[0]
                    line[b * args[w.FILTER_STEP_ACROSS], 0, f] = tap
            forward(base, base + few * 8, 2 * few * 8, args[w.FILTER_ACROSS],
                    args[w.FILTER_ACROSS_COUNT], args[w.FILTER_ACROSS_TWIDDLES])  # fmt: skip
            for f in range(some):
                to = args[w.FILTER_SPECTRA] + (item * few + f) * args[w.FILTER_BYTES]
                spectrum = array(to, (length, 2), real)
                for k in range(length):
                    spectrum[k, 0] = real(scale * line[k, 0, f])
                    spectrum[k, 1] = real(-scale * line[k, 1, f])

    def of_matrices(args, first, last, worker):  # type: ignore[no-untyped-def]
        lines, length, pitch = args[w.FILTER_LINES], args[w.FILTER_LENGTH], args[w.FILTER_PITCH]
        scale = as_float(args[w.FILTER_SCALE])
        base = args[w.FILTER_SCRATCH] + worker * args[w.FILTER_SCRATCH_STRIDE]
        part = lines * pitch * 8
        matrix = array(base, (2, lines, pitch), np.float64)
        turned = base + 2 * part
        line = array(turned, (length, 2, few), np.float64)
        for item in range(first, last):
            matrix[:] = 0
            for a in range(args[w.FILTER_ROWS]):
                taps = args[w.FILTER_TAPS] + item * args[w.FILTER_APART]
                taps += a * args[w.FILTER_ROW_APART]
                for b in range(args[w.FILTER_COLUMNS]):
                    tap = array(taps + b * args[w.FILTER_COLUMN_APART], (1,), real)[0]
                    matrix[0, a * args[w.FILTER_STEP_DOWN], b * args[w.FILTER_STEP_ACROSS]] = tap
            for x in range(0, pitch, few):
                forward(base + x * 8, base + part + x * 8, pitch * 8, args[w.FILTER_DOWN],
                        args[w.FILTER_DOWN_COUNT], args[w.FILTER_DOWN_TWIDDLES])  # fmt: skip
            to = args[w.FILTER_SPECTRA] + item * args[w.FILTER_BYTES]
            for r in range(0, lines, few):
                for half in range(2):
                    for x in range(0, pitch, few):
                        transpose_block(
                            wide, base + half * part + (r * pitch + x) * 8, pitch * 8,
                            turned + (2 * x + half) * few * 8, 2 * few * 8,
                        )  # fmt: skip
                line[pitch:] = 0
                forward(turned, turned + few * 8, 2 * few * 8, args[w.FILTER_ACROSS],
                        args[w.FILTER_ACROSS_COUNT], args[w.FILTER_ACROSS_TWIDDLES])  # fmt: skip
                whole = array(to + r // lanes * length * 2 * lanes * size, (length, 2, lanes), real)
                place = r % lanes
                for k in range(length):
                    for i in range(few):
                        whole[k, 0, place + i] = real(scale * line[k, 0, i])
                        whole[k, 1, place + i] = real(-scale * line[k, 1, i])

    return of_rows if flat else of_matrices
