"""Winograd's minimal filtering as algorithms: one for each size of output tile.

Kernels of two to seven taps a dimension, in one or two dimensions, strides of 1 and 2 (by phases),
groups (Lavin and Gray, 2015; the matrices come from `cook_toom`).
"""

from __future__ import annotations

import functools
from math import prod

from fastconv.backends.base import Cost, Work
from fastconv.backends.manifest.convolutions import Winograd as WinogradArgs
from fastconv.backends.native.conv.common import NativeConv, unit
from fastconv.backends.native.conv.geometry import lead, output_words
from fastconv.backends.native.conv.pack import Source, pack_input
from fastconv.backends.native.conv.winograd.axis import winograd_bound
from fastconv.backends.native.conv.winograd.layout import Layout, axes_of, filter_axes
from fastconv.backends.native.conv.winograd.weights import packed_weights
from fastconv.backends.native.gemm import clamp, fused, vector_tile
from fastconv.backends.native.plan import (
    INPUT,
    SCRATCH,
    Given,
    NativePlan,
    Packed,
    Stage,
    constant,
    scratch_stride,
)
from fastconv.backends.native.weights import packed_bias
from fastconv.machine import Machine, get_machine
from fastconv.problem import ConvProblem, Shape

# Tiles of weights that are transformed for images of any size: the first that ``rtol`` allows. For
# images of a few to many tiles F(4) is within a quarter of the fastest.
FORMS = (4, 3, 2)


def form_for_any_size(problem: ConvProblem) -> int | None:
    """Return the one tile that such weights are transformed for; None: there is none."""
    channels = problem.in_channels // problem.groups
    return _form(problem.kernel_size, problem.stride, channels, unit(problem.dtype), problem.rtol)


@functools.cache
def _form(kernel: Shape, stride: Shape, channels: int, unit: float, rtol: float) -> int | None:
    for m in FORMS:
        axes = axes_of(kernel, stride, m)
        if axes is not None and winograd_bound(*axes, channels, unit) <= rtol:
            return m
    return None


