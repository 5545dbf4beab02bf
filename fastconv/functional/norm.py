"""Normalisations with torch's names, argument orders and meanings.

The input is their one input. Parameters go to plans in this order: ``batch_norm``
(running_mean, running_var, weight, bias); ``instance_norm``, ``group_norm`` and ``layer_norm``
(weight, bias); ``local_response_norm`` none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array, as_optional_array
from fastconv.functional.activation import solve_one
from fastconv.functional.again import remembered
from fastconv.problem import (
    BatchNormProblem,
    GroupNormProblem,
    LayerNormProblem,
    LocalResponseNormProblem,
    Problem,
)
from fastconv.problem.values import flag, number


@remembered
def batch_norm(
    input: ArrayLike,
    running_mean: ArrayLike | None,
    running_var: ArrayLike | None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Normalise each channel with a given mean and variance.

    As ``torch.nn.functional.batch_norm`` with ``training=False``: (x - running_mean) /
    sqrt(running_var + eps) * weight + bias. Ioffe, Szegedy: Batch normalization (2015).

    Parameters
    ----------
    input : array, shape (N, C) or (N, C, ...)
        float16, bfloat16, float32 or float64. Channels last with ``layout="NHWC"``.
    running_mean, running_var : array, shape (C,)
        The input's dtype; also float32 where that has 16 bits.
    weight, bias : array, shape (C,), optional
    training : bool
        True is a ValueError: statistics of the batch would make an image's result depend on
        the rest of the batch.
    momentum : float
        In torch's place; of use in training alone.
    eps : float
        Not negative.
    layout : {"NCHW", "NHWC"}
        Of input and output, whatever the number of axes.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping any input.

    Returns
    -------
    array
        The input's shape and dtype.

    Raises
    ------
    ValueError
        For shapes that do not fit, ``training=True``, or an algorithm that cannot serve.
    TypeError
        For a dtype that is not accepted.
    """
    x = as_array(input, "input")
    parameters = _optional(
        running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    number(momentum, "momentum")
    problem = BatchNormProblem.of(x, *parameters, training=training, eps=eps, layout=layout)
    return solve_one(problem, x, parameters, algorithm, backend, out)


@remembered
def instance_norm(
    input: ArrayLike,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Normalise each channel of each image with its own mean and variance.

    As ``torch.nn.functional.instance_norm``, but that running_mean and running_var are never
    updated. With ``use_input_stats=False`` it is `batch_norm`, which has the other arguments and
    the errors too. Ulyanov, Vedaldi, Lempitsky: Instance normalization (2016).
    """
    x = as_array(input, "input")
    parameters = _optional(
        running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    number(momentum, "momentum")
    if flag(use_input_stats, "use_input_stats"):
        problem: Problem = GroupNormProblem.of_instances(x, *parameters, eps=eps, layout=layout)
        return solve_one(problem, x, parameters[2:], algorithm, backend, out)
    if running_mean is None or running_var is None:
        raise ValueError(
            "Expected running_mean and running_var to be defined when use_input_stats is false"
        )
    problem = BatchNormProblem.of(x, *parameters, eps=eps, layout=layout)
    return solve_one(problem, x, parameters, algorithm, backend, out)


@remembered
def group_norm(
    input: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Normalise groups of channels of each image with their own mean and variance.

    As ``torch.nn.functional.group_norm``; ``num_groups`` divides C; other arguments, results and
    errors as in `batch_norm`. A group of a single element has variance 0 and gives the bias,
    whatever the batch. Wu, He: Group normalization (2018).
    """
    x = as_array(input, "input")
    parameters = _optional(weight=weight, bias=bias)
    problem = GroupNormProblem.of(x, num_groups, *parameters, eps=eps, layout=layout)
    return solve_one(problem, x, parameters, algorithm, backend, out)


@remembered
def layer_norm(
    input: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Normalise over the last axes, with their own mean and variance.

    As ``torch.nn.functional.layer_norm``: the input has shape (..., *normalized_shape), weight
    and bias have shape normalized_shape; an int is the last axis. Other arguments, results and
    errors as in `batch_norm`. Ba, Kiros, Hinton: Layer normalization (2016).
    """
    x = as_array(input, "input")
    parameters = _optional(weight=weight, bias=bias)
    problem = LayerNormProblem.of(x, normalized_shape, *parameters, eps=eps)
    return solve_one(problem, x, parameters, algorithm, backend, out)


@remembered
def local_response_norm(
    input: ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    layout: str = "NCHW",
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Divide by (k + alpha * mean of squares over neighbouring channels) ** beta.

    As ``torch.nn.functional.local_response_norm``: the mean is over ``size`` channels, those
    beyond the first and the last counting as zeros; of an even size one more is before. The
    input has at least 3 axes; other arguments, results and errors as in `batch_norm`.
    Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks
    (2012).
    """
    x = as_array(input, "input")
    problem = LocalResponseNormProblem.of(x, size, alpha=alpha, beta=beta, k=k, layout=layout)
    return solve_one(problem, x, (), algorithm, backend, out)


def _optional(**arrays: Any) -> tuple[Any, ...]:
    return tuple(as_optional_array(array, name) for name, array in arrays.items())
