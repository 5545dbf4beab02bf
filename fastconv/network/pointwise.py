"""Elementwise operations on arrays that broadcast, with ONNX's meanings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv import settings
from fastconv.dispatch import solve
from fastconv.network.trace import Traced
from fastconv.network.wide import in_float32
from fastconv.problem import FunctionProblem
from fastconv.problem.values import LAYOUTS

Operation = Callable[..., Any]
# A sixth as files store it, and as programs do.
_SIXTHS = (float(np.float32(1 / 6)), 1 / 6)
_FAST = ("float16", "bfloat16", "float32", "float64")
_KERNELS = ("float32", "float64")


def _fold(function: Callable[[Any, Any], Any]) -> Operation:
    def folded(*values: Any) -> Any:
        total = values[0]
        for value in values[1:]:
            total = function(total, value)
        return total

    return folded


def divide(a: Any, b: Any) -> Any:
    """Divide; integers towards zero, as ONNX has it."""
    if np.dtype(a.dtype).kind not in "iu":
        return a / b
    quotient = a // b
    if np.dtype(a.dtype).kind == "u":
        return quotient
    below = (quotient < 0) & (quotient * b != a)
    return (quotient + below).astype(a.dtype)


def modulo(a: Any, b: Any, *, fmod: bool = False) -> Any:
    """Return a division's remainder, with the divisor's sign, or with ``fmod`` the dividend's."""
    return np.fmod(a, b) if fmod else np.mod(a, b)


def power(a: Any, b: Any) -> Any:
    """Raise to a power, in the base's dtype; integers to an integer power stay exact.

    Integers to a negative power are cut towards zero: 1 / a is 0 but for 1 and -1. Of 0, which has
    no such power, the result is the smallest integer, as C casts infinity on most processors.
    """
    if a.dtype.kind in "iu" and b.dtype.kind == "f":
        return (a.astype(np.dtype(np.float64)) ** b).astype(a.dtype)
    whole = _whole_exponent(b) if a.dtype.kind == "f" else 0
    if whole:
        # As products these are exact to a rounding each, and many times as fast.
        return a * a if whole == 2 else a * a * a
    if a.dtype.kind not in "iu" or b.dtype.kind != "i":
        return (a**b).astype(a.dtype)
    zero, one = b.dtype.type(0), b.dtype.type(1)
    whole = (a ** np.maximum(b, zero)).astype(a.dtype)
    unit = np.where(np.abs(a) == 1, a ** (b & one), a.dtype.type(0)).astype(a.dtype)
    limits = np.iinfo(a.dtype)
    none = a.dtype.type(limits.min if a.dtype.kind == "i" else 0)
    return np.where(b < zero, np.where(a == 0, none, unit), whole).astype(a.dtype)


def _whole_exponent(b: Any) -> int:
    """Return an exponent that is known to be 2 or 3 for all, and adds no dimensions; else 0."""
    if isinstance(b, Traced) or np.ndim(b) != 0:
        return 0
    exponent = float(np.asarray(b))
    return int(exponent) if exponent in (2.0, 3.0) else 0


def prelu_along(x: Any, slopes: Any, *, behind: int) -> Any:
    """Multiply what is below zero by slopes along the axis that has so many axes behind it."""
    axis = len(x.shape) - 1 - behind
    known = x.dtype.name in _FAST
    if known and (slopes.size == 1 or axis == 1):
        return functional.prelu(x, slopes)
    if known and behind == 0 and axis > 1:
        n = len(x.shape) - 2
        return functional.prelu(x, slopes, layout=LAYOUTS.get(n, LAYOUTS[2])[1])
    return np.where(x < 0, x * np.reshape(slopes, (-1, *(1,) * behind)), x)


def clip(value: Any, low: Any = None, high: Any = None) -> Any:
    """Clamp to limits that may be absent; NaN passes."""
    if low is not None:
        value = np.maximum(value, _own(value, low))
    return value if high is None else np.minimum(value, _own(value, high))


def _own(value: Any, number: Any) -> Any:
    """Return a number in the value's dtype."""
    return number if hasattr(number, "dtype") else value.dtype.type(number)


@in_float32
def _sum_of(*values: Any) -> Any:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


@in_float32
def mean_of(*values: Any) -> Any:
    """Average values element by element."""
    return _sum_of(*values) / values[0].dtype.type(len(values))


def hard_sigmoid(value: Any, *, alpha: float, beta: float) -> Any:
    """Clamp alpha x + beta to [0, 1]."""
    if alpha in _SIXTHS and beta == 0.5 and value.dtype.name in _FAST:
        return functional.hardsigmoid(value)
    if value.dtype.name in _KERNELS and settings.backend() != "cuda":
        return solve(FunctionProblem.of(value, "hard_sigmoid", (alpha, beta)), (value,))
    return clip(value * _own(value, alpha) + _own(value, beta), 0, 1)


def thresholded_relu(value: Any, *, alpha: float) -> Any:
    """Return a value where it is above alpha, else 0."""
    if value.dtype.name in _KERNELS:
        return solve(FunctionProblem.of(value, "thresholded_relu", (alpha,)), (value,))
    return np.where(value > _own(value, alpha), value, value.dtype.type(0))


