"""Activations of one float32, as kernels' epilogues and elementwise kernels do them.

What they are is in `backends.manifest.scalar_functions`; CUDA's own exp, tanh and erfc serve.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from numba import float32

from fastconv.backends.cuda.engine.intrinsics import erfc, exp, expm1, log1p, tanh
from fastconv.backends.manifest import scalar_functions
from fastconv.backends.manifest.scalar_functions import Value, Vocabulary
from fastconv.backends.native import coefficients
from fastconv.backends.native.pointwise import kernel_of
from fastconv.problem.activation import Activation

Scalar = Callable[[Any], Any]

# What functions read, by the names that they have in the text.
_NAMES = {
    "f32": float32, "exponential": exp, "exponential_less_one": expm1, "hyperbolic_tangent": tanh,
    "log_of_more": log1p, "error_complement": erfc, "inf": inf,
}  # fmt: skip
_FORMS = {
    "add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}",
    "negative": "-{}", "magnitude": "abs({})", "less": "{2} if {0} < {1} else {3}",
    "smaller": "{0} if {0} < {1} else {1}", "larger": "{0} if {1} < {0} else {1}",
}  # fmt: skip


def scalar(activation: Activation | None) -> Scalar:
    """Return an activation as a function of one number; None: its argument comes back."""
    if activation is None:
        return lambda x: x
    name, parameters = kernel_of(activation)
    words = _Text("float32", coefficients)
    numbers = (Value(words, words.number(p)) for p in parameters)
    result = scalar_functions.value_of(words, name, Value(words, "x"), *numbers)
    text = f"def {name}(x):\n{''.join(words.lines)}    return {result.raw}\n"
    names: dict[str, Any] = dict(_NAMES)
    exec(compile(text, f"<{activation}>", "exec"), names)
    return names[name]


class _Text(Vocabulary):
    """Operations as lines of Python, which Numba compiles and its simulator runs."""

    def __init__(self, dtype: str, coefficients: Any) -> None:
        super().__init__(dtype, coefficients)
        self.lines: list[str] = []

    def number(self, value: float) -> str:
        return f"f32({float(value)!r})"

    def operation(self, name: str, *operands: str) -> str:
        # relu is a clamp whose upper limit is not a limit.
        if name == "smaller" and operands[0] == self.number(inf):
            return operands[1]
        return self._line(_FORMS[name].format(*operands))

    def call(self, function: Callable[[Any, Value], Value], x: Value) -> Value:
        return Value(self, self._line(f"{function.__name__}({x.raw})"))

    def _line(self, value: str) -> str:
        self.lines.append(f"    v{len(self.lines)} = {value}\n")
        return f"v{len(self.lines) - 1}"
