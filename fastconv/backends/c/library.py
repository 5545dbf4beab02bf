"""The kernels of the C extension, by the names that plans know them by."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

import numpy as np

from fastconv.backends.c import objects
from fastconv.backends.manifest import MANIFEST
from fastconv.backends.native import driver
from fastconv.backends.native.tile import Tile, register_tile
from fastconv.machine import Machine, forced_isa, with_extended

BACKEND = "c"

# A kernel that has a form for the processor's tiles.
_TILES = "tiles.convolve", ("bf16x3", "float32")

_lib = importlib.import_module("fastconv.backends.c._native").lib
_find, _drive = _lib.fastconv_find, _lib.fastconv_drive


def tile(dtype: np.dtype[Any], machine: Machine) -> Tile:
    """Return the register tile for a dtype."""
    return register_tile(dtype, machine)


def kernel(name: str, *constants: Any) -> int:
    """Return the address of a kernel at the instruction set in force.

    Raises
    ------
    LookupError
        Where the extension has none for these constants.
    """
    address = _address(name, constants)
    if address == 0:
        raise LookupError(f"the C extension has no kernel {name} for {constants}")
    return address


def has(name: str, *constants: Any) -> bool:
    """Return whether there is a kernel for these constants."""
    return _address(name, constants) != 0


def _address(name: str, constants: tuple[Any, ...]) -> int:
    return _found(name, constants, forced_isa())


@functools.cache
def _found(name: str, constants: tuple[Any, ...], isa: str) -> int:
    """Find a kernel of an instruction set, or of one that it extends; 0: none has it."""
    row = MANIFEST[name]
    for own in with_extended(isa):
        symbol = row.symbol(constants, own)
        address = 0 if symbol is None else int(_find(symbol.encode()))
        if address != 0 and (own != "amx" or _may_use_tiles()):
            return address
    return 0


def has_tiles() -> bool:
    """Return whether kernels of matrix tiles run on the processor's own, not emulated."""
    return forced_isa() == "amx" and _found(*_TILES, "amx") != _found(*_TILES, "avx512")


@functools.cache
def _may_use_tiles() -> bool:
    """Ask the system for the processor's tiles, when they are first needed."""
    return bool(_lib.fastconv_permit_tiles())


@functools.cache
def _packer(count: int) -> Callable[..., bytes]:
    return Struct(f"{count}q").pack


def drive(program: driver.Program, addresses: Sequence[int], threads: int) -> None:
    """Run a program on the extension's own threads, without the interpreter's lock."""
    count = len(addresses)
    wanted = -threads if program.brief else threads
    if _drive(*program.parts, _packer(count)(*addresses), count, wanted) != 0:
        raise MemoryError("there is no memory for a program's arguments")


def running(name: str) -> int:
    """Return the address of a kernel that runs others: it has no instruction set."""
    return int(_find(name.encode()))


# Before others, whichever was imported first: a program's threads do not change while it runs, and
# no call sets what other loops of Numba's and PyTorch's have.
driver.register(drive, running, first=True, arrays=objects.functions().run)
