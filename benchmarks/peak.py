"""The machine's limits, measured: multiply-adds in registers, and reading from memory and cache."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastconv.machine import cache_sizes

_CHAINS = 12
_STEPS = 200_000
_LANES = (4, 8, 16)
_BIG = 128 << 20

HOW = (
    f"{_CHAINS} independent chains of float32 multiply-adds in vector registers (Numba, the best of"
    f" {', '.join(map(str, _LANES))} lanes); bandwidth: reading {_BIG >> 20} MB, and half of L2"
)


@dataclasses.dataclass(frozen=True)
class Peak:
    """What so many threads reach together: operations and bytes a second."""

    threads: int
    flops: float
    memory_bandwidth: float
    cache_bandwidth: float


def measure_peak(threads: int, repeat: int = 15) -> Peak:
    """Measure the limits of ``threads`` threads: the best of ``repeat``."""
    rates = []
    for lanes in _LANES:
        run = functools.partial(_chains(lanes), _STEPS, np.float32(1e-8))
        rates.append(2 * _CHAINS * lanes * _STEPS * threads / _best([run] * threads, repeat))
    parts = np.array_split(np.ones(_BIG // 4, np.float32), threads)
    near = cache_sizes()[1] // 2
    small = [np.ones(near // 4, np.float32) for _ in range(threads)]
    return Peak(
        threads,
        max(rates),
        _BIG / _best([functools.partial(_read, part, 1) for part in parts], 5),
        near * 64 * threads / _best([functools.partial(_read, a, 64) for a in small], repeat),
    )


def _best(works: list[Callable[[], Any]], repeat: int) -> float:
    """Give the least seconds in which all was done, each by a thread of its own."""
    best = float("inf")
    with concurrent.futures.ThreadPoolExecutor(len(works)) as pool:
        # The first run compiles.
        for _ in range(repeat + 1):
            start = time.perf_counter()
            for future in [pool.submit(work) for work in works]:
                future.result()
            best = min(best, time.perf_counter() - start)
    return best


@numba.njit(nogil=True, fastmath=True)
def _read(array: Any, times: int) -> Any:
    total = np.float32(0)
    for _ in range(times):
        for i in range(array.size):
            total += array[i]
    return total


def _chains(lanes: int) -> Any:
    """Compile ``_CHAINS`` chains of ``lanes`` wide multiply-adds that each wait for themselves."""

    @intrinsic
    def run(typingctx: Any, steps: Any, seed: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            steps, seed = arguments
            vector = ir.VectorType(ir.FloatType(), lanes)
            first = builder.insert_element(ir.Constant(vector, ir.Undefined), seed, _index(0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
            spread = builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)
            sums = [cgutils.alloca_once_value(builder, spread) for _ in range(_CHAINS)]
            fma = builder.module.declare_intrinsic(
                f"llvm.fmuladd.v{lanes}f32", fnty=ir.FunctionType(vector, [vector] * 3)
            )
            with cgutils.for_range(builder, steps):
                for kept in sums:
                    builder.store(builder.call(fma, [builder.load(kept), spread, spread]), kept)
            total = builder.load(sums[0])
            for kept in sums[1:]:
                total = builder.fadd(total, builder.load(kept))
            return builder.extract_element(total, _index(0))

        return types.float32(types.int64, types.float32), emit

    @numba.njit(nogil=True)
    def loop(steps: int, seed: float) -> Any:
        return run(steps, seed)

    return loop


def _index(value: int) -> Any:
    return ir.Constant(ir.IntType(32), value)
