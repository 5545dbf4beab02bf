"""How a convolution is cut for matrix tiles: blocks of the image as rows of 64 bytes, and tables.

A block is some outputs along one axis, the first that is longer than one cell. What of the input it
reaches is copied into padded memory as *rows*: 32 channels of one pixel as bf16 numbers, and where
products are made of two pieces, the second pieces in the same form behind them. A tile is 16 rows
that follow each other at one step. A tap is a distance between rows; the phases of a stride are
planes of their own, so that the rows of a tap follow each other whatever the stride. Where the end
of one line of outputs meets the start of the next in a tile, what is between is multiplied too,
and left out.

Few channels are *merged*: rows then start a stride's pixels apart, and one holds several pixels of
a line, which are several taps.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.native.arena import rounded
from fastconv.backends.native.conv.geometry import lead, offsets
from fastconv.backends.native.conv.pack import index_table
from fastconv.backends.native.items import LEAST_ITEMS
from fastconv.forks import cached_property
from fastconv.problem import ConvProblem
from fastconv.problem.record import record

# Rows and columns of a tile, numbers in a row of it, and bytes of that row and of a tile.
ROWS, COLUMNS, DEPTH = 16, 16, 32
ROW_BYTES, TILE_BYTES = 64, 1024
# Channels up to which taps may be merged.
MERGED_CHANNELS = 16
# The part of the second cache that a packed block takes: weights go through the rest.
BLOCK_SHARE = 0.45


@record(frozen=True)
class Axis:
    """One dimension: cells are numbered from the first padded one that a block reaches."""

    size: int
    before: int
    taps: int
    step: int
    apart: int
    outputs: int

    @property
    def reach(self) -> int:
        """Cells from a window's first to its last tap."""
        return (self.taps - 1) * self.apart

    @cached_property
    def phases(self) -> tuple[int, ...]:
        """Cells of a stride that taps meet."""
        return tuple(sorted({t * self.apart % self.step for t in range(self.taps)}))

    def places(self, outputs: int) -> int:
        """Cells of one phase that so many outputs reach."""
        return outputs + self.reach // self.step

    def cells(self, outputs: int) -> int:
        """Cells that so many outputs reach."""
        return (outputs - 1) * self.step + self.reach + 1


