"""Transposed convolution: one small dense convolution an output phase, on the one GEMM.

With stride s, the outputs at places r + s j see the same taps for every j: s a dimension such
phases, each a convolution of stride 1 over the input, with no zero ever multiplied.
"""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from fastconv.backends.base import Cost, Work
from fastconv.backends.native.conv.common import NativeConv, conv_tile
from fastconv.backends.native.conv.geometry import offsets, output_words
from fastconv.backends.native.conv.pack import Source, pack_input
from fastconv.backends.native.conv.phases import phase_length, phase_taps, phases
from fastconv.backends.native.gemm import Gemm, scratch_bytes
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import NativePlan, Packed, Stage
from fastconv.backends.native.tile import Tile
from fastconv.backends.native.weights import packed_bias, packed_rows, packing_seconds
from fastconv.machine import Machine
from fastconv.problem import ConvTransposeProblem, Shape


class Transposed(NativeConv):
    """Implicit GEMM, a phase at a time."""

    name = "direct"

    def cost(self, problem: ConvTransposeProblem, machine: Machine) -> Cost:
        tile = conv_tile(self.library, problem, machine)
        columns = problem.out_channels // problem.groups
        waste = -(-columns // tile.columns) * tile.columns / columns
        packed = prod(_padded(problem)[1]) * problem.in_channels * problem.dtype.itemsize
        seconds = (
            problem.flops * waste / machine.peak_flops(problem.dtype)
            + (problem.bytes + packed) / machine.memory_bandwidth
        )
        return Cost(seconds, problem.batch * packed, packing_seconds(problem, machine))

    def work(self, problem: ConvTransposeProblem, machine: Machine) -> Work:
        # What would fall beyond the output is never computed; at the edges zeros are multiplied.
        pairs = [
            sum(
                phase_length(problem, i, phase) * len(phase_taps(problem, i, phase))
                for phase in phases(problem, i)
            )
            for i in range(problem.n)
        ]
        channels = problem.in_channels // problem.groups * problem.out_channels
        flops = min(problem.flops, 2 * problem.batch * channels * prod(pairs))
        return Work(flops, problem.bytes, problem.dtype.name)

    def geometry(self, problem: ConvTransposeProblem) -> NativePlan:
        tile = conv_tile(self.library, problem)
        before, padded = _padded(problem)
        packed = pack_input(self.library, problem, before, padded)
        columns = problem.out_channels // problem.groups
        bias = packed_bias(
            self.library, tile.dtype, groups=problem.groups, columns=columns, width=tile.columns
        )
        scratch = scratch_bytes(tile)
        stages = list(packed.stages)
        for phase in product(*map(phases, [problem] * problem.n, range(problem.n))):
            job = _phase_gemm(self.library, tile, problem, phase, packed, before, bias)
            if job is not None:
                arguments = job.arguments(tile, scratch)
                stages.append(
                    Stage(
                        self.library.kernel("gemm", tile), job.items(problem.batch, tile), arguments
                    )
                )
        return self.native_plan(
            problem, stages, workspace_bytes=packed.workspace_bytes, scratch_bytes=scratch
        )


def _padded(problem: ConvTransposeProblem) -> tuple[Shape, Shape]:
    """Return the cells to put before the input, its padded size, so that all taps are inside."""
    before, padded = [], []
    for dimension, length in enumerate(problem.input_size):
        low, high = 0, length - 1
        for phase in phases(problem, dimension):
            outputs = phase_length(problem, dimension, phase)
            for _, shift in phase_taps(problem, dimension, phase):
                low, high = min(low, shift), max(high, outputs - 1 + shift)
        before.append(-low)
        padded.append(high + 1 - low)
    return tuple(before), tuple(padded)


def _phase_gemm(
    library: Library,
    tile: Tile,
    problem: ConvTransposeProblem,
    phase: Shape,
    packed: Source,
    before: Shape,
    bias: Packed,
) -> Gemm | None:
    """Return one phase's GEMM; None when the phase has no outputs."""
    dimensions = range(problem.n)
    lengths = [phase_length(problem, i, phase[i]) for i in dimensions]
    if 0 in lengths:
        return None
    size = problem.dtype.itemsize
    strides = packed.strides[3 - problem.n :]
    reached = [phase_taps(problem, i, phase[i]) for i in dimensions]
    taps = offsets(
        *(
            np.array([(shift + b) * stride for _, shift in column], np.int64)
            for column, b, stride in zip(reached, before, strides, strict=True)
        )
    )
    rows = offsets(*(np.arange(n) * stride for n, stride in zip(lengths, strides, strict=True)))
    outputs = offsets(
        *(
            (phase[i] + problem.stride[i] * np.arange(lengths[i]))
            * prod(problem.output_size[i + 1 :])
            for i in dimensions
        )
    )
    kernel = problem.kernel_size
    chosen = offsets(
        *(
            np.array([k for k, _ in column], np.int64) * prod(kernel[i + 1 :])
            for i, column in enumerate(reached)
        )
    )
    per_group = problem.in_channels // problem.groups
    columns = problem.out_channels // problem.groups
    # A row of the panels is a tap of an input channel.
    places = chosen[:, None] + np.arange(per_group) * columns * prod(kernel)
    return Gemm(
        a=packed.slot,
        a_image=packed.image * size,
        a_group=per_group * size,
        rows=rows * size,
        taps=taps * size,
        depth=per_group,
        b=packed_rows(
            library, tile.dtype, groups=problem.groups, columns=columns, width=tile.columns,
            places=places.ravel(), group=per_group * columns * prod(kernel), step=prod(kernel),
        ),
        bias=bias,
        **output_words(problem, outputs),
    )  # fmt: skip
