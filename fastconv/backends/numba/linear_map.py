"""Compile-time matrices times columns of vectors: the transforms of minimal filtering."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, models, register_model, typeof_impl

from fastconv.backends.native.linear_map import Row, nearest, product
from fastconv.backends.numba.simd import I64, Tile, load, multiply_add, store


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A compile-time matrix, row by row."""

    entries: tuple[Row, ...]

    @classmethod
    def of(cls, rows: Iterable[Iterable[Any]]) -> Matrix:
        """Take exact fractions as the nearest floats."""
        return cls(nearest(rows))


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


class _Instructions:
    """Operations as LLVM's instructions."""

    def __init__(self, builder: Any, shape: Tile) -> None:
        self.builder, self.shape = builder, shape

    def zero(self) -> Any:
        return ir.Constant(self.shape.vector, None)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b)

    def subtract(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b)

    def scale(self, factor: float, a: Any) -> Any:
        return self.builder.fmul(self._splat(factor), a)

    def scale_add(self, factor: float, a: Any, b: Any) -> Any:
        return multiply_add(self.builder, self.shape, self._splat(factor), a, b)

    def _splat(self, number: float) -> Any:
        shape = self.shape
        return ir.Constant(shape.vector, [ir.Constant(shape.element, number)] * shape.lanes)


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

    Vector j is at source + j * source_stride bytes; vector i of the result goes to
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
        for i, result in enumerate(product(_Instructions(builder, s), entries, column)):
            place = builder.add(target, builder.mul(target_stride, I64(i)))
            store(builder, s, result, place)
        return context.get_dummy_value()

    return types.void(shape, matrix, *(types.int64,) * 4), codegen
