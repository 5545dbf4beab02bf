"""Operations on quantised integers: q = round(x / scale) + zero point. Sums are exact.

Products of what is above its zero point are summed as integers by the same kernels that serve
floats; only the last step, to the output's scale, rounds. Weights that come in float32 are whole
numbers, so small that float32 holds every sum (`held_in_float32`): such a convolution is one of
float32 with an ``rtol`` of 0, which leaves plain sums alone, exact in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.dispatch import solve
from fastconv.network.indexing import told_beforehand
from fastconv.network.trace import Traced
from fastconv.network.windowed import conv
from fastconv.problem import DequantizeProblem, QuantizeProblem
from fastconv.problem.quantise import SOURCES, TARGETS


def _by_axis(values: Any, rank: int, axis: int, block: int, shape: Any) -> Any:
    """Return scales so that they broadcast: one for all, one a slice of an axis, or one a block."""
    given = np.asarray(values)
    if given.size == 1 and not block:
        return given.reshape(())
    if block:
        # A block longer than the axis is as long as it.
        times = min(block, max(shape[axis], 1))
        return np.repeat(given, times, axis=axis)[tuple(slice(n) for n in shape)]
    return given.reshape((-1, *(1,) * (rank - 1 - axis % rank)))


def _alike_shapes(scale: Any, zero_point: Any) -> bool:
    return zero_point is None or tuple(zero_point.shape) == tuple(scale.shape)


def _operand(value: Any, dtype: Any) -> Any:
    """Return an input of a problem: what is traced, or a plain array."""
    if value is None:
        return None
    given = value if isinstance(value, Traced) else np.asarray(value)
    return given if given.dtype == dtype else given.astype(np.dtype(dtype))


def quantize(
    value: Any, scale: Any, zero_point: Any = None, *, dtype: Any = None, axis: int = 1,
    block: int = 0, otherwise: Callable[..., Any] | None = None,
) -> Any:  # fmt: skip
    """Return integers for numbers: halves to even, then clamped to what the dtype holds.

    Other dtypes than integers of 8 bits or more go ``otherwise``.
    """
    target = np.dtype(np.uint8 if dtype is None else dtype)
    if zero_point is not None:
        target = zero_point.dtype
    if target.kind not in "iu":
        if otherwise is None:
            raise TypeError(f"quantising to {target.name} is not supported here")
        return otherwise(value, scale, zero_point)
    if value.dtype == np.float32 and target.name in TARGETS and _alike_shapes(scale, zero_point):
        factor = _operand(scale, np.float32)
        problem = QuantizeProblem.of(value, factor, target, axis=axis, block=block)
        return solve(problem, (value, factor, _operand(zero_point, target)))
    rank = len(value.shape)
    # A float that holds the values and the scales: neither may be cut to the other's dtype.
    narrow = value.dtype.itemsize <= 2 or value.dtype == np.float32
    wide = np.dtype(np.float32 if narrow else np.float64)
    factor = _by_axis(scale, rank, axis, block, value.shape).astype(wide)
    whole = np.rint(value.astype(wide) / factor)
    whole = whole.astype(np.dtype(np.float64 if target.itemsize > 2 else np.float32))
    if zero_point is not None:
        whole = whole + _by_axis(zero_point, rank, axis, block, value.shape).astype(whole.dtype)
    limits = np.iinfo(target)
    return np.minimum(np.maximum(whole, limits.min), limits.max).astype(target)


def dequantize(
    value: Any, scale: Any, zero_point: Any = None, *, axis: int = 1, block: int = 0,
    dtype: Any = None,
) -> Any:  # fmt: skip
    """Return numbers for integers, in the scale's dtype."""
    narrow = np.dtype(np.float32)
    known = value.dtype.name in SOURCES and scale.dtype == narrow and dtype in (None, narrow)
    if known and _alike_shapes(scale, zero_point):
        problem = DequantizeProblem.of(value, scale, axis=axis, block=block)
        zero = _operand(zero_point, value.dtype)
        return solve(problem, (value, _operand(scale, narrow), zero))
    rank = len(value.shape)
    factor = _by_axis(scale, rank, axis, block, value.shape)
    wide = np.dtype(np.float32) if factor.dtype.itemsize < 4 else factor.dtype
    above = value.astype(wide)
    if zero_point is not None:
        above = above - _by_axis(zero_point, rank, axis, block, value.shape).astype(wide)
    return (above * factor.astype(wide)).astype(dtype or factor.dtype)


