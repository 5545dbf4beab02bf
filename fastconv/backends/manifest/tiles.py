"""The shapes of register tiles that kernels are compiled for: (rows, vectors).

They depend on how many vector registers an instruction set has, and on nothing else: plans choose
among them, C has a kernel for each.
"""

from __future__ import annotations

from typing import NamedTuple

from fastconv.machine.instruction_sets import INSTRUCTION_SETS

Shapes = tuple[tuple[int, int], ...]


class Tiles(NamedTuple):
    """The tiles of an instruction set, by what they are for.

    ``products`` are the GEMM's to choose from, ``narrow`` those of one vector, for few columns;
    ``blocks`` are for operands in blocks (others were measured to run at two thirds of the peak
    or less, as compiled). ``planar`` has as many rows as some number of output channels fills, and
    the vectors that registers are left for; so has ``interleaved`` for few columns, and for many.
    ``steps`` are batch entries and gates of recurrent
    layers, ``pixels`` outputs of a line, ``planes`` rows and vectors of a plane: up to 8 vectors,
    enough independent sums to hide a multiply-add's latency.
    """

    products: Shapes
    narrow: Shapes
    blocks: Shapes
    planar: Shapes
    interleaved: Shapes
    steps: Shapes
    pixels: Shapes
    planes: Shapes

    def named(self, name: str) -> Shapes:
        """Return the shapes that a kernel is compiled for, by the name that its row has."""
        if name == "gemm":
            return tuple(dict.fromkeys((*self.products, *self.narrow, *_ONE_ROW)))
        if name == "skinny":
            return (*self.products, *self.narrow)
        if name == "gru":
            return tuple((rows, 3) for rows, _ in self.steps)
        shapes: Shapes = getattr(self, name)
        return shapes


# Of few rows: as many columns as there are.
_ONE_ROW = ((1, 1), (1, 2), (1, 3), (1, 4))
_PLANES = (
    (8, 1), (7, 1), (6, 1), (5, 1), (4, 1), (4, 2), (2, 1), (2, 4), (1, 1), (1, 4), (1, 8)
)  # fmt: skip
_WIDE = ((14, 2), (8, 3), (9, 3), (6, 4), (16, 1))
_SMALL = ((6, 2), (5, 2), (4, 3), (3, 4), (12, 1))
# By the number of vector registers.
TILES = {
    32: Tiles(
        products=((12, 2), (10, 2), *_WIDE),
        narrow=((12, 1), (10, 1)),
        blocks=(*_WIDE, (7, 3)),
        planar=((1, 8), (2, 8), (3, 8), (4, 6), (6, 4), (8, 3), (12, 2)),
        interleaved=((4, 6), (12, 2)),
        steps=((1, 4), (2, 4), (4, 4), (6, 4)),
        pixels=((14, 1), (8, 1), (7, 1), (4, 1)),
        planes=_PLANES,
    ),
    16: Tiles(
        products=_SMALL,
        narrow=((6, 1),),
        blocks=_SMALL,
        planar=((1, 8), (2, 6), (3, 4), (4, 3), (6, 2)),
        interleaved=((4, 3), (6, 2)),
        steps=((1, 4), (2, 4), (3, 4)),
        pixels=((8, 1), (7, 1), (4, 1)),
        planes=_PLANES,
    ),
}
# The names that kernels and C have shapes by.
NAMES = ("gemm", "gru", "skinny", *Tiles._fields[2:])


def tiles_of(isa: str) -> Tiles:
    """Return the tiles of an instruction set."""
    return TILES[INSTRUCTION_SETS[isa].vector_registers]
