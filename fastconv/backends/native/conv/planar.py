"""Direct convolution of NCHW images: vector lanes across pixels, weights broadcast.

No change of layout: a register tile is some output channels of some vectors of pixels, fed from
padded lines in a worker's scratch memory, or from the input itself where windows are single
pixels. Few channels, in a first layer or in a group, cost no more than many.
"""

from __future__ import annotations

import dataclasses
from itertools import takewhile
from math import log2, prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.manifest.convolutions import Planar as PlanarArgs
from fastconv.backends.manifest.tiles import tiles_of
from fastconv.backends.native.arena import rounded
from fastconv.backends.native.conv.common import NativeConv
from fastconv.backends.native.conv.planes import Planes
from fastconv.backends.native.gemm import clamp, fused, tile_for
from fastconv.backends.native.items import LEAST_ITEMS, items_wanted, part_of
from fastconv.backends.native.library import Library, cached
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    NativePlan,
    Stage,
    constant,
    scratch_stride,
)
from fastconv.backends.native.tile import Tile
from fastconv.backends.native.weights import packed_bias, packed_panels, packing_seconds
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem
from fastconv.problem.record import record, replaced

# Work items of one image: enough for some threads.
CHUNKS = 4
# Bytes of the lines that a chunk of a long line keeps: in the first cache with the weights.
LINE_CHUNK_BYTES = 12 << 10
# Where a line's lines take more than this, it is cut into chunks.
LONG_LINE_BYTES = 64 << 10
# Inputs of a block of pixels that are not copied: they stay in the first cache as they are.
FEWEST_PANEL_BYTES = 4 << 10
# Tiles that a chunk has at least: fewer copy more than they multiply.
FEWEST_TILES = 4

# How an image is cut into work items; kernels know cuts by their numbers.
CUTS = ("rows", "pixels", "columns", "spans")