def dynamic_quantize(value: Any) -> tuple[Any, Any, Any]:
    """Quantise to uint8 by the value's own range, which is made to hold 0."""
    specs = [(tuple(value.shape), np.uint8), ((), np.float32), ((), np.uint8)]
    told: tuple[Any, Any, Any] = told_beforehand(_dynamic_quantize, specs, value)
    return told


def _dynamic_quantize(source: Any) -> tuple[Any, Any, Any]:
    outs = np.empty(source.shape, np.uint8), np.empty((), np.float32), np.empty((), np.uint8)
    _dynamic_quantize_into(outs, source)
    return outs


def _dynamic_quantize_into(outs: tuple[Any, Any, Any], source: Any) -> None:
    result, scale, zero = outs
    # Numbers, not arrays of one: for these each step is a call that costs a microsecond.
    none, most = np.float32(0), np.float32(255)
    low, high = source.min(initial=none), source.max(initial=none)
    step = (high - low) / most
    scale[...] = step
    safe = scale if step != 0 else np.ones((), np.float32)
    zero[...] = np.minimum(np.maximum(np.rint(-low / safe[()]), none), most)
    problem = QuantizeProblem.of(source, safe, result.dtype)
    solve(problem, (source, safe, zero), out=result)


_dynamic_quantize.into = _dynamic_quantize_into  # type: ignore[attr-defined]


def _above(value: Any, zero_point: Any, columns: bool = False) -> Any:
    """Return what a value has above its zero point: int16 for 8 bits, else int32."""
    above = value.astype(np.dtype(np.int16 if value.dtype.itemsize == 1 else np.int32))
    if zero_point is None:
        return above
    zero = np.asarray(zero_point)
    if columns and zero.ndim == 1 and zero.size > 1:
        zero = zero[:, None]
    return above - zero.astype(above.dtype)


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Return two values of integers in the wider one's dtype."""
    wide = a.dtype if a.dtype.itemsize >= b.dtype.itemsize else b.dtype
    return a if a.dtype == wide else a.astype(wide), b if b.dtype == wide else b.astype(wide)


# Every whole number up to this size is a float32, and an 8-bit one is above its zero point by no
# more than that.
_EXACT = 2**24
_LARGEST = 255


def held_in_float32(weight: Any, bias: Any = None) -> bool:
    """Return whether float32 holds all sums of 8-bit integers times any such weights.

    Each partial sum, in any order, is a whole number of at most 255 times the weights' sizes, and
    the bias.
    """
    sizes = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1) * _LARGEST
    if bias is not None:
        sizes = sizes + np.abs(bias.astype(np.int64))
    return bool(sizes.max(initial=0) <= _EXACT)


def _float32_conv(value: Any, weight: Any, zero_point: Any, bias: Any, options: Any) -> Any:
    """Correlate 8-bit integers above their zero point with weights that keep all sums exact."""
    narrow = np.dtype(np.float32)
    above = value.astype(narrow)
    if zero_point is not None:
        above = above - zero_point.astype(narrow)
    return conv(above, weight, bias, rtol=0, **options)


def _whole(weight: Any) -> Any:
    """Return weights as integers where they came in float32."""
    return weight if weight.dtype.kind != "f" else np.asarray(weight).astype(np.dtype(np.int16))