def swish(value: Any, *, alpha: float) -> Any:
    """Multiply a value with the sigmoid of alpha times it."""
    if alpha == 1:
        return functional.silu(value)
    return value * functional.sigmoid(value * _own(value, alpha))


def shrink(value: Any, *, bias: float, lambd: float) -> Any:
    """Move what is beyond lambd towards 0 by the bias; the rest is 0.

    Limits need not be whole numbers where values are.
    """
    wide = value.astype(np.dtype(np.float64)) if value.dtype.kind in "iu" else value
    limit, shift, zero = (_own(wide, v) for v in (lambd, bias, 0))
    outer = np.where(wide > limit, wide - shift, zero)
    return np.where(wide < _own(wide, -lambd), wide + shift, outer).astype(value.dtype)


def bit_shift(a: Any, b: Any, *, left: bool) -> Any:
    """Shift bits; by as many as there are, or more, leaves the sign alone."""
    width = np.dtype(a.dtype).itemsize * 8
    kept = np.minimum(b, b.dtype.type(width - 1))
    if left:
        return np.where(b >= width, a.dtype.type(0), np.left_shift(a, kept))
    shifted = np.right_shift(a, kept)
    return shifted if a.dtype.kind == "i" else np.where(b >= width, a.dtype.type(0), shifted)


def is_inf(value: Any, *, negative: bool, positive: bool) -> Any:
    """Return where a value is one of the infinities asked for."""
    wide = value.astype(np.dtype(np.float32)) if value.dtype.itemsize < 2 else value
    found = np.isinf(wide)
    if negative and positive:
        return found
    return found & ((wide < 0) if negative else (wide > 0)) & (negative or positive)


def align(value: Any, like: Any, *, axis: int | None) -> Any:
    """Return a value the trailing dimensions that put its first one at ``axis`` of another."""
    rank, own = len(like.shape), len(value.shape)
    if axis is None or own == 0:
        return value
    trailing = rank - axis % max(rank, 1) - own
    return value.reshape((*value.shape, *(1,) * trailing)) if trailing > 0 else value


def erf(value: Any) -> Any:
    """Return the error function; floats of 16 bits by way of float32."""
    dtype = value.dtype
    if dtype.name not in ("float32", "float64"):
        value = value.astype(np.dtype(np.float32))
    result = solve(FunctionProblem.of(value, "erf"), (value,))
    return result if result.dtype == dtype else result.astype(dtype)


POINTWISE: dict[str, Operation] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": divide,
    "mod": modulo,
    "pow": power,
    "sum": lambda *values: _sum_of(*values) if len(values) > 2 else _fold(np.add)(*values),
    "maximum": _fold(np.maximum),
    "minimum": _fold(np.minimum),
    "mean_of": mean_of,
    "neg": lambda value: -value,
    "abs": lambda value: np.abs(value),
    "sqrt": lambda value: np.sqrt(value),
    "exp": lambda value: np.exp(value),
    "log": lambda value: np.log(value),
    "log1p": lambda value: np.log1p(value),
    "expm1": lambda value: np.expm1(value),
    "floor_divide": lambda a, b: np.floor_divide(a, b),
    "sin": lambda value: np.sin(value),
    "cos": lambda value: np.cos(value),
    "tan": lambda value: np.tan(value),
    "asin": lambda value: np.arcsin(value),
    "acos": lambda value: np.arccos(value),
    "atan": lambda value: np.arctan(value),
    "sinh": lambda value: np.sinh(value),
    "cosh": lambda value: np.cosh(value),
    "asinh": lambda value: np.arcsinh(value),
    "acosh": lambda value: np.arccosh(value),
    "atanh": lambda value: np.arctanh(value),
    "erf": erf,
    "floor": lambda value: np.floor(value),
    "ceil": lambda value: np.ceil(value),
    "round": lambda value: np.rint(value),
    "sign": lambda value: np.sign(value),
    "reciprocal": lambda value: np.reciprocal(value),
    "is_nan": lambda value: np.isnan(value),
    "is_inf": is_inf,
    "equal": lambda a, b: a == b,
    "greater": lambda a, b: a > b,
    "less": lambda a, b: a < b,
    "greater_equal": lambda a, b: a >= b,
    "less_equal": lambda a, b: a <= b,
    "logical_not": lambda value: np.logical_not(value),
    "logical_and": lambda a, b: np.logical_and(a, b),
    "logical_or": lambda a, b: np.logical_or(a, b),
    "logical_xor": lambda a, b: np.logical_xor(a, b),
    "bitwise_not": lambda value: np.bitwise_not(value),
    "bitwise_and": lambda a, b: np.bitwise_and(a, b),
    "bitwise_or": lambda a, b: np.bitwise_or(a, b),
    "bitwise_xor": lambda a, b: np.bitwise_xor(a, b),
    "bit_shift": bit_shift,
    "where": lambda condition, a, b: np.where(condition, a, b),
    "clip": clip,
    "align": align,
    "scaled_elu": lambda x, *, alpha, gamma: _own(x, gamma) * functional.elu(x, alpha),
    "hard_sigmoid": hard_sigmoid,
    "swish": swish,
    "shrink": shrink,
    "thresholded_relu": thresholded_relu,
    "prelu_along": prelu_along,
    "prelu_broadcast": lambda x, slope: np.where(x < 0, x * slope, x),
}
