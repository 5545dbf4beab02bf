"""How a plane is cut into overlapping blocks, and what their transforms take."""

from __future__ import annotations

import functools
from itertools import product
from math import log2, prod

from fastconv.backends.base import Work
from fastconv.backends.native.conv.fft.passes import transform_operations
from fastconv.backends.native.items import LEAST_ITEMS
from fastconv.machine import Machine
from fastconv.problem import ConvProblem
from fastconv.problem.record import record

# What a block's line is turned and copied by takes so many operations an element.
MOVE_OPERATIONS = 24


@record(frozen=True)
class Blocks:
    """Blocks of ``size`` cells that give ``outputs`` dense outputs each, ``counts`` of them.

    In one dimension blocks are rows of one matrix, as many pairs as a vector has lanes. In two
    each block is a matrix of its own. Two blocks are one complex matrix: the filter is real.
    """

    problem: ConvProblem
    lanes: int
    size: tuple[int, int]
    outputs: tuple[int, int]
    counts: tuple[int, int]

    @classmethod
    @functools.lru_cache(maxsize=256)
    def of(cls, problem: ConvProblem, machine: Machine) -> Blocks | None:
        """Return the blocks of the lowest cost; None where no size keeps its matrices in L2."""
        lanes = machine.lanes(problem.dtype)
        room = machine.l2_bytes * 3 // 4
        dimensions = [_cuts(problem, lanes, i) for i in range(problem.n)]
        if problem.n == 1:
            dimensions = [[(1, 1, 1)], *dimensions]
        choices = [cls(problem, lanes, *zip(*cut, strict=True)) for cut in product(*dimensions)]
        fitting = [c for c in choices if c.scratch_bytes <= room]
        return min(fitting, key=lambda c: c.operations, default=None)

    @property
    def flat(self) -> bool:
        """Whether rows are blocks of their own."""
        return self.problem.n == 1

    @property
    def rows(self) -> int:
        """Rows of a matrix."""
        return self.lanes if self.flat else self.size[0]

    @property
    def blocks(self) -> int:
        """Blocks of a plane."""
        return prod(self.counts)

    @property
    def matrices(self) -> int:
        """Complex matrices of a plane."""
        return -(-self.blocks // (2 * self.lanes if self.flat else 2))

    @property
    def parts(self) -> int:
        """Parts of a plane's filters: several where matrices are few."""
        matrices = self.problem.in_channels * self.matrices
        return min(self.multiplier, -(-LEAST_ITEMS // matrices))

    @property
    def items_image(self) -> int:
        """Work items of an image."""
        return self.problem.in_channels * self.matrices * self.parts

    @property
    def pitch(self) -> int:
        """Elements from row to row: an odd number of vectors, so that columns share no sets."""
        return (self.size[1] // self.lanes | 1) * self.lanes

    @property
    def multiplier(self) -> int:
        """Filters of one plane."""
        return self.problem.out_channels // self.problem.groups

    @property
    def matrix_bytes(self) -> int:
        """Bytes of a matrix's real, or imaginary, part."""
        return self.rows * self.pitch * self.problem.dtype.itemsize

    @property
    def line_bytes(self) -> int:
        """Bytes of as many rows as a vector has lanes, turned, complex."""
        return 2 * self.lanes * self.size[1] * self.problem.dtype.itemsize

    @property
    def scratch_bytes(self) -> int:
        """Scratch memory of a worker."""
        matrices = 2 if self.multiplier == 1 else 4
        return matrices * self.matrix_bytes + self.line_bytes

    @property
    def operations(self) -> float:
        """Operations of a plane's transforms, counted as the butterflies' rate goes."""
        cells = self.rows * self.size[1]
        down, across = (log2(max(2, n)) for n in self.size)
        row_steps = cells * (2 * 5 * across + MOVE_OPERATIONS)
        column_steps = 0.0 if self.flat else cells * 5 * down
        whole = column_steps + self.multiplier * (row_steps + column_steps + 10 * cells)
        return self.matrices * (whole + 2 * MOVE_OPERATIONS * cells)

    def work(self) -> Work:
        """Count the additions and multiplications of all passes, and of the spectra's products.

        A filter's spectrum is as large as a block.
        """
        problem, (down, across) = self.problem, self.size
        cells = self.rows * across
        rows = 2 * self.rows * transform_operations(across)
        columns = 0 if self.flat else across * transform_operations(down)
        matrix = columns + self.multiplier * (rows + 6 * cells + columns)
        planes = problem.batch * problem.in_channels
        size = problem.dtype.itemsize
        spectra = problem.out_channels * 2 * (across if self.flat else cells) * size
        moved = problem.bytes - prod(problem.weight_shape) * size + spectra
        return Work(planes * self.matrices * matrix, moved, problem.dtype.name)

    def seconds(self, machine: Machine) -> float:
        """Predict one image's time."""
        planes = self.problem.batch * self.problem.in_channels
        rate = machine.figures.butterfly_share * machine.peak_flops(self.problem.dtype)
        return planes * self.operations / rate

    @property
    def spectrum_bytes(self) -> int:
        """Bytes of one filter's spectrum."""
        return 2 * prod(self.size) * self.problem.dtype.itemsize


def _lengths(least: int, most: int, lanes: int) -> list[int]:
    """Return lengths of transforms from ``least`` to the first above ``most``."""
    found = sorted(
        n
        for power in range(4, 16)
        for n in (2**power, 3 * 2 ** (power - 1))
        if n >= least and n % lanes == 0
    )
    enough = next((n for n in found if n >= most), found[-1] if found else 0)
    return [n for n in found if n <= enough]


def _cuts(problem: ConvProblem, lanes: int, i: int) -> list[tuple[int, int, int]]:
    """Return the ways to cut a dimension: (length of a block, its outputs, blocks)."""
    span, step = problem.window[0][i], problem.stride[i]
    dense = (problem.output_size[i] - 1) * step + 1
    cuts = []
    for length in _lengths(span + step - 1, dense + span - 1, lanes):
        outputs = (length - span + 1) // step * step
        cuts.append((length, outputs, -(-dense // outputs)))
    return cuts
