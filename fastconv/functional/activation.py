"""Activations and softmax with torch's names, argument orders and meanings.

They have one input and no parameters, but for `prelu`, whose parameters are (weight,).
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, DTypeLike

from fastconv.arrays import Array, as_array
from fastconv.dispatch import solve
from fastconv.functional.again import remembered
from fastconv.problem import ElementwiseProblem, PreluProblem, Problem, SoftmaxProblem
from fastconv.problem.values import flag


@remembered
def relu(
    input: ArrayLike,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return max(x, 0) of each element, as ``torch.nn.functional.relu`` does; NaN stays NaN.

    Parameters
    ----------
    input : array, any shape
        float16, bfloat16, float32, float64, or an integer up to 32 bits or int64. Other
        activations than relu, relu6 and hardtanh take floats alone.
    inplace : bool
        In torch's place, for its calls' sake: True is a ValueError, for inputs are never written
        to; see ``out``.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping the input.

    Returns
    -------
    array
        The input's shape and dtype. float16 and bfloat16 are computed in float32 or wider.

    Raises
    ------
    ValueError
        For parameters that the function is not defined for, ``inplace=True``, or an algorithm
        that cannot serve.
    TypeError
        For a dtype that is not accepted.
    """
    return _apply(input, ("relu",), inplace, algorithm, backend, out)


