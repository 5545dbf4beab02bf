"""Elementwise arithmetic, comparisons, casts."""

from __future__ import annotations

import numpy as np

from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node
from fastconv.network.operations import CAST_TO

# Up to opset 6 these take the second input's place in the first one as an attribute.
_PLACED = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow",
    "Equal": "equal", "Greater": "greater", "Less": "less",
    "And": "logical_and", "Or": "logical_or", "Xor": "logical_xor",
}  # fmt: skip
_PLAIN = {
    "Sum": "sum", "Max": "maximum", "Min": "minimum", "Mean": "mean_of", "Neg": "neg",
    "Abs": "abs", "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Floor": "floor", "Ceil": "ceil",
    "Reciprocal": "reciprocal", "Sign": "sign", "Round": "round", "Erf": "erf",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "asin", "Acos": "acos", "Atan": "atan",
    "Sinh": "sinh", "Cosh": "cosh", "Asinh": "asinh", "Acosh": "acosh", "Atanh": "atanh",
    "GreaterOrEqual": "greater_equal", "LessOrEqual": "less_equal", "Not": "logical_not",
    "BitwiseNot": "bitwise_not", "BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor", "IsNaN": "is_nan", "Where": "where", "Identity": "identity",
}  # fmt: skip


@translates(*_PLAIN)
def plain(call: Call) -> list[Node]:
    return call.node(_PLAIN[call.op])


@translates(*_PLACED)
def placed(call: Call) -> list[Node]:
    if call.opset >= 7 or not call.flag("broadcast"):
        return call.node(_PLACED[call.op])
    first, second = call.inputs
    aligned = f"{call.outputs[0]}:aligned"
    return [
        Node("align", (second, first), (aligned,), {"axis": call.get("axis")}, call.name),
        *call.node(_PLACED[call.op], (first, aligned)),
    ]


@translates("Mod")
def mod(call: Call) -> list[Node]:
    return call.node("mod", fmod=call.flag("fmod"))


@translates("BitShift")
def bit_shift(call: Call) -> list[Node]:
    return call.node("bit_shift", left=call.get("direction") == "LEFT")


@translates("IsInf")
def is_inf(call: Call) -> list[Node]:
    return call.node(
        "is_inf", negative=call.flag("detect_negative", 1), positive=call.flag("detect_positive", 1)
    )


@translates("CumSum", "CumProd")
def cumulate(call: Call) -> list[Node]:
    return call.node(
        "cumulate",
        product=call.op == "CumProd",
        exclusive=call.flag("exclusive"),
        reverse=call.flag("reverse"),
    )


@translates("Cast")
def cast(call: Call) -> list[Node]:
    given, target = call.dtype(0), element_type(call.get("to"))
    if given is None:
        return call.node("cast", dtype=target, otherwise=call.reference())
    if given.name not in CAST_TO:
        raise Unsupported(f"element type {given.name}")
    return call.node("cast", dtype=target)


@translates("CastLike")
def cast_like(call: Call) -> list[Node]:
    kinds = [call.dtype(0), call.dtype(1)]
    if any(kind is not None and kind.name not in CAST_TO for kind in kinds):
        raise Unsupported("an element type that is not a number of 8 bits or more")
    return call.node("cast_like", otherwise=call.reference() if None in kinds else None)


def element_type(number: int | str) -> np.dtype[np.generic]:
    """Return the dtype of one of ONNX's element types that arrays are cast to natively."""
    import onnx

    try:
        if isinstance(number, str):
            number = onnx.TensorProto.DataType.Value(number.upper())
        dtype: np.dtype[np.generic] = onnx.helper.tensor_dtype_to_np_dtype(number)
    except (KeyError, ValueError):
        raise Unsupported(f"element type {number}") from None
    if dtype.name not in CAST_TO:
        raise Unsupported(f"element type {dtype.name}")
    return dtype
