"""What the CUDA algorithms have in common: what they serve, what they cost, how they run."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from fastconv.backends.base import Algorithm, Array, Cost, Plan
from fastconv.backends.cuda.engine.device import Device
from fastconv.backends.cuda.engine.kernel import SIMULATED
from fastconv.backends.cuda.engine.plan import CudaPlan
from fastconv.machine import Machine

# A large card's float32 multiply-adds and memory, by which algorithms are ranked; and a launch.
FLOPS, BYTES, LAUNCH = 50e12, 4e12, 4e-6


class CudaAlgorithm(Algorithm):
    """An algorithm whose plan is launches of kernels."""

    backend = "cuda"

    def why_not(self, problem: Any) -> str | None:
        if problem.dtype.name != "float32":
            return f"{problem.dtype.name}: these kernels are for float32"
        if 0 in problem.output_shape:
            return "an empty output"
        return None

    def cost(self, problem: Any, machine: Machine) -> Cost:
        return Cost(LAUNCH + max(problem.flops / FLOPS, problem.bytes / BYTES))

    @abc.abstractmethod
    def launches(self, problem: Any, *parameters: Array | None) -> CudaPlan:
        """Pack ``parameters`` for ``problem``."""

    def plan(self, problem: Any, *parameters: Array | None) -> Plan:
        return HostPlan(problem, self.launches(problem, *parameters))


class HostPlan(Plan):
    """A CUDA plan over NumPy arrays: they are copied to the card, and the result is copied back."""

    def __init__(self, problem: Any, plan: CudaPlan) -> None:
        self.cuda = plan
        self._shape, self._dtype = problem.output_shape, problem.output_dtype

    def run(self, *inputs: Array | None, out: Array | None = None) -> Array:
        device = current_device()
        if out is None:
            out = np.empty(self._shape, self._dtype)
        output = device.empty(out.nbytes)
        given = [None if x is None else device.upload(np.ascontiguousarray(x)) for x in inputs]
        self.cuda.enqueue(device, given, output)
        device.download(output, out)
        return out


def current_device() -> Device:
    """Give the card that arrays in main memory are brought to.

    Raises
    ------
    RuntimeError
        Where there is no GPU, or no driver.
    """
    if SIMULATED:
        from fastconv.backends.cuda.engine.device import SimulatedDevice

        return SimulatedDevice()
    from fastconv.backends.cuda.engine.driver import device

    return device()
