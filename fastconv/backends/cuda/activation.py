"""Activations of one float32, as kernels' epilogues and elementwise kernels do them.

A NaN stays one: comparisons are written so that it takes the side that gives it back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import float32 as f32

from fastconv.backends.cuda.engine.intrinsics import erfc, exp, expm1, log1p, tanh
from fastconv.problem.activation import Activation

Scalar = Callable[[Any], Any]

# Klambauer et al., Self-normalizing neural networks (2017).
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_SQRT_HALF = 0.7071067811865476
# Hendrycks, Gimpel: Gaussian error linear units (2016), the form with tanh.
_GELU_SLOPE, _GELU_CUBE = 0.7978845608028654, 0.044715


def scalar(activation: Activation | None) -> Scalar:
    """Give an activation as a function of one number; None: its argument comes back."""
    if activation is None:
        return lambda x: x
    return _MAKERS[activation.name](*activation.parameters)


def _clamp(low: float, high: float) -> Scalar:
    def clamp(x: Any) -> Any:
        x = f32(low) if x < f32(low) else x
        return f32(high) if x > f32(high) else x

    return clamp


def _relu() -> Scalar:
    def relu(x: Any) -> Any:
        return f32(0) if x < f32(0) else x

    return relu


def _leaky_relu(slope: float) -> Scalar:
    def leaky_relu(x: Any) -> Any:
        return x * f32(slope) if x < f32(0) else x

    return leaky_relu


def _elu(alpha: float, scale: float = 1.0, steepness: float = 1.0) -> Scalar:
    def elu(x: Any) -> Any:
        bent = f32(alpha) * expm1(x * f32(steepness)) if x < f32(0) else x
        return f32(scale) * bent

    return elu


def _sigmoid() -> Scalar:
    def sigmoid(x: Any) -> Any:
        return f32(1) / (f32(1) + exp(-x))

    return sigmoid


def _silu() -> Scalar:
    def silu(x: Any) -> Any:
        return x / (f32(1) + exp(-x))

    return silu


def _tanh() -> Scalar:
    def hyperbolic(x: Any) -> Any:
        return tanh(x)

    return hyperbolic


def _gelu(by_tanh: float) -> Scalar:
    def exact(x: Any) -> Any:
        return f32(0.5) * x * erfc(-x * f32(_SQRT_HALF))

    def approximate(x: Any) -> Any:
        inner = f32(_GELU_SLOPE) * (x + f32(_GELU_CUBE) * x * x * x)
        return f32(0.5) * x * (f32(1) + tanh(inner))

    return approximate if by_tanh else exact


def _softplus(beta: float, threshold: float) -> Scalar:
    def softplus(x: Any) -> Any:
        scaled = x * f32(beta)
        return x if scaled > f32(threshold) else log1p(exp(scaled)) / f32(beta)

    return softplus


def _mish() -> Scalar:
    def mish(x: Any) -> Any:
        return x * tanh(x if x > f32(20) else log1p(exp(x)))

    return mish


def _hardsigmoid() -> Scalar:
    def hardsigmoid(x: Any) -> Any:
        shifted = x + f32(3)
        shifted = f32(0) if shifted < f32(0) else shifted
        return (f32(6) if shifted > f32(6) else shifted) / f32(6)

    return hardsigmoid


def _hardswish(scale: float, shift: float) -> Scalar:
    def hardswish(x: Any) -> Any:
        shifted = x + f32(3)
        shifted = f32(0) if shifted < f32(0) else shifted
        gate = (f32(6) if shifted > f32(6) else shifted) / f32(6)
        return f32(scale) * (x * gate) + f32(shift or -0.0)

    return hardswish


def _softsign() -> Scalar:
    def softsign(x: Any) -> Any:
        return x / (f32(1) + abs(x))

    return softsign


_MAKERS: dict[str, Callable[..., Scalar]] = {
    "relu": _relu,
    "relu6": lambda: _clamp(0.0, 6.0),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": lambda: _elu(_SELU_ALPHA, _SELU_SCALE),
    "celu": lambda alpha: _elu(alpha, 1.0, 1.0 / alpha),
    "gelu": _gelu,
    "silu": _silu,
    "mish": _mish,
    "hardswish": _hardswish,
    "hardsigmoid": _hardsigmoid,
    "hardtanh": _clamp,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "softplus": _softplus,
    "softsign": _softsign,
}
