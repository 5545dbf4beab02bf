"""Sums that the threads of a block make together, in one order: trees in shared memory.

A block's threads are lanes of columns: the lanes of a column share one sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import config, cuda

THREADS = 256


@dataclass(frozen=True)
class Lanes:
    """How many lanes a column has, a power of two, and the threads from one of them to the next."""

    count: int
    step: int

    @property
    def columns(self) -> int:
        """Columns of a block."""
        return THREADS // self.count

    @property
    def levels(self) -> int:
        """Additions of a sum that go through the tree."""
        return self.count.bit_length() - 1


def lanes_for(length: int, inner: int) -> Lanes:
    """Share out sums over ``length`` cells that are ``inner`` cells apart.

    Threads that are next to each other read cells that are: lanes of one column, or columns.
    """
    columns = 1
    while inner > 1 and columns < min(inner, 32):
        columns *= 2
    count = 1
    while count < THREADS // columns and 4 * count < length:
        count *= 2
    return Lanes(count, 1 if inner == 1 else THREADS // count)


def _sum_tree(cells: Any, thread: Any, lane: Any, step: Any, lanes: Any) -> Any:
    barrier()
    half = lanes // 2
    while half > 0:
        if lane < half:
            cells[thread] = cells[thread] + cells[thread + half * step]
        barrier()
        half = half // 2
    total = cells[thread - lane * step]
    barrier()
    return total


def _max_tree(cells: Any, thread: Any, lane: Any, step: Any, lanes: Any) -> Any:
    barrier()
    half = lanes // 2
    while half > 0:
        if lane < half:
            own, other = cells[thread], cells[thread + half * step]
            # Whichever is a NaN wins.
            cells[thread] = own if own != own or own >= other else other
        barrier()
        half = half // 2
    total = cells[thread - lane * step]
    barrier()
    return total


if config.ENABLE_CUDASIM:
    import numpy as np

    from fastconv.backends.cuda.engine.simulator import current

    def barrier() -> None:
        """Wait for the block's other threads."""
        current().syncthreads()

    sum_tree, max_tree = _sum_tree, _max_tree

    def map1(function: Any) -> Callable[[Any], Any]:
        """Return a function of one number to kernels."""

        def mapped(x: Any) -> Any:
            with np.errstate(all="ignore"):
                return function(x)

        return mapped

    def map2(function: Any) -> Callable[[Any, Any], Any]:
        """Return a function of two numbers to kernels."""

        def mapped(x: Any, y: Any) -> Any:
            with np.errstate(all="ignore"):
                return function(x, y)

        return mapped

else:
    from numba.extending import intrinsic

    barrier = cuda.syncthreads

    def _tree(function: Any) -> Any:
        @intrinsic
        def called(
            typingctx: Any, cells: Any, thread: Any, lane: Any, step: Any, lanes: Any
        ) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return context.compile_internal(builder, function, signature, args)

            return cells.dtype(cells, thread, lane, step, lanes), codegen

        return called

    # Bring together what each lane of a column has in shared memory: ``(cells, thread, lane, step,
    # lanes)`` gives it to every lane, and what is in ``cells`` may be written again.
    sum_tree, max_tree = _tree(_sum_tree), _tree(_max_tree)

    def map1(function: Any) -> Callable[[Any], Any]:
        """Return a function of one number to kernels."""

        @intrinsic
        def mapped(typingctx: Any, x: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return context.compile_internal(builder, function, signature, args)

            return x(x), codegen

        return mapped

    def map2(function: Any) -> Callable[[Any, Any], Any]:
        """Return a function of two numbers to kernels."""

        @intrinsic
        def mapped(typingctx: Any, x: Any, y: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return context.compile_internal(builder, function, signature, args)

            return x(x, x), codegen

        return mapped
