"""Products of batches of matrices, and attention, with torch's names and argument orders.

They have two or three inputs, and a mask, and no parameters.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array, as_optional_array, check_out
from fastconv.dispatch import solve
from fastconv.functional.again import remembered
from fastconv.problem import AttentionProblem, MatmulProblem, Shape
from fastconv.problem.matmul import Matrices
from fastconv.problem.moves import strides_of
from fastconv.problem.values import (
    COMPLEX,
    FLOATS,
    INTEGERS,
    SIXTEEN,
    accumulator,
    check_dtype,
    check_same_dtype,
    flag,
    number,
)

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


@remembered
def matmul(
    input: ArrayLike,
    other: ArrayLike,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Multiply matrices, or batches of them, as ``torch.matmul`` does.

    Parameters
    ----------
    input : array, shape (..., n, k) or (k,)
        float16, bfloat16, float32, float64, an integer up to 32 bits or int64, or complex.
    other : array, shape (..., k, m) or (k,)
        The input's dtype. Leading axes broadcast. Transposed arrays are read where they are.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`. Of floats alone.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping any input.

    Returns
    -------
    array, shape (..., n, m)
        Without n or m where that operand is a vector; an array without axes for two of them.
        Integers are exact: int8 and int16 sum in int32, others in int64, and that is the
        result's dtype. float16 and bfloat16 sum in float32.

    Raises
    ------
    ValueError
        For shapes that do not fit, or an algorithm that cannot serve.
    TypeError
        For a dtype that is not accepted, or dtypes that differ.
    """
    left, right = as_array(input, "input"), as_array(other, "other")
    dtype = check_dtype(left, FLOATS + INTEGERS + COMPLEX, "input of matmul")
    check_same_dtype(left, right, ("input", "other"))
    if dtype in (_FLOAT32, _FLOAT64):
        problem = MatmulProblem.of(left, right)
        left, right, problem = _in_place(left, right, problem)
        return solve(problem, (left, right), out=out, algorithm=algorithm, backend=backend)
    product = _carried(left, right, dtype)
    if out is None or hasattr(product, "__fastconv_record__"):
        return product
    check_out(out, product.shape, product.dtype, (left, right))
    out[...] = product
    return out


def _carried(left: Any, right: Any, dtype: np.dtype[Any]) -> Any:
    """Multiply what the kernels have no dtype for."""
    if dtype.name in SIXTEEN:
        return matmul(left.astype(_FLOAT32), right.astype(_FLOAT32)).astype(dtype)
    if dtype.kind in "iu":
        result, limits = accumulator(dtype), np.iinfo(dtype)
        size = max(-int(limits.min), int(limits.max))
        largest = int(left.shape[-1] if left.shape else 1) * size * size
        for exact, most in ((_FLOAT32, 2**24), (_FLOAT64, 2**53)):
            if largest <= most:
                product = matmul(left.astype(exact), right.astype(exact))
                # Sums of 8-bit integers may be beyond int32: they wrap by way of int64.
                return product.astype(np.dtype(np.int64)).astype(result)
        # NumPy's own loops: no library of floats multiplies these.
        whole = np.dtype(np.int64)
        return np.matmul(left.astype(whole), right.astype(whole))
    if hasattr(left, "__fastconv_record__") or hasattr(right, "__fastconv_record__"):
        traced = left if hasattr(left, "__fastconv_record__") else right
        part = np.zeros((), dtype).real.dtype
        shape = MatmulProblem.of(*(_Spec(tuple(v.shape), part) for v in (left, right))).output
        return traced.answer(_complex_product, (left, right), [(shape, dtype)])[0]
    return _complex_product(left, right)


@dataclasses.dataclass(frozen=True)
class _Spec:
    """A shape and a dtype."""

    shape: Shape
    dtype: np.dtype[Any]


def _complex_product(left: Any, right: Any) -> Array:
    """Multiply complex matrices by four real products."""
    a, b, c, d = (np.ascontiguousarray(v) for v in (left.real, left.imag, right.real, right.imag))
    # An axis is what a product of two vectors lacks.
    result = np.empty(matmul(a, c).shape, left.dtype)
    result.real = matmul(a, c) - matmul(b, d)
    result.imag = matmul(a, d) + matmul(b, c)
    return result


def _in_place(left: Any, right: Any, problem: MatmulProblem) -> tuple[Any, Any, MatmulProblem]:
    """Return operands as contiguous arrays, without a copy of those whose axes are permuted."""
    first, left = _unpermuted(left, problem.left, problem.lengths)
    second, right = _unpermuted(right, problem.right, problem.lengths)
    if first is problem.left and second is problem.right:
        return left, right, problem
    return left, right, dataclasses.replace(problem, left=first, right=second)


