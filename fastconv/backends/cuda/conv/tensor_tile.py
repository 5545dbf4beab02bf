"""What a block of the tensor cores' GEMM computes, of what factors, and the layout of its sides.

Both sides are stored in shared memory in lines of eight 16-byte chunks along the sum, and go to
registers by ldmatrix, which reads a chunk of 8 neighbouring lines at a time. Chunks are put in
another order in each line (`swizzle`), so that those 8 are in different banks.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from fastconv.backends.cuda.engine.fragments import WARP

# Chunks of a line, and words of one.
CHUNKS, CHUNK_WORDS = 8, 4
LINE_WORDS = CHUNKS * CHUNK_WORDS


@dataclasses.dataclass(frozen=True)
class TensorTile:
    """A block's rows (pixels) and columns (output channels), a warp's, and stages of copies."""

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    stages: int = 3

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return WARP * (self.rows // self.warp_rows) * (self.columns // self.warp_columns)


@dataclasses.dataclass(frozen=True)
class Products:
    """How products are made.

    Parameters
    ----------
    factor
        What tensor cores multiply: f16, bf16 or tf32.
    stored
        The arrays' dtype: float32, or the factor's own.
    thrice
        Whether factors are split in two: three products of four are summed (3xTF32).
    """

    factor: str
    stored: str
    thrice: bool = False

    @property
    def packed(self) -> bool:
        """Whether float32 are rounded to halves on their way to registers."""
        return self.factor != "tf32" and self.stored == "float32"

    @property
    def element_bytes(self) -> int:
        """Bytes of an array's element."""
        return 4 if self.stored == "float32" else 2

    @property
    def chunk(self) -> int:
        """Elements of a chunk: a tap's channels come in such."""
        return 4 * CHUNK_WORDS // self.element_bytes

    @property
    def depth(self) -> int:
        """Terms of the sum that a stage holds."""
        return CHUNKS * self.chunk

    @property
    def step_chunks(self) -> int:
        """Chunks that a product of tiles is deep."""
        return 4 if self.packed else 2


def stages_of(taps: int, group_inputs: int, products: Products) -> int:
    """Return the stages of a sum: one, of zeros, where there is nothing to add."""
    return max(1, -(-taps * group_inputs // products.depth))


def swizzle(line: Any) -> Any:
    """Return what a chunk's number is combined with in a line, by exclusive or."""
    return line % CHUNKS
