"""Operators that pick, place and order elements."""

from __future__ import annotations

from fastconv.formats.onnx.arithmetic import element_type
from fastconv.formats.onnx.call import Call, translates
from fastconv.network import Node

_PLAIN = {"NonZero": "non_zero"}


@translates(*_PLAIN)
def plain(call: Call) -> list[Node]:
    return call.node(_PLAIN[call.op])


@translates("Gather")
def gather(call: Call) -> list[Node]:
    return call.node("gather", axis=call.get("axis", 0))


@translates("GatherElements")
def gather_elements(call: Call) -> list[Node]:
    return call.node("gather_elements", axis=call.get("axis", 0))


@translates("GatherND")
def gather_nd(call: Call) -> list[Node]:
    return call.node("gather_nd", batch_dims=call.get("batch_dims", 0))


@translates("Scatter", "ScatterElements")
def scatter_elements(call: Call) -> list[Node]:
    reduction = call.get("reduction", "none")
    return call.node("scatter_elements", axis=call.get("axis", 0), reduction=reduction)


@translates("ScatterND")
def scatter_nd(call: Call) -> list[Node]:
    return call.node("scatter_nd", reduction=call.get("reduction", "none"))


@translates("OneHot")
def one_hot(call: Call) -> list[Node]:
    return call.node("one_hot", axis=call.get("axis", -1))


@translates("Compress")
def compress(call: Call) -> list[Node]:
    return call.node("compress", axis=call.get("axis"))


@translates("Trilu")
def trilu(call: Call) -> list[Node]:
    return call.node("trilu", upper=call.flag("upper", 1))


@translates("EyeLike")
def eye_like(call: Call) -> list[Node]:
    given = call.get("dtype")
    dtype = element_type(given) if given is not None else None
    return call.node("eye_like", dtype=dtype, k=call.get("k", 0))


@translates("ReverseSequence")
def reverse_sequence(call: Call) -> list[Node]:
    return call.node(
        "reverse_sequence", batch_axis=call.get("batch_axis", 1), time_axis=call.get("time_axis", 0)
    )


@translates("CenterCropPad")
def center_crop_pad(call: Call) -> list[Node]:
    return call.node("center_crop_pad", axes=call.axes())