def _unpermuted(array: Any, matrices: Matrices, lengths: Shape) -> tuple[Matrices, Any]:
    """Return the contiguous array that one is a permutation of, and where its matrices are."""
    if type(array) is not np.ndarray or array.flags.c_contiguous or array.ndim < 2:
        return matrices, array
    order = sorted(range(array.ndim), key=lambda axis: (-array.strides[axis], axis))
    whole = array.transpose(order)
    if not whole.flags.c_contiguous or not whole.flags.aligned:
        return matrices, array
    steps = [0] * array.ndim
    for axis, step in zip(order, strides_of(whole.shape), strict=True):
        steps[axis] = step
    batch = [0 if n == 1 else s for n, s in zip(array.shape[:-2], steps[:-2], strict=True)]
    missing = (0,) * (len(lengths) - len(batch))
    return Matrices(whole.shape, 0, (*missing, *batch, *steps[-2:])), whole


@remembered
def scaled_dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: ArrayLike | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    algorithm: str | None = None,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Weigh values by softmax(scale query key^T + mask), as torch's function of this name does.

    Vaswani et al., Attention is all you need, 2017.

    Parameters
    ----------
    query : array, shape (..., L, E)
        float16, bfloat16, float32 or float64.
    key, value : array, shapes (..., S, E) and (..., S, Ev)
        The query's dtype. Leading axes broadcast.
    attn_mask : array, shape that broadcasts to (..., L, S), optional
        Of bool: which keys a query sees. Of the query's dtype: added to the scaled scores.
    dropout_p : float
        0: anything else is for training.
    is_causal : bool
        Query i sees keys 0 to i alone. Not with ``attn_mask``.
    scale : float, optional
        1 / sqrt(E) by default.
    enable_gqa : bool
        Let groups of query heads (axis -3) share the heads of key and value.
    algorithm, backend : str, optional
        Ask for one; see `fastconv.explain`.
    out : array, optional
        Where to write the result: exactly its shape and dtype, not overlapping any input.

    Returns
    -------
    array, shape (..., L, Ev)
        Zeros for a query that sees no key. float16 and bfloat16 are computed in float32.

    Raises
    ------
    ValueError
        For shapes that do not fit, a ``dropout_p`` other than 0, ``is_causal`` with a mask, or an
        algorithm that cannot serve.
    TypeError
        For a dtype that is not accepted, or dtypes that differ.
    """
    if number(dropout_p, "dropout_p") != 0:
        raise ValueError(
            f"dropout_p {dropout_p} is random: fastconv runs networks forward only; pass 0"
        )
    q, k, v = as_array(query, "query"), as_array(key, "key"), as_array(value, "value")
    mask = as_optional_array(attn_mask, "attn_mask")
    causal = flag(is_causal, "is_causal")
    if causal and mask is not None:
        raise ValueError("explicit attn_mask should not be set when is_causal=True: pass one")
    dtype = check_dtype(q, FLOATS, "query of scaled_dot_product_attention")
    result: Any = attend(
        q, k, v, mask, scale=None if scale is None else number(scale, "scale"),
        causal=0 if causal else None, zeros=True, shared=flag(enable_gqa, "enable_gqa"),
        algorithm=algorithm, backend=backend, out=None if dtype.name in SIXTEEN else out,
    )  # fmt: skip
    if out is None or dtype.name not in SIXTEEN or hasattr(result, "__fastconv_record__"):
        return result
    check_out(out, result.shape, result.dtype, (q, k, v))
    out[...] = result
    return out


def attend(
    query: Any, key: Any, value: Any, mask: Any = None, *, scale: float | None = None,
    causal: int | None = None, zeros: bool = True, shared: bool = False, **asked: Any,
) -> Any:  # fmt: skip
    """Attend, with the options of `AttentionProblem`; a mask is of bool or added."""
    dtype = np.dtype(query.dtype)
    if mask is not None and np.dtype(mask.dtype) == np.dtype(bool):
        wide = _FLOAT32 if dtype.name in SIXTEEN else dtype
        mask = np.where(mask, np.zeros((), wide), np.full((), -np.inf, wide))
    if dtype.name in SIXTEEN:
        check_same_dtype(query, key, ("query", "key"))
        check_same_dtype(query, value, ("query", "value"))
        wide = [v if v is None else v.astype(_FLOAT32) for v in (query, key, value, mask)]
        first, second, third, added = wide
        return attend(
            first, second, third, added, scale=scale, causal=causal, zeros=zeros, shared=shared,
            **asked,
        ).astype(dtype)  # fmt: skip
    problem = AttentionProblem.of(
        query, key, value, mask, scale=scale, causal=causal, zeros=zeros, shared=shared
    )
    inputs = [query, key, value, *([] if mask is None else [mask])]
    if not shared:
        found = []
        for place, name in enumerate(("query", "key", "value")):
            matrices, inputs[place] = _unpermuted(
                inputs[place], getattr(problem, name), problem.lengths
            )
            found.append(matrices)
        if tuple(found) != (problem.query, problem.key, problem.value):
            first, second, third = found
            problem = dataclasses.replace(problem, query=first, key=second, value=third)
    return solve(problem, tuple(inputs), **asked)
