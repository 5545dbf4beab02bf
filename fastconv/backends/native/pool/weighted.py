"""Weighted averages, tap by tap."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.native import NativePlan, Stage, constant
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.pool.block import shared_words
from fastconv.backends.native.pool.geometry import Geometry
from fastconv.machine import Machine
from fastconv.problem import PoolProblem
from fastconv.problem.pool import Windows, window_weights


class Weighted(NativeAlgorithm):
    """Weighted averages."""

    name = "weighted"

    def why_not(self, problem: PoolProblem) -> str | None:
        if problem.kind != "weighted":
            return "the pool has no weights"
        return super().why_not(problem)

    def cost(self, problem: PoolProblem, machine: Machine) -> Cost:
        flops = 2 * prod(problem.output_shape) * prod(problem.kernel_size)
        return Cost(roofline(problem, machine, flops=flops, bytes=problem.bytes))

    def error_bound(self, problem: PoolProblem) -> float:
        return prod(problem.kernel_size) * float(np.finfo(problem.dtype).eps)

    def plan(self, problem: PoolProblem, *parameters: Array | None) -> NativePlan:
        (given,) = parameters
        assert problem.weights is not None
        wide = window_weights(problem.weights, problem.kernel_size) if given is None else given
        weights = np.asarray(wide, np.float64).reshape(
            *(1,) * (3 - problem.n), *problem.kernel_size
        )
        weights = weights / weights.sum()
        geometry = Geometry.of(problem)
        kinds = [_kinds(w) for w in geometry.windows]
        words: list[Any] = [
            *shared_words(problem, geometry, 0),
            constant(weights, problem.dtype),
            weights.shape[1],
            constant(_sums(weights, [k for k, _ in kinds]), problem.dtype),
            *(len(k) for k, _ in kinds),
            *(constant(of_place, np.int64) for _, of_place in kinds),
        ]
        address = self.library.kernel("pool.weighted", problem.dtype.name)
        return self.native_plan(problem, [Stage(address, geometry.items, words)])


def _kinds(windows: Windows) -> tuple[Array, Array]:
    """Give the different ranges of taps that are counted, and which one each output has."""
    ranges = np.stack([windows.counted_from, windows.counted_to], axis=1)
    kinds, of_place = np.unique(ranges, axis=0, return_inverse=True)
    return kinds, of_place.reshape(-1)


def _sums(weights: Array, kinds: list[Array]) -> Array:
    """Sum the weights over every combination of ranges; exactly 1 where all are counted."""
    sums = np.ones([len(k) for k in kinds])
    for place in np.ndindex(*sums.shape):
        ranges = [tuple(k[i]) for k, i in zip(kinds, place, strict=True)]
        if ranges != [(0, length) for length in weights.shape]:
            sums[place] = weights[tuple(slice(*r) for r in ranges)].sum()
    return sums