class Planar(NativeConv):
    """Implicit GEMM with the pixels as columns."""

    name = "planar"

    def why_not(self, problem: ConvProblem) -> str | None:
        if problem.channels_last and (problem.in_channels > 1 or problem.out_channels > 1):
            return "channels last: this kernel is for channels first"
        if problem.n > 2:
            return f"{problem.n} dimensions: this kernel is for one or two"
        return super().why_not(problem)

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        shape = Shape.of(self.library, problem, machine, shared=False)
        tile, size = shape.tile, problem.dtype.itemsize
        columns = problem.out_channels // problem.groups
        rows = -(-columns // tile.rows) * tile.rows
        # The last chunk is shorter than the others.
        length = shape.size[0] if shape.cut == "rows" else shape.size[1]
        last = replaced(shape, chunk=length - (shape.chunks - 1) * shape.chunk)
        vectors = tile.vectors * (
            (shape.chunks - 1) * -(-shape.vectors // tile.vectors)
            + -(-last.vectors // tile.vectors)
        )
        outputs = problem.batch * problem.groups * rows * vectors * tile.lanes
        flops = outputs * (2 * problem.sum_length / _efficiency(tile) + 6)
        lines = 0.0
        if not shape.flat:
            lines = shape.chunks * shape.lines_bytes * problem.groups * problem.batch
        moved = problem.bytes + lines / 4
        seconds = flops / machine.peak_flops(problem.dtype) + moved / machine.memory_bandwidth / 2
        beyond = max(0, shape.lines_bytes - machine.l2_bytes // 2)
        seconds *= 1 + beyond / machine.l2_bytes
        if shape.flat and not shape.panel_bytes:
            # Vectors read across cache lines, from planes that leave the first cache in between.
            panel = problem.sum_length * tile.columns * size
            if panel > machine.l1_bytes:
                seconds *= 1.2 + 0.2 * log2(panel / machine.l1_bytes)
        return Cost(seconds, shape.lines_bytes, packing_seconds(problem, machine))

    def geometry(self, problem: ConvProblem) -> NativePlan:
        shape = Shape.of(self.library, problem, get_machine())
        planes, tile, size = shape.planes, shape.tile, problem.dtype.itemsize
        groups, plane = problem.groups, prod(problem.input_size)
        per_group = problem.in_channels // groups
        columns = problem.out_channels // groups
        steps = per_group * prod(problem.kernel_size)
        panels = {"groups": groups, "columns": columns, "width": tile.rows}
        filters = packed_panels(self.library, tile.dtype, channels=steps, **panels)
        activation = problem.activation if fused(problem.activation) else None
        scratch = 0 if shape.flat else shape.lines_bytes + tile.columns * size
        # Where the panel of a block of pixels is in scratch memory.
        panel = rounded(scratch) if shape.panel_bytes else -1
        scratch = panel + shape.panel_bytes if shape.panel_bytes else scratch
        height, width = shape.size
        way = CUTS.index(shape.cut), int(planes.single)
        out_plane = prod(problem.output_size) * size
        taps_down, stride_down, apart_down = planes.down
        arguments = PlanarArgs(
            planes=INPUT(0), image_bytes=problem.in_channels * plane * size,
            plane_bytes=plane * size, weights=filters,
            bias=packed_bias(self.library, tile.dtype, **panels), out=OUTPUT,
            out_image=problem.out_channels * out_plane, out_plane=out_plane,
            residual=INPUT(1) if problem.residual else 0, **clamp(activation), groups=groups,
            in_channels=per_group, out_channels=columns, steps=steps,
            offsets=constant(shape.offsets(), np.int64),
            pixels=constant(shape.pixels(), np.int64), chunk=shape.chunk, height=height,
            width=width, cut=way[0], single=way[1], taps_down=taps_down,
            stride_down=stride_down, apart_down=apart_down, **planes.fields(problem),
            scratch_base=SCRATCH, scratch_stride=scratch_stride(scratch), parts=shape.parts,
            panel=panel,
        )  # fmt: skip
        address = self.library.kernel("planar", tile, *planes.constants(), *way)
        items = problem.batch * shape.items_image
        return self.native_plan(
            problem, [Stage(address, items, arguments)], workspace_bytes=0, scratch_bytes=scratch
        )


@record(frozen=True)
class Shape:
    """How a problem is cut: chunks of "rows", of "pixels" in place, or of a long line.

    Those are "columns" that stay in the first cache, or "spans" that stay in the second.
    """

    problem: ConvProblem
    planes: Planes
    tile: Tile
    cut: str
    chunk: int

    @property
    def flat(self) -> bool:
        """Whether windows are single pixels, read where they are."""
        return self.cut == "pixels"

    @classmethod
    def of(
        cls, library: Library, problem: ConvProblem, machine: Machine, *, shared: bool = True
    ) -> Shape:
        """Choose the cut; costs are predicted for what is not ``shared`` among threads."""
        lanes = machine.lanes(problem.dtype)
        planes = Planes(problem, lanes)
        pointwise = prod(problem.kernel_size) == 1
        flat = pointwise and not any(map(any, problem.padding)) and set(problem.stride) == {1}
        tile = _tile(library, problem.dtype, machine, problem.out_channels // problem.groups)
        pixels = prod(problem.output_size)
        if flat and pixels >= lanes:
            chunk = -(-pixels // (CHUNKS * tile.columns)) * tile.columns
            # The last vector of a chunk overlaps the one before: none is read past the plane's end.
            while 0 < pixels % chunk < lanes:
                chunk += tile.columns
            return cls(problem, planes, tile, "pixels", chunk)
        line = cls(problem, planes, tile, "rows", 1)
        wanted = items_wanted(problem.flops / problem.batch) if shared else 1
        if problem.n == 1 and not planes.by_table and line.lines_bytes > LONG_LINE_BYTES:
            cuts = (
                line._cut_line("columns", LINE_CHUNK_BYTES),
                line._cut_line("spans", machine.l2_bytes // 2),
            )
            for cut in cuts:
                if cut.chunk >= FEWEST_TILES * tile.columns:
                    return cut if cut.items_image >= wanted else cut._spread(wanted)
        if problem.n == 1 and not planes.by_table and line.items_image < wanted:
            return line._spread(wanted)
        most = -(-planes.height // 2)
        limit = max(machine.l2_bytes // 2, line.lines_bytes)
        choices = (cls(problem, planes, tile, "rows", rows) for rows in range(1, most + 1))
        fitting = list(takewhile(lambda c: c.lines_bytes <= limit, choices))
        best = min(fitting, key=cls._work)
        if best.items_image >= wanted:
            return best
        # Larger chunks copy fewer lines twice.
        return max(fitting, key=lambda c: (min(c.items_image, wanted), c.chunk))

    def _cut_line(self, cut: str, room: int) -> Shape:
        """Return chunks of outputs whose lines take ``room`` bytes; each is a separate problem."""
        problem, columns = self.problem, self.tile.columns
        taps, step, apart = self.planes.across
        place = problem.in_channels // problem.groups * step * problem.dtype.itemsize
        fitting = (room // place - (taps - 1) * apart // step) // columns
        return self._of_columns(cut, max(1, fitting) * columns)

    def _spread(self, wanted: int) -> Shape:
        """Return a long line cut into as many chunks as are wanted."""
        columns = self.tile.columns
        tiles = -(-self.problem.output_size[-1] // columns)
        chunk = part_of(tiles, self.problem.groups * self.tiles, wanted) * columns
        return self._of_columns("spans", chunk)

    def _of_columns(self, cut: str, chunk: int) -> Shape:
        """Return the cut into chunks of so many outputs of a line."""
        problem = self.problem
        taps, step, apart = self.planes.across
        one = dataclasses.replace(
            problem, input_size=((chunk - 1) * step + (taps - 1) * apart + 1,), padding=((0, 0),)
        )
        return Shape(problem, Planes(one, self.planes.lanes), self.tile, cut, chunk)

    def _work(self) -> tuple[float, int]:
        """Order chunks: vectors multiplied, lines copied; then the smaller chunk."""
        vectors = -(-self.vectors // self.tile.vectors) * self.tile.vectors
        columns = self.problem.out_channels // self.problem.groups
        lines = self.planes.lines(self.chunk) * self.planes.line / self.tile.lanes
        # Few chunks leave threads without work, or with unequal shares.
        share = 1 + 0.05 / self.chunks
        return self.chunks * (vectors * columns + 3 * lines) * share, self.chunk

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of outputs; one row where windows are single pixels."""
        if self.cut == "rows":
            return self.planes.height, self.planes.width
        return 1, prod(self.problem.output_size)

    @property
    def chunks(self) -> int:
        """Work items of a group of an image."""
        height, width = self.size
        return -(-(height if self.cut == "rows" else width) // self.chunk)

    @property
    def tiles(self) -> int:
        """Tiles of a group's output channels."""
        return -(-(self.problem.out_channels // self.problem.groups) // self.tile.rows)

    @property
    def parts(self) -> int:
        """Parts of the tiles of a group's output channels: several where chunks are few."""
        return min(self.tiles, -(-LEAST_ITEMS // (self.chunks * self.problem.groups)))

    @property
    def items_image(self) -> int:
        """Work items of an image."""
        return self.chunks * self.problem.groups * self.parts

    @property
    def rows(self) -> int:
        """Output rows of a chunk that copies lines."""
        return self.chunk if self.cut == "rows" else 1

    @property
    def vectors(self) -> int:
        """Vectors of pixels in a whole chunk."""
        lanes, width = self.tile.lanes, self.planes.width
        if self.cut != "rows":
            return -(-self.chunk // lanes)
        if self.planes.single:
            return -(-self.chunk * width // lanes)
        return self.chunk * -(-width // lanes)

    @property
    def plane_lines(self) -> int:
        """Elements of one plane's padded lines."""
        return self.planes.lines(self.rows) * self.planes.line

    @property
    def lines_bytes(self) -> int:
        """Bytes of the padded lines of a group's chunk."""
        problem = self.problem
        per_group = problem.in_channels // problem.groups
        return 0 if self.flat else per_group * self.plane_lines * problem.dtype.itemsize

    @property
    def panel_bytes(self) -> int:
        """Bytes of a block's inputs, where they are copied; 0: they are read where they are.

        It pays where single pixels of many channels are read for many output channels, and by
        kernels that can: those of C.
        """
        problem, machine = self.problem, get_machine()
        size = problem.dtype.itemsize
        room = problem.in_channels // problem.groups * self.tile.columns * size
        near, far = machine.figures.panel_tiles
        image = problem.in_channels * prod(problem.input_size) * size
        few = self.tiles < (near if image <= machine.l2_bytes else far)
        if few or not self.planes.single or self.cut not in ("rows", "pixels"):
            return 0
        return room if FEWEST_PANEL_BYTES <= room <= machine.l2_bytes // 4 else 0

    def offsets(self) -> Array:
        """Return the bytes from an output's pixel to what each weight multiplies."""
        problem, planes = self.problem, self.planes
        channels = np.arange(problem.in_channels // problem.groups)
        if self.flat:
            return channels * prod(problem.input_size) * problem.dtype.itemsize
        taps, _, apart = planes.down
        down = np.arange(taps) * apart * planes.line
        places = (channels * self.plane_lines)[:, None, None] + down[:, None] + planes.offsets()
        offsets: Array = places.ravel() * problem.dtype.itemsize
        return offsets

    def pixels(self) -> Array:
        """Return for each vector of a chunk: bytes to its input, to its output, lanes to store."""
        lanes, size = self.tile.lanes, self.problem.dtype.itemsize
        width = self.planes.width
        if self.planes.single:
            places = np.arange(self.vectors) * lanes
            rows = [places * size, places * size, np.full(self.vectors, lanes)]
        else:
            x = np.arange(0, width, lanes)
            y = np.arange(self.rows)[:, None]
            step = self.planes.down[1] * self.planes.line
            rows = [(y * step + x) * size, (y * width + x) * size, width - x + 0 * y]
        table = np.stack([row.ravel() for row in rows], axis=1)
        spare = np.repeat(table[-1:], self.tile.vectors, axis=0)
        spare[:, 2] = 0
        return np.concatenate([table, spare])


@cached
def _tile(library: Library, dtype: np.dtype[Any], machine: Machine, columns: int) -> Tile:
    """Choose the tile whose rows waste least on the output channels of a group."""
    tile = tile_for(library, dtype, machine)
    shapes = tiles_of(machine.isa).planar
    tiles = [replaced(tile, rows=rows, vectors=vectors) for rows, vectors in shapes]
    return min(tiles, key=lambda t: (-(-columns // t.rows) * t.rows / _efficiency(t), -t.rows))


def _efficiency(tile: Tile) -> float:
    """Share of the multiply-add rate that the loads leave: 2 cycles a vector, 0.6 a broadcast."""
    products = tile.rows * tile.vectors
    return products / max(products + 0.5, 2 * tile.vectors + 0.6 * tile.rows)
