"""Direct convolution: an implicit GEMM, windows found by offsets, nothing lowered to memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from math import prod

from fastconv.backends.base import Cost
from fastconv.backends.manifest.products import FreshGemm
from fastconv.backends.native.conv.common import NativeConv, conv_tile, register_tiles
from fastconv.backends.native.conv.geometry import conv_gemm, padded_size
from fastconv.backends.native.conv.pack import pack_input
from fastconv.backends.native.gemm import Gemm, scratch_bytes
from fastconv.backends.native.items import part_of
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    Given,
    NativePlan,
    Packed,
    Stage,
)
from fastconv.backends.native.sources import Sources
from fastconv.backends.native.tile import Tile
from fastconv.backends.native.weights import packing_seconds
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem, Shape

# Seconds that starting a tap costs a tile: addresses, and the pipeline running empty.
TAP_SECONDS = 4e-9
# Addresses so far apart share a set of the first cache; a line of it.
SET_BYTES, LINE = 4096, 64
# Rows up to which large weights are packed panel by panel; what that takes of packing them all.
FEW_ROWS, FRESH_SHARE = 256, 0.5
# Operations as long as turning an output channels first takes.
TURN_OPERATIONS = 40


class Direct(NativeConv):
    """Implicit GEMM over the padded input, one tap after the other."""

    name = "direct"

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        tile = conv_tile(self.library, problem, machine)
        tiles = register_tiles(problem, tile)
        flops = 2 * tiles * tile.rows * tile.columns * problem.sum_length
        if not problem.channels_last:
            flops += TURN_OPERATIONS * prod(problem.output_shape)
        packed = _bytes_packed(problem)
        moved = problem.bytes + packed
        merged = problem.kernel_size[-1] if taps_merge(problem) else 1
        taps = prod(problem.kernel_size) // merged
        seconds = (
            flops / machine.peak_flops(problem.dtype)
            + moved / machine.memory_bandwidth
            + tiles * taps * TAP_SECONDS
        )
        packing = packing_seconds(problem, machine)
        if self._is_fresh(problem, machine):
            packing *= FRESH_SHARE
        return Cost(seconds, packed, packing)

    def geometry(self, problem: ConvProblem) -> NativePlan:
        return self._planned(problem, fresh=False)

    def packing_plan(self, problem: ConvProblem, sources: Sources = ()) -> NativePlan:
        # Panel by panel columns are read as they are given: contiguous.
        as_given = not (sources and sources[0])
        plan = self._planned(problem, fresh=as_given and self._is_fresh(problem, get_machine()))
        return self.reading(problem, plan, sources)

    def _is_fresh(self, problem: ConvProblem, machine: Machine) -> bool:
        """Return whether weights of a call are packed panel by panel.

        It pays where they are large and the rows few, which are read again for each panel, and
        where one register tile has all rows: each panel is then read once.
        """
        tile = conv_tile(self.library, problem, machine)
        rows = problem.batch * prod(problem.output_size)
        large = rows <= FEW_ROWS and problem.parameter_bytes > machine.l2_bytes
        return (large or rows <= tile.rows) and self.library.has("gemm.fresh", tile)

    def _planned(self, problem: ConvProblem, *, fresh: bool) -> NativePlan:
        """Plan over packed panels, or over weights as they are given, packed panel by panel."""
        tile = conv_tile(self.library, problem)
        before = tuple(p[0] for p in problem.padding)
        packed = pack_input(
            self.library, problem, before, padded_size(problem), mode=problem.padding_mode,
            pitch=_pitch(problem), step=_step(problem),
        )  # fmt: skip
        job = conv_gemm(self.library, _dense(problem), packed, tile)
        if fresh:
            stage, scratch = fresh_stage(self.library, problem, job, tile)
        else:
            scratch = scratch_bytes(tile)
            arguments = job.arguments(tile, scratch)
            kernel = self.library.kernel("gemm", tile)
            stage = Stage(kernel, job.items(problem.batch, tile), arguments)
        return self.native_plan(
            problem,
            [*packed.stages, stage],
            workspace_bytes=packed.workspace_bytes,
            scratch_bytes=scratch,
        )


def fresh_stage(library: Library, problem: ConvProblem, job: Gemm, tile: Tile) -> tuple[Stage, int]:
    """Return the stage of a GEMM that packs each panel where it is multiplied, and its scratch.

    A call then reads each weight from memory once, and no packed form of them all is written.
    """
    channels, taps = problem.in_channels // problem.groups, prod(problem.kernel_size)
    scratch = scratch_bytes(tile) + channels * taps * tile.columns * tile.size
    fields = dataclasses.replace(job, b=Packed(Given(0))).fields(tile, scratch)
    panels = problem.groups * -(-job.columns // tile.columns)
    row_tiles = -(-len(job.rows) // tile.rows)
    row_block = min(fields["row_block"], part_of(row_tiles, panels) * tile.rows)
    column = channels * taps * tile.size
    arguments = FreshGemm(
        **fields | {"row_block": row_block}, fresh_group=job.columns * column,
        fresh_column=column, fresh_taps=taps, fresh_channels=channels, images=problem.batch,
    )  # fmt: skip
    items = panels * problem.batch * -(-len(job.rows) // row_block)
    return Stage(library.kernel("gemm.fresh", tile), items, arguments), scratch


def _step(problem: ConvProblem) -> Shape:
    """Return of how many cells a dimension one is packed: no others are read by a kernel of one."""
    whole = all(k == 1 and p == (0, 0) for k, p in _windows(problem))
    packs = not problem.channels_last or _conflict(problem, problem.stride[-1])
    return problem.stride if whole and packs else (1,) * problem.n


def _windows(problem: ConvProblem) -> Iterable[tuple[int, tuple[int, int]]]:
    return zip(problem.kernel_size, problem.padding, strict=True)


def _dense(problem: ConvProblem) -> ConvProblem:
    """Return the problem over what was packed."""
    if set(_step(problem)) == {1}:
        return problem
    return dataclasses.replace(problem, input_size=problem.output_size, stride=(1,) * problem.n)


def _conflict(problem: ConvProblem, step: int) -> bool:
    """Return whether the lines of a tile's rows drive each other out of the first cache.

    Lines a multiple of 4 KB apart share a set, which holds 8 or 12 of them.
    """
    pitch = problem.in_channels * step * problem.dtype.itemsize
    return pitch % SET_BYTES == 0 and problem.groups == 1


def _pitch(problem: ConvProblem) -> int:
    """Return how far apart packed cells are, so that rows do not conflict; 0: as they come."""
    step = problem.stride[-1] if set(_step(problem)) == {1} else 1
    return problem.in_channels + LINE // problem.dtype.itemsize if _conflict(problem, step) else 0


def _bytes_packed(problem: ConvProblem) -> int:
    """Bytes of the packed input; 0 where the input is read as it is stored."""
    if _pitch(problem) == 0 and set(_step(problem)) == {1}:
        return pack_bytes(problem)
    cells = (-(-n // s) for n, s in zip(padded_size(problem), _step(problem), strict=True))
    pitch = max(_pitch(problem), problem.in_channels)
    return problem.batch * prod(cells) * pitch * problem.dtype.itemsize


def pack_bytes(problem: ConvProblem) -> int:
    """Bytes of the packed input; 0 where the input is read as it is stored."""
    padded = padded_size(problem)
    if padded == problem.input_size and (problem.channels_last or problem.in_channels == 1):
        return 0
    return problem.batch * prod(padded) * problem.in_channels * problem.dtype.itemsize


def taps_merge(problem: ConvProblem) -> bool:
    """Return whether the taps of a kernel's row are stored one after the other in memory."""
    return problem.groups == 1 and problem.dilation[-1] == 1
