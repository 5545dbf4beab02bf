"""What pools do to contiguous runs: fold rows into an accumulator, elementwise, or a run to one."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.manifest.pools import Separable
from fastconv.backends.numba.engine import array, part

LANES = Separable.RUN_LANES


def make_fold(operation: str, dtype: str) -> tuple[Any, Any]:
    """Return the operation on two scalars, "max" or "sum", and where it starts."""
    kind = np.dtype(dtype).type
    if operation == "sum":
        return part(lambda total, value: total + value), kind(0)
    least = kind(np.iinfo(kind).min) if np.dtype(dtype).kind in "iu" else kind(-np.inf)
    # NaN wins over all, the first of them stays.
    return part(lambda most, v: v if (v > most) | (v != v) else most), least


def make_fill(dtype: str, start: Any) -> Any:
    """Make the function that sets a run to the start."""
    kind = np.dtype(dtype).type

    @part
    def fill(target, n):  # type: ignore[no-untyped-def]
        values = array(target, (n,), kind)
        for j in range(n):
            values[j] = start

    return fill


def make_fold_rows(fold: Any, dtype: str) -> Any:
    """Make the function that folds up to three rows into an accumulator, in order."""
    kind = np.dtype(dtype).type

    @part
    def fold_rows(target, a, b, c, count, n):  # type: ignore[no-untyped-def]
        values = array(target, (n,), kind)
        x, y, z = array(a, (n,), kind), array(b, (n,), kind), array(c, (n,), kind)
        if count == 1:
            for j in range(n):
                values[j] = fold(values[j], x[j])
        elif count == 2:
            for j in range(n):
                values[j] = fold(fold(values[j], x[j]), y[j])
        else:
            for j in range(n):
                values[j] = fold(fold(fold(values[j], x[j]), y[j]), z[j])

    return fold_rows


def make_fold_spaced(fold_rows: Any) -> Any:
    """Make the function that folds ``count`` rows, ``step`` bytes apart, into an accumulator."""

    @part
    def fold_spaced(target, source, count, step, n):  # type: ignore[no-untyped-def]
        done = 0
        while done < count:
            group = min(3, count - done)
            a = source + done * step
            b = a + step if group > 1 else a
            c = b + step if group > 2 else b
            fold_rows(target, a, b, c, group, n)
            done += group

    return fold_spaced


def make_fold_strided(fold: Any, dtype: str) -> Any:
    """Make the function that folds every ``stride``-th element into an accumulator."""
    kind = np.dtype(dtype).type

    @part
    def fold_strided(target, source, n, stride):  # type: ignore[no-untyped-def]
        values = array(target, (n,), kind)
        x = array(source, ((n - 1) * stride + 1,), kind)
        if stride == 2:
            for j in range(n):
                values[j] = fold(values[j], x[np.uintp(j) * np.uintp(2)])
        else:
            step = np.uintp(stride)
            for j in range(n):
                values[j] = fold(values[j], x[np.uintp(j) * step])

    return fold_strided


def make_fold_run(fold: Any, dtype: str, start: Any) -> Any:
    """Make the function that folds a run to one value: in 16 lanes, then these pairwise."""
    kind = np.dtype(dtype).type

    @part
    def fold_run(source, count, step, lanes):  # type: ignore[no-untyped-def]
        if step != 1 or count < LANES:
            x = array(source, ((count - 1) * step + 1,), kind)
            total = start
            for i in range(count):
                total = fold(total, x[np.uintp(i) * np.uintp(step)])
            return total
        parts = array(lanes, (LANES,), kind)
        x = array(source, (count,), kind)
        for j in range(LANES):
            parts[j] = x[j]
        whole = count // LANES * LANES
        for i in range(LANES, whole, LANES):
            for j in range(LANES):
                parts[j] = fold(parts[j], x[np.uintp(i) + np.uintp(j)])
        for i in range(whole, count):
            parts[i - whole] = fold(parts[i - whole], x[i])
        width = LANES // 2
        while width > 0:
            for j in range(width):
                parts[j] = fold(parts[j], parts[j + width])
            width //= 2
        return parts[0]

    return fold_run
