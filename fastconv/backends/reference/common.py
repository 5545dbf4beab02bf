"""What the reference algorithms share: float64 inside, one name, one cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost, Plan, Result
from fastconv.machine import Machine


def wide(array: Array) -> Array:
    """Return floats in float64, integers in int64, complex in complex128."""
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float64)


def narrow(array: Array, dtype: np.dtype[Any]) -> Array:
    """Round a wide array to ``dtype``; an overflow to infinity is the right answer."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(array.astype(dtype), order="C")


def spatial(*key: Any) -> Any:
    """Return an index of the last dimensions: whatever comes before them is kept."""
    return (..., *key)


class ReferencePlan(Plan):
    """A NumPy function over the inputs, with the parameters bound."""

    def __init__(self, compute: Callable[..., Array | tuple[Array, ...]]) -> None:
        self._compute = compute

    def run(self, *inputs: Array | None, out: Array | None = None) -> Result:
        with np.errstate(all="ignore"):
            result = self._compute(*inputs)
        if out is None:
            return result
        out[...] = result[0] if isinstance(result, tuple) else result
        return (out, *result[1:]) if isinstance(result, tuple) else out


class Reference(Algorithm):
    """Base of the reference algorithms: they solve everything, slowly.

    A subclass gives ``compute(problem, parameters, *inputs)``, which returns the output (or a
    tuple of outputs) in the problem's output dtype.
    """

    name = "reference"
    backend = "reference"

    def why_not(self, problem: Any) -> str | None:
        return None

    def cost(self, problem: Any, machine: Machine) -> Cost:
        work = max(problem.flops, problem.bytes)
        return Cost(1e-5 + 50 * work / machine.peak_flops(np.dtype(np.float64)))

    def plan(self, problem: Any, *parameters: Array | None) -> Plan:
        return ReferencePlan(lambda *inputs: self.compute(problem, parameters, *inputs))

    def compute(self, problem: Any, parameters: Any, *inputs: Any) -> Any:
        """Compute the output from ``inputs`` and ``parameters``."""
        raise NotImplementedError
