"""The block tiles of fp32 GEMMs: what a block and a thread compute."""

from __future__ import annotations

import dataclasses

# Rows and columns that a thread computes, by quads: half of them are half a tile further.
THREAD = 8
# Blocks that a GPU runs at a time, in rough numbers: fewer leave it idle.
BLOCKS = 264
# Steps of the sum in shared memory at a time.
DEPTH = 8
# Floats behind each line of the left side, so that what threads write is in different banks.
SKEW = 4


@dataclasses.dataclass(frozen=True)
class Tile:
    """A block's rows (pixels) and columns (output channels)."""

    rows: int
    columns: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.rows // THREAD * (self.columns // THREAD)

    @property
    def row_loads(self) -> int:
        """Quads of the left side that a thread loads for each step."""
        return self.rows * DEPTH // 4 // self.threads

    @property
    def column_loads(self) -> int:
        """Quads of the right side that a thread loads for each step."""
        return self.columns * DEPTH // 4 // self.threads


TILES = (Tile(128, 128), Tile(128, 64), Tile(64, 64))
