"""Filters' spectra: transformed in float64 by kernels, and packed as overlap-save reads them."""

from __future__ import annotations

from math import log2, prod

import numpy as np

from fastconv.backends.manifest.convolutions import FftFilters
from fastconv.backends.native.conv.fft.layout import Blocks
from fastconv.backends.native.conv.fft.passes import pass_tables
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    Packed,
    Stage,
    Weights,
    constant,
    scratch_stride,
)
from fastconv.backends.native.sources import Source
from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine

WIDE = np.dtype(np.float64)
# Operations of a filter's cells besides the butterflies: turned, scaled, rounded, stored.
CELL_OPERATIONS = 24


def spectra_seconds(blocks: Blocks, machine: Machine) -> float:
    """Predict packing all filters: their transforms in float64."""
    (down, across), problem = blocks.size, blocks.problem
    reach = (problem.kernel_size[-1] - 1) * problem.dilation[-1] + 1
    operations = down * across * (5 * log2(across) + CELL_OPERATIONS)
    operations += reach * 5 * down * log2(down)
    rate = machine.figures.butterfly_share * machine.peak_flops(WIDE)
    return problem.out_channels * operations / rate


def packed_spectra(library: Library, blocks: Blocks, tile: Tile) -> Packed:
    """Pack the first parameter, (out, 1, *kernel): each filter's spectrum, conjugate and scaled.

    Frequencies are in the order in which the forward passes leave them.
    """
    problem = blocks.problem
    kernel, dilation = lead(problem.kernel_size, 1)[1:], lead(problem.dilation, 1)[1:]
    down, across = blocks.size
    few = tile.lanes * problem.dtype.itemsize // WIDE.itemsize
    reach = (kernel[1] - 1) * dilation[1] + 1
    pitch = -(-reach // few) * few
    # Of rows of one dimension there are lines alone; else a matrix's columns with taps, and lines
    # of as many rows as a vector of the problem's own dtype has lanes.
    scratch = 2 * across * WIDE.itemsize * (few if blocks.flat else tile.lanes)
    if not blocks.flat:
        scratch += 2 * down * pitch * WIDE.itemsize
    tables = [constant(t) for n in (blocks.rows, across) for t in pass_tables(n, WIDE)]
    counts = [len(table.array) for table in tables]
    nbytes = problem.out_channels * blocks.spectrum_bytes
    address = library.kernel("fft.filters", tile, blocks.flat)
    items = -(-problem.out_channels // few) if blocks.flat else problem.out_channels

    def stage(apart: int, row_apart: int, column_apart: int) -> Stage:
        arguments = FftFilters(
            taps=INPUT(0), spectra=OUTPUT, count=problem.out_channels, apart=apart,
            rows=kernel[0], columns=kernel[1], row_apart=row_apart, column_apart=column_apart,
            step_down=dilation[0], step_across=dilation[1], lines=down, length=across,
            pitch=pitch, down=tables[0], down_count=counts[0], down_twiddles=tables[1],
            across=tables[2], across_count=counts[2], across_twiddles=tables[3],
            spectrum_bytes=blocks.spectrum_bytes, scale=1 / (down * across),
            scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch),
        )  # fmt: skip
        return Stage(address, items, arguments)

    def placed(source: Source) -> Weights | None:
        # Casts of their own take next to nothing compared with transforms.
        if source.dtype != problem.dtype.name:
            return None
        steps = source.strides[2:] if problem.n == 2 else (0, source.strides[2])
        return Weights(nbytes, (stage(source.strides[0], *steps),), scratch)

    size = problem.dtype.itemsize
    whole = stage(prod(kernel) * size, kernel[1] * size, size)
    return Packed(Weights(nbytes, (whole,), scratch, placed))
