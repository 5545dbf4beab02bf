"""The fully connected layer, and dropout, with torch's names and argument orders.

``linear`` has one input, its rows in two axes; its parameters are (weight, bias).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array, as_optional_array, check_out
from fastconv.device_arrays import as_device_array
from fastconv.dispatch import solve
from fastconv.functional.activation import refuse_inplace
from fastconv.functional.again import remembered
from fastconv.problem import LinearProblem
from fastconv.problem.conv import DEFAULT_RTOL
from fastconv.problem.values import flag, number


@remembered
def linear(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: str | tuple[Any, ...] | None = None,
    rtol: float = DEFAULT_RTOL,
    precision: str | None = None,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Multiply rows with a weight, as ``torch.nn.functional.linear`` does.

    Parameters
    ----------
    input : array, shape (..., in_features)
        float16, bfloat16, float32, float64, an integer up to 32 bits or int64, or complex.
    weight : array, shape (out_features, in_features) or (in_features,)
        The input's dtype. Without out_features the result lacks its last axis.
    bias : array, shape (out_features,), optional
    activation : str or (str, parameter, ...), optional
        Applied last, such as "relu" or ("leaky_relu", 0.1).
    rtol : float
        Largest error allowed, relative to the output's standard deviation.
    precision : {"tf32", "3xtf32", "fp16", "bf16"}, optional
        What the factors of a float32 array's products may be rounded to; see `conv2d`.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping any input.

    Returns
    -------
    array, shape (..., out_features)
        Integers are exact: int8 and int16 sum in int32, others in int64, and that is the
        result's dtype. float16 and bfloat16 sum in float32.

    Raises
    ------
    ValueError
        For shapes that do not fit, or an algorithm that cannot serve.
    TypeError
        For a dtype that is not accepted, dtypes that differ, or a ``precision`` of arrays that are
        not float32.
    """
    x, w, b = as_array(input, "input"), as_array(weight, "weight"), as_optional_array(bias, "bias")
    shape = tuple(x.shape[:-1])
    if len(w.shape) == 1:
        w = w.reshape((1, *w.shape))
        b = b.reshape((1,)) if b is not None and not b.shape else b
    else:
        shape = (*shape, *w.shape[:1])
    problem = LinearProblem.of(x, w, b, activation=activation, rtol=rtol, precision=precision)
    rows = x if tuple(x.shape) == problem.input_shape else x.reshape(problem.input_shape)
    target, copy_out = _rows_of(out, shape, problem, (x, w, b))
    result = solve(problem, (rows,), (w, b), out=target, algorithm=algorithm, backend=backend)
    if copy_out is not None:
        copy_out[...] = result.reshape(shape)
        return copy_out
    if target is not None:
        return out  # type: ignore[return-value]
    return result if tuple(result.shape) == shape else result.reshape(shape)


def _rows_of(
    out: Array | None, shape: tuple[int, ...], problem: LinearProblem, arrays: tuple[Any, ...]
) -> tuple[Any, Array | None]:
    """Return ``out`` as rows, or, where it cannot be seen so, as an array to copy the result to."""
    if out is None or any(hasattr(array, "__fastconv_record__") for array in arrays):
        return None, None
    on_device = as_device_array(out)
    if on_device is not None:
        if on_device.shape != shape:
            raise ValueError(f"out must have shape {list(shape)}, but got {list(out.shape)}")
        return on_device.reshape(problem.output_shape), None
    check_out(out, shape, problem.output_dtype, arrays)
    if out.flags.c_contiguous:
        return out.reshape(problem.output_shape), None
    return None, out


def dropout(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Return the input itself: dropout does nothing outside training.

    Parameters
    ----------
    input : array, any shape
    p : float
        Probability of an element to be dropped in training, in [0, 1].
    training : bool
        torch's default is True; here that is a ValueError.
    inplace : bool
        In torch's place, as in `relu`.
    out : array, optional
        Where to copy the input to; it is returned then.

    Returns
    -------
    array
        The input, not a copy of it.

    Raises
    ------
    ValueError
        For ``training=True``, ``inplace=True`` or ``p`` outside [0, 1].
    """
    refuse_inplace(inplace)
    if flag(training, "training"):
        raise ValueError(
            "dropout with training=True is random: fastconv runs networks forward only; pass "
            "training=False, with which dropout is the identity"
        )
    if not 0 <= number(p, "p") <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    x = as_array(input, "input")
    if out is None or hasattr(x, "__fastconv_record__"):
        return x
    check_out(out, x.shape, x.dtype, (x,))
    np.copyto(out, x)
    return out