class Winograd(NativeConv):
    """F(m x m) for the kernel at hand."""

    approximates = True
    m: int

    def why_not(self, problem: ConvProblem) -> str | None:
        kernel = " x ".join(map(str, problem.kernel_size))
        if problem.n > 2:
            return f"{problem.n} dimensions: this kernel is for one or two"
        if any(s > 2 for s in problem.stride):
            return "stride above 2"
        if any(s > 1 < d for s, d in zip(problem.stride, problem.dilation, strict=True)):
            return "stride and dilation above 1"
        if prod(problem.kernel_size) == 1 or filter_axes(problem, self.m) is None:
            return f"kernel {kernel}: no points are known for F({self.m}) of it at this stride"
        lanes = get_machine().lanes(problem.dtype)
        merged = Layout.merged_groups(problem, lanes)
        channels = merged * problem.in_channels // problem.groups
        if problem.groups > 1 and (channels % lanes or problem.groups % merged):
            per_group = problem.in_channels // problem.groups
            return f"{per_group} channels a group fill no whole vectors of {lanes}"
        if problem.any_size and self.m != (form := form_for_any_size(problem)):
            return f"weights for images of any size are transformed for F({form}) alone"
        return super().why_not(problem)

    def cost(self, problem: ConvProblem, machine: Machine) -> Cost:
        return Layout.of(self.library, problem, self.m, machine, shared=False).cost(machine)

    def work(self, problem: ConvProblem, machine: Machine) -> Work:
        return Layout.of(self.library, problem, self.m, machine).work()

    def error_bound(self, problem: ConvProblem) -> float:
        axes = filter_axes(problem, self.m)
        assert axes is not None
        channels = problem.in_channels // problem.groups
        return winograd_bound(*axes, channels, unit(problem.dtype))

    def geometry(self, problem: ConvProblem) -> NativePlan:
        layout = Layout.of(self.library, problem, self.m, get_machine())
        tile, down, across = layout.tile, layout.down, layout.across
        size = problem.dtype.itemsize
        packed = self._source(problem, layout)
        row, column = packed.strides[1] * size, packed.strides[2] * size
        before = lead(tuple(p[0] for p in problem.padding), 0)[1:]
        out = output_words(problem, layout.pixels())
        steps = down.stride * layout.subs[0], across.stride * layout.subs[1]
        activation = problem.activation if fused(problem.activation) else None
        one = vector_tile(tile)
        filters = (down.m, down.r), (across.m, across.r)
        read = "planar_input" if layout.planar else "input"
        kernel = self.library.kernel
        height, width = layout.output_size
        columns = problem.out_channels // layout.groups
        starts, sizes, segment_starts, segment_counts = layout.tables()
        between, run, lines, inputs, products = layout.scratch_offsets
        in_height, in_width = lead(problem.input_size, 1)[1:]
        kernel_height, kernel_width = lead(problem.kernel_size, 1)[1:]
        arguments = WinogradArgs(
            source=packed.slot, source_image=packed.image * size, source_row=row,
            source_column=column, step_down=down.m * steps[0] * row,
            step_across=across.m * steps[1] * column, phases_down=down.phases,
            phases_across=across.phases, stride_down=steps[0], stride_across=steps[1],
            channel_blocks=layout.channel_blocks, source_plane=prod(problem.input_size) * size,
            in_channels=problem.in_channels, in_height=in_height, in_width=in_width,
            before_down=before[0], before_across=before[1], run_tiles=layout.run[0],
            run_pixels=layout.run[1], subs_down=layout.subs[0], subs_across=layout.subs[1],
            tiles_band=layout.tiles_band, sub_height=layout.sub_size[0],
            sub_width=layout.sub_size[1], tiles_across=layout.tiles_across,
            tiles_image=layout.tiles_image, tiles=layout.tiles, block_tiles=layout.block,
            tile_rows=tile.rows, frequencies=layout.frequencies, a_frequency=layout.a_frequency,
            a_tile=layout.a_tile, weights=packed_weights(self.library, layout),
            weights_group=layout.weights_group, groups=layout.groups, panels=layout.panels,
            panel_starts=starts, panel_bytes=sizes, segment_starts=segment_starts,
            segment_counts=segment_counts, part_panels=layout.part, parts=layout.parts,
            p_frequency=layout.p_frequency, p_tile=layout.p_tile,
            bias=packed_bias(
                self.library, tile.dtype, groups=layout.groups, columns=columns,
                width=tile.columns,
            ),
            out=out["out"], out_image=out["out_image"],
            out_group=out["out_group"] * (problem.groups // layout.groups),
            out_rows=constant(out["out_rows"]), out_column=out["out_column"],
            residual=out["residual"], **clamp(activation), height=height, width=width,
            columns=columns, down_outputs=down.m, down_taps=down.r, across_outputs=across.m,
            across_taps=across.r, plain_weights=Packed(Given(0)), kernel_height=kernel_height,
            kernel_width=kernel_width, group_inputs=problem.in_channels // problem.groups,
            group_outputs=problem.out_channels // problem.groups, planar=int(layout.planar),
            input_kernel=kernel(f"winograd.{read}", one, *filters),
            multiply_kernel=kernel("winograd.multiply", tile, layout.tail),
            output_kernel=kernel("winograd.output", one, *filters), scratch_base=SCRATCH,
            scratch_stride=scratch_stride(layout.scratch_bytes), between=between, run=run,
            lines=lines, inputs=inputs, products=products,
            # Each worker sets these.
            base=0, start=0, count=0, group=0, first_panel=0, last_panel=0,
        )  # fmt: skip
        return self.native_plan(
            problem,
            [*packed.stages, Stage(kernel("winograd.filtered"), layout.items, arguments)],
            workspace_bytes=packed.workspace_bytes,
            scratch_bytes=layout.scratch_bytes,
        )

    def _source(self, problem: ConvProblem, layout: Layout) -> Source:
        """Plan where tiles are read: the input itself, or padded and channels last."""
        if layout.planar:
            size = lead(problem.input_size, 1)
            return Source(INPUT(0), (), size, problem.in_channels, 0)
        return pack_input(
            self.library,
            problem,
            tuple(p[0] for p in problem.padding),
            layout.padded[-problem.n :],
            mode=problem.padding_mode,
            channel_multiple=layout.tile.lanes,
        )


class Winograd2(Winograd):
    """Tiles of 2 outputs a dimension: 2.25 times fewer multiplications for 3 x 3."""

    name, m = "winograd", 2


class Winograd3(Winograd):
    """Tiles of 3 outputs: 3.24 times fewer for 3 x 3."""

    name, m = "winograd3", 3


class Winograd4(Winograd):
    """Tiles of 4 outputs: 4 times fewer for 3 x 3."""

    name, m = "winograd4", 4


class Winograd5(Winograd):
    """Tiles of 5 outputs: 4.59 times fewer for 3 x 3."""

    name, m = "winograd5", 5


class Winograd6(Winograd):
    """Tiles of 6 outputs: 5.06 times fewer for 3 x 3, at the cost of a digit."""

    name, m = "winograd6", 6
