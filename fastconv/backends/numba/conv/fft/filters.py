"""The kernel that transforms filters for overlap-save; csrc/fft_filters.h has its twin."""

from __future__ import annotations

import dataclasses

import numpy as np

from fastconv.backends.manifest.convolutions import FftFilters
from fastconv.backends.numba.conv.fft.butterflies import make_passes
from fastconv.backends.numba.engine import array, kernel
from fastconv.backends.numba.simd import Tile
from fastconv.backends.numba.transpose import transpose_block


@kernel(FftFilters)
def filters(tile: Tile, flat: bool):  # type: ignore[no-untyped-def]
    """Transform filters in float64, as many rows at once as a vector of it has lanes.

    A work item is a filter; flat: as many of them as there are lanes.
    """
    wide = dataclasses.replace(tile, dtype="float64", lanes=tile.lanes * tile.size // 8)
    forward = make_passes(wide, False)
    real, size, lanes, few = np.dtype(tile.dtype).type, tile.size, tile.lanes, wide.lanes

    def of_rows(args, first, last, worker):  # type: ignore[no-untyped-def]
        length, scale = args.length, args.scale
        base = args.scratch_base + worker * args.scratch_stride
        line = array(base, (length, 2, few), np.float64)
        for item in range(first, last):
            line[:] = 0
            some = min(few, args.count - item * few)
            for f in range(some):
                taps = args.taps + (item * few + f) * args.apart
                for b in range(args.columns):
                    tap = array(taps + b * args.column_apart, (1,), real)[0]
                    line[b * args.step_across, 0, f] = tap
            forward(base, base + few * 8, 2 * few * 8, args.across,
                    args.across_count, args.across_twiddles)  # fmt: skip
            for f in range(some):
                to = args.spectra + (item * few + f) * args.spectrum_bytes
                spectrum = array(to, (length, 2), real)
                for k in range(length):
                    spectrum[k, 0] = real(scale * line[k, 0, f])
                    spectrum[k, 1] = real(-scale * line[k, 1, f])

    def of_matrices(args, first, last, worker):  # type: ignore[no-untyped-def]
        lines, length, pitch = args.lines, args.length, args.pitch
        scale = args.scale
        base = args.scratch_base + worker * args.scratch_stride
        part = lines * pitch * 8
        matrix = array(base, (2, lines, pitch), np.float64)
        turned = base + 2 * part
        line = array(turned, (length, 2, few), np.float64)
        for item in range(first, last):
            matrix[:] = 0
            for a in range(args.rows):
                taps = args.taps + item * args.apart
                taps += a * args.row_apart
                for b in range(args.columns):
                    tap = array(taps + b * args.column_apart, (1,), real)[0]
                    matrix[0, a * args.step_down, b * args.step_across] = tap
            for x in range(0, pitch, few):
                forward(base + x * 8, base + part + x * 8, pitch * 8, args.down,
                        args.down_count, args.down_twiddles)  # fmt: skip
            to = args.spectra + item * args.spectrum_bytes
            for r in range(0, lines, few):
                for half in range(2):
                    for x in range(0, pitch, few):
                        transpose_block(
                            wide, base + half * part + (r * pitch + x) * 8, pitch * 8,
                            turned + (2 * x + half) * few * 8, 2 * few * 8,
                        )  # fmt: skip
                line[pitch:] = 0
                forward(turned, turned + few * 8, 2 * few * 8, args.across,
                        args.across_count, args.across_twiddles)  # fmt: skip
                whole = array(to + r // lanes * length * 2 * lanes * size, (length, 2, lanes), real)
                place = r % lanes
                for k in range(length):
                    for i in range(few):
                        whole[k, 0, place + i] = real(scale * line[k, 0, i])
                        whole[k, 1, place + i] = real(-scale * line[k, 1, i])

    return of_rows if flat else of_matrices
