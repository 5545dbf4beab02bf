"""Products of batches of matrices, read where they are stored."""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.moves import StridedProblem, strides_of
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import check_dtype, check_same_dtype

DTYPES = ("float32", "float64")


@record(frozen=True)
class Matrices:
    """A batch of matrices in a contiguous array of ``shape``.

    ``start`` is the place of the first element of the first matrix; ``steps`` are the elements
    from one to the next: an entry of each batch axis (0 where it is broadcast), a row, a column.
    """

    shape: Shape
    start: int
    steps: tuple[int, ...]

    @classmethod
    def of(cls, shape: Shape, lengths: Shape) -> Matrices:
        """Describe a whole array, whose last two axes are a matrix's, for batches ``lengths``."""
        missing = len(lengths) + 2 - len(shape)
        own = zip(shape[:-2], strides_of(shape)[:-2], strict=True)
        steps = [0 if n == 1 else step for n, step in own]
        return cls(shape, 0, (*(0,) * missing, *steps, *strides_of(shape)[-2:]))

    def transposed(self) -> Matrices:
        """Return the matrices with rows and columns exchanged."""
        *batch, row, column = self.steps
        return Matrices(self.shape, self.start, (*batch, column, row))

    def of_view(self, shape: Shape, view: StridedProblem, lengths: Shape) -> Matrices | None:
        """Return these matrices of a copied view as matrices of what the view is of.

        ``lengths`` are those of all axes that have steps. None where a step is not one along a
        single axis of the view.
        """
        whole = strides_of(view.view)
        at = [0] * len(whole)
        if self.start:
            at = [int(i) for i in np.unravel_index(self.start, view.view)]
        steps: list[int] = []
        used: set[int] = set()
        for length, step in zip(lengths, self.steps, strict=True):
            if length == 1 or step == 0:
                steps.append(0)
                continue
            axes = [i for i, n in enumerate(view.view) if n > 1 and step % whole[i] == 0]
            if not axes or axes[0] in used:
                return None
            count = step // whole[axes[0]]
            if count < 1 or at[axes[0]] + count * (length - 1) >= view.view[axes[0]]:
                return None
            used.add(axes[0])
            steps.append(count * view.steps[axes[0]])
        start = view.start + sum(i * n for i, n in zip(at, view.steps, strict=True))
        return Matrices(shape, start, tuple(steps))

    def places(self, lengths: Shape) -> np.ndarray:
        """Return the place of the first element of each entry, in elements, in order."""
        found = np.full(1, self.start, np.int64)
        for length, step in zip(lengths, self.steps, strict=False):
            found = (found[:, None] + np.arange(length, dtype=np.int64) * step).reshape(-1)
        return found


@record(frozen=True)
class MatmulProblem(Problem):
    """scale * left @ right for each entry of a batch of ``lengths``.

    ``target`` is where the products are stored in the contiguous output: elements from one to the
    next entry of each batch axis, and row; a row's elements are next to each other.
    """

    lengths: Shape
    rows: int
    depth: int
    columns: int
    left: Matrices
    right: Matrices
    output: Shape
    target: tuple[int, ...]
    scale: float = 1.0

    @classmethod
    @remembered
    def of(
        cls,
        input: ArraySpec,
        weight: ArraySpec,
        *,
        transpose_left: bool = False,
        transpose_right: bool = False,
    ) -> MatmulProblem:
        """Validate operands: a vector is a row on the left, a column on the right."""
        dtype = check_dtype(input, DTYPES, "input of matmul")
        check_same_dtype(input, weight, ("input", "other"))
        given, other = tuple(input.shape), tuple(weight.shape)
        if not given or not other:
            raise ValueError(
                "both arguments to matmul need to be at least 1D, but they are "
                f"{len(given)}D and {len(other)}D"
            )
        first = given if len(given) > 1 else (1, *given)
        second = other if len(other) > 1 else (*other, 1)
        try:
            lengths = tuple(np.broadcast_shapes(first[:-2], second[:-2]))
        except ValueError:
            raise ValueError(
                f"the batch axes of matmul must broadcast, but got {list(given)} and {list(other)}"
            ) from None
        left, right = Matrices.of(first, lengths), Matrices.of(second, lengths)
        rows, depth = first[-2:]
        inner, columns = second[-2:]
        if transpose_left and len(given) > 1:
            left, rows, depth = left.transposed(), depth, rows
        if transpose_right and len(other) > 1:
            right, inner, columns = right.transposed(), columns, inner
        if depth != inner:
            raise ValueError(
                f"mat1 and mat2 shapes cannot be multiplied ({rows}x{depth} and "
                f"{inner}x{columns}): the columns of matmul's input must be the rows of other, "
                f"but got input {list(given)}, other {list(other)}"
            )
        output = (*lengths, *((rows,) if len(given) > 1 else ()))
        output = (*output, *((columns,) if len(other) > 1 else ()))
        target = strides_of((*lengths, rows, columns))[:-1]
        return cls(dtype, lengths, rows, depth, columns, left, right, output, target)

    @property
    def name(self) -> str:
        return "matmul"

    @property
    def input_shape(self) -> Shape:
        return self.left.shape

    @property
    def output_shape(self) -> Shape:
        return self.output

    @property
    def sum_length(self) -> int:
        """Products summed into one output element."""
        return self.depth

    @property
    def macs(self) -> int:
        return prod(self.lengths) * self.rows * self.depth * self.columns

    @property
    def bytes(self) -> int:
        cells = prod(self.left.shape) + prod(self.right.shape) + prod(self.output)
        return cells * self.dtype.itemsize
