"""Filters that are outer products: found when a call has weights to look at."""

from __future__ import annotations

import dataclasses
from math import prod
from typing import Any

import numpy as np

from fastconv.arrays import Array
from fastconv.dispatch.parameter import Parameter
from fastconv.dispatch.run import depends_on_values
from fastconv.dispatch.stored import StoredParameter, is_array, values_of
from fastconv.problem import ConvProblem

# Filters from this size on, over images that keep a core busy for longer than the look takes.
LEAST_TAPS = 5
LEAST_MACS = 2_000_000
# Largest distance of an element from the product's, in units of the largest element's last place:
# what rounding the elements of a product leaves.
ROUNDINGS = 4


def separated(problem: ConvProblem, weight: Any, algorithm: str | None) -> ConvProblem:
    """Mark ``problem`` where every filter in ``weight`` is an outer product of two lines."""
    if problem.n != 2 or problem.in_channels != problem.groups:
        return problem
    # The two lines' elements are rounded: no way for sums that must be exact.
    worth = min(problem.kernel_size) >= LEAST_TAPS and problem.macs >= LEAST_MACS
    worth = worth and problem.rtol > 0
    if not (worth or algorithm == "separable") or not is_array(weight):
        return problem
    if problem.dtype.name not in ("float32", "float64"):
        return problem
    immutable = isinstance(weight, (Parameter, StoredParameter)) and weight.frozen
    kept = weight if immutable else None
    depends_on_values()
    known = None if kept is None else kept.outer_products
    if known is None:
        known = are_outer_products(values_of(weight))
        if kept is not None:
            kept.outer_products = known
    return dataclasses.replace(problem, separable=True) if known else problem


def are_outer_products(weight: Array) -> bool:
    """Return whether each matrix of (O, 1, kH, kW) has rank one, up to rounding of its elements.

    The row and the column through the largest element give the only product that it can be
    (cross approximation; Goreinov, Tyrtyshnikov and Zamarashkin, 1997). The first filter is looked
    at alone: in NumPy all of a layer's take as long as the layer, and few layers pass with one.
    """
    matrices = weight.reshape(-1, *weight.shape[-2:])
    limit = ROUNDINGS * float(np.finfo(weight.dtype).eps)
    found = prod(weight.shape) > 0 and _are_of_rank_one(matrices[:1], limit)
    return found and (len(matrices) == 1 or _are_of_rank_one(matrices[1:], limit))


def _are_of_rank_one(matrices: Array, limit: float) -> bool:
    """Return whether each matrix is a product of two lines but for ``limit`` of its pivot."""
    matrices = matrices.astype(np.float64)
    sizes = np.abs(matrices).reshape(len(matrices), -1)
    largest = sizes.argmax(1)
    row, column = np.divmod(largest, matrices.shape[2])
    each = np.arange(len(matrices))
    pivot = matrices[each, row, column]
    # An infinity, or what overflows, gives NaN here: no outer product.
    with np.errstate(invalid="ignore", over="ignore"):
        product = matrices[each, :, column][:, :, None] * matrices[each, row][:, None, :]
        away = np.abs(product - matrices * pivot[:, None, None]).reshape(len(matrices), -1).max(1)
    return bool(np.all(away <= limit * pivot**2))
