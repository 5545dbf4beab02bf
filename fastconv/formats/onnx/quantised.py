"""Quantised operators: to integers and back, and sums of integers that are exact."""

from __future__ import annotations

import numpy as np

from fastconv.dispatch.stored import values_of
from fastconv.formats.onnx.arithmetic import element_type
from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.formats.onnx.windows import window
from fastconv.network import Node
from fastconv.network.quantised import held_in_float32

_TARGETS = ("int8", "uint8", "int16", "uint16", "int32")


@translates("QuantizeLinear")
def quantize(call: Call) -> list[Node]:
    given = call.get("output_dtype", 0)
    target = element_type(given) if given else None
    kinds = [dtype for dtype in (target, call.dtype(2)) if dtype is not None]
    if any(kind.name not in _TARGETS for kind in kinds):
        raise Unsupported(f"quantising to {kinds[0].name}")
    if call.get("precision"):
        raise Unsupported("attribute precision")
    options = {"axis": call.get("axis", 1), "block": call.get("block_size", 0)}
    if call.input(2) and call.dtype(2) is None:
        options["otherwise"] = call.reference()
    return call.node("quantize", dtype=target, **options)


@translates("DequantizeLinear")
def dequantize(call: Call) -> list[Node]:
    given = call.get("output_dtype", 0)
    return call.node(
        "dequantize",
        dtype=element_type(given) if given else None,
        axis=call.get("axis", 1),
        block=call.get("block_size", 0),
    )


@translates("DynamicQuantizeLinear")
def dynamic_quantize(call: Call) -> list[Node]:
    return call.node("dynamic_quantize")


def _integers(call: Call, place: int, zero: int, suffix: str) -> tuple[str, str]:
    """Take a constant weight's zero point away once, here, so that its plan can be kept.

    It is float32 from here on where that keeps all sums exact.
    """
    weight, point = call.constant(place), call.constant(zero)
    if weight is None or weight.dtype.itemsize != 1 or (call.input(zero) and point is None):
        return call.input(place), call.input(zero)
    above = values_of(weight).astype(np.int16)
    if point is not None:
        shape = (-1, *(1,) * (weight.ndim - 1)) if suffix == "filter" else point.shape
        above = above - (point.reshape(shape) if point.ndim else point).astype(np.int16)
    if held_in_float32(above):
        above = above.astype(np.float32)
    return call.keep(suffix, above), ""


def _bias(call: Call, place: int, weight: str) -> str:
    """Return a bias as float32 too where sums that begin with it stay exact."""
    bias, above = call.constant(place), call.constants.get(weight)
    if bias is None or above is None or above.dtype.kind != "f":
        return call.input(place)
    given = values_of(bias)
    exact = given.ndim == 1 and held_in_float32(np.asarray(above), given)
    return call.keep("bias", given.astype(np.float32)) if exact else call.input(place)


def _conv_options(call: Call) -> dict[str, object]:
    return {**window(call), "groups": call.get("group", 1)}


@translates("ConvInteger")
def conv_integer(call: Call) -> list[Node]:
    weight, zero = _integers(call, 1, 3, "filter")
    inputs = (call.input(0), weight, call.input(2), zero)
    return call.node("conv_integer", inputs, **_conv_options(call))


@translates("QLinearConv")
def qlinear_conv(call: Call) -> list[Node]:
    weight, zero = _integers(call, 3, 5, "filter")
    scales = call.inputs[6:8]
    inputs = (*call.inputs[:3], weight, call.input(4), zero, *scales, _bias(call, 8, weight))
    return call.node("qlinear_conv", inputs, **_conv_options(call))


@translates("MatMulInteger")
def matmul_integer(call: Call) -> list[Node]:
    return call.node("matmul_integer")


@translates("QLinearMatMul")
def qlinear_matmul(call: Call) -> list[Node]:
    kinds = [call.dtype(7), call.dtype(0), call.dtype(3)]
    if any(kind is not None and kind.name not in _TARGETS for kind in kinds):
        raise Unsupported("floats of 8 bits")
    return call.node("qlinear_matmul")