@remembered
def relu6(
    input: ArrayLike,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x clamped to [0, 6]; arguments as in `relu`."""
    return _apply(input, ("relu6",), inplace, algorithm, backend, out)


@remembered
def leaky_relu(
    input: ArrayLike,
    negative_slope: float = 0.01,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x above zero, negative_slope x below; arguments as in `relu`."""
    return _apply(input, ("leaky_relu", negative_slope), inplace, algorithm, backend, out)


@remembered
def hardtanh(
    input: ArrayLike,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x clamped to [min_val, max_val]; arguments as in `relu`.

    For integers the limits are cut down to integers, and must fit the dtype.
    """
    return _apply(input, ("hardtanh", min_val, max_val), inplace, algorithm, backend, out)


@remembered
def elu(
    input: ArrayLike,
    alpha: float = 1.0,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x above zero, alpha (exp(x) - 1) below; arguments as in `relu`.

    Clevert, Unterthiner, Hochreiter: Fast and accurate deep network learning by exponential
    linear units (2016).
    """
    return _apply(input, ("elu", alpha), inplace, algorithm, backend, out)


@remembered
def selu(
    input: ArrayLike,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return the scaled elu with the constants that keep mean 0 and variance 1.

    Arguments as in `relu`. Klambauer et al.: Self-normalizing neural networks (2017).
    """
    return _apply(input, ("selu",), inplace, algorithm, backend, out)


@remembered
def celu(
    input: ArrayLike,
    alpha: float = 1.0,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x above zero, alpha (exp(x / alpha) - 1) below; arguments as in `relu`.

    Barron: Continuously differentiable exponential linear units (2017).
    """
    return _apply(input, ("celu", alpha), inplace, algorithm, backend, out)


@remembered
def gelu(
    input: ArrayLike,
    approximate: str = "none",
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x times the normal distribution function of x; arguments as in `relu`.

    ``approximate="tanh"`` takes 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) instead.
    Hendrycks, Gimpel: Gaussian error linear units (2016).
    """
    return _apply(input, ("gelu", approximate), False, algorithm, backend, out)


@remembered
def silu(
    input: ArrayLike,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x / (1 + exp(-x)); arguments as in `relu`."""
    return _apply(input, ("silu",), inplace, algorithm, backend, out)


@remembered
def mish(
    input: ArrayLike,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x tanh(log(1 + exp(x))); arguments as in `relu`. Misra: Mish (2019)."""
    return _apply(input, ("mish",), inplace, algorithm, backend, out)


@remembered
def hardswish(
    input: ArrayLike,
    inplace: bool = False,
    *,
    scale: float = 1.0,
    shift: float = 0.0,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return scale x relu6(x + 3) / 6 + shift; other arguments as in `relu`.

    Howard et al.: Searching for MobileNetV3 (2019).
    """
    return _apply(input, ("hardswish", scale, shift), inplace, algorithm, backend, out)


@remembered
def hardsigmoid(
    input: ArrayLike,
    inplace: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return relu6(x + 3) / 6; arguments as in `relu`."""
    return _apply(input, ("hardsigmoid",), inplace, algorithm, backend, out)


@remembered
def sigmoid(
    input: ArrayLike,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return 1 / (1 + exp(-x)); arguments as in `relu`."""
    return _apply(input, ("sigmoid",), False, algorithm, backend, out)


@remembered
def tanh(
    input: ArrayLike,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return the hyperbolic tangent; arguments as in `relu`."""
    return _apply(input, ("tanh",), False, algorithm, backend, out)


@remembered
def softplus(
    input: ArrayLike,
    beta: float = 1.0,
    threshold: float = 20.0,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return log(1 + exp(beta x)) / beta, or x where beta x is above threshold.

    Arguments as in `relu`.
    """
    return _apply(input, ("softplus", beta, threshold), False, algorithm, backend, out)


@remembered
def softsign(
    input: ArrayLike,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x / (1 + abs(x)); arguments as in `relu`."""
    return _apply(input, ("softsign",), False, algorithm, backend, out)


@remembered
def prelu(
    input: ArrayLike,
    weight: ArrayLike,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return x above zero and weight x below, as ``torch.nn.functional.prelu`` does.

    Parameters
    ----------
    input : array, any shape
        A float. Channels are its second axis, or its last with ``layout="NHWC"``.
    weight : array, shape (1,), (C,) or ()
        One slope for all channels, or one a channel; the input's dtype.
    layout : {"NCHW", "NHWC"}

    Other arguments, results and errors as in `relu`. He et al.: Delving deep into rectifiers
    (2015).
    """
    x, slopes = as_array(input, "input"), as_array(weight, "weight")
    problem = PreluProblem.of(x, slopes, layout=layout)
    return solve_one(problem, x, (slopes,), algorithm, backend, out)


@remembered
def softmax(
    input: ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: DTypeLike | None = None,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return exp(x) over its sum along one axis, as ``torch.nn.functional.softmax`` does.

    Parameters
    ----------
    input : array, any shape
        A float; with ``dtype`` also an integer.
    dim : int
        The axis along which results sum to 1. torch may leave it out, and warns; here that is a
        ValueError.
    _stacklevel : int
        In torch's place, without meaning here.
    dtype : dtype, optional
        A float dtype that the input is converted to first, and the result has.

    Other arguments, results and errors as in `relu`. The largest element is subtracted first, so
    that nothing overflows; a NaN or an infinity makes NaN of all that is summed with it.
    """
    return _softmax(input, dim, dtype, False, algorithm, backend, out)


@remembered
def log_softmax(
    input: ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: DTypeLike | None = None,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return the logarithm of `softmax`, with its arguments, without its underflow."""
    return _softmax(input, dim, dtype, True, algorithm, backend, out)


def _apply(
    input: Any,
    activation: tuple[Any, ...],
    inplace: bool,
    algorithm: str | None,
    backend: str | None,
    out: Array | None,
) -> Array:
    refuse_inplace(inplace)
    x = as_array(input, "input")
    problem = ElementwiseProblem.of(x, activation)
    return solve_one(problem, x, (), algorithm, backend, out)


def _softmax(
    input: Any,
    dim: Any,
    dtype: Any,
    log: bool,
    algorithm: str | None,
    backend: str | None,
    out: Array | None,
) -> Array:
    x = as_array(input, "input")
    problem = SoftmaxProblem.of(x, dim, log=log, dtype=dtype)
    return solve_one(problem, x, (), algorithm, backend, out)


def refuse_inplace(inplace: Any) -> None:
    """Refuse torch's ``inplace=True``."""
    if flag(inplace, "inplace"):
        raise ValueError(
            "inplace=True is not supported: fastconv never writes to its inputs; pass out= to "
            "say where the result goes"
        )


def solve_one(
    problem: Problem,
    x: Any,
    parameters: tuple[Any, ...],
    algorithm: str | None,
    backend: str | None,
    out: Array | None,
) -> Array:
    """Solve a problem of one input."""
    result: Array = solve(problem, (x,), parameters, out=out, algorithm=algorithm, backend=backend)
    return result
