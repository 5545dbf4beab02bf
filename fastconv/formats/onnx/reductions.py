"""Reductions, places of extremes, and the largest few."""

from __future__ import annotations

from typing import Any

from fastconv.formats.onnx.call import Call, translates
from fastconv.network import Node

_REDUCTIONS = {
    "ReduceMean": "reduce_mean",
    "ReduceSum": "reduce_sum",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
    "ReduceL1": "reduce_l1",
    "ReduceL2": "reduce_l2",
    "ReduceSumSquare": "reduce_sum_square",
    "ReduceLogSum": "reduce_log_sum",
    "ReduceLogSumExp": "reduce_log_sum_exp",
}
# From these opsets on the axes are an input.
_AXES_INPUT = {"ReduceSum": 13}


@translates(*_REDUCTIONS)
def reduction(call: Call) -> list[Node]:
    options: dict[str, Any] = {
        "keepdims": call.flag("keepdims", 1),
        "noop": call.flag("noop_with_empty_axes"),
    }
    if call.opset >= _AXES_INPUT.get(call.op, 18):
        return call.node(_REDUCTIONS[call.op], **options)
    return call.node(_REDUCTIONS[call.op], call.inputs[:1], axes=call.axes(), **options)


@translates("ArgMax", "ArgMin")
def arg_extreme(call: Call) -> list[Node]:
    return call.node(
        "arg_extreme",
        axis=call.get("axis", 0),
        largest=call.op == "ArgMax",
        keepdims=call.flag("keepdims", 1),
        last=call.flag("select_last_index"),
    )


@translates("TopK")
def top_k(call: Call) -> list[Node]:
    inputs = call.inputs
    if call.opset < 10:
        inputs = (inputs[0], call.keep("k", [call.get("k")]))
    return call.node(
        "top_k",
        inputs,
        axis=call.get("axis", -1),
        largest=call.flag("largest", 1),
        ordered=call.flag("sorted", 1),
    )
