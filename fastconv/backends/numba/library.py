"""The kernels that Numba compiles, by the names that plans know them by."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastconv.backends.native.tile import register_tile
from fastconv.backends.numba.simd import Tile
from fastconv.machine import Machine

# Name: module below this package and family in it.
FAMILIES = {
    "pointwise.elementwise": ("pointwise", "elementwise"),
    "pool.walk": ("pool.walk", "walk"),
    "pool.fold": ("pool.folds", "fold"),
    "pool.emit": ("pool.folds", "emit"),
    "pool.emit_windows": ("pool.folds", "emit_windows"),
    "pool.whole": ("pool.whole", "whole"),
    "pool.whole_rows": ("pool.whole", "whole_rows"),
}


def tile(dtype: np.dtype[Any], machine: Machine) -> Tile:
    """Give the register tile as kernels take it."""
    shape = register_tile(dtype, machine)
    return Tile(shape.dtype, shape.lanes, shape.rows, shape.vectors, shape.fma)


def kernel(name: str, *constants: Any) -> int:
    """Give the address of a kernel for its constants, compiled when it is not there yet."""
    module, family = FAMILIES[name]
    found = getattr(importlib.import_module(f"fastconv.backends.numba.{module}"), family)
    return int(found(*constants))
