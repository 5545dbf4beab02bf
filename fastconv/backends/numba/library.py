"""The kernels that Numba compiles, by the names that plans know them by."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastconv.backends.manifest import MANIFEST
from fastconv.backends.native.tile import Tile, register_tile
from fastconv.machine import Machine

BACKEND = "numba"


def tile(dtype: np.dtype[Any], machine: Machine) -> Tile:
    """Return the register tile as kernels take it."""
    return register_tile(dtype, machine)


def kernel(name: str, *constants: Any) -> int:
    """Return the address of a kernel for its constants, compiled if it does not exist yet.

    Raises
    ------
    LookupError
        Where Numba has none of that name.
    """
    place = MANIFEST[name].numba
    if place is None:
        raise LookupError(f"Numba has no kernel {name}")
    module, _, family = place.partition(":")
    found = getattr(importlib.import_module(f"fastconv.backends.numba.{module}"), family)
    return int(found(*constants))


def has(name: str, *constants: Any) -> bool:
    """Return whether there is a kernel for these constants: it can be compiled for any."""
    return MANIFEST[name].numba is not None


def has_tiles() -> bool:
    """Return whether kernels of matrix tiles run on the processor's own: there are none here."""
    return False
