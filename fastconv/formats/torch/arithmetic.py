"""Elementwise arithmetic, comparisons, reductions, casts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from fastconv.formats.torch.call import Call, Unsupported, numpy_dtype, translates


def operand(call: Call, name: str, dtype: Any) -> str:
    """Return an operand in the dtype in which it is computed; a number becomes a constant."""
    value = call.arguments[name]
    wanted = numpy_dtype(dtype)
    if not call.builder.is_open(value):
        value = call.builder.settled(value)
        if not isinstance(value, torch.Tensor):
            with np.errstate(over="ignore"):
                return call.constant(np.array(value, wanted))
        value = call.arguments[name]
    found = call.value(name)
    fake = call.builder.fake_of(value)
    if isinstance(fake, torch.Tensor) and fake.dtype == dtype:
        return found
    return call.step("cast", (found,), dtype=wanted)


def computed_in(call: Call, *names: str) -> Any:
    """Return the dtype that torch promotes operands to."""
    fakes = [call.builder.fake_of(call.arguments[name]) for name in names]
    plain = [f if isinstance(f, torch.Tensor) else _number(f) for f in fakes]
    return torch.result_type(*plain) if len(plain) == 2 else plain[0].dtype


def _number(value: Any) -> Any:
    if isinstance(value, torch.SymInt):
        return 0
    return 0.0 if isinstance(value, torch.SymFloat) else value


def binary(call: Call, op: str, left: str = "self", right: str = "other") -> None:
    """Answer with an operation on two operands, both in one dtype."""
    dtype = computed_in(call, left, right)
    call.answer(op, (operand(call, left, dtype), operand(call, right, dtype)))


def scaled(call: Call, op: str, dtype: Any) -> None:
    """Answer with a product or a quotient in a dtype.

    With a number that it cannot hold, torch computes in float32 and rounds the result.
    """
    if not _beyond(call.arguments["other"], dtype):
        call.answer(op, (operand(call, "self", dtype), operand(call, "other", dtype)))
        return
    wide = [operand(call, name, torch.float32) for name in ("self", "other")]
    call.answer("cast", (call.step(op, wide),), dtype=numpy_dtype(dtype))


def _beyond(value: Any, dtype: Any) -> bool:
    """Return whether a number is too large or too small for a 16-bit float to have its digits."""
    if dtype not in (torch.float16, torch.bfloat16) or not isinstance(value, (int, float)):
        return False
    held = float(torch.tensor(value, dtype=dtype))
    return math.isfinite(value) and not abs(held - value) <= torch.finfo(dtype).eps * abs(value)


_BINARY = {
    "maximum": "maximum", "minimum": "minimum", "eq": "equal", "gt": "greater", "lt": "less",
    "ge": "greater_equal", "le": "less_equal", "floor_divide": "floor_divide",
    "remainder": "mod", "logical_xor": "logical_xor",
}  # fmt: skip


@translates(*_BINARY)
def plain_binary(call: Call) -> None:
    binary(call, _BINARY[call.op])


@translates("mul")
def multiply(call: Call) -> None:
    scaled(call, "mul", computed_in(call, "self", "other"))


@translates("ne")
def not_equal(call: Call) -> None:
    dtype = computed_in(call, "self", "other")
    inputs = (operand(call, "self", dtype), operand(call, "other", dtype))
    call.answer("logical_not", (call.step("equal", inputs),))


@translates("add", "sub", "rsub")
def add(call: Call) -> None:
    dtype = call.result.dtype
    if dtype == torch.bool:
        raise Unsupported("of booleans")
    first, second = operand(call, "self", dtype), operand(call, "other", dtype)
    if call.get("alpha", 1) != 1:
        factor = call.constant(np.array(call.get("alpha"), numpy_dtype(dtype)))
        second = call.step("mul", (second, factor))
    pair = (second, first) if call.op == "rsub" else (first, second)
    call.answer("add" if call.op == "add" else "sub", pair)


@translates("div")
def divide(call: Call) -> None:
    mode = call.get("rounding_mode")
    if mode == "floor":
        binary(call, "floor_divide")
        return
    dtype = call.result.dtype
    if mode == "trunc" and dtype.is_floating_point:
        pair = (operand(call, "self", dtype), operand(call, "other", dtype))
        call.answer("trunc", (call.step("div", pair),))
        return
    scaled(call, "div", dtype)  # integers, which only "trunc" leaves so, towards zero


@translates("pow")
def power(call: Call) -> None:
    exponent = call.arguments["exponent"]
    if call.builder.is_open(exponent) or call.overload == "Scalar":
        binary(call, "pow", "self", "exponent")
        return
    value = call.value("self")
    if not call.fake().dtype.is_floating_point:
        binary(call, "pow", "self", "exponent")
    elif exponent == 2:
        call.answer("mul", (value, value))
    elif exponent == 0.5:
        call.answer("sqrt", (value,))
    elif exponent == -1:
        call.answer("reciprocal", (value,))
    else:
        binary(call, "pow", "self", "exponent")


_UNARY = {
    "neg": "neg", "_neg_view": "neg", "abs": "abs", "sqrt": "sqrt", "exp": "exp", "log": "log",
    "log1p": "log1p",
    "expm1": "expm1", "sin": "sin", "cos": "cos", "tan": "tan", "sinh": "sinh", "cosh": "cosh",
    "asin": "asin", "acos": "acos", "atan": "atan", "asinh": "asinh", "acosh": "acosh",
    "atanh": "atanh", "erf": "erf",
    "log2": "log2", "log10": "log10", "exp2": "exp2", "trunc": "trunc", "signbit": "signbit",
    "floor": "floor", "ceil": "ceil", "round": "round", "sign": "sign", "reciprocal": "reciprocal",
}  # fmt: skip
_EXACT = ("neg", "_neg_view", "abs", "sign", "signbit")


@translates(*_UNARY)
def unary(call: Call) -> None:
    value = call.value("self")
    if call.op == "round" and call.get("decimals", 0) != 0:
        _round_to(call, int(call.get("decimals")))
        return
    if call.fake().dtype == torch.bool:
        raise Unsupported("of booleans")
    if call.op not in _EXACT and not call.fake().dtype.is_floating_point:
        if not call.result.dtype.is_floating_point:
            call.same(value)  # integers are round already
            return
        value = call.step("cast", (value,), dtype=numpy_dtype(call.result.dtype))
    call.answer(_UNARY[call.op], (value,))


def _round_to(call: Call, decimals: int) -> None:
    """Round at a decimal place, by a power of ten, as torch does."""
    dtype = numpy_dtype(call.result.dtype)
    if not call.result.dtype.is_floating_point:
        raise Unsupported("decimals of integers")
    factor = call.constant(np.array(10.0 ** abs(decimals), dtype))
    first, last = ("mul", "div") if decimals > 0 else ("div", "mul")
    rounded = call.step("round", (call.step(first, (call.value("self"), factor)),))
    call.answer(last, (rounded, factor))


@translates("ldexp")
def ldexp(call: Call) -> None:
    power = call.step("exp2", (operand(call, "other", call.result.dtype),))
    call.answer("mul", (operand(call, "self", call.result.dtype), power))


@translates("rsqrt")
def rsqrt(call: Call) -> None:
    root = call.step("sqrt", (operand(call, "self", call.result.dtype),))
    call.answer("reciprocal", (root,))


@translates("logical_not", "logical_and", "logical_or")
def logical(call: Call) -> None:
    names = ("self",) if "not" in call.op else ("self", "other")
    call.answer(call.op, [operand(call, name, torch.bool) for name in names])


@translates("bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor")
def bitwise(call: Call) -> None:
    """Combine bits; of booleans, truths."""
    dtype = call.result.dtype
    op = call.op if dtype != torch.bool else call.op.replace("bitwise", "logical")
    names = ("self",) if "not" in call.op else ("self", "other")
    call.answer(op, [operand(call, name, dtype) for name in names])


@translates("any", "all")
def any_or_all(call: Call) -> None:
    """Reduce truths: the largest of them, or the smallest."""
    value, rank = operand(call, "self", torch.bool), call.rank()
    if rank == 0:
        call.answer("cast", (value,), dtype=numpy_dtype(call.result.dtype))
        return
    options = {"axes": axes_of(call, rank), "keepdims": bool(call.get("keepdim", False))}
    reduced = call.step("reduce_max" if call.op == "any" else "reduce_min", (value,), **options)
    call.answer("cast", (reduced,), dtype=numpy_dtype(call.result.dtype))


@translates("where")
def where(call: Call) -> None:
    dtype = call.result.dtype
    condition = operand(call, "condition", torch.bool)
    pair = (operand(call, "self", dtype), operand(call, "other", dtype))
    call.answer("where", (condition, *pair))


@translates("clamp", "clamp_min", "clamp_max", "clip")
def clamp(call: Call) -> None:
    dtype = call.result.dtype
    limits = [operand(call, name, dtype) if call.has(name) else "" for name in ("min", "max")]
    call.answer("clip", (operand(call, "self", dtype), *limits))


@translates("_to_copy", "to", "type_as", "convert_element_type")
def cast(call: Call) -> None:
    name = next((n for n in ("self", "a", "input") if n in call.arguments), "self")
    device = getattr(call.result, "device", None)
    if device is not None and device.type != call.fake(name).device.type:
        raise Unsupported(f"to device {device}")
    if call.result.dtype == call.fake(name).dtype:
        call.same(call.value(name))
    else:
        call.answer("cast", (call.value(name),), dtype=numpy_dtype(call.result.dtype))


@translates("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "lift_fresh")
def unchanged(call: Call) -> None:
    call.same(call.value("self"))


def axes_of(call: Call, rank: int) -> tuple[int, ...]:
    """Return the dimensions that a reduction takes away, counted from the first."""
    given = call.get("dim")
    if given is None or (isinstance(given, (list, tuple)) and not given):
        return tuple(range(rank))
    dims = given if isinstance(given, (list, tuple)) else (given,)
    return tuple(sorted(int(d) % max(1, rank) for d in dims))


_REDUCTIONS = {
    "sum": "reduce_sum", "mean": "reduce_mean", "amax": "reduce_max", "amin": "reduce_min",
    "prod": "reduce_prod",
}  # fmt: skip


@translates(*_REDUCTIONS)
def reduction(call: Call) -> None:
    rank = call.rank()
    if rank == 0:
        raise Unsupported("of a scalar")
    axes, keep = axes_of(call, rank), bool(call.get("keepdim", False))
    value = operand(call, "self", call.result.dtype)
    spatial = 3 <= rank <= 5 and axes == tuple(range(2, rank))
    if call.op == "mean" and spatial and call.result.dtype.is_floating_point:
        if keep:
            call.answer("global_avg_pool", (value,))
        else:
            call.answer("flatten", (call.step("global_avg_pool", (value,)),), axis=1)
        return
    call.answer(_REDUCTIONS[call.op], (value,), axes=axes, keepdims=keep)


@translates("max", "min")
def extreme(call: Call) -> None:
    op = f"reduce_{call.op}"
    if call.overload in ("", "default"):
        call.answer(op, axes=tuple(range(call.rank())), keepdims=False)
    elif call.overload == "other":
        binary(call, f"{call.op}imum")
    elif call.overload == "dim":
        axis, keep = call.axis(), bool(call.get("keepdim"))
        value = call.value("self")
        places = {"axis": axis, "largest": call.op == "max", "keepdims": keep}
        parts = {0: call.step(op, (value,), axes=(axis,), keepdims=keep)}
        if call.reads(1):
            parts[1] = call.step("arg_extreme", (value,), **places)
        call.builder.parts[call.node] = parts
    else:
        raise Unsupported(f"overload {call.overload}")


@translates("argmax", "argmin")
def place_of_extreme(call: Call) -> None:
    value, axis = call.value("self"), call.get("dim")
    if axis is None:
        value, axis = call.step("reshape", (value,), target=(-1,)), 0
        keep = False
        if call.get("keepdim"):
            raise Unsupported("keepdim of all dimensions")
    else:
        axis, keep = call.axis(), bool(call.get("keepdim"))
    largest = call.op == "argmax"
    call.answer("arg_extreme", (value,), axis=axis, largest=largest, keepdims=keep)


@translates("var", "std")
def variance(call: Call) -> None:
    result, _ = _spread(call, call.result.dtype)
    call.answer("sqrt" if call.op == "std" else "identity", (result,))


@translates("var_mean", "std_mean")
def variance_and_mean(call: Call) -> None:
    result, mean = _spread(call, call.result[0].dtype)
    if call.op == "std_mean":
        result = call.step("sqrt", (result,))
    if not call.get("keepdim"):
        axes = axes_of(call, call.rank())
        mean = call.step("squeeze", (mean,), axes=axes)
    call.builder.parts[call.node] = {0: result, 1: mean}


def _spread(call: Call, wanted: Any) -> tuple[str, str]:
    """Return the mean square distance from the mean, by ``correction`` fewer than the values."""
    rank = call.rank()
    if not call.fake().dtype.is_floating_point or call.overload not in ("correction", "dim"):
        raise Unsupported(f"overload {call.overload}")
    axes = axes_of(call, rank)
    less = call.get("correction", 1) if call.overload == "correction" else int(call.get("unbiased"))
    value, dtype = call.value("self"), numpy_dtype(wanted)
    mean = call.step("reduce_mean", (value,), axes=axes, keepdims=True)
    distance = call.step("sub", (value, mean))
    square = call.step("mul", (distance, distance))
    result = call.step("reduce_mean", (square,), axes=axes, keepdims=bool(call.get("keepdim")))
    if less:
        count = call.step("stack_sizes", (), template=(1,))
        for axis in axes:
            count = call.step("mul", (count, call.sizes([call.size(axis)])))
        fewer = call.step("sub", (count, call.constant(np.array([less], np.int64))))
        pair = [call.step("cast", (number,), dtype=dtype) for number in (count, fewer)]
        result = call.step("mul", (result, call.step("squeeze", (call.step("div", pair),))))
    return result, mean


@translates("linalg_vector_norm")
def vector_norm(call: Call) -> None:
    order = float(call.get("ord"))
    if not call.fake().dtype.is_floating_point or call.rank() == 0:
        raise Unsupported("of a scalar, integers or complex numbers")
    options = {"axes": axes_of(call, call.rank()), "keepdims": bool(call.get("keepdim"))}
    value, dtype = operand(call, "self", call.result.dtype), numpy_dtype(call.result.dtype)
    known = {1.0: "reduce_l1", 2.0: "reduce_l2"}.get(order)
    if known is not None:
        call.answer(known, (value,), **options)
    elif order in (float("inf"), float("-inf")):
        size = call.step("abs", (value,))
        call.answer("reduce_max" if order > 0 else "reduce_min", (size,), **options)
    elif order == 0:
        zero = call.constant(np.array(0, dtype))
        is_other = call.step("logical_not", (call.step("equal", (value, zero)),))
        ones = call.step("cast", (is_other,), dtype=dtype)
        call.answer("reduce_sum", (ones,), **options)
    else:
        powers = (call.step("abs", (value,)), call.constant(np.array(order, dtype)))
        total = call.step("reduce_sum", (call.step("pow", powers),), **options)
        call.answer("pow", (total, call.constant(np.array(1 / order, dtype))))
