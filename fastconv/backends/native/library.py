"""What plans ask of those who compile kernels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine

F = TypeVar("F", bound=Callable[..., Any])


def cached(function: F) -> F:
    """Keep the results of a function of a library, a machine and what else is hashable.

    Libraries are modules, and so keys, which their protocol does not say.
    """
    return cast(F, functools.lru_cache(maxsize=4096)(function))


class Library(Protocol):
    """Kernels by name, each made for its constants; compiled now, or long ago."""

    # The backend that the kernels make up.
    BACKEND: str

    def tile(self, dtype: np.dtype[Any], machine: Machine) -> Tile:
        """Return the register tile for a dtype, in the form that kernels of this library take."""

    def kernel(self, name: str, *constants: Any) -> int:
        """Return the address of the kernel ``name`` for ``constants``."""

    def has(self, name: str, *constants: Any) -> bool:
        """Return whether there is a kernel ``name`` for ``constants``."""

    def has_tiles(self) -> bool:
        """Return whether kernels of matrix tiles run on the processor's own, not emulated."""
