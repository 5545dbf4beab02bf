"""Elementwise functions of up to four arrays, each stepped through in its own way.

The first operand is folded with the others, one function each: a scale and a shift a channel, a
slope a channel and broadcast arithmetic differ in steps alone. A thread does four results side by
side where the innermost axis comes in fours, else four that are a block apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from numba import cuda
from numba import float32 as f32
from numba import int64 as i64
from numba import uint32 as u32
from numba import uint64 as u64

from fastconv.backends.cuda.activation import scalar
from fastconv.backends.cuda.engine.cells import Cell, Other, access, of_cells
from fastconv.backends.cuda.engine.intrinsics import combine4, map4, put4, take4
from fastconv.backends.cuda.engine.kernel import Body, Float32, kernel
from fastconv.backends.cuda.engine.plan import Argument, Launch
from fastconv.backends.cuda.engine.quads import load4_by
from fastconv.backends.cuda.engine.source import unroll
from fastconv.problem import Shape
from fastconv.problem.activation import Activation

_THREADS = 256
OPERANDS = 4


def _add(left: Any, right: Any) -> Any:
    return left + right


def _subtract(left: Any, right: Any) -> Any:
    return left - right


def _multiply(left: Any, right: Any) -> Any:
    return left * right


def _divide(left: Any, right: Any) -> Any:
    return left / right


def _maximum(left: Any, right: Any) -> Any:
    # Whichever is a NaN wins.
    if left != left:
        return left
    return left if left >= right else right


def _minimum(left: Any, right: Any) -> Any:
    if left != left:
        return left
    return left if left <= right else right


def _prelu(left: Any, right: Any) -> Any:
    return left if left > f32(0) else left * right


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "maximum": _maximum,
    "minimum": _minimum,
    "prelu": _prelu,
}


@kernel
def broadcast(
    functions: tuple[str, ...],
    lengths: Shape,
    steps: tuple[Shape, ...],
    inner: Shape,
    activation: Activation | None,
    dtypes: tuple[str, str] = ("float32", "float32"),
) -> tuple[Body, int]:
    """Fold operands, whose steps are an axis's each; the last axis comes first.

    ``inner``, where it is not empty, are the steps between the four results of a thread.
    ``dtypes`` are the first operand's and the results'; all others are float32.
    """
    THREADS, AXES, ITEMS = _THREADS, len(lengths), prod(lengths)
    WIDE, NARROW, ACTIVATION = bool(inner), not inner, activation is not None
    EACH = 1 if WIDE else 4
    SPAN = THREADS * EACH
    COUNT, LENGTHS, LAST = len(functions), lengths, len(lengths) - 1
    every: list[tuple[int, ...]] = [*steps] + [(0,) * AXES] * (OPERANDS - len(steps))
    X, A, B, C = every
    _, take_a, take_b, take_c = (load4_by(s) for s in (*inner, 0, 0, 0, 0)[:OPERANDS])
    load, load4 = access(dtypes[0]).load, access(dtypes[0]).load4
    store, store4 = access(dtypes[1]).store, access(dtypes[1]).store4
    BESIDE, REPEATED = inner[:1] == (1,), inner[:1] == (0,)
    first, second, third = (combine4(FUNCTIONS[f]) for f in (*functions, "add", "add")[:3])
    activate = map4(scalar(activation))
    count = u32 if ITEMS < 2**31 else u64

    def body(x: Cell, a: Float32, b: Float32, c: Float32, y: Other) -> None:
        start = u64(cuda.blockIdx.x) * u64(SPAN) + u64(cuda.threadIdx.x)
        values = cuda.local.array(16, f32)
        for e in unroll(EACH):
            rest = count(min(start + u64(e * THREADS), u64(ITEMS - 1)))
            at = i64(0)
            at_a = i64(0)
            at_b = i64(0)
            at_c = i64(0)
            for axis in unroll(AXES):
                place = i64(rest)
                if axis != LAST:
                    place = i64(rest % count(LENGTHS[axis]))
                    rest = rest // count(LENGTHS[axis])
                at += place * i64(X[axis])
                at_a += place * i64(A[axis])
                at_b += place * i64(B[axis])
                at_c += place * i64(C[axis])
            if WIDE:
                if BESIDE:
                    put4(values, 0, load4(x, at))
                if REPEATED:
                    one = load(x, at)
                    put4(values, 0, (one, one, one, one))
                put4(values, 4, take_a(a, at_a))
                if COUNT > 1:
                    put4(values, 8, take_b(b, at_b))
                if COUNT > 2:
                    put4(values, 12, take_c(c, at_c))
            if NARROW:
                values[e] = load(x, at)
                values[4 + e] = a[at_a]
                if COUNT > 1:
                    values[8 + e] = b[at_b]
                if COUNT > 2:
                    values[12 + e] = c[at_c]
        total = first(take4(values, 0), take4(values, 4))
        if COUNT > 1:
            total = second(total, take4(values, 8))
        if COUNT > 2:
            total = third(total, take4(values, 12))
        if ACTIVATION:
            total = activate(total)
        if WIDE:
            if start < u64(ITEMS):
                store4(y, i64(start) * i64(4), total)
        if NARROW:
            put4(values, 0, total)
            for e in unroll(EACH):
                item = start + u64(e * THREADS)
                if item < u64(ITEMS):
                    store(y, i64(item), values[e])

    return of_cells(body, *dtypes), THREADS


def folding(
    functions: tuple[str, ...],
    shape: Shape,
    steps: Sequence[Shape],
    operands: Sequence[Argument],
    target: Argument,
    activation: Activation | None = None,
    dtypes: tuple[str, str] = ("float32", "float32"),
) -> Launch:
    """Return the launch that folds operands into an array of ``shape``.

    Parameters
    ----------
    functions
        Names in `FUNCTIONS`; the first is of the first two operands.
    steps
        Of each operand, in cells, an axis of ``shape``: 0 where it is repeated.
    """
    axes = _merged(shape, steps)
    (length, *strides), outer = axes[0], axes[1:]
    aligned = all(
        step == 0 or (step == 1 and all(axis[number + 1] % 4 == 0 for axis in outer))
        for number, step in enumerate(strides)
    )
    inner: Shape = ()
    if length % 4 == 0 and aligned:
        inner = tuple(strides)
        axes[0] = (length // 4, *(4 * step for step in strides))
    lengths, *each = zip(*axes, strict=True)
    kern = broadcast(functions, lengths, tuple(each), inner, activation, dtypes)
    blocks = -(-prod(lengths) // (_THREADS * (1 if inner else 4)))
    given = [*operands, *[None] * (OPERANDS - len(operands)), target]
    return Launch(kern, (blocks, 1, 1), given)


def _merged(shape: Shape, steps: Sequence[Shape]) -> list[tuple[int, ...]]:
    """Return (length, a step an operand) of as few axes as there can be, the last first."""
    found: list[tuple[int, ...]] = []
    for length, *own in reversed([*zip(shape, *steps, strict=True)]):
        if length == 1:
            continue
        if found and all(
            step == found[-1][0] * last for step, last in zip(own, found[-1][1:], strict=True)
        ):
            found[-1] = (found[-1][0] * length, *found[-1][1:])
        else:
            found.append((length, *own))
    return found or [(1, *[0] * len(steps))]
