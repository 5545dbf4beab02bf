"""Elementwise functions as their definitions read, in float64 (relu and clamps also in int64)."""

from __future__ import annotations

from collections.abc import Callable
from math import erfc

import numpy as np

from fastconv.backends.base import Array
from fastconv.problem import Activation

_erfc = np.vectorize(erfc, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """log(1 + exp(beta x)) / beta; x itself above the threshold, as torch has it."""
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


def gelu(x: Array, tanh: float) -> Array:
    """Return x times the normal distribution function, or its tanh approximation (2016)."""
    if tanh:
        inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        return x * sigmoid(2 * inner)
    result: Array = 0.5 * x * _erfc(-x / np.sqrt(2))
    return result


def elu(x: Array, alpha: float, width: float = 1.0) -> Array:
    """X from zero on, alpha (exp(x / width) - 1) below."""
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0) / width), x)


def clamp(x: Array, low: float, high: float) -> Array:
    """X inside [low, high], else the nearer limit; NaN stays. Limits of integers are integers."""
    if x.dtype.kind == "i":
        low, high = int(low), int(high)
    return np.where(x < low, low, np.where(x > high, high, x))


def hardswish(x: Array, scale: float, shift: float) -> Array:
    """Return scale x relu6(x + 3) / 6 + shift; a shift of 0 leaves -0 as it is."""
    return scale * x * (clamp(x + 3, 0, 6) / 6) + (shift or -0.0)


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946

FUNCTIONS: dict[str, Callable[..., Array]] = {
    "relu": lambda x: np.where(x < 0, 0, x),
    "relu6": lambda x: clamp(x, 0, 6),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, x * slope),
    "elu": elu,
    "selu": lambda x: _SELU_SCALE * elu(x, _SELU_ALPHA),
    "celu": lambda x, alpha: elu(x, alpha, alpha),
    "gelu": gelu,
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "hardswish": hardswish,
    "hardsigmoid": lambda x: clamp(x + 3, 0, 6) / 6,
    "hardtanh": clamp,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
}


def activate(x: Array, activation: Activation | None) -> Array:
    """Apply ``activation`` to a wide array."""
    if activation is None:
        return x
    return FUNCTIONS[activation.name](x, *activation.parameters)
