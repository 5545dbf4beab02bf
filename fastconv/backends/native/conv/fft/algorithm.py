"""Depthwise convolution with large kernels by Fourier transforms of overlapping blocks.

Overlap-save (Stockham, High-speed convolution and correlation, 1966): the outputs of a circular
correlation that no wrapped cell enters are those of the linear one.
"""

from __future__ import annotations

from math import log2, prod, sqrt
from typing import Any

import numpy as np

from fastconv.backends.base import Cost, Work
from fastconv.backends.manifest.convolutions import Fft as FftArgs
from fastconv.backends.native.bounds import FILTER_SIGMAS
from fastconv.backends.native.conv.common import PlaneByPlane, unit
from fastconv.backends.native.conv.fft.filters import packed_spectra, spectra_seconds
from fastconv.backends.native.conv.fft.layout import Blocks
from fastconv.backends.native.conv.fft.passes import pass_tables
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.conv.pack import index_table
from fastconv.backends.native.gemm import clamp, fused, tile_for, vector_tile
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    constant,
    scratch_stride,
)
from fastconv.backends.native.weights import packed_bias
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem


class Fft(PlaneByPlane):
    """One input channel a group, channels first; the cost hardly depends on the kernel's size."""

    name = "fft"
    approximates = True

    def why_not(self, problem: ConvProblem) -> str | None:
        refused = super().why_not(problem)
        if refused is None and Blocks.of(problem, get_machine()) is None:
            return "its blocks' transforms would not stay in the second cache"
        return refused

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        blocks = Blocks.of(problem, machine)
        assert blocks is not None
        seconds = max(blocks.seconds(machine), problem.bytes / machine.memory_bandwidth / 2)
        return Cost(seconds, packing_seconds=spectra_seconds(blocks, machine))

    def work(self, problem: ConvProblem, machine: Machine) -> Work:
        blocks = Blocks.of(problem, machine)
        assert blocks is not None
        return blocks.work()

    def error_bound(self, problem: ConvProblem) -> float:
        """Count a rounding a pass forward, back and of the spectrum, all over a block's outputs.

        Roundings of each pass are independent and relative to the size of what is transformed,
        which Fourier transforms keep (Gentleman and Sande, 1966); outputs next to an edge, where
        windows see padding, are smaller than a block's others by half at most a dimension.
        """
        blocks = Blocks.of(problem, get_machine())
        assert blocks is not None
        passes = 2 * log2(prod(blocks.size)) + 4
        return FILTER_SIGMAS * unit(problem.dtype) * (sqrt(passes) + 2)

    def geometry(self, problem: ConvProblem) -> NativePlan:
        machine = get_machine()
        blocks = Blocks.of(problem, machine)
        assert blocks is not None
        tile = vector_tile(tile_for(self.library, problem.dtype, machine))
        size = problem.dtype.itemsize
        down, across = (pass_tables(n, problem.dtype) for n in (blocks.rows, blocks.size[1]))
        spectra = packed_spectra(self.library, blocks, tile)
        biases = packed_bias(
            self.library, problem.dtype.name, groups=1, columns=problem.out_channels,
            width=tile.lanes,
        )  # fmt: skip
        activation = problem.activation if fused(problem.activation) else None
        height, width = lead(problem.output_size, 1)[1:]
        rows, columns = _line_tables(problem, blocks)
        step_down, step_across = lead(problem.stride, 1)[1:]
        arguments = FftArgs(
            planes=INPUT(0), plane_bytes=prod(problem.input_size) * size, weights=spectra,
            bias=biases, out=OUTPUT, out_bytes=height * width * size,
            residual=INPUT(1) if problem.residual else 0, **clamp(activation), height=height,
            width=width, matrices=blocks.matrices, blocks=blocks.blocks,
            blocks_across=blocks.counts[1], outputs_down=blocks.outputs[0],
            outputs_across=blocks.outputs[1], step_down=step_down, step_across=step_across,
            rows=rows, columns=columns, in_width=problem.input_size[-1],
            before=problem.padding[-1][0], multiplier=blocks.multiplier,
            channels=problem.in_channels, lines=blocks.rows, length=blocks.size[1],
            pitch=blocks.pitch * size, matrix_bytes=blocks.matrix_bytes,
            line_bytes=blocks.line_bytes, spectrum_bytes=blocks.spectrum_bytes,
            down=constant(down[0]), down_count=len(down[0]), down_twiddles=constant(down[1]),
            across=constant(across[0]), across_count=len(across[0]),
            across_twiddles=constant(across[1]), scratch_base=SCRATCH,
            scratch_stride=scratch_stride(blocks.scratch_bytes), parts=blocks.parts,
        )  # fmt: skip
        by_table = problem.padding_mode != "zeros"
        address = self.library.kernel("fft.overlap_save", tile, blocks.flat, by_table)
        items = problem.batch * blocks.items_image
        return self.native_plan(
            problem,
            [Stage(address, items, arguments)],
            workspace_bytes=0,
            scratch_bytes=blocks.scratch_bytes,
        )


def _line_tables(problem: ConvProblem, blocks: Blocks) -> list[Any]:
    """Return for each padded row, and column, the input's that it shows, -1 for zeros."""
    sizes, pads = lead(problem.input_size, 1)[1:], problem.padding
    befores = (0, 0, *(p[0] for p in pads))[-2:]
    afters = (0, 0, *(p[1] for p in pads))[-2:]
    tables = []
    for i in range(2):
        reach = (blocks.counts[i] - 1) * blocks.outputs[i] + blocks.size[i]
        there = min(reach, sizes[i] + befores[i] + afters[i])
        table = np.full(reach, -1, np.int64)
        table[:there] = index_table(sizes[i], befores[i], there, problem.padding_mode)
        tables.append(constant(table))
    return tables
