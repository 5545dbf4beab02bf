"""Kernels: families of native functions, compiled once for their constants and kept on disk."""

from __future__ import annotations

import functools
import hashlib
import marshal
import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from numba.core import types
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.sigutils import normalize_signature

from fastconv.backends.manifest.schema import Args
from fastconv.backends.native import tile as native
from fastconv.backends.numba import simd
from fastconv.backends.numba.engine.arguments import Block
from fastconv.backends.numba.engine.cache import DiskCache

Body = Callable[[Any, int, int, int], None]
# Numba's own lock is inside: a compiling thread holds both.
_lock = threading.RLock()


def _before_fork() -> None:
    """Wait for those who compile: in a child LLVM would be left in the middle of it, and locked."""
    _lock.acquire()
    global_compiler_lock.acquire()


def _after_fork() -> None:
    global_compiler_lock.release()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


class KernelFamily:
    """Kernels that differ in compile-time constants alone."""

    def __init__(self, args: type[Args], factory: Callable[..., Body]) -> None:
        self._factory = factory
        # What its argument block is declared as.
        self.args = args
        self._compiled: dict[tuple[Any, ...], CFunc] = {}
        self.name = f"{factory.__module__.rsplit('.', 1)[-1]}.{factory.__name__}"

    def __call__(self, *constants: Any) -> int:
        """Return the address of the kernel for ``constants``, compiled if it does not exist yet.

        Constants are ints, strings, NumPy dtypes, or anything with a stable ``repr``.
        """
        return int(self.compiled(*constants).address)

    def compiled(self, *constants: Any) -> CFunc:
        """Return the compiled kernel itself, for those who want to read its code."""
        constants = tuple(map(_as_constant, constants))
        found = self._compiled.get(constants)
        if found is None:
            with _lock:
                found = self._compiled.get(constants)
                if found is None:
                    found = self._compile(constants)
                    self._compiled[constants] = found
        return found

    def _compile(self, constants: tuple[Any, ...]) -> CFunc:
        options = {"nopython": True, "error_model": "numpy"}
        body = _named_by_content(self._factory(*constants))
        signature = types.void(Block(self.args), types.int64, types.int64, types.int64)
        compiled = CFunc(body, normalize_signature(signature), locals={}, options=options)
        compiled._cache = DiskCache(self.name, constants)
        compiled.compile()
        return compiled


def _as_constant(value: Any) -> Any:
    """Return a constant as factories take it: tiles come as plans know them."""
    if type(value) is not native.Tile:
        return value
    return simd.Tile(value.dtype, value.lanes, value.rows, value.vectors, value.fma)


def kernel(args: type[Args]) -> Callable[[Callable[..., Body]], KernelFamily]:
    """Declare a family of kernels whose argument block is ``args``.

    ``factory(*constants)`` returns the Python function ``(args, first, last, worker) -> None`` that
    Numba compiles: ``args`` has the fields of the block, work items ``first`` to ``last`` - 1 are
    to be done, ``worker`` counts from 0 and is below the number of threads.
    """
    return functools.partial(KernelFamily, args)


def part(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function that kernels call; every closure inside a factory needs this.

    The linker knows functions by name alone, and Numba's names distinguish closures of one place
    by a count that restarts in each process. Kernels from the disk, compiled in different
    processes, would be linked to each other's parts; so a part's name holds its content.
    """
    return numba.njit(error_model="numpy", **options)(_named_by_content(function))


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a part into the body of its callers: for those that take and give tiles.

    A tile that crosses a call goes through memory.
    """
    return part(function, inline="always")


def _named_by_content(function: Callable[..., Any]) -> Callable[..., Any]:
    digest = hashlib.sha256(marshal.dumps(function.__code__))
    for cell in function.__closure__ or ():
        value = cell.cell_contents
        inner = getattr(value, "py_func", value)
        digest.update((getattr(inner, "__qualname__", "") + repr(value)).encode())
    function.__qualname__ += f"_{digest.hexdigest()[:16]}"
    return function


def cached_njit(name: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that Python calls, with its code kept in the same cache."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        dispatcher._cache = DiskCache(name, tuple(sorted(options.items())))
        return dispatcher

    return decorate
