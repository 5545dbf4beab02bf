"""The kernels of the C extension, by the names that plans know them by."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastconv.backends.native import driver
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.tile import Tile, register_tile
from fastconv.machine import Machine, get_machine

_lib = importlib.import_module("fastconv.backends.c._native").lib
_find, _drive = _lib.fastconv_find, _lib.fastconv_drive


def tile(dtype: np.dtype[Any], machine: Machine) -> Tile:
    """Give the register tile for a dtype."""
    return register_tile(dtype, machine)


def kernel(name: str, *constants: Any) -> int:
    """Give the address of a kernel at the instruction set in force.

    Raises
    ------
    LookupError
        Where the extension has none for these constants.
    """
    kinds = [str(int(c) if isinstance(c, bool) else c) for c in constants if not _is_shape(c)]
    dtype = next(c.dtype for c in constants if isinstance(c, Tile))
    symbol = "_".join([name.replace(".", "_"), *kinds, dtype, get_machine().isa])
    address = int(_find(symbol.replace(" ", "_").encode()))
    if address == 0:
        raise LookupError(f"the C extension has no kernel {symbol}")
    return address


def _is_shape(constant: Any) -> bool:
    """Tell whether a constant is read at run time here, from the argument block."""
    return isinstance(constant, Tile) or type(constant) is int


def drive(program: driver.Program, addresses: driver.Words, threads: int) -> None:
    """Run a program on the extension's own threads, without the interpreter's lock."""
    words = program.block.copy()
    _drive(
        address_of(program.stages), len(program.stages), address_of(words),
        address_of(program.places), len(program.places), address_of(addresses), len(addresses),
        threads,
    )  # fmt: skip


driver.register(drive)
