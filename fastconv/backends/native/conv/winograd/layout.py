"""How a filtered convolution is cut: blocks of tiles, parts of channels, where all of it is."""

from __future__ import annotations

import functools
from math import prod
from typing import Any, TypeVar

import numpy as np

from fastconv.backends.base import Array, Cost, Work, bytes_read
from fastconv.backends.manifest.convolutions import Winograd
from fastconv.backends.manifest.schema import size_of
from fastconv.backends.manifest.tiles import tiles_of
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.conv.winograd.axis import Axis
from fastconv.backends.native.gemm import scratch_bytes as finish_bytes
from fastconv.backends.native.gemm import shaped_tiles, tile_steps
from fastconv.backends.native.items import items_wanted
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import Constant, constant
from fastconv.backends.native.tile import Tile
from fastconv.backends.native.weights import packing_seconds
from fastconv.forks import cached_property
from fastconv.machine import Machine
from fastconv.problem import ConvProblem, Shape
from fastconv.problem.record import record, replaced

# Words of the argument block, a copy of which begins a worker's scratch memory.
BLOCK_WORDS = size_of(Winograd)
AnyTile = TypeVar("AnyTile", bound=Tile)
# Share of the second cache for a block's transformed inputs, and for its products.
INPUTS_SHARE = 0.5
PRODUCTS_SHARE = 0.3
# Most tiles in a block, in register tiles.
MOST_REGISTER_TILES = 4
# How much longer the multiplications may take in a register tile of more panels, to have work items
# enough: smaller blocks of tiles cost as much.
PANELS_PRICE = 1.1
# Bytes between frequencies beyond what they hold: powers of two would share few sets of a cache.
SPREAD = 64
# Streaming rates compared with that of memory: transformed weights and blocks come from the last
# caches.
CACHE_SPEED = 3.5
# Operations as long as turning a pixel of one channel channels last, and as storing one by itself.
TURN_OPERATIONS = 12
SCATTER_OPERATIONS = 90
# Vector operations an element of a transform, with its loads and stores.
TRANSFORM_OPERATIONS = 9
# What depends on the problem, the filters and the width of a vector alone.
_COUNTED = (
    "output_size", "subs", "sub_size", "tiles_across", "tiles_band", "tiles_image", "frequencies",
    "phases", "channel_blocks", "columns", "vectors", "segment_count",
)  # fmt: skip


def filter_axes(problem: ConvProblem, m: int) -> tuple[Axis, Axis] | None:
    """Return the filters down and across, or None where no points are known for them."""
    return axes_of(problem.kernel_size, problem.stride, m)


def axes_of(kernel: Shape, strides: Shape, m: int) -> tuple[Axis, Axis] | None:
    """Return the filters of a kernel, or None where no points are known for them."""
    down, across = (
        Axis.of(m, taps, stride)
        for taps, stride in zip(lead(kernel, 1)[1:], lead(strides, 1)[1:], strict=True)
    )
    return None if down is None or across is None else (down, across)


