"""Pools: four channels of one output a thread, or one, windows read by tables.

A table has each output's first cell and the one behind its last, a dimension: windows that share a
shape, those that are clipped by the image's edge and adaptive ones are one kernel.
"""

from __future__ import annotations

import dataclasses
from math import prod
from typing import Any

import numpy as np
from numba import cuda
from numba import float32 as f32
from numba import int32 as i32
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.cells import DTYPES, Cell, access, of_cells
from fastconv.backends.cuda.engine.intrinsics import combine4, map4, sqrt
from fastconv.backends.cuda.engine.kernel import Body, Float32, Int32, kernel
from fastconv.backends.cuda.engine.plan import OUTPUT, Argument, CudaPlan, Launch
from fastconv.backends.native.conv.geometry import lead
from fastconv.backends.native.plan import INPUT, constant
from fastconv.problem import AdaptivePoolProblem, PoolProblem

_THREADS = 256
AnyPool = PoolProblem | AdaptivePoolProblem


@dataclasses.dataclass(frozen=True)
class Fold:
    """How cells are brought together: what is begun with, and whether a mean or root ends it.

    ``power``: that of an Lp pool whose cells are raised to it, and whose root ends it.
    """

    name: str
    start: float
    mean: bool = False
    rooted: bool = False
    power: float = 2.0


FOLDS = {
    "max": Fold("max", -np.inf),
    "avg": Fold("sum", 0.0, mean=True),
    "sum": Fold("sum", 0.0),
    "magnitudes": Fold("magnitudes", 0.0),
    "squares": Fold("squares", 0.0, rooted=True),
    "largest": Fold("largest", 0.0),
}


def _max(total: Any, x: Any) -> Any:
    # Whichever is a NaN wins.
    if total != total:
        return total
    return total if x <= total else x


def _sum(total: Any, x: Any) -> Any:
    return total + x


def _magnitudes(total: Any, x: Any) -> Any:
    return total + abs(x)


def _squares(total: Any, x: Any) -> Any:
    return total + x * x


def _largest(total: Any, x: Any) -> Any:
    size = abs(x)
    if total != total:
        return total
    return total if size <= total else size


def _root(x: Any) -> Any:
    return sqrt(x)


_COMBINE = {
    "max": _max,
    "sum": _sum,
    "magnitudes": _magnitudes,
    "squares": _squares,
    "largest": _largest,
}


def functions_of(fold: Fold) -> tuple[Any, Any]:
    """Return how a cell is brought to those before, and the root that may end them."""
    powers, root = _powers(fold.power)
    adding = powers if fold.name == "powers" else _COMBINE[fold.name]
    return adding, _root if fold.power == 2 else root


def _powers(power: float) -> tuple[Any, Any]:
    """Return how a power of a magnitude is added, and the root that ends a sum of them."""

    def add(total: Any, x: Any) -> Any:
        return total + abs(x) ** f32(power)

    def root(x: Any) -> Any:
        return x ** f32(1 / power)

    return add, root


