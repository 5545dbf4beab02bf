"""The largest entries along an axis, and boxes that do not overlap."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.common import Reference
from fastconv.problem.choosing import NonMaxSuppressionProblem, TopKProblem


class TopK(Reference):
    """A stable sort of all."""

    def compute(self, problem: TopKProblem, parameters: Any, *inputs: Any) -> tuple[Array, Array]:
        source, axis = inputs[0], problem.axis
        length = problem.shape[axis]
        if problem.largest:
            backwards = np.argsort(np.flip(source, axis), axis=axis, kind="stable")
            order = length - 1 - np.flip(backwards, axis)
        else:
            order = np.argsort(source, axis=axis, kind="stable")
        best = np.take(order, np.arange(problem.count), axis=axis)
        if not problem.ordered:
            best = np.sort(best, axis=axis)
        return np.take_along_axis(source, best, axis), best.astype(np.int64)


class NonMaxSuppression(Reference):
    """One box after the other, against all that are left; in float32, as kernels have it."""

    def compute(
        self, problem: NonMaxSuppressionProblem, parameters: Any, *inputs: Any
    ) -> tuple[Array, Array]:
        boxes, scores = inputs
        chosen = np.zeros(problem.output_shape, np.int64)
        counts = np.zeros(chosen.shape[:2], np.int64)
        for image, corners in enumerate(boxes):
            edges = _edges(corners, problem.centers)
            for kind, column in enumerate(scores[image]):
                kept = _greedy(edges, column, problem)
                chosen[image, kind, : len(kept)] = kept
                counts[image, kind] = len(kept)
        return chosen, counts


def _edges(boxes: Array, centers: bool) -> tuple[Array, Array]:
    """Return the low and the high corner of each box."""
    if centers:
        middle, half = boxes[:, :2], boxes[:, 2:] / np.float32(2)
        return middle - half, middle + half
    first, second = boxes[:, :2], boxes[:, 2:]
    return np.minimum(first, second), np.maximum(first, second)


def _greedy(
    edges: tuple[Array, Array], scores: Array, problem: NonMaxSuppressionProblem
) -> list[int]:
    low, high = edges
    area = (high - low)[:, 0] * (high - low)[:, 1]
    left = np.argsort(-scores, kind="stable")
    if problem.least is not None:
        left = left[scores[left] > np.float32(problem.least)]
    limit = np.float32(problem.overlap)
    kept: list[int] = []
    while len(left) and len(kept) < problem.most:
        best, left = left[0], left[1:]
        kept.append(int(best))
        shared = np.minimum(high[best], high[left]) - np.maximum(low[best], low[left])
        common = shared[:, 0] * shared[:, 1]
        union = area[best] + area[left] - common
        meet = (shared > 0).all(axis=1) & (common > 0) & (union > 0)
        meet &= (area[best] > 0) & (area[left] > 0)
        left = left[~(meet & (common / union > limit))]
    return kept
