"""How far an answer may be from float64's: the algorithm's own bound, the dtype's roundings."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import ml_dtypes
import numpy as np

from fastconv.backends.base import Algorithm
from fastconv.problem import InterpolateProblem, Problem
from tests.trust.calls import Array, Call

# Functions that move cells or pick among them.
MOVES = ("pad", "unfold", "max_unpool", "pixel_", "max_pool", "adaptive_max", "global_max")
PLAIN = (None, "relu", "relu6")


def is_exact(call: Call, algorithm: Algorithm) -> bool:
    """Return whether the answer must be the exact one, rounded to its dtype at most."""
    name, options = call.function, call.options
    if call.dtype.kind in "iu" or name.startswith(MOVES) or name in PLAIN:
        return True
    if name == "interpolate" and "nearest" in options["mode"]:
        return True
    summed = name.startswith("conv") or name in ("linear", "fold")
    return (
        summed and call.whole and not algorithm.approximates
        and not call.outer and options.get("activation") in PLAIN
    )  # fmt: skip


def allowed(call: Call, problem: Any, algorithm: Algorithm, exact: Array) -> Array:
    """Return the largest error that each element may have; ``exact`` is float64's answer."""
    info = ml_dtypes.finfo(exact_dtype(call))
    sixteen = call.dtype.itemsize == 2
    # float16 and bfloat16 are computed in float32, and stored with one rounding; where the
    # reference is one of the same dtype, it has a rounding too.
    roundings = 1.0 if call.function == "interpolate" else 0.5
    inner = float(np.finfo(np.float32).eps if sixteen else info.eps)
    size = np.abs(exact)
    stored = float(info.eps) * roundings * size + float(info.smallest_subnormal) if sixteen else 0.0
    error = stored + _computed(call, problem, algorithm, size, inner)
    return np.broadcast_to(error + _step(call, exact, error), size.shape)


def _step(call: Call, exact: Array, error: Any) -> Any:
    """Return softplus's step where an error may put a cell on the other side of it.

    It is straight above its threshold, which is its curve less log(1 + exp(-threshold)) / beta.
    """
    name, *given = np.atleast_1d(np.array(call.options.get("activation"), object))
    if name != "softplus":
        return 0.0
    beta, threshold = given or (1.0, 20.0)
    step = np.log1p(np.exp(-threshold)) / beta
    return step * (np.abs(exact - threshold / beta) <= step + error)


def exact_dtype(call: Call) -> np.dtype[Any]:
    """Return the real dtype of a call's numbers."""
    return np.dtype(call.input.real.dtype) if call.dtype.kind == "c" else call.dtype


def _computed(call: Call, problem: Any, algorithm: Algorithm, size: Array, eps: float) -> Any:
    name, x = call.function, np.abs(call.input.astype("c16" if call.dtype.kind == "c" else "f8"))
    largest = float(x.max(initial=0.0))
    bound = bound_of(algorithm, problem)
    if name.startswith("conv") or name == "linear":
        # The sum, then bias, residual and an activation, whose slope is below 1.13.
        return 1.13 * bound * deviation(call, problem) + 6 * eps * (size + 1)
    if name.endswith(("softmax",)):
        reach = largest * 2 + np.log(max(1, x.shape[call.options["dim"]])) + 1
        summed = sqrt(x.shape[call.options["dim"]])
        return eps * (
            (4 + 2 * reach + summed) * size + (2 * reach + summed if "log" in name else 0)
        )
    if name.endswith("norm"):
        # float64 inside float32's kernels; float64's own sums have roundings of their own.
        return 2 * eps * size + (1e-9 if eps > 1e-10 else 2e-12 * (1 + size))
    if "pool" in name:
        scale = largest
        if divisor := call.options.get("divisor_override"):
            scale *= max(1.0, prod(problem.kernel_size) / divisor)
        return (bound + eps) * scale + (6 * eps * size if "lp" in name else 0)
    if name == "interpolate":
        return eps * resized(problem) * largest
    if name == "fold":
        return (bound * prod(problem.kernel_size) + 2 * eps) * largest + eps * size
    return 4 * eps * (size + np.minimum(x, 1))


def bound_of(algorithm: Algorithm, problem: Problem) -> float:
    """Return an algorithm's own bound, for the problem that it is given."""
    return algorithm.error_bound(problem.without_idle())


def deviation(call: Call, problem: Any) -> float:
    """Return the standard deviation of a sum of products of the data that was drawn."""
    each = 2.0 if call.dtype.kind == "c" else 1.0
    # Integers of up to 3 have a variance of 4; a complex number has two parts.
    return each * sqrt(problem.sum_length) * (4 if call.whole else 1)


def resized(problem: InterpolateProblem) -> float:
    """Return the roundings of a weighted cell, times the weights' sum."""
    taps = [problem.taps(i) for i in range(problem.n)]
    weight = prod(float(np.add.reduceat(np.abs(t.weight), t.first[:-1]).max()) for t in taps)
    return (sum(t.most for t in taps) + prod(t.most for t in taps[:-1]) + 4) * weight
