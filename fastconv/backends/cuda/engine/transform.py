"""Constant matrices times what a thread holds: written out, without the zeros and the ones.

Rows that differ in some signs alone share their two halves, and columns their sum and difference,
as those of transforms from points in pairs of opposite signs do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config

Matrix = np.ndarray[Any, Any]
# Coefficients and the values that they multiply.
Terms = tuple[tuple[float, int], ...]


@dataclasses.dataclass(frozen=True)
class Program:
    """Sums in order: values are the vector's elements, and then the sums themselves."""

    sums: tuple[Terms, ...]
    # Which values are the product's elements.
    results: tuple[int, ...]

    @property
    def operations(self) -> int:
        """Additions and multiplications, where those of one term are done together."""
        return sum(len(terms) - (abs(terms[0][0]) == 1) for terms in self.sums)


def program(matrix: Matrix) -> Program:
    """Write out the product of a matrix and a vector."""
    rows = [{j: float(c) for j, c in enumerate(row) if c} for row in matrix]
    columns = matrix.shape[1]
    sums: list[Terms] = []

    def add(terms: dict[int, float]) -> int:
        # A term without a factor first: it takes no instruction.
        order = sorted(terms.items(), key=lambda term: (abs(term[1]) != 1, term[1] < 0, term[0]))
        sums.append(tuple((coefficient, value) for value, coefficient in order))
        return columns + len(sums) - 1

    for left in range(columns):
        for right in range(left + 1, columns):
            _share_columns(rows, left, right, add)
    results: list[int | None] = [None] * len(rows)
    for i, row in enumerate(rows):
        for k in range(i + 1, len(rows)):
            halves = _halves(row, rows[k])
            if results[i] is None and results[k] is None and halves is not None:
                alike, opposite = (add(half) for half in halves)
                results[i] = add({alike: 1.0, opposite: 1.0})
                results[k] = add({alike: 1.0, opposite: -1.0})
        if results[i] is None:
            results[i] = add(row)
    return Program(tuple(sums), tuple(r for r in results if r is not None))


def _share_columns(
    rows: list[dict[int, float]], left: int, right: int, add: Callable[[dict[int, float]], int]
) -> None:
    """Put the sum and the difference of two values in their places, where that is less to do."""
    with_both = [row for row in rows if left in row or right in row]
    if not all(abs(row.get(left, 0)) == abs(row.get(right, 0)) for row in with_both):
        return
    signs = {row[left] == row[right] for row in with_both}
    if len(with_both) <= len(signs):
        return
    values = {alike: add({left: 1.0, right: 1.0 if alike else -1.0}) for alike in sorted(signs)}
    for row in with_both:
        coefficient, other = row.pop(left), row.pop(right)
        row[values[coefficient == other]] = coefficient


def _halves(
    row: dict[int, float], other: dict[int, float]
) -> tuple[dict[int, float], dict[int, float]] | None:
    """Return the equal and opposite terms of two rows, where sharing them saves work."""
    if row.keys() != other.keys() or any(abs(row[j]) != abs(other[j]) for j in row):
        return None
    alike = {j: c for j, c in row.items() if other[j] == c}
    opposite = {j: c for j, c in row.items() if other[j] != c}
    return (alike, opposite) if alike and opposite and len(row) > 2 else None


def linear(matrix: Matrix) -> Callable[..., None]:
    """Return the intrinsic ``transform(array, start, stride)`` of a matrix of constants.

    It puts the product in the places of the vector's first elements: ``array`` is local, and the
    vector's elements are ``stride`` apart from ``start`` on.
    """
    return _linear(program(matrix), matrix.shape[1])


def add_column(matrix: Matrix, width: int) -> Callable[..., None]:
    """Return the intrinsic ``add(sums, column, values)`` of a matrix of constants.

    To row i of ``sums``, which has ``width`` elements a row, it adds the matrix's element (i,
    ``column``) times ``values``; both are local arrays, and ``column`` is a constant number.
    """
    return _add_column(matrix, width)


if config.ENABLE_CUDASIM:

    def _linear(steps: Program, columns: int) -> Callable[..., None]:
        def transform(array: Any, start: int, stride: int) -> None:
            values = [array[start + j * stride] for j in range(columns)]
            with np.errstate(all="ignore"):
                for terms in steps.sums:
                    total = np.float32(terms[0][0]) * values[terms[0][1]]
                    for coefficient, value in terms[1:]:
                        exact = np.float64(np.float32(coefficient)) * values[value]
                        total = np.float32(total + exact)
                    values.append(total)
            for i, result in enumerate(steps.results):
                array[start + i * stride] = values[result]

        return transform

    def _add_column(matrix: Any, width: int) -> Callable[..., None]:
        def add(sums: Any, column: int, values: Any) -> None:
            with np.errstate(all="ignore"):
                for i, row in enumerate(matrix.astype(np.float32).astype(np.float64)):
                    if row[column]:
                        own = sums[i * width : (i + 1) * width]
                        own[...] = own + row[column] * np.asarray(values[:width], np.float64)

        return add

else:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    from fastconv.backends.cuda.engine.intrinsics import _address, _fused

    _FLOAT = ir.FloatType()

    def _constant(value: float) -> Any:
        return ir.Constant(_FLOAT, float(np.float32(value)))

    def _sum(builder: Any, terms: Terms, values: list[Any]) -> Any:
        coefficient, first = terms[0]
        total = values[first]
        if coefficient == -1:
            total = builder.fsub(_constant(-0.0), total)
        elif coefficient != 1:
            total = builder.fmul(total, _constant(coefficient))
        for coefficient, value in terms[1:]:
            if coefficient == 1:
                total = builder.fadd(total, values[value])
            elif coefficient == -1:
                total = builder.fsub(total, values[value])
            else:
                factors = [values[value], _constant(coefficient), total]
                total = builder.call(_fused(builder), factors)
        return total

    def _linear(steps: Program, columns: int) -> Callable[..., None]:
        @intrinsic
        def transform(typingctx: Any, array: Any, start: Any, stride: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                first, apart = (
                    context.cast(builder, argument, kind, types.int64)
                    for argument, kind in zip(args[1:], signature.args[1:], strict=True)
                )

                def place(j: int) -> Any:
                    index = builder.add(first, builder.mul(apart, ir.Constant(apart.type, j)))
                    return _address(context, builder, signature.args[0], args[0], index)

                values = [builder.load(place(j)) for j in range(columns)]
                for terms in steps.sums:
                    values.append(_sum(builder, terms, values))
                for i, result in enumerate(steps.results):
                    builder.store(values[result], place(i))
                return context.get_dummy_value()

            return types.void(array, start, stride), codegen

        return transform

    def _add_column(matrix: Any, width: int) -> Callable[..., None]:
        @intrinsic
        def add(typingctx: Any, sums: Any, column: Any, values: Any) -> Any:
            if not isinstance(column, types.IntegerLiteral):
                return None
            coefficients = matrix[:, column.literal_value]

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                def place(which: int, index: int) -> Any:
                    own = ir.Constant(ir.IntType(64), index)
                    return _address(context, builder, signature.args[which], args[which], own)

                loaded = [builder.load(place(2, j)) for j in range(width)]
                for i, coefficient in enumerate(coefficients):
                    for j, value in enumerate(loaded):
                        if coefficient:
                            target = place(0, i * width + j)
                            term = [(1.0, 0), (float(coefficient), 1)]
                            total = _sum(builder, tuple(term), [builder.load(target), value])
                            builder.store(total, target)
                return context.get_dummy_value()

            return types.void(sums, column, values), codegen

        return add


__all__ = ["Program", "add_column", "linear", "program"]
