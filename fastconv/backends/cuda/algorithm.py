"""What the CUDA algorithms have in common: what they serve, what they cost, how they run."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost, Plan, Result
from fastconv.backends.cuda.engine.device import device_for
from fastconv.backends.cuda.engine.plan import CudaPlan
from fastconv.machine import Machine
from fastconv.problem import Shape

# A large GPU's float32 multiply-adds and memory, by which algorithms are ranked; and a launch.
FLOPS, BYTES, LAUNCH = 50e12, 4e12, 4e-6
# An H200's limits, by its data sheet and a copy that was measured elsewhere: what a plan is held
# against where it is explained. FLOP a second by what factors are rounded to.
PEAKS = {"float32": 67e12, "tf32": 494e12, "3xtf32": 494e12 / 3}
PEAK_OF_HALVES, PEAK_BYTES = 989e12, 4.3e12
# Images of a batch that fills such a GPU: one alone does not, and its algorithm is that of all.
CROWD = 64


class CudaAlgorithm(Algorithm):
    """An algorithm whose plan is launches of kernels."""

    backend = "cuda"
    # Whether packing only moves parameters, so that those on the GPU can be packed there.
    moves_parameters = False
    # Names of the dtypes that its kernels are for.
    dtypes: tuple[str, ...] = ("float32",)

    def why_not(self, problem: Any) -> str | None:
        if problem.dtype.name not in self.dtypes:
            return f"{problem.dtype.name}: these kernels are for {', '.join(self.dtypes)}"
        if 0 in problem.output_shape:
            return "an empty output"
        return None

    def cost(self, problem: Any, machine: Machine) -> Cost:
        return Cost(LAUNCH + max(problem.flops / FLOPS, problem.bytes / BYTES))

    def limits(self, problem: Any, machine: Machine) -> tuple[float, float]:
        factors = getattr(problem, "precision", None) or problem.dtype.name
        return PEAKS.get(factors, PEAK_OF_HALVES), PEAK_BYTES

    @abc.abstractmethod
    def launches(self, problem: Any, *parameters: Array | None) -> CudaPlan:
        """Pack ``parameters`` for ``problem``."""

    def plan(self, problem: Any, *parameters: Array | None) -> Plan:
        return HostPlan(problem, self.launches(problem, *parameters))


class HostPlan(Plan):
    """A CUDA plan over NumPy arrays: they are copied to the GPU, and the results copied back."""

    def __init__(self, problem: Any, plan: CudaPlan) -> None:
        self.cuda = plan
        self.stages, self.workspace_bytes = plan.launches, plan.workspace_bytes
        self.outputs = outputs_of(problem)

    @property
    def is_staged(self) -> bool:
        return True

    def run(self, *inputs: Array | None, out: Array | None = None) -> Result:
        device = device_for()
        results = [np.empty(shape, dtype) for shape, dtype in self.outputs]
        if out is not None:
            results[0] = out
        first, *more = (device.empty(result.nbytes) for result in results)
        given = [None if x is None else device.upload(np.ascontiguousarray(x)) for x in inputs]
        self.cuda.enqueue(device, given, first, more)
        for memory, result in zip((first, *more), results, strict=True):
            device.download(memory, result)
        return tuple(results) if more else results[0]


def outputs_of(problem: Any) -> tuple[tuple[Shape, np.dtype[Any]], ...]:
    """Return the shape and dtype of each output of a problem."""
    several = getattr(problem, "output_shapes", None)
    return several or ((problem.output_shape, problem.output_dtype),)
