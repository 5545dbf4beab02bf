"""Windows as columns and back, one tap of the kernel at a time."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference, narrow, wide
from fastconv.backends.reference.padding import pad_spatial
from fastconv.problem.unfold import FoldProblem, UnfoldProblem


class Unfold(Reference):
    """Each tap sees a strided part of the padded image."""

    def compute(self, problem: UnfoldProblem, parameters: Any, *inputs: Any) -> Array:
        """Compute the columns."""
        x = np.moveaxis(inputs[0], -1, 1) if problem.channels_last else inputs[0]
        padded = pad_spatial(x, problem.padding, "zeros")
        shape = (problem.batch, problem.channels, prod(problem.kernel_size), *problem.blocks)
        columns = np.empty(shape, problem.dtype)
        for number, tap in enumerate(product(*map(range, problem.kernel_size))):
            columns[:, :, number] = padded[_cells(problem, tap)]
        return columns.reshape(problem.output_shape)


class Fold(Reference):
    """Each tap adds its rows to a strided part of the padded image."""

    def compute(self, problem: FoldProblem, parameters: Any, *inputs: Any) -> Array:
        """Compute the image."""
        shape = (problem.batch, problem.channels, prod(problem.kernel_size), *problem.blocks)
        columns = wide(inputs[0]).reshape(shape)
        padded_size = [
            size + sum(pair) for size, pair in zip(problem.image_size, problem.padding, strict=True)
        ]
        image = np.zeros((problem.batch, problem.channels, *padded_size), columns.dtype)
        for number, tap in enumerate(product(*map(range, problem.kernel_size))):
            image[_cells(problem, tap)] += columns[:, :, number]
        (top, _), (left, _) = problem.padding
        height, width = problem.image_size
        image = image[:, :, top : top + height, left : left + width]
        image = np.moveaxis(image, 1, -1) if problem.channels_last else image
        return narrow(image, problem.output_dtype)


def _cells(problem: UnfoldProblem | FoldProblem, tap: tuple[int, ...]) -> Any:
    """Return the cells of the padded image that one tap sees, a dimension."""
    columns = zip(tap, problem.dilation, problem.stride, problem.blocks, strict=True)
    cells = (slice(t * d, t * d + (blocks - 1) * s + 1, s) for t, d, s, blocks in columns)
    return (..., *cells)