@record(frozen=True)
class Layout:
    """A problem cut into blocks of ``block`` outputs along axis ``cut``; ``parts`` pieces."""

    problem: ConvProblem
    parts: int
    cut: int
    block: int

    @classmethod
    def of(cls, problem: ConvProblem, parts: int, l2_bytes: int) -> Layout:
        """Cut so that a packed block stays in the second cache."""
        whole = cls(problem, parts, 0, 1)
        cut = next((a for a, axis in enumerate(whole.axes) if not _single(axis)), 2)
        outputs = whole.axes[cut].outputs
        one = cls(problem, parts, cut, 1)
        # Bytes of a block grow with its outputs, but for what the first reaches.
        first = one.scratch_bytes
        each = max(1, cls(problem, parts, cut, 2).scratch_bytes - first)
        most = max(1, 1 + int(l2_bytes * BLOCK_SHARE - first) // each)
        blocks = -(-outputs // most)
        return cls(problem, parts, cut, -(-outputs // blocks))

    @cached_property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        """The problem's dimensions as three."""
        p = self.problem
        before = lead(tuple(b for b, _ in p.padding), 0)
        columns = (lead(v, 1) for v in (p.input_size, p.kernel_size, p.stride, p.dilation))
        size, taps, step, apart = columns
        outputs = lead(p.output_size, 1)
        d, h, w = (Axis(*a) for a in zip(size, before, taps, step, apart, outputs, strict=True))
        return d, h, w

    @cached_property
    def channels(self) -> int:
        """Input channels of a group."""
        return self.problem.in_channels // self.problem.groups

    @cached_property
    def columns(self) -> int:
        """Output channels of a group."""
        return self.problem.out_channels // self.problem.groups

    @cached_property
    def merged(self) -> int:
        """Channels of a pixel where taps across are merged, an even number; 0: they are not."""
        last = self.axes[2]
        if self.channels > MERGED_CHANNELS or last.apart > 1 or last.taps == 1:
            return 0
        even = -(-self.channels // 2) * 2
        return even if -(-last.taps * even // DEPTH) < last.taps else 0

    @cached_property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel in a packed row."""
        return 2 * self.merged if self.merged else ROW_BYTES

    @cached_property
    def row_step(self) -> int:
        """Bytes from the row of an output to the next one's."""
        return self.axes[2].step * self.pixel_bytes if self.merged else ROW_BYTES

    @cached_property
    def depth_blocks(self) -> int:
        """Blocks of 32 channels."""
        return 1 if self.merged else -(-self.channels // DEPTH)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """Outputs of a whole block along each axis from ``cut`` on."""
        return (self.block, *(axis.outputs for axis in self.axes[self.cut + 1 :]))

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Rows of a phase along each axis from ``cut`` on."""
        own = self.axes[self.cut :]
        return tuple(axis.places(n) for axis, n in zip(own, self.outputs, strict=True))

    @cached_property
    def phase_bytes(self) -> int:
        """Bytes of one phase of a block of channels."""
        return prod(self.places) * self.row_step

    @cached_property
    def depth_bytes(self) -> int:
        """Bytes of a block of channels: all phases."""
        phases = prod(len(self._phases(a)) for a in range(self.cut, 3))
        return phases * self.phase_bytes

    @cached_property
    def low_bytes(self) -> int:
        """Bytes from a number's first piece to its second; tiles may reach past the last row."""
        return rounded(self.depth_blocks * self.depth_bytes + ROWS * self.row_step + ROW_BYTES)

    @property
    def scratch_bytes(self) -> int:
        """Bytes of a packed block."""
        return self.low_bytes * self.parts

    @cached_property
    def blocks(self) -> int:
        """Blocks of an image."""
        return -(-self.axes[self.cut].outputs // self.block)

    @cached_property
    def block_pixels(self) -> int:
        """Outputs of a whole block."""
        return prod(self.outputs)

    @cached_property
    def column_tiles(self) -> int:
        """Tiles of a group's output channels."""
        return -(-self.columns // COLUMNS)

    @cached_property
    def shares(self) -> int:
        """Parts of the output channels that are items of their own, where blocks are few."""
        others = self.blocks * self.problem.groups
        return min(-(-self.column_tiles // 2), -(-LEAST_ITEMS // others))

    @property
    def items(self) -> int:
        """Work items of all images."""
        return self.problem.batch * self.problem.groups * self.blocks * self.shares

    @cached_property
    def row_tiles(self) -> int:
        """Tiles of a whole block's outputs, or a few more."""
        *rest, across = self.outputs
        lines = prod(rest)
        return -(-min(lines * -(-across // ROWS) * ROWS, lines * self.places[-1]) // ROWS)

    @cached_property
    def chunk_count(self) -> int:
        """Rows of a tile that make up one output's sum."""
        taps = prod(axis.taps for axis in self.axes)
        if self.merged:
            across = self.axes[2].taps
            return taps // across * -(-across * self.merged // DEPTH)
        return taps * self.depth_blocks

    def _phases(self, axis: int) -> tuple[int, ...]:
        return (0,) if axis == 2 and self.merged else self.axes[axis].phases

    def _targets(self, axis: int, cells: Array, wanted: int) -> Array:
        """Return the bytes to cells along an axis, -1 for those below 0 or not ``wanted``."""
        own, phases = self.axes[axis], self._phases(axis)
        later = range(axis + 1, 3)
        pitch = prod(self.places[a - self.cut] for a in later) * self.row_step
        plane = prod(len(self._phases(a)) for a in later) * self.phase_bytes
        if axis == 2 and self.merged:
            found = cells * self.pixel_bytes
        else:
            slots = np.full(own.step, -1)
            slots[list(phases)] = np.arange(len(phases))
            slot = slots[cells % own.step]
            found = np.where(slot < 0, -1, slot * plane + cells // own.step * pitch)
        return np.where((cells >= 0) & (cells < wanted), found, -1)

    @cached_property
    def _slice_cells(self) -> int:
        return self.axes[self.cut].cells(self.block)

    def slices(self) -> tuple[Array, Array]:
        """Return the slices that blocks show, one block's step after the other's, and targets.

        A slice is the cells of the image at one place of the axis ``cut``; -1: zeros. The targets
        are the bytes to the slices of a block, -1 for those that no tap meets.
        """
        axis, count = self.axes[self.cut], self._slice_cells
        length = (self.blocks - 1) * self.block * axis.step + count
        there = min(length, axis.cells(axis.outputs))
        shown = np.full(length, -1)
        shown[:there] = index_table(axis.size, axis.before, there, self.problem.padding_mode)
        return shown, self._targets(self.cut, np.arange(count), count)

    def pixels(self) -> Array:
        """Return for each slice of a block the bytes to each of its pixels, -1 for none."""
        _, targets = self.slices()
        for a in range(self.cut + 1, 3):
            axis = self.axes[a]
            cells = np.arange(axis.size) + axis.before
            targets = _sums(targets, self._targets(a, cells, axis.cells(axis.outputs)))
        return targets.astype(np.int32)

    def edges(self) -> Array:
        """Return the padded cells of a slice: bytes to each, and the pixel that it shows or -1."""
        targets, shown, inside = np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, bool)
        for a in range(self.cut + 1, 3):
            axis = self.axes[a]
            wanted = axis.cells(axis.outputs)
            cells = np.arange(wanted)
            own = index_table(axis.size, axis.before, wanted, self.problem.padding_mode)
            natural = (cells >= axis.before) & (cells < axis.before + axis.size)
            targets = _sums(targets, self._targets(a, cells, wanted))
            pixel = shown[:, None] * axis.size + own[None, :]
            shown = np.where((shown[:, None] < 0) | (own[None, :] < 0), -1, pixel).ravel()
            inside = (inside[:, None] & natural[None, :]).ravel()
        some = ~inside & (targets >= 0)
        return np.stack([targets[some], shown[some]], 1).astype(np.int64)

    def chunks(self) -> tuple[Array, Array, Array]:
        """Return the bytes to each chunk of the sum, its numbers, and where weights are.

        The weights' places are elements of an output channel's filter, -1 for zeros; 32 a chunk.
        """
        axes = self.axes
        taps = [np.arange(axis.taps) for axis in axes]
        reach = [
            self._targets(a, taps[a] * axes[a].apart, 1 << 60) if a >= self.cut else taps[a]
            for a in range(3)
        ]
        number = np.arange(prod(len(t) for t in taps))
        k = np.arange(DEPTH)
        if not self.merged:
            depth = np.arange(self.depth_blocks)
            channel = depth[:, None] * DEPTH + k
            where = channel[:, None, :] * len(number) + number[None, :, None]
            where = np.where(channel[:, None, :] < self.channels, where, -1)
            counts = np.repeat(np.minimum(DEPTH, self.channels - depth * DEPTH), len(number))
            return offsets(depth * self.depth_bytes, *reach), counts, where.reshape(-1)
        across = axes[2].taps
        each = np.arange(-(-across * self.merged // DEPTH))
        element = each[:, None] * DEPTH + k
        tap, channel = element // self.merged, element % self.merged
        lines = np.arange(len(number) // across) * across
        where = lines[:, None, None] + (channel * len(number) + tap)[None]
        where = np.where(((tap < across) & (channel < self.channels))[None], where, -1)
        counts = np.tile(np.minimum(DEPTH, across * self.merged - each * DEPTH), len(lines))
        return offsets(*reach[:2], each * ROW_BYTES), counts, where.reshape(-1)

    def tiles(self) -> Array:
        """Return the tiles of a whole block, each with four words.

        They are the bytes to its first row, which of its rows are outputs, the place of the first
        of those in the block, and their number. Each starts at the first output that is left.
        """
        rows = np.zeros(1, np.int64)
        for outputs, places in zip(self.outputs, self.places, strict=True):
            rows = (rows[:, None] * places + np.arange(outputs)).ravel()
        found, first = [], 0
        while first < len(rows):
            start = rows[first]
            last = int(np.searchsorted(rows, start + ROWS))
            mask = int((1 << (rows[first:last] - start)).sum())
            found.append((start * self.row_step, mask, first, last - first))
            first = last
        return np.array(found, np.int64)


def _single(axis: Axis) -> bool:
    """Return whether an axis has one cell, which nothing is added to."""
    return axis.size == axis.taps == axis.outputs == 1 and axis.before == 0


def _sums(rows: Array, columns: Array) -> Array:
    """Add every pair of bytes; -1 where either is."""
    either: Any = (rows[:, None] < 0) | (columns[None, :] < 0)
    return np.where(either, -1, rows[:, None] + columns[None, :]).ravel()
