"""Compile-time matrices times columns of vectors: the transforms of minimal filtering.

Points that come in pairs of opposite sign give rows (or columns) that differ in signs alone; what
they share is computed once (even and odd parts), which halves the multiplications.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, models, register_model, typeof_impl

from fastconv.backends.numba.simd import I64, Tile, load, multiply_add, store

Row = tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A compile-time matrix, row by row; zeros and ones cost nothing."""

    entries: tuple[Row, ...]

    @classmethod
    def of(cls, rows: Iterable[Iterable[Any]]) -> Matrix:
        """Take exact fractions as the nearest floats."""
        return cls(tuple(tuple(float(entry) for entry in row) for row in rows))


class MatrixType(types.Type):
    """Numba's type of a ``Matrix`` constant."""

    def __init__(self, matrix: Matrix) -> None:
        self.entries = matrix.entries
        super().__init__(name=repr(matrix))


register_model(MatrixType)(models.OpaqueModel)


@typeof_impl.register(Matrix)
def _typeof_matrix(value: Matrix, context: Any) -> MatrixType:
    return MatrixType(value)


@lower_constant(MatrixType)
def _lower_matrix(context: Any, builder: Any, ty: Any, value: Any) -> Any:
    return context.get_dummy_value()


@intrinsic
def linear_map(
    typingctx: Any,
    shape: Any,
    matrix: Any,
    source: Any,
    source_stride: Any,
    target: Any,
    target_stride: Any,
) -> Any:
    """Multiply a compile-time matrix with a column of vectors.

    Vector j lies at source + j * source_stride bytes; vector i of the result goes to
    target + i * target_stride. All is loaded before any is stored.
    """
    s = shape.shape
    entries = matrix.entries

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, _, source, source_stride, target, target_stride = args
        column = [
            load(builder, s, builder.add(source, builder.mul(source_stride, I64(j))))
            for j in range(len(entries[0]))
        ]
        for i, result in enumerate(_product(builder, s, *_fold(builder, entries, column))):
            place = builder.add(target, builder.mul(target_stride, I64(i)))
            store(builder, s, result, place)
        return context.get_dummy_value()

    return types.void(shape, matrix, *(types.int64,) * 4), codegen


def _fold(builder: Any, rows: tuple[Row, ...], column: list[Any]) -> tuple[list[Row], list[Any]]:
    """Replace pairs of columns that differ in signs alone by their sum and difference."""
    columns = list(zip(*rows, strict=True))
    folded, values, taken = [], [], set()
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
        values.append(builder.fadd(column[j], column[partner]))
        values.append(builder.fsub(column[j], column[partner]))
    return list(zip(*folded, strict=True)), values


def _mirrored(a: Row, b: Row) -> bool:
    """Tell whether two rows have the same sizes, and both equal and opposite entries."""
    same = any(x == y != 0 for x, y in zip(a, b, strict=True))
    opposite = any(x == -y != 0 for x, y in zip(a, b, strict=True))
    return same and opposite and all(abs(x) == abs(y) for x, y in zip(a, b, strict=True))


def _product(builder: Any, s: Tile, rows: list[Row], column: list[Any]) -> list[Any]:
    results: list[Any] = [None] * len(rows)
    for i, row in enumerate(rows):
        if results[i] is not None:
            continue
        partner = next((k for k in range(i + 1, len(rows)) if _mirrored(row, rows[k])), None)
        if partner is None:
            results[i] = _combine(builder, s, row, column)
            continue
        other = rows[partner]
        shared = [a if a == b else 0.0 for a, b in zip(row, other, strict=True)]
        turned = [a if a != b else 0.0 for a, b in zip(row, other, strict=True)]
        even, odd = (_combine(builder, s, part, column) for part in (shared, turned))
        results[i] = builder.fadd(even, odd)
        results[partner] = builder.fsub(even, odd)
    return results


def _combine(builder: Any, s: Tile, row: Iterable[float], column: list[Any]) -> Any:
    terms = [(entry, value) for entry, value in zip(row, column, strict=True) if entry != 0]
    # A term that needs no multiplication starts the sum.
    terms.sort(key=lambda term: term[0] != 1)
    total = None
    for entry, value in terms:
        factor = ir.Constant(s.vector, [ir.Constant(s.element, entry)] * s.lanes)
        if total is None:
            total = value if entry == 1 else builder.fmul(factor, value)
        elif abs(entry) == 1:
            total = builder.fadd(total, value) if entry == 1 else builder.fsub(total, value)
        else:
            total = multiply_add(builder, s, factor, value, total)
    return ir.Constant(s.vector, None) if total is None else total
