"""Calls that order, count up and pick elements."""

from __future__ import annotations

import numpy as np
import torch

from fastconv.formats.torch.arithmetic import operand
from fastconv.formats.torch.call import Call, Unsupported, numpy_dtype, translates

_NARROW = (torch.float16, torch.bfloat16)


def _refuse(call: Call) -> None:
    """Leave out what has no axes, and what has no order."""
    if call.rank() == 0:
        raise Unsupported("of a scalar")
    if call.fake().dtype.is_complex:
        raise Unsupported("of complex numbers")


@translates("sort", "argsort")
def sort(call: Call) -> None:
    """Sort stably, which is one of the orders that torch may give; NaN is the largest."""
    _refuse(call)
    axis = call.axis()
    inputs = (call.value("self"), call.sizes([call.size(axis)]))
    options = {"axis": axis, "largest": bool(call.get("descending"))}
    call.several("top_k", inputs, 2, **options)
    if call.op == "argsort":
        call.same(call.builder.parts.pop(call.node)[1])


@translates("topk")
def topk(call: Call) -> None:
    _refuse(call)
    inputs = (call.value("self"), call.sizes([call.arguments["k"]]))
    call.several("top_k", inputs, 2, axis=call.axis(), largest=bool(call.get("largest")))


@translates("cumsum", "cumprod")
def cumulate(call: Call) -> None:
    """Add or multiply up; 16-bit floats in float32."""
    _refuse(call)
    wanted = call.result.dtype
    inside = torch.float32 if wanted in _NARROW else wanted
    inputs = (operand(call, "self", inside), call.constant(np.array(call.axis(), np.int64)))
    product = call.op == "cumprod"
    if inside is wanted:
        call.answer("cumulate", inputs, product=product)
    else:
        wide = call.step("cumulate", inputs, product=product)
        call.answer("cast", (wide,), dtype=numpy_dtype(wanted))


@translates("gather")
def gather(call: Call) -> None:
    if call.rank() == 0 or call.rank("index") == 0:
        raise Unsupported("of a scalar")
    call.answer("gather_elements", (call.value("self"), call.value("index")), axis=call.axis())


@translates("tril", "triu")
def triangle(call: Call) -> None:
    diagonal = call.constant(np.array(call.get("diagonal", 0), np.int64))
    call.answer("trilu", (call.value("self"), diagonal), upper=call.op == "triu")


@translates("masked_fill")
def masked_fill(call: Call) -> None:
    value = operand(call, "value", call.result.dtype)
    mask = operand(call, "mask", torch.bool)
    call.answer("where", (mask, value, call.value("self")))


@translates("isnan", "isinf")
def is_special(call: Call) -> None:
    if not call.fake().dtype.is_floating_point:
        raise Unsupported("of integers")
    if call.op == "isnan":
        call.answer("is_nan")
    else:
        call.answer("is_inf", negative=True, positive=True)
