"""Activations: one small kernel a name, over blocks of elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.native import coefficients
from fastconv.backends.native.pointwise import BLOCK
from fastconv.backends.numba.elementary import (
    Function,
    clamped,
    inlined,
    make_exp,
    make_expm1,
    make_log1p,
    make_series,
    make_tanh,
    pick,
)
from fastconv.backends.numba.engine import array, as_float, kernel
from fastconv.backends.numba.error_function import make_erfc

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _leaky_relu(name: str) -> Function:
    zero = np.dtype(name).type(0)
    return lambda x, slope, _: pick(x > zero, x, x * slope)


def _hardtanh(name: str) -> Function:
    return clamped


def _elu(name: str) -> Function:
    zero, expm1 = np.dtype(name).type(0), make_expm1(name)
    return lambda x, alpha, _: pick(x < zero, alpha * expm1(x), x)


def _selu(name: str) -> Function:
    real = np.dtype(name).type
    scale, alpha = real(_SELU_SCALE), real(_SELU_SCALE * _SELU_ALPHA)
    zero, expm1 = real(0), make_expm1(name)
    return lambda x, _, __: pick(x < zero, alpha * expm1(x), scale * x)


def _celu(name: str) -> Function:
    zero, expm1 = np.dtype(name).type(0), make_expm1(name)
    return lambda x, alpha, _: pick(x < zero, alpha * expm1(x / alpha), x)


def _gelu(name: str) -> Function:
    real = np.dtype(name).type
    half, root, erfc = real(0.5), real(math.sqrt(0.5)), make_erfc(name)
    return lambda x, _, __: half * x * erfc(-x * root)


def _gelu_tanh(name: str) -> Function:
    real = np.dtype(name).type
    one, exp = real(1), make_exp(name)
    slope, cube = real(-2 * math.sqrt(2 / math.pi)), real(0.044715)
    return lambda x, _, __: x / (one + exp(slope * (x + cube * x * x * x)))


def _silu(name: str) -> Function:
    one, exp = np.dtype(name).type(1), make_exp(name)
    return lambda x, _, __: x / (one + exp(-x))


def _mish(name: str) -> Function:
    """tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2), which is 1 from x = 20 on."""
    two, limit = np.dtype(name).type(2), np.dtype(name).type(20)
    exp = make_exp(name)

    def mish(x, _, __):  # type: ignore[no-untyped-def]
        e = exp(pick(x > limit, limit, x))
        part = e * (e + two)
        return x * (part / (part + two))

    return mish


def _hardsigmoid(name: str) -> Function:
    real = np.dtype(name).type
    zero, three, six = real(0), real(3), real(6)

    def hardsigmoid(x, _, __):  # type: ignore[no-untyped-def]
        shifted = x + three
        return pick(shifted < zero, zero, pick(shifted > six, six, shifted)) / six

    return hardsigmoid


def _hardswish(name: str) -> Function:
    gate = inlined(_hardsigmoid(name))
    return lambda x, a, b: a * (x * gate(x, a, b)) + b


def _sigmoid(name: str) -> Function:
    one, exp = np.dtype(name).type(1), make_exp(name)
    return lambda x, _, __: one / (one + exp(-x))


def _tanh(name: str) -> Function:
    tanh = make_tanh(name)
    return lambda x, _, __: tanh(x)


def _softplus(name: str) -> Function:
    zero = np.dtype(name).type(0)
    exp, log1p = make_exp(name), make_log1p(name)

    def softplus(x, beta, threshold):  # type: ignore[no-untyped-def]
        z = beta * x
        size = pick(z < zero, -z, z)
        above = pick(z > zero, z, zero)
        return pick(z > threshold, x, (above + log1p(exp(-size))) / beta)

    return softplus


def _softsign(name: str) -> Function:
    zero, one = np.dtype(name).type(0), np.dtype(name).type(1)
    return lambda x, _, __: x / (one + pick(x < zero, -x, x))


def _erf(name: str) -> Function:
    """Return z q(z^2) up to 1, which keeps its digits near zero; beyond that one less erfc."""
    real = np.dtype(name).type
    zero, one, erfc = real(0), real(1), make_erfc(name)
    series = make_series(coefficients.erf(name))

    def erf(x, _, __):  # type: ignore[no-untyped-def]
        size = pick(x < zero, -x, x)
        z = pick(size > one, one, x)
        far = one - erfc(size)
        return pick(size > one, pick(x < zero, -far, far), z * series(z * z))

    return erf


def _exp(name: str) -> Function:
    exp = make_exp(name)
    return lambda x, _, __: exp(x)


def _reciprocal(name: str) -> Function:
    one = np.dtype(name).type(1)
    return lambda x, _, __: one / x


def _of_numpy(function: Any) -> Callable[[str], Function]:
    def make(name: str) -> Function:
        return lambda x, _, __: function(x)

    return make


# Kernel names, which are the activations' but for those that share a kernel or take two.
_FUNCTIONS: dict[str, Callable[[str], Function]] = {
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "celu": _celu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "mish": _mish,
    "hardswish": _hardswish,
    "hardsigmoid": _hardsigmoid,
    "hardtanh": _hardtanh,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "softplus": _softplus,
    "softsign": _softsign,
    "absolute": _of_numpy(np.abs),
    "ceil": _of_numpy(np.ceil),
    "erf": _erf,
    "exp": _exp,
    "floor": _of_numpy(np.floor),
    "negative": _of_numpy(np.negative),
    "reciprocal": _reciprocal,
    "rint": _of_numpy(np.rint),
    "sqrt": _of_numpy(np.sqrt),
}


@kernel
def elementwise(function: str, name: str, in_place: bool):  # type: ignore[no-untyped-def]
    """Apply a function: a work item is a block of elements.

    In place, reads and writes go through one array, or else no compiler could tell that they
    never cross, and none would make vectors of them.
    """
    apply, real = inlined(_FUNCTIONS[function](name)), np.dtype(name).type
    size = np.dtype(name).itemsize

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        start = first * BLOCK
        count = min(last * BLOCK, args[2]) - start
        a, b = real(as_float(args[3])), real(as_float(args[4]))
        target = array(args[1] + start * size, (count,), real)
        if in_place:
            for i in range(count):
                target[i] = apply(target[i], a, b)
        else:
            source = array(args[0] + start * size, (count,), real)
            for i in range(count):
                target[i] = apply(source[i], a, b)

    return body
