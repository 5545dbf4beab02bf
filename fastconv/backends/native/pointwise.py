"""Activations over blocks of elements; a plan may end in one."""

from __future__ import annotations

import math
from math import prod
from typing import Any

from fastconv.backends.base import Array, Cost, roofline
from fastconv.backends.manifest.elements import Elementwise as ElementwiseArgs
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import INPUT, OUTPUT, NativePlan, Slot, Stage
from fastconv.machine import Machine
from fastconv.problem import Activation, ElementwiseProblem, FunctionProblem

# Elements of a work item.
BLOCK = ElementwiseArgs.BLOCK
# Operations an element, for costs: arithmetic counts 1, a function of the elementary ones 20.
_OPERATIONS = {"relu": 2, "relu6": 3, "leaky_relu": 3, "hardtanh": 3, "softsign": 8}


def activation_stages(
    library: Library,
    problem: Any,
    target: Slot,
    source: Slot | None = None,
    *,
    activation: Activation | None = None,
) -> list[Stage]:
    """Return the stages that apply a problem's activation to its output, by default in place.

    ``problem`` has ``output_shape``, ``output_dtype`` and, unless it is given, ``activation``.
    The output is at ``target``, contiguous in any layout; with ``source``, results go from
    there to ``target``.
    """
    activation = activation or problem.activation
    if activation is None:
        return []
    return _stages(library, problem, target, source, *kernel_of(activation))


def _stages(
    library: Library, problem: Any, target: Slot, source: Slot | None, function: str,
    parameters: tuple[float, ...] = (),
) -> list[Stage]:  # fmt: skip
    count = prod(problem.output_shape)
    if count == 0:
        return []
    first, second, *_ = (*parameters, 0.0, 0.0)
    name = "pointwise.elementwise"
    address = library.kernel(name, function, problem.output_dtype.name, source is None)
    read = target if source is None else source
    arguments = ElementwiseArgs(source=read, target=target, count=count, first=first, second=second)
    return [Stage(address, -(-count // BLOCK), arguments)]


def kernel_of(activation: Activation) -> tuple[str, tuple[float, ...]]:
    """Return an activation's kernel, which some share, and its parameters."""
    name, parameters = activation.name, activation.parameters
    if name == "relu":
        return "hardtanh", (0.0, math.inf)
    if name == "relu6":
        return "hardtanh", (0.0, 6.0)
    if name == "gelu":
        return ("gelu_tanh" if parameters[0] else "gelu"), ()
    if name == "hardswish":
        return name, (parameters[0], parameters[1] or -0.0)
    return name, parameters


def limits_of(activation: Activation | None) -> tuple[float, float]:
    """Return the limits that a kernel clamps to: none by default."""
    low, high = _limits(activation) or (-math.inf, math.inf)
    return low, high


def _limits(activation: Activation | None) -> tuple[float, ...] | None:
    """Return an activation's limits where it is a clamp."""
    if activation is None:
        return None
    function, parameters = kernel_of(activation)
    return parameters if function == "hardtanh" else None


class Pointwise(NativeAlgorithm):
    """Base of the algorithms of this kind."""

    def ending(self, problem: Any) -> float:
        """Operations for each element in the activation that a problem ends in."""
        if problem.activation is None:
            return 0
        return _OPERATIONS.get(problem.activation.name, 25)

    def ended_plan(self, problem: Any, stages: list[Stage], **options: Any) -> NativePlan:
        """Put stages together whose last one clamps, and the activation that is not a clamp."""
        if _limits(problem.activation) is None:
            stages = [*stages, *activation_stages(self.library, problem, OUTPUT)]
        return self.native_plan(problem, stages, **options)

    def operations(self, problem: Any) -> float:
        """Operations for each element of the output."""
        raise NotImplementedError

    def cost(self, problem: Any, machine: Machine) -> Cost:
        flops = self.operations(problem) * prod(problem.output_shape)
        return Cost(roofline(problem, machine, flops=flops, bytes=problem.bytes))


class Elementwise(Pointwise):
    """An activation over blocks of elements."""

    name = "elementwise"

    def operations(self, problem: ElementwiseProblem) -> float:
        return self.ending(problem)

    def plan(self, problem: ElementwiseProblem, *parameters: Array | None) -> NativePlan:
        return self.native_plan(problem, activation_stages(self.library, problem, OUTPUT, INPUT(0)))


class Functions(Pointwise):
    """A function that is not an activation, over blocks of elements."""

    name = "elementwise"

    def operations(self, problem: FunctionProblem) -> float:
        return {"erf": 30, "exp": 20}.get(problem.function, 2)

    def plan(self, problem: FunctionProblem, *parameters: Array | None) -> NativePlan:
        name, numbers = problem.function, problem.numbers
        stages = _stages(self.library, problem, OUTPUT, INPUT(0), name, numbers)
        return self.native_plan(problem, stages)
