"""Matrices known beforehand times columns of values, as operations in a row.

Points that come in pairs of opposite sign give rows (or columns) that differ in signs alone; what
they share is computed once (even and odd parts), which halves the multiplications.

The build of the C extension reads this file by itself: it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

Row = tuple[float, ...]


class Operations(Protocol):
    """What emits operations on values: instructions, or a program's text."""

    def zero(self) -> Any:
        """Return a value of zeros."""

    def add(self, a: Any, b: Any) -> Any:
        """Return a + b."""

    def subtract(self, a: Any, b: Any) -> Any:
        """Return a - b."""

    def scale(self, factor: float, a: Any) -> Any:
        """Return factor * a."""

    def scale_add(self, factor: float, a: Any, b: Any) -> Any:
        """Return factor * a + b."""


def nearest(rows: Iterable[Iterable[Any]]) -> tuple[Row, ...]:
    """Take exact fractions as the nearest floats."""
    return tuple(tuple(float(entry) for entry in row) for row in rows)


def product(operations: Operations, rows: Iterable[Row], column: list[Any]) -> list[Any]:
    """Multiply a matrix with a column; zeros and ones cost nothing."""
    folded, values = _fold(operations, tuple(rows), column)
    results: list[Any] = [None] * len(folded)
    for i, row in enumerate(folded):
        if results[i] is not None:
            continue
        partner = next((k for k in range(i + 1, len(folded)) if _mirrored(row, folded[k])), None)
        if partner is None:
            results[i] = _combine(operations, row, values)
            continue
        other = folded[partner]
        shared = [a if a == b else 0.0 for a, b in zip(row, other, strict=True)]
        turned = [a if a != b else 0.0 for a, b in zip(row, other, strict=True)]
        even, odd = (_combine(operations, part, values) for part in (shared, turned))
        results[i] = operations.add(even, odd)
        results[partner] = operations.subtract(even, odd)
    return results


def _fold(
    operations: Operations, rows: tuple[Row, ...], column: list[Any]
) -> tuple[list[Row], list[Any]]:
    """Replace pairs of columns that differ in signs alone by their sum and difference."""
    columns = list(zip(*rows, strict=True))
    folded: list[Row] = []
    values, taken = [], set()
    for j, first in enumerate(columns):
        if j in taken:
            continue
        partner = next(
            (k for k in range(j + 1, len(columns)) if _mirrored(first, columns[k])), None
        )
        if partner is None:
            folded.append(first)
            values.append(column[j])
            continue
        taken.add(partner)
        other = columns[partner]
        folded.append(tuple(a if a == b else 0.0 for a, b in zip(first, other, strict=True)))
        folded.append(tuple(a if a != b else 0.0 for a, b in zip(first, other, strict=True)))
        values.append(operations.add(column[j], column[partner]))
        values.append(operations.subtract(column[j], column[partner]))
    return list(zip(*folded, strict=True)), values


def _mirrored(a: Row, b: Row) -> bool:
    """Return whether two rows have the same sizes, and both equal and opposite entries."""
    same = any(x == y != 0 for x, y in zip(a, b, strict=True))
    opposite = any(x == -y != 0 for x, y in zip(a, b, strict=True))
    return same and opposite and all(abs(x) == abs(y) for x, y in zip(a, b, strict=True))


def _combine(operations: Operations, row: Iterable[float], column: list[Any]) -> Any:
    terms = [(entry, value) for entry, value in zip(row, column, strict=True) if entry != 0]
    # A term that needs no multiplication starts the sum.
    terms.sort(key=lambda term: term[0] != 1)
    total = None
    for entry, value in terms:
        if total is None:
            total = value if entry == 1 else operations.scale(entry, value)
        elif abs(entry) == 1:
            total = (operations.add if entry == 1 else operations.subtract)(total, value)
        else:
            total = operations.scale_add(entry, value, total)
    return operations.zero() if total is None else total