def line_tile(tile: AnyTile, m: int) -> AnyTile:
    """Return the register tile of a line of outputs: as many adjacent tiles of m as fit."""
    return replaced(tile, rows=max(1, tile.lanes // m) * m, vectors=1)


@record(frozen=True)
class Layout:
    """One problem's tiles, blocks and memory."""

    problem: ConvProblem
    down: Axis
    across: Axis
    tile: Tile
    groups: int
    block: int
    # Parts of a group's panels, and the panels whose products a worker holds at once.
    parts: int
    part: int

    @classmethod
    def of(
        cls,
        library: Library,
        problem: ConvProblem,
        m: int,
        machine: Machine,
        *,
        shared: bool = True,
    ) -> Layout:
        """Choose the register tile, the tiles of a block and the parts of the panels.

        What is not ``shared`` among threads is cut for the caches alone. Costs are predicted for
        that: which algorithm is taken does not depend on how its work is shared out.
        """
        shapes = shaped_tiles(library, problem.dtype, machine, tiles_of(machine.isa).blocks)
        return cls._of(problem, m, machine, tuple(shapes), shared)

    @classmethod
    @functools.lru_cache(maxsize=1024)
    def _of(
        cls,
        problem: ConvProblem,
        m: int,
        machine: Machine,
        shapes: tuple[Tile, ...],
        shared: bool,
    ) -> Layout:
        axes = filter_axes(problem, m)
        assert axes is not None
        groups = problem.groups // cls.merged_groups(problem, machine.lanes(problem.dtype))
        if problem.any_size:
            vectors = -(-problem.out_channels // groups // shapes[0].lanes)
            # The width in which the fewest columns are zeros: weights are packed for one.
            wide = min((-(-vectors // t.vectors) * t.vectors, -t.vectors) for t in shapes)
            shapes = tuple(t for t in shapes if t.vectors == -wide[1])
        first = cls(problem, *axes, shapes[0], groups, 1, 1, 1)
        choices = [first._changed(tile=tile, block=tile.rows) for tile in shapes]
        times = [choice.products_seconds(machine) for choice in choices]
        fastest = min(times)
        wanted = items_wanted(problem.flops / problem.batch) if shared else 1

        def order(number: int) -> tuple[bool, int, bool, float]:
            choice, seconds = choices[number], times[number]
            panels = choice.groups * choice.panels
            most = min(wanted, panels * choice.register_tiles)
            # Of blocks that suit the caches, with one panel each.
            few = panels * choice.blocks_within(machine) < wanted
            return seconds > fastest * PANELS_PRICE, -most, few, seconds

        best = choices[min(range(len(choices)), key=order if shared else times.__getitem__)]
        whole = best.register_tiles
        # An even number of blocks, with as many register tiles in each, or fewer in the last.
        blocks = best.blocks_within(machine)
        blocks = max(blocks, min(whole, -(-wanted // (groups * best.panels))))
        count = -(-whole // (blocks + blocks % 2 if blocks > 1 else 1))
        best = best._changed(block=count * best.tile.rows, parts=best.panels)
        items = -(-best.tiles_image // best.block) * groups
        panel = best.frequencies * best.p_frequency
        part = max(1, int(machine.l2_bytes * PRODUCTS_SHARE) // panel)
        rounds = -(-best.panels // part)
        parts = min(best.panels, max(rounds, -(-wanted // items)))
        return best._changed(parts=parts, part=-(-best.panels // rounds))

    def _changed(self, **changes: Any) -> Layout:
        """Return the layout with other tiles, blocks or parts; what all share is counted once."""
        made = replaced(self, **changes)
        made.__dict__.update({name: getattr(self, name) for name in _COUNTED})
        return made

    @cached_property
    def register_tiles(self) -> int:
        """Register tiles that an image's tiles fill."""
        return -(-self.tiles_image // self.tile.rows)

    def blocks_within(self, machine: Machine) -> int:
        """Count the fewest blocks of an image whose transformed inputs stay in the second cache.

        To be asked of a layout with one register tile in a block.
        """
        inputs = self.a_frequency * self.frequencies
        most = max(1, min(MOST_REGISTER_TILES, int(machine.l2_bytes * INPUTS_SHARE) // inputs))
        return -(-self.register_tiles // most)

    @staticmethod
    def merged_groups(problem: ConvProblem, lanes: int) -> int:
        """Count the groups that are done as one, with zeros between them, to fill a vector."""
        return min(problem.groups, max(1, lanes // (problem.out_channels // problem.groups)))

    @cached_property
    def output_size(self) -> tuple[int, int]:
        """Output rows and columns."""
        return lead(self.problem.output_size, 1)[1:]

    @cached_property
    def subs(self) -> tuple[int, int]:
        """Sub-images down and across: every d-th pixel sees an undilated kernel."""
        return lead(self.problem.dilation, 1)[1:]

    @cached_property
    def sub_size(self) -> tuple[int, int]:
        """Rows and columns of the largest sub-image."""
        (height, width), (down, across) = self.output_size, self.subs
        return -(-height // down), -(-width // across)

    @cached_property
    def tiles_across(self) -> int:
        """Tiles in a row of them."""
        return -(-self.sub_size[1] // self.across.m)

    @cached_property
    def tiles_band(self) -> int:
        """Tiles of a row of them in all sub-images."""
        return prod(self.subs) * self.tiles_across

    @cached_property
    def tiles_image(self) -> int:
        """Tiles of an image."""
        return -(-self.sub_size[0] // self.down.m) * self.tiles_band

    def pixels(self) -> Array:
        """Return the output pixel of each place of the sub-images, one after the other."""
        (height, width), (down, across) = self.output_size, self.subs
        rows, columns = self.sub_size
        y = np.arange(down)[:, None] + np.arange(rows) * down
        x = np.arange(across)[:, None] + np.arange(columns) * across
        # Places past the end are never stored to.
        starts = (np.minimum(y, height - 1) * width)[:, None, :, None]
        places: Array = starts + np.minimum(x, width - 1)[None, :, None, :]
        return places.ravel()

    @property
    def tiles(self) -> int:
        """Tiles of the batch."""
        return self.problem.batch * self.tiles_image

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns of the packed input that the tiles reach over."""
        sizes = []
        axes = (self.down, self.across)
        for length, axis, apart in zip(self.sub_size, axes, self.subs, strict=True):
            tiles = -(-length // axis.m)
            sizes.append((tiles * axis.m + axis.r - 1) * axis.stride * apart)
        return sizes[0], sizes[1]

    @cached_property
    def frequencies(self) -> int:
        """Multiplications of a tile, each a GEMM."""
        return self.down.n * self.across.n

    @cached_property
    def phases(self) -> int:
        """Phases of the input that are summed at a frequency."""
        return self.down.phases * self.across.phases

    @cached_property
    def channel_blocks(self) -> int:
        """Vectors of input channels of a group."""
        return -(-self.problem.in_channels // self.groups // self.tile.lanes)

    @cached_property
    def columns(self) -> int:
        """Output channels of a group."""
        return self.problem.out_channels // self.groups

    @cached_property
    def panels(self) -> int:
        """Panels of output channels of a group."""
        return -(-self.columns // self.tile.columns)

    @cached_property
    def vectors(self) -> int:
        """Vectors of output channels of a group."""
        return -(-self.columns // self.tile.lanes)

    @property
    def tail(self) -> int:
        """Vectors of a group's last panel, 0 where it is as wide as the others."""
        return self.vectors % self.tile.vectors

    @property
    def items(self) -> int:
        """Work items."""
        return -(-self.tiles // self.block) * self.groups * self.parts

    @property
    def a_tile(self) -> int:
        """Bytes of a register tile's transformed inputs at one frequency."""
        tile = self.tile
        return self.phases * self.channel_blocks * tile.rows * tile.lanes * tile.size

    @property
    def a_frequency(self) -> int:
        """Bytes from one frequency's transformed inputs to the next one's."""
        return self.block // self.tile.rows * self.a_tile + SPREAD

    @property
    def p_tile(self) -> int:
        """Bytes from one tile's products to the next one's."""
        return self.part * self.tile.columns * self.tile.size

    @property
    def p_frequency(self) -> int:
        """Bytes from one frequency's products to the next one's."""
        return self.block * self.p_tile + SPREAD

    @property
    def planar(self) -> bool:
        """Whether tiles are read from the channels-first input itself, with no pack step."""
        problem = self.problem
        return not problem.channels_last and problem.padding_mode == "zeros"

    @property
    def run(self) -> tuple[int, int]:
        """Tiles next to each other that are read together, and the pixels of their lines."""
        lanes, axis = self.tile.lanes, self.across
        step = axis.stride * self.subs[1]
        reach = axis.n * step
        pixels = -(-max(reach, 2 * lanes) // lanes) * lanes
        return (pixels - reach) // (axis.m * step) + 1, pixels

    @property
    def scratch_offsets(self) -> tuple[int, int, int, int, int]:
        """Bytes from a worker's scratch memory to its parts.

        After the words and the corner for stores that need one: a tile between its two passes, a
        run of input tiles, a line of output tiles, transformed inputs, products.
        """
        vector = self.tile.lanes * self.tile.size
        lines = line_tile(self.tile, self.across.m)
        between = BLOCK_WORDS * 8 + finish_bytes(lines)
        between = -(-between // 64) * 64
        run = between + self.down.n * self.across.n * vector
        start = run + self.planar * self.down.n * self.down.phases * self.run[1] * vector
        inputs = start + self.down.m * lines.rows * vector
        return between, run, start, inputs, inputs + self.frequencies * self.a_frequency

    @property
    def scratch_bytes(self) -> int:
        """Bytes of a worker's scratch memory."""
        return self.scratch_offsets[-1] + self.frequencies * self.p_frequency

    def segments(self) -> list[list[int]]:
        """Return for each frequency the phases that have weights there."""
        across = self.across
        return [
            [
                py * across.phases + px
                for py in range(self.down.phases)
                for px in range(across.phases)
                if self.down.needed(i, py) and across.needed(j, px)
            ]
            for i in range(self.down.n)
            for j in range(across.n)
        ]

    @cached_property
    def segment_count(self) -> int:
        """Count the phases of all frequencies that have weights there."""
        return self.down.segments * self.across.segments

    def tables(self) -> list[Constant]:
        """Return panels' starts and bytes, segments' starts (in channel blocks) and counts."""
        segments = self.segments()
        sizes = np.array([len(s) for s in segments]) * self._segment_bytes
        starts = np.concatenate([[0], np.cumsum(sizes * self.panels)[:-1]])
        blocks = np.zeros((self.frequencies, self.phases), np.int64)
        for row, found in zip(blocks, segments, strict=True):
            row[: len(found)] = np.array(found) * self.channel_blocks
        counts = [len(s) for s in segments]
        return [constant(t, np.int64) for t in (starts, sizes, blocks, counts)]

    @property
    def _segment_bytes(self) -> int:
        tile = self.tile
        return self.channel_blocks * tile.lanes * tile.columns * tile.size

    @property
    def weights_group(self) -> int:
        """Bytes of a group's packed weights."""
        return self.segment_count * self._segment_bytes * self.panels

    def work(self) -> Work:
        """Count the multiplications of the batch's tiles, without zeros that only fill vectors.

        Transformed weights are more than those that they are made from.
        """
        problem, lanes, size = self.problem, self.tile.lanes, self.tile.size
        depth = problem.in_channels // problem.groups * self.segment_count
        packed = self.segment_count * self.channel_blocks * lanes * self.vectors * lanes * size
        moved = bytes_read(problem) - prod(problem.weight_shape) * size + packed * self.groups
        return Work(2 * self.tiles * depth * problem.out_channels, moved, problem.dtype.name)

    def products_seconds(self, machine: Machine) -> float:
        """Predict the multiplications of one image, with rows and columns that are filled up."""
        tile = self.tile
        rows = -(-self.tiles_image // tile.rows) * tile.rows
        depth = self.channel_blocks * tile.lanes * self.segment_count
        products = 2 * rows * depth * self.vectors * tile.lanes * self.groups
        # Starting and storing a register tile takes as long as a few steps.
        tiles = rows // tile.rows * self.panels * self.frequencies * self.groups
        extra = tiles * 8 * 2 * tile.rows * tile.columns
        rate = machine.peak_flops(self.problem.dtype)
        return (products * tile_steps(tile) + extra) / rate

    def _turned(self) -> int:
        """Count the elements that a planar input's runs turn channels last."""
        if not self.planar:
            return 0
        some, down, across = min(self.run[0], self.tiles_across), self.down, self.across
        pixels = (some * across.m + across.r - 1) * across.stride * self.subs[1]
        pixels = -(-pixels // self.tile.lanes) * self.tile.lanes
        lines = down.n * down.phases
        channels = self.groups * self.channel_blocks * self.tile.lanes
        return -(-self.tiles_image // some) * lines * pixels * channels

    def cost(self, machine: Machine) -> Cost:
        """Predict the whole: multiplications, transforms, what streams through the caches."""
        problem, tile = self.problem, self.tile
        size, vector = problem.dtype.itemsize, tile.lanes
        inputs = self.tiles_image * self.groups * self.channel_blocks * vector * self.phases
        outputs = self.tiles_image * self.groups * -(-self.columns // vector) * vector
        elements = self.frequencies * (inputs + outputs)
        packed = prod(self.padded) * self.groups * self.channel_blocks * vector * size
        packed *= not self.planar
        blocks = -(-self.tiles_image // self.block)
        weights = self.weights_group * self.groups
        # Weights that stay in no cache come from memory each time.
        speed = CACHE_SPEED if weights < machine.near_bytes * 0.7 else 1.0
        operations = 2 * elements * TRANSFORM_OPERATIONS + self._turned() * TURN_OPERATIONS
        if prod(self.subs) > 1 and not problem.channels_last:
            operations += SCATTER_OPERATIONS * prod(self.output_size) * problem.out_channels
        transforms = operations / machine.peak_flops(problem.dtype)
        moved = (problem.bytes + packed) / CACHE_SPEED + weights / speed * (1 + (blocks - 1) / 4)
        seconds = (self.products_seconds(machine) + transforms) * machine.figures.filter_steps
        seconds += moved / machine.memory_bandwidth
        return Cost(
            problem.batch * seconds,
            problem.batch * packed + self.scratch_bytes,
            packing_seconds(problem, machine, weights),
        )
