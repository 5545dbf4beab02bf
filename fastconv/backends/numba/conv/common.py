"""What convolutions whose plans have not moved share."""

from __future__ import annotations

from typing import Any

from fastconv.backends.native.conv import common as native
from fastconv.backends.native.tile import Tile
from fastconv.backends.numba import library
from fastconv.machine import Machine


class NumbaConv(native.NativeConv):
    """Base of those convolutions."""

    backend, library = "numba", library

    def __init__(self) -> None:
        pass


def conv_tile(problem: Any, machine: Machine | None = None) -> Tile:
    """Give the register tile for a convolution."""
    return native.conv_tile(library, problem, machine)
