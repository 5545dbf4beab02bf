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
from fastconv.machine import Machine, get_machine

BACKEND = "c"

_DTYPES = ("float32", "float64")
# Whose register tiles are compiled in.
_TILED = {
    "attention", "gemm", "gemm.fresh", "im2col", "interleaved", "matmul", "planar", "recurrent.gru",
    "recurrent.lstm", "recurrent.reset", "recurrent.rnn", "winograd.multiply",
}  # fmt: skip

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
        raise LookupError(f"the C extension has no kernel {_symbol(name, constants)}")
    return address


def has(name: str, *constants: Any) -> bool:
    """Tell whether there is a kernel for these constants."""
    return _address(name, constants) != 0


def _address(name: str, constants: tuple[Any, ...]) -> int:
    return int(_find(_symbol(name, constants).encode()))


def _symbol(name: str, constants: tuple[Any, ...]) -> str:
    """Name a kernel as the extension's table does: name, kinds, dtype, instruction set.

    Numbers are read at run time, from the argument block.
    """
    words = [c for c in constants if isinstance(c, str)]
    flags = [str(int(c)) for c in constants if isinstance(c, bool)]
    tiles = [c for c in constants if isinstance(c, Tile)] if name in _TILED else []
    shapes = [f"{tile.rows}x{tile.vectors}" for tile in tiles]
    dtypes = [c.dtype for c in constants if isinstance(c, Tile)]
    dtypes += [word for word in words if word in _DTYPES]
    kinds = [word.replace(" ", "_") for word in words if word not in _DTYPES]
    return "_".join([name.replace(".", "_"), *kinds, *flags, *shapes, *dtypes, get_machine().isa])


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
