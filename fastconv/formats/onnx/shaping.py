"""Operations that move values without computing: shapes, slices, joins, padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node


@translates("Flatten")
def flatten(call: Call) -> list[Node]:
    return call.node("flatten", axis=call.get("axis", 1))


@translates("Reshape")
def reshape(call: Call) -> list[Node]:
    if call.opset < 5:
        target = call.keep("shape", np.array(call.get("shape", ()), np.int64))
        return call.node("reshape", (call.input(0), target))
    return call.node("reshape", allow_zero=call.flag("allowzero"))


@translates("Transpose")
def transpose(call: Call) -> list[Node]:
    order = call.get("perm")
    return call.node("transpose", axes=None if order is None else tuple(order))


@translates("Concat")
def concat(call: Call) -> list[Node]:
    return call.node("concat", axis=call.get("axis", 1))


def _with_axes(call: Call, op: str) -> list[Node]:
    """Axes are an attribute up to opset 12, an input from 13 on."""
    if call.opset >= 13:
        return call.node(op)
    axes = call.get("axes")
    return call.node(op, call.inputs[:1], axes=None if axes is None else tuple(axes))


@translates("Squeeze")
def squeeze(call: Call) -> list[Node]:
    return _with_axes(call, "squeeze")


@translates("Unsqueeze")
def unsqueeze(call: Call) -> list[Node]:
    return _with_axes(call, "unsqueeze")


@translates("Slice")
def slice_(call: Call) -> list[Node]:
    if call.opset >= 10:
        return call.node("slice")
    axes = call.get("axes")
    return call.node(
        "slice",
        call.inputs[:1],
        starts=tuple(call.get("starts")),
        ends=tuple(call.get("ends")),
        axes=None if axes is None else tuple(axes),
    )


@translates("Split")
def split(call: Call) -> list[Node]:
    axis, parts = call.get("axis", 0), len(call.outputs)
    if call.opset >= 13 or call.input(1):
        return call.node("split", axis=axis, parts=parts)
    sections = call.get("split")
    given = None if sections is None else tuple(sections)
    return call.node("split", call.inputs[:1], sections=given, axis=axis, parts=parts)


@translates("Expand")
def expand(call: Call) -> list[Node]:
    return call.node("expand")


@translates("Tile")
def tile(call: Call) -> list[Node]:
    if call.opset >= 6:
        return call.node("tile")
    times, axis = call.require(1, "the number of tiles"), call.require(2, "the axis")
    return call.node(
        "tile_along", call.inputs[:1], times=int(times.flat[0]), axis=int(axis.flat[0])
    )


@translates("Shape")
def shape(call: Call) -> list[Node]:
    return call.node("shape", start=call.get("start", 0), end=call.get("end"))


@translates("Size")
def size(call: Call) -> list[Node]:
    return call.node("size")


@translates("ConstantOfShape")
def constant_of_shape(call: Call) -> list[Node]:
    value: Any = call.get("value")
    filled = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return call.node("filled", value=filled.reshape(-1)[0])


@translates("Range")
def range_(call: Call) -> list[Node]:
    return call.node("range")


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@translates("Pad")
def pad(call: Call) -> list[Node]:
    mode = call.get("mode", "constant")
    if mode not in _PAD_MODES:
        raise Unsupported(f"mode {mode}")
    if call.opset >= 11:
        return call.node("pad_all", mode=_PAD_MODES[mode])
    return call.node(
        "pad_all",
        call.inputs[:1],
        pads=tuple(call.get("paddings" if call.opset < 2 else "pads", ())),
        value_=call.get("value", 0.0),
        mode=_PAD_MODES[mode],
    )
