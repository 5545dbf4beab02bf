"""Elementwise functions as their definitions read, in float64."""

from __future__ import annotations

from collections.abc import Callable
from math import erf

import numpy as np

from fastconv.backends.base import Array
from fastconv.problem import Activation

_erf = np.vectorize(erf, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """log(1 + exp(beta x)) / beta; x itself above the threshold, as torch has it."""
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


def gelu(x: Array, tanh: float) -> Array:
    """x times the normal distribution function, or its tanh approximation (2016)."""
    if tanh:
        inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + np.tanh(inner))
    return 0.5 * x * (1 + _erf(x / np.sqrt(2)))


def elu(x: Array, alpha: float) -> Array:
    """X above zero, alpha (exp(x) - 1) below."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946

FUNCTIONS: dict[str, Callable[..., Array]] = {
    "relu": lambda x: np.where(x < 0, 0, x),
    "relu6": lambda x: np.where(x < 0, 0, np.where(x > 6, 6, x)),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, x * slope),
    "elu": elu,
    "selu": lambda x: _SELU_SCALE * elu(x, _SELU_ALPHA),
    "celu": lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
    "gelu": gelu,
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardtanh": lambda x, low, high: np.clip(x, low, high),
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
