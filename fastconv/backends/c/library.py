"""The kernels of the C extension, by the names that plans know them by."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

import numpy as np

from fastconv.backends.c import objects
from fastconv.backends.native import driver
from fastconv.backends.native.tile import Tile, register_tile
from fastconv.machine import Machine, forced_isa, with_extended

BACKEND = "c"

_DTYPES = ("float32", "float64")
# Whose register tiles are compiled in.
_TILED = {
    "attention", "gemm", "gemm.fresh", "im2col", "matmul", "planar", "recurrent.gru",
    "recurrent.lstm", "recurrent.reset", "recurrent.rnn", "winograd.multiply",
}  # fmt: skip

# A kernel that has a form for the processor's tiles.
_TILES = "tiles_convolve_bf16x3_float32"

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
    address = _address(name, constants)
    if address == 0:
        symbol = f"{_symbol(name, constants)}_{forced_isa()}"
        raise LookupError(f"the C extension has no kernel {symbol}")
    return address


def has(name: str, *constants: Any) -> bool:
    """Tell whether there is a kernel for these constants."""
    return _address(name, constants) != 0


def _address(name: str, constants: tuple[Any, ...]) -> int:
    return _found(_symbol(name, constants), forced_isa())


@functools.cache
def _found(symbol: str, isa: str) -> int:
    """Find a kernel of an instruction set, or of one that it extends; 0: none has it."""
    for name in with_extended(isa):
        address = int(_find(f"{symbol}_{name}".encode()))
        if address != 0 and (name != "amx" or _may_use_tiles()):
            return address
    return 0


def _symbol(name: str, constants: tuple[Any, ...]) -> str:
    """Name a kernel as the extension's table does before the instruction set: name, kinds, dtype.

    Numbers are read at run time, from the argument block.
    """
    words = [c for c in constants if isinstance(c, str)]
    flags = [str(int(c)) for c in constants if isinstance(c, bool)]
    tiles = [c for c in constants if isinstance(c, Tile)] if name in _TILED else []
    shapes = [f"{tile.rows}x{tile.vectors}" for tile in tiles]
    dtypes = [c.dtype for c in constants if isinstance(c, Tile)]
    dtypes += [word for word in words if word in _DTYPES]
    kinds = [word.replace(" ", "_") for word in words if word not in _DTYPES]
    return "_".join([name.replace(".", "_"), *kinds, *flags, *shapes, *dtypes])


def has_tiles() -> bool:
    """Tell whether kernels of matrix tiles run on the processor's own, not emulated."""
    return forced_isa() == "amx" and _found(_TILES, "amx") != _found(_TILES, "avx512")


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
    if _drive(*program.parts, _packer(count)(*addresses), count, threads) != 0:
        raise MemoryError("there is no memory for a program's arguments")


def running(name: str) -> int:
    """Give the address of a kernel that runs others: it has no instruction set."""
    return int(_find(name.encode()))


# Before others, whoever was imported first: a program's threads do not change while it runs, and
# no call sets what other loops of Numba's and PyTorch's have.
driver.register(drive, running, first=True, arrays=objects.functions().run)
