"""Activations, softmax and its variants, dropout."""

from __future__ import annotations

import numpy as np

from fastconv.backends.manifest.scalar_functions import SELU_ALPHA, SELU_SCALE
from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node
from fastconv.problem.activation import BY_ONNX


@translates(*BY_ONNX)
def plain(call: Call) -> list[Node]:
    return call.node(BY_ONNX[call.op])


@translates("Softplus")
def softplus(call: Call) -> list[Node]:
    """Beyond a threshold torch returns x itself, ONNX does not: float64 distinguishes them."""
    return call.node("softplus", threshold=np.inf)


@translates("LeakyRelu")
def leaky_relu(call: Call) -> list[Node]:
    return call.node("leaky_relu", negative_slope=call.get("alpha", 0.01))


@translates("Elu", "Celu")
def elu(call: Call) -> list[Node]:
    return call.node(call.op.lower(), alpha=call.get("alpha", 1.0))


@translates("Selu")
def selu(call: Call) -> list[Node]:
    alpha = call.get("alpha", SELU_ALPHA)
    gamma = call.get("gamma", SELU_SCALE)
    return call.node("scaled_elu", alpha=alpha, gamma=gamma)


@translates("Gelu")
def gelu(call: Call) -> list[Node]:
    return call.node("gelu", approximate=call.get("approximate", "none"))


@translates("HardSigmoid")
def hard_sigmoid(call: Call) -> list[Node]:
    alpha, beta = call.get("alpha", 0.2), call.get("beta", 0.5)
    return call.node("hard_sigmoid", alpha=alpha, beta=beta)


@translates("ThresholdedRelu")
def thresholded_relu(call: Call) -> list[Node]:
    return call.node("thresholded_relu", alpha=call.get("alpha", 1.0))


@translates("Swish")
def swish(call: Call) -> list[Node]:
    return call.node("swish", alpha=call.get("alpha", 1.0))


@translates("Shrink")
def shrink(call: Call) -> list[Node]:
    return call.node("shrink", bias=call.get("bias", 0.0), lambd=call.get("lambd", 0.5))


@translates("PRelu")
def prelu(call: Call) -> list[Node]:
    slope = call.constant(1)
    if call.opset < 7:
        return call.node("prelu")
    if slope is None or slope.size != max(slope.shape, default=1):
        return call.node("prelu_broadcast")
    # Slopes along one axis, which is counted from the end, as they are broadcast.
    behind = len(slope.shape) - 1 - slope.shape.index(slope.size) if slope.size > 1 else 0
    inputs = call.input(0), call.keep("slope", slope.reshape(-1))
    return call.node("prelu_along", inputs, behind=behind)


@translates("Clip")
def clip(call: Call) -> list[Node]:
    if call.opset >= 11:
        return call.node("clip")
    low, high = call.get("min", -np.inf), call.get("max", np.inf)
    return call.node("clip", low=low, high=high)


@translates("Softmax", "LogSoftmax", "Hardmax")
def softmax(call: Call) -> list[Node]:
    axis = call.get("axis", -1 if call.opset >= 13 else 1)
    if call.op == "Hardmax":
        return call.node("hardmax" if call.opset >= 13 else "hardmax_from", axis=axis)
    function = "log_softmax" if call.op == "LogSoftmax" else "softmax"
    if call.opset >= 13:
        return call.node(function, dim=axis)
    return call.node("softmax_from", function=function, axis=axis)


@translates("Dropout")
def dropout(call: Call) -> list[Node]:
    """Outside training nothing is dropped, and the mask says so."""
    if call.input(2) and bool(call.require(2, "training_mode")):
        raise Unsupported("training_mode")
    first = call.input(0), (call.outputs[0],)
    nodes = [Node("identity", first[:1], first[1], {}, call.name or call.outputs[0])]
    if len(call.outputs) > 1 and call.outputs[1]:
        # Up to opset 9 the mask is of the data's own dtype.
        options = {"fill": True, "dtype": np.dtype(np.bool_) if call.opset >= 10 else None}
        nodes.append(Node("full_like", first[:1], (call.outputs[1],), options, call.name))
    return nodes
