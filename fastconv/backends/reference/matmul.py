"""Products of batches of matrices, and attention, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference, narrow, wide
from fastconv.problem import AttentionProblem, MatmulProblem
from fastconv.problem.matmul import Matrices


class Matmul(Reference):
    """Each entry's product, scaled."""

    def compute(self, problem: MatmulProblem, parameters: Any, *inputs: Any) -> Array:
        left = _seen(problem.left, problem.lengths, (problem.rows, problem.depth), inputs[0])
        right = _seen(problem.right, problem.lengths, (problem.depth, problem.columns), inputs[1])
        product = np.matmul(wide(left), wide(right)) * problem.scale
        return _stored(problem, narrow(product, problem.output_dtype))


class Attention(Reference):
    """Scores, mask, softmax, weighted values."""

    def compute(self, problem: AttentionProblem, parameters: Any, *inputs: Any) -> Array:
        sizes = (
            (problem.queries, problem.width),
            (problem.keys, problem.width),
            (problem.keys, problem.value_width),
        )
        given = (problem.query, problem.key, problem.value)
        query, key, value = (
            wide(_seen(matrices, problem.lengths, size, array))
            for matrices, size, array in zip(given, sizes, inputs, strict=False)
        )
        scores = np.matmul(query, np.swapaxes(key, -1, -2)) * problem.scale
        if problem.mask is not None:
            size = (problem.queries, problem.keys)
            scores = scores + wide(_seen(problem.mask, problem.lengths, size, inputs[3]))
        if problem.causal is not None:
            last = np.arange(problem.queries)[:, None] + problem.causal
            scores = np.where(np.arange(problem.keys) <= last, scores, -np.inf)
        highest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
        powers = np.exp(scores - highest)
        weights = powers / powers.sum(axis=-1, keepdims=True)
        if problem.zeros:
            weights = np.where(highest == -np.inf, 0, weights)
        return _stored(problem, narrow(np.matmul(weights, value), problem.output_dtype))


def _seen(matrices: Matrices, lengths: tuple[int, ...], size: tuple[int, int], array: Any) -> Any:
    """View matrices where they are stored."""
    flat = np.ascontiguousarray(array).reshape(-1)[matrices.start :]
    steps = tuple(step * flat.itemsize for step in matrices.steps)
    return np.lib.stride_tricks.as_strided(flat, (*lengths, *size), steps, writeable=False)


def _stored(problem: Any, product: Array) -> Array:
    """Store products where a problem's target says."""
    result = np.empty(problem.output_shape, product.dtype)
    steps = tuple(step * product.itemsize for step in (*problem.target, 1))
    np.lib.stride_tricks.as_strided(result, product.shape, steps)[...] = product
    return result
