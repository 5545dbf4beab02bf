"""Memory with guard pages: a kernel that reads or writes outside a buffer ends the process.

While it is in force every input, output, constant and scratch buffer of native plans is either
right before a page that may not be touched, or right after one.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastconv.backends.c import objects
from fastconv.backends.native import plan
from fastconv.network import executor

Array = np.ndarray[Any, Any]
# Buffers that end at a page, of all; the others begin at one.
AT_THE_END = 0.75
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def guarded(size: int, chance: random.Random, alignment: int = 1) -> Array:
    """Return bytes between two guard pages, full of NaN, touching one of them."""
    page = mmap.PAGESIZE
    inner = -(-max(size, 1) // page) * page
    pages = mmap.mmap(-1, inner + 2 * page)
    whole = np.frombuffer(pages, np.uint8)
    start = whole.ctypes.data
    whole[page : page + inner] = 0xFF
    for guard in (start, start + page + inner):
        if _libc.mprotect(guard, page, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    first = page
    if chance.random() < AT_THE_END:
        first += (inner - size) // alignment * alignment
    return whole[first : first + size]


def copied(array: Array | None, chance: random.Random) -> Array | None:
    """Return a guarded copy."""
    if array is None or array.nbytes == 0:
        return array
    # What is strided stays so: from its lowest byte to its highest.
    reaches = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
    before = -sum(min(0, reach) for reach in reaches)
    size = before + sum(max(0, reach) for reach in reaches) + array.itemsize
    memory = guarded(size, chance)
    copy: Array = np.ndarray(array.shape, array.dtype, memory, before, array.strides)
    copy[...] = array
    return copy


@contextlib.contextmanager
def guard_pages(seed: int = 0) -> Iterator[None]:
    """Guard the buffers of native plans made and run in this context."""
    chance = random.Random(seed)
    run_on = plan.NativePlan.run_on

    def empty(shape: Any, dtype: Any) -> Array:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return guarded(size, chance).view(dtype).reshape(shape)

    def guarded_run(self: Any, inputs: Any, parameters: Any, out: Array | None) -> Array:
        given = [tuple(copied(x, chance) for x in arrays) for arrays in (inputs, parameters)]
        result = run_on(self, *given, copied(out, chance))
        # Outputs after the first are among the inputs.
        for array, copy in zip(inputs, given[0], strict=True):
            if array is not None and array.flags.writeable:
                array[...] = copy
        if out is None:
            return result
        out[...] = result
        return out

    def execute(self: Any, inputs: Any) -> Any:
        return execute_plainly(self, [copied(x, chance) for x in inputs])

    def take_address(size: int) -> tuple[Array, int]:
        memory = guarded(size, chance, 64)
        return memory, memory.ctypes.data

    def shared(array: Array) -> Array:
        kept = guarded(array.nbytes, chance, 64).view(array.dtype).reshape(array.shape)
        kept[...] = array
        return kept

    execute_plainly = executor.Executor.run
    with pytest.MonkeyPatch.context() as patch:
        # Constants and scratch memory are 64-byte aligned, as plans may rely on.
        for module in (plan, executor):
            patch.setattr(module, "aligned", lambda size: guarded(size, chance, 64))
        zeros = lambda shape, dtype: guarded(shape[0], chance, 64)  # noqa: E731
        patch.setattr(plan, "aligned_zeros", zeros)
        for module in (plan, executor):
            patch.setattr(module, "take_address", take_address)
            patch.setattr(module, "empty", empty)
        patch.setattr(plan, "is_large", lambda shape, dtype: True)
        # Every constant comes by here, those too that were packed where they are.
        patch.setattr(plan, "shared", shared)
        patch.setattr(plan.NativePlan, "run_on", guarded_run)
        patch.setattr(executor.Executor, "run", execute)
        with objects.repeats_paused():
            yield