def conv_integer(
    value: Any, weight: Any, zero_point: Any = None, weight_zero: Any = None, **options: Any
) -> Any:
    """Correlate integers above their zero points; int32 sums."""
    if weight.dtype.kind == "f" and value.dtype.itemsize == 1:
        return _float32_conv(value, weight, zero_point, None, options).astype(np.dtype(np.int32))
    weight = _whole(weight)
    if weight_zero is not None and np.size(weight_zero) > 1:
        weight_zero = np.asarray(weight_zero).reshape((-1, *(1,) * (len(weight.shape) - 1)))
    left, right = _above(value, zero_point), weight
    if weight.dtype != np.int16 or weight_zero is not None:
        right = _above(weight, weight_zero)
    return conv(*_alike(left, right), **options).astype(np.dtype(np.int32))


def _rescaled(total: Any, factor: Any, zero_point: Any) -> Any:
    """Bring exact sums to the output's scale and dtype: one rounding to float32, one to integers.

    The sum is clamped before the zero point is added, which is the same and stays exact.
    """
    narrow = np.dtype(np.float32)
    limits, zero = np.iinfo(zero_point.dtype), np.asarray(zero_point).astype(narrow)
    whole = np.rint(total.astype(narrow) * factor.astype(narrow))
    low, high = limits.min - zero, limits.max - zero
    return (np.minimum(np.maximum(whole, low), high) + zero).astype(zero_point.dtype)


def _factor(x_scale: Any, w_scale: Any, y_scale: Any) -> Any:
    a, b, c = (np.asarray(s).astype(np.float64) for s in (x_scale, w_scale, y_scale))
    return a * b / c


def qlinear_conv(
    value: Any, x_scale: Any, x_zero: Any, weight: Any, w_scale: Any, w_zero: Any, y_scale: Any,
    y_zero: Any, bias: Any = None, **options: Any,
) -> Any:  # fmt: skip
    """Correlate quantised integers; the bias is in units of both scales' product."""
    n = len(value.shape) - 2
    if weight.dtype.kind == "f" and value.dtype.itemsize == 1:
        within = bias if bias is not None and bias.dtype.kind == "f" else None
        total = _float32_conv(value, weight, x_zero, within, options)
        bias = bias if within is None else None
    else:
        total = conv_integer(value, _whole(weight), x_zero, w_zero, **options)
    if bias is not None:
        whole = np.dtype(np.int32)
        total = total.astype(whole) + bias.astype(whole).reshape((-1, *(1,) * n))
    factor = _factor(x_scale, np.asarray(w_scale).reshape(-1), y_scale)
    return _rescaled(total, factor.reshape((-1, *(1,) * n)), y_zero)


def matmul_integer(a: Any, b: Any, a_zero: Any = None, b_zero: Any = None) -> Any:
    """Multiply matrices of integers above their zero points; int32 sums."""
    left, right = _alike(_above(a, a_zero, columns=True), _above(b, b_zero))
    if len(right.shape) == 2 and len(left.shape) >= 2:
        return functional.linear(left, np.transpose(right)).astype(np.dtype(np.int32))
    whole = np.dtype(np.int32)
    if left.dtype.itemsize > 2:
        return np.matmul(left.astype(whole), right.astype(whole))
    return functional.matmul(left, right).astype(whole)


def qlinear_matmul(
    a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any, y_scale: Any,
    y_zero: Any,
) -> Any:  # fmt: skip
    """Multiply matrices of quantised integers."""
    rows = np.asarray(a_scale)
    if rows.ndim == 1 and rows.size > 1:
        rows = rows[:, None]
    factor = _factor(rows, b_scale, y_scale)
    return _rescaled(matmul_integer(a, b, a_zero, b_zero), factor, y_zero)


QUANTISED: dict[str, Callable[..., Any]] = {
    "conv_integer": conv_integer,
    "dequantize": dequantize,
    "dynamic_quantize": dynamic_quantize,
    "matmul_integer": matmul_integer,
    "qlinear_conv": qlinear_conv,
    "qlinear_matmul": qlinear_matmul,
    "quantize": quantize,
}
