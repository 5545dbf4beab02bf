"""The shape of a register tile, and what the machine makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.machine import Machine
from fastconv.problem.record import record


@record(frozen=True)
class Tile:
    """The compile-time shape of a register tile: a kernel's constant.

    ``dtype`` is "float32" or "float64"; ``fma`` tells whether the CPU has fused multiply-add.
    In GEMMs without activations it may be "int64", whose sums wrap.
    """

    dtype: str
    lanes: int
    rows: int
    vectors: int
    fma: bool

    @property
    def columns(self) -> int:
        """Elements in one row of the tile."""
        return self.lanes * self.vectors

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize


def register_tile(dtype: np.dtype[Any], machine: Machine) -> Tile:
    """Return the register tile for a dtype at a machine's instruction set."""
    figures = machine.figures
    return Tile(
        dtype.name, machine.lanes(dtype), figures.tile_rows, figures.tile_vectors, figures.has_fma
    )