@kernel
def pool(
    fold: Fold,
    batch: int,
    channels: int,
    input_size: tuple[int, int, int],
    output_size: tuple[int, int, int],
    steps: tuple[int, int, int],
    dtype: str = "float32",
) -> tuple[Body, int]:
    """Bring the cells of windows together."""
    IN_D, IN_H, IN_W = input_size
    OUT_D, OUT_H, OUT_W = output_size
    STEP_D, STEP_H, STEP_W = steps
    CHANNELS, QUADS = channels, -(-channels // 4)
    WHOLE, ONE = channels % 4 == 0, channels == 1
    ITEMS = batch * OUT_D * OUT_H * OUT_W * QUADS
    THREADS = _THREADS
    ROWS, COLUMNS = OUT_D, OUT_D + OUT_H
    START, MEAN, ROOTED = fold.start, fold.mean, fold.rooted
    adding, rooting = functions_of(fold)
    combine, root = combine4(adding), map4(rooting)
    divide = combine4(_divide)
    cells = access(dtype)
    load4, load_first = cells.load4, cells.load_first
    store4, store_first, load = cells.store4, cells.store_first, cells.load

    def body(x: Cell, table: Int32, counts: Float32, y: Cell) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(ITEMS):
            channel = i32(item % i64(QUADS)) * i32(4)
            place = item // i64(QUADS)
            w = i32(place % i64(OUT_W))
            rest = place // i64(OUT_W)
            h = i32(rest % i64(OUT_H))
            rest = rest // i64(OUT_H)
            d = i32(rest % i64(OUT_D))
            image = rest // i64(OUT_D)
            count = i32(CHANNELS) - channel
            total = (f32(START), f32(START), f32(START), f32(START))
            h_row = (i32(ROWS) + h) * i32(2)
            w_row = (i32(COLUMNS) + w) * i32(2)
            for z in range(table[d * i32(2)], table[d * i32(2) + i32(1)], STEP_D):
                for v in range(table[h_row], table[h_row + i32(1)], STEP_H):
                    line = ((image * i64(IN_D) + i64(z)) * i64(IN_H) + i64(v)) * i64(IN_W)
                    for u in range(table[w_row], table[w_row + i32(1)], STEP_W):
                        cell = (line + i64(u)) * i64(CHANNELS) + i64(channel)
                        if WHOLE:
                            total = combine(total, load4(x, cell))
                        elif ONE:
                            # The compiler sees that four are the same, and does one.
                            value = load(x, cell)
                            total = combine(total, (value, value, value, value))
                        else:
                            total = combine(total, load_first(x, cell, count))
            if MEAN:
                over = counts[d] * counts[i32(ROWS) + h] * counts[i32(COLUMNS) + w]
                total = divide(total, (over, over, over, over))
            if ROOTED:
                total = root(total)
            target = place * i64(CHANNELS) + i64(channel)
            if WHOLE:
                store4(y, target, total)
            else:
                store_first(y, target, total, count)

    return of_cells(body, dtype), THREADS


class Pool(CudaAlgorithm):
    """Max, average and Lp pools of every shape of window, adaptive ones too."""

    name = "pool"
    dtypes = DTYPES

    def why_not(self, problem: AnyPool) -> str | None:
        if fold_of(problem) is None:
            return f"{problem.kind} pools: this kernel is for max, avg and lp pools"
        if problem.return_indices:
            return "indices are asked for: this kernel gives values alone"
        return super().why_not(problem)

    def error_bound(self, problem: AnyPool) -> float:
        if problem.kind == "max":
            return 0.0
        cells = prod(int(w.counted.max()) for w in problem.windows())
        return float(cells + 1) * float(np.finfo(np.float32).eps)

    def launches(self, problem: AnyPool, *parameters: Array | None) -> CudaPlan:
        return plan_pool(problem)


def _divide(total: Any, over: Any) -> Any:
    return total / over


def fold_of(problem: AnyPool) -> Fold | None:
    """Return how a pool brings cells together; None where this kernel does not."""
    if problem.kind == "lp":
        power = float(problem.norm_type or 0)
        named = {1.0: "magnitudes", 2.0: "squares", np.inf: "largest"}.get(power)
        return FOLDS[named] if named else Fold("powers", 0.0, rooted=True, power=power)
    return FOLDS.get(problem.kind)


def plan_pool(problem: AnyPool) -> CudaPlan:
    """Plan a pool; planes of channels that come first are images of one channel."""
    fold = fold_of(problem)
    assert fold is not None
    channels = problem.channels if problem.channels_last else 1
    images = problem.batch * problem.channels // channels
    windows = problem.windows()
    steps = lead(tuple(w.step for w in windows), 1)
    sizes = lead(problem.input_size, 1), lead(problem.output_size, 1)
    kern = pool(fold, images, channels, *sizes, steps, problem.dtype.name)
    items = images * prod(problem.output_size) * -(-channels // 4)
    arguments: list[Argument] = [
        INPUT(0),
        constant(windows_table(problem)),
        constant(_counts(problem)),
        OUTPUT,
    ]
    return CudaPlan([Launch(kern, (-(-items // _THREADS), 1, 1), arguments)])


def windows_table(problem: AnyPool) -> Array:
    """Return each output's first cell and the one behind its last, dimension by dimension."""
    whole = [np.array([[0, 1]])] * (3 - problem.n)
    own = [np.stack([w.start, w.stop], 1) for w in problem.windows()]
    return np.concatenate([*whole, *own]).astype(np.int32)


def _counts(problem: AnyPool) -> Array:
    """Return the cells that means are over, a dimension; a divisor stands for all of them."""
    divisor = getattr(problem, "divisor_override", None)
    counted = [np.maximum(w.counted, 1).astype(np.float32) for w in problem.windows()]
    if divisor is not None:
        counted = [np.ones_like(each) for each in counted]
        counted[-1][...] = divisor
    return np.concatenate([np.ones(3 - problem.n, np.float32), *counted])
