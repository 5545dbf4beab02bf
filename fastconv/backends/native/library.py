"""What plans ask of those who compile kernels."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine


class Library(Protocol):
    """Kernels by name, each made for its constants; compiled now, or long ago."""

    # The backend that the kernels make up.
    BACKEND: str

    def tile(self, dtype: np.dtype[Any], machine: Machine) -> Tile:
        """Give the register tile for a dtype, in the form that kernels of this library take."""

    def kernel(self, name: str, *constants: Any) -> int:
        """Give the address of the kernel ``name`` for ``constants``."""

    def has(self, name: str, *constants: Any) -> bool:
        """Tell whether there is a kernel ``name`` for ``constants``."""

    def has_tiles(self) -> bool:
        """Tell whether kernels of matrix tiles run on the processor's own, not emulated."""
