"""Elementwise arithmetic, comparisons, reductions."""

from __future__ import annotations

from typing import Any

from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node
from fastconv.problem.values import FLOATS, INTEGERS

CAST_TO = (*FLOATS, *INTEGERS, "uint64", "bool")
_PLAIN = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "Sum": "sum",
    "Max": "maximum", "Min": "minimum", "Mean": "mean_of", "Neg": "neg", "Abs": "abs",
    "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Floor": "floor", "Ceil": "ceil",
    "Reciprocal": "reciprocal", "Sign": "sign", "Round": "round",
    "Equal": "equal", "Greater": "greater", "Less": "less", "GreaterOrEqual": "greater_equal",
    "LessOrEqual": "less_equal", "Not": "logical_not", "And": "logical_and", "Or": "logical_or",
    "Where": "where", "Identity": "identity",
}  # fmt: skip


@translates(*_PLAIN)
def plain(call: Call) -> list[Node]:
    return call.node(_PLAIN[call.op])


_REDUCTIONS = {
    "ReduceMean": "reduce_mean",
    "ReduceSum": "reduce_sum",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
    "ReduceL1": "reduce_l1",
    "ReduceL2": "reduce_l2",
}
# From these opsets on the axes are an input.
_AXES_INPUT = {"ReduceSum": 13}


@translates(*_REDUCTIONS)
def reduction(call: Call) -> list[Node]:
    options: dict[str, Any] = {
        "keepdims": bool(call.get("keepdims", 1)),
        "noop": bool(call.get("noop_with_empty_axes", 0)),
    }
    if call.opset >= _AXES_INPUT.get(call.op, 18):
        return call.node(_REDUCTIONS[call.op], **options)
    axes = call.get("axes")
    return call.node(
        _REDUCTIONS[call.op], call.inputs[:1], axes=None if axes is None else tuple(axes), **options
    )


@translates("Cast")
def cast(call: Call) -> list[Node]:
    import onnx

    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(call.get("to"))
    except KeyError:
        raise Unsupported(f"element type {call.get('to')}") from None
    if dtype.name not in CAST_TO:
        raise Unsupported(f"element type {dtype.name}")
    return call.node("cast", dtype=dtype)
