"""Fully connected layers, normalisation, activations, softmax."""

from __future__ import annotations

import numpy as np

from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node


@translates("Gemm")
def gemm(call: Call) -> list[Node]:
    """Turn a constant weight round once, here, so that its plan can be kept."""
    inputs, turned = call.inputs, bool(call.get("transB", 0))
    weight = call.constant(1)
    if weight is not None and not turned:
        inputs = (inputs[0], call.keep("weight", weight.T), *inputs[2:])
        turned = True
    bias = call.constant(2)
    if bias is not None and bias.ndim == 2 and bias.shape[0] == 1:
        inputs = (*inputs[:2], call.keep("bias", bias[0]))
    return call.node(
        "gemm",
        inputs,
        alpha=call.get("alpha", 1.0),
        beta=call.get("beta", 1.0),
        transpose_a=bool(call.get("transA", 0)),
        transpose_b=turned,
    )


@translates("MatMul")
def matmul(call: Call) -> list[Node]:
    weight = call.constant(1)
    if weight is not None and weight.ndim == 2:
        return call.node("linear", (call.input(0), call.keep("weight", weight.T)))
    return call.node("matmul")


@translates("BatchNormalization")
def batch_norm(call: Call) -> list[Node]:
    if call.get("training_mode", 0) or any(call.outputs[1:]):
        raise Unsupported("training_mode")
    if call.opset < 9 and call.get("spatial", 1) != 1:
        raise Unsupported("spatial=0")
    x, scale, bias, mean, variance = call.inputs
    return call.node("batch_norm", (x, mean, variance, scale, bias), eps=call.get("epsilon", 1e-5))


@translates("InstanceNormalization")
def instance_norm(call: Call) -> list[Node]:
    x, scale, bias = call.inputs
    inputs = (x, "", "", scale, bias)
    return call.node("instance_norm", inputs, eps=call.get("epsilon", 1e-5))


@translates("LayerNormalization")
def layer_norm(call: Call) -> list[Node]:
    several = "_with_moments" if any(call.outputs[1:]) else "_from"
    return call.node(
        f"layer_norm{several}", axis=call.get("axis", -1), eps=call.get("epsilon", 1e-5)
    )


@translates("GroupNormalization")
def group_norm(call: Call) -> list[Node]:
    if call.opset < 21:
        raise Unsupported("scales a group (opset 18 to 20)")
    groups = call.get("num_groups")
    return call.node("group_norm_of", num_groups=groups, eps=call.get("epsilon", 1e-5))


@translates("LRN")
def lrn(call: Call) -> list[Node]:
    size = call.get("size")
    if size % 2 == 0:
        raise Unsupported("an even size")
    return call.node(
        "local_response_norm",
        size=size,
        alpha=call.get("alpha", 1e-4),
        beta=call.get("beta", 0.75),
        k=call.get("bias", 1.0),
    )


_PLAIN = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "HardSwish": "hardswish",
    "Mish": "mish",
}


@translates(*_PLAIN)
def plain(call: Call) -> list[Node]:
    return call.node(_PLAIN[call.op])


@translates("LeakyRelu")
def leaky_relu(call: Call) -> list[Node]:
    return call.node("leaky_relu", negative_slope=call.get("alpha", 0.01))


@translates("Elu", "Celu")
def elu(call: Call) -> list[Node]:
    return call.node(call.op.lower(), alpha=call.get("alpha", 1.0))


@translates("Selu")
def selu(call: Call) -> list[Node]:
    alpha = call.get("alpha", 1.6732632423543772)
    gamma = call.get("gamma", 1.0507009873554805)
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


@translates("PRelu")
def prelu(call: Call) -> list[Node]:
    slope = call.constant(1)
    if slope is not None and slope.ndim > 1 and slope.size == slope.shape[0]:
        return call.node("prelu", (call.input(0), call.keep("slope", slope.reshape(-1))))
    return call.node("prelu_broadcast")


@translates("Clip")
def clip(call: Call) -> list[Node]:
    if call.opset >= 11:
        return call.node("clip")
    low, high = call.get("min", -np.inf), call.get("max", np.inf)
    return call.node("clip", low=low, high=high)


@translates("Softmax", "LogSoftmax")
def softmax(call: Call) -> list[Node]:
    function = "log_softmax" if call.op == "LogSoftmax" else "softmax"
    if call.opset >= 13:
        return call.node(function, dim=call.get("axis", -1))
    return call.node("softmax_from", function=function, axis=call.get("axis", 1))


@translates("Dropout")
def dropout(call: Call) -> list[Node]:
    if any(call.outputs[1:]):
        raise Unsupported("the output mask")
    if len(call.inputs) > 2 and call.input(2) and bool(call.require(2, "training_mode")):
        raise Unsupported("training_mode")
    return call.node("identity", call.inputs[:1])
