"""Activations on their own, PReLU and softmax, as their definitions read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.reference.activation import activate
from fastconv.backends.reference.common import Reference, narrow, wide
from fastconv.problem import ElementwiseProblem, FunctionProblem, PreluProblem, SoftmaxProblem


class Elementwise(Reference):
    """An activation of every element."""

    def compute(self, problem: ElementwiseProblem, parameters: Any, *inputs: Any) -> Array:
        result = activate(wide(inputs[0]), problem.activation)
        return narrow(result, problem.output_dtype).reshape(problem.shape)


class Functions(Reference):
    """NumPy's function of the name; the error function in Python's own."""

    def compute(self, problem: FunctionProblem, parameters: Any, *inputs: Any) -> Array:
        result = np.asarray(applied(problem, wide(inputs[0])), np.float64)
        return narrow(result, problem.output_dtype).reshape(problem.shape)


def applied(problem: FunctionProblem, value: Any) -> Any:
    """Return a problem's function of a value, in NumPy's arithmetic."""
    function: Any = _OWN.get(problem.function) or getattr(np, problem.function)
    return function(value, *problem.numbers)


_ERF = np.frompyfunc(math.erf, 1, 1)
_OWN: dict[str, Any] = {
    "erf": lambda x: np.asarray(_ERF(x), np.float64),
    "hard_sigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "thresholded_relu": lambda x, a: np.where(x > a, x, 0),
}


class Prelu(Reference):
    """X above zero, the channel's slope times x below."""

    def compute(self, problem: PreluProblem, parameters: Any, *inputs: Any) -> Array:
        x, slope = wide(inputs[0]), wide(parameters[0]).reshape(-1)
        if problem.slopes > 1 and not problem.channels_last:
            slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
        return narrow(np.where(x > 0, x, x * slope), problem.dtype).reshape(problem.shape)


class Softmax(Reference):
    """exp(x - largest), over its sum; or the logarithm of that."""

    def compute(self, problem: SoftmaxProblem, parameters: Any, *inputs: Any) -> Array:
        x = wide(inputs[0].astype(problem.result)).reshape(problem.extents)
        x = x - x.max(axis=1, keepdims=True)
        total = np.exp(x).sum(axis=1, keepdims=True)
        result = x - np.log(total) if problem.log else np.exp(x) / total
        return narrow(result, problem.result).reshape(problem.shape)


class Arithmetic(Reference):
    """NumPy's function of the same name."""

    def compute(self, problem: Any, parameters: Any, *inputs: Any) -> Any:
        result = getattr(np, problem.function)(*map(wide, inputs))
        return narrow(activate(result, problem.activation), problem.dtype)
