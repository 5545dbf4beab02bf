"""onnxruntime's own operators: what its optimiser writes into models, by operators of ONNX.

Their meaning is documented in onnxruntime's ContribOperators.md.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastconv.formats.onnx.call import TRANSLATIONS, Call, Unsupported, translates_foreign
from fastconv.formats.onnx.chain import Chain
from fastconv.formats.onnx.windows import window
from fastconv.network import Node

_OWN = "com.microsoft"
_NHWC = "com.ms.internal.nhwc"
# Operators of which the first input and the first output are images, channels last there.
_OF_IMAGES = (
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace",
    "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization", "LRN", "MaxPool",
    "SpaceToDepth",
)  # fmt: skip


def _own(*names: str) -> list[str]:
    return [f"{_OWN}:{name}" for name in names]


def _only(call: Call, count: int) -> None:
    """Refuse outputs beyond the first ``count``, which only training reads."""
    if any(call.outputs[count:]):
        raise Unsupported(f"outputs beyond the first {count}")


@translates_foreign(*_own("FusedConv"))
def fused_conv(call: Call) -> list[Node]:
    """Convolve, add a residual, activate."""
    options = {**window(call), "groups": call.get("group", 1)}
    chain = Chain(call).then("conv", call.input(1), call.input(2), **options)
    if call.input(3):
        chain.then("add", call.input(3))
    return chain.activated(call.get("activation", ""), call.get("activation_params", ())).end()


@translates_foreign(*_own("NhwcFusedConv"))
def nhwc_fused_conv(call: Call) -> list[Node]:
    options = {**window(call), "groups": call.get("group", 1)}
    chain = Chain(call).then("channels_first")
    chain.then("conv", call.input(1), call.input(2), **options).then("channels_last")
    if call.input(3):
        chain.then("add", call.input(3))
    return chain.activated(call.get("activation", ""), call.get("activation_params", ())).end()


@translates_foreign(*_own("NhwcMaxPool"), *(f"{_NHWC}:{name}" for name in _OF_IMAGES))
def of_images(call: Call) -> list[Node]:
    """Translate an operator of ONNX on images with channels last."""
    _only(call, 1)
    op = {"NhwcMaxPool": "MaxPool"}.get(call.op, call.op)
    chain = Chain(call).then("channels_first")
    inner = _standard(call, op, (chain.value, *call.inputs[1:]), f"{call.outputs[0]}:{op}")
    return chain.all_of(inner).then("channels_last").end()


def _standard(call: Call, op: str, inputs: tuple[str, ...], output: str) -> list[Node]:
    """Translate an operator of ONNX on other inputs."""
    given = dataclasses.replace(call, op=op, inputs=inputs, outputs=(output,))
    return TRANSLATIONS[op](given)


@translates_foreign(*_own("FusedGemm"))
def fused_gemm(call: Call) -> list[Node]:
    parameters = [
        call.get(f"activation_{name}")
        for name in ("alpha", "beta", "gamma")
        if f"activation_{name}" in call.attributes
    ]
    inner = _standard(call, "Gemm", call.inputs, f"{call.outputs[0]}:gemm")
    return Chain(call).all_of(inner).activated(call.get("activation", ""), parameters).end()


@translates_foreign(*_own("FusedMatMul", "FusedMatMulActivation", "TransposeMatMul"))
def fused_matmul(call: Call) -> list[Node]:
    """Alpha times the product of matrices that are transposed first."""
    sides = [
        {"matrix": call.flag(f"trans{side}"), "batch": call.flag(f"transBatch{side}")}
        for side in "AB"
    ]
    weight = call.constant(1)
    chain = Chain(call).then("turned", **sides[0]) if any(sides[0].values()) else Chain(call)
    if weight is not None and weight.ndim == 2 and weight.dtype.kind == "f":
        rows = call.input(1) if sides[1]["matrix"] else call.keep("weight", weight.T)
        chain.then("linear", rows)
    elif any(sides[1].values()):
        right = f"{call.outputs[0]}:right"
        turned = Node("turned", (call.input(1),), (right,), sides[1], call.name)
        chain.beside(turned).then("matmul", right)
    else:
        chain.then("matmul", call.input(1))
    alpha = call.get("alpha", 1.0)
    if alpha != 1:
        chain.then("scaled", factor=alpha)
    if call.op != "FusedMatMulActivation":
        return chain.end()
    parameters = [
        call.get(f"activation_{name}")
        for name in ("alpha", "beta", "gamma")
        if f"activation_{name}" in call.attributes
    ]
    return chain.activated(call.get("activation", ""), parameters).end()


@translates_foreign(*_own("Gelu"))
def gelu(call: Call) -> list[Node]:
    return call.node("gelu", call.inputs[:1])


@translates_foreign(*_own("BiasGelu"))
def bias_gelu(call: Call) -> list[Node]:
    return Chain(call).then("add", call.input(1)).then("gelu").end()


@translates_foreign(*_own("FastGelu"))
def fast_gelu(call: Call) -> list[Node]:
    chain = Chain(call)
    if call.input(1):
        chain.then("add", call.input(1))
    return chain.then("gelu", approximate="tanh").end()


@translates_foreign(*_own("QuickGelu"))
def quick_gelu(call: Call) -> list[Node]:
    return call.node("swish", alpha=call.get("alpha", 1.702))


@translates_foreign(*_own("BiasAdd"))
def bias_add(call: Call) -> list[Node]:
    return Chain(call).then("add", call.input(1)).then("add", call.input(2)).end()


@translates_foreign(*_own("BiasSoftmax"))
def bias_softmax(call: Call) -> list[Node]:
    chain = Chain(call).then("add", call.input(1))
    return chain.then("softmax_from", function="softmax", axis=call.get("axis", 1)).end()


@translates_foreign(*_own("LayerNormalization"))
def layer_norm(call: Call) -> list[Node]:
    """Translate what onnxruntime had before ONNX had it."""
    return TRANSLATIONS["LayerNormalization"](call)


@translates_foreign(*_own("SimplifiedLayerNormalization"))
def simplified_layer_norm(call: Call) -> list[Node]:
    _only(call, 1)
    return call.node("rms_norm", axis=call.get("axis", -1), eps=call.get("epsilon", 1e-5))


@translates_foreign(*_own("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"))
def skip_layer_norm(call: Call) -> list[Node]:
    """Normalise the sum of an input, a skip and a bias; the fourth output is that sum."""
    if any(call.outputs[1:3]):
        raise Unsupported("its mean and deviation as outputs")
    simplified = call.op == "SkipSimplifiedLayerNormalization"
    bias = call.input(3 if simplified else 4)
    total = Chain(call).then("add", call.input(1))
    if bias:
        total.then("add", bias)
    options = {"axis": -1, "eps": call.get("epsilon", 1e-12)}
    summed = total.value
    if simplified:
        total.then("rms_norm", call.input(2), **options)
    else:
        total.then("layer_norm_from", call.input(2), call.input(3), **options)
    nodes = total.end()
    if len(call.outputs) > 3 and call.outputs[3]:
        nodes.append(Node("identity", (summed,), (call.outputs[3],), {}, call.name))
    return nodes


@translates_foreign(*_own("EmbedLayerNormalization"))
def embed_layer_norm(call: Call) -> list[Node]:
    if call.get("mask_index_type", 0) not in (0, 1) or (
        call.get("mask_index_type", 0) == 1 and not call.input(7)
    ):
        raise Unsupported("this kind of mask")
    inputs = tuple(call.input(i) for i in range(9))
    return call.node("embed_layer_norm", inputs, eps=call.get("epsilon", 1e-12))


@translates_foreign(*_own("GroupNorm"))
def group_norm(call: Call) -> list[Node]:
    """Normalise groups of channels, which are last; activation 1 is SiLU."""
    last = call.flag("channels_last", 1)
    chain = Chain(call).then("channels_first") if last else Chain(call)
    options = {"num_groups": call.get("groups"), "eps": call.get("epsilon", 1e-5)}
    chain.then("group_norm_of", call.input(1), call.input(2), **options)
    if call.get("activation", 0):
        chain.then("silu")
    return (chain.then("channels_last") if last else chain).end()


@translates_foreign(*_own("Inverse"))
def inverse(call: Call) -> list[Node]:
    return call.node("inverse")


@translates_foreign(*_own("ExpandDims"))
def expand_dims(call: Call) -> list[Node]:
    return call.node("unsqueeze")


@translates_foreign(*_own("GridSample", "Pad", "Range", "Trilu"))
def of_onnx(call: Call) -> list[Node]:
    """Translate what ONNX took over as it was."""
    if call.op not in TRANSLATIONS:
        raise Unsupported("no translation")
    return TRANSLATIONS[call.op](dataclasses.replace(call, opset=max(call.opset, 16)))


# Operators of ONNX's first versions that it has no more.


@translates_foreign(*_own("Affine"))
def affine(call: Call) -> list[Node]:
    offset = call.keep("beta", np.asarray(call.get("beta", 0.0), np.float32))
    return Chain(call).then("scaled", factor=call.get("alpha", 1.0)).then("add", offset).end()


@translates_foreign(*_own("ScaledTanh"))
def scaled_tanh(call: Call) -> list[Node]:
    chain = Chain(call).then("scaled", factor=call.get("beta", 1.0)).then("tanh")
    return chain.then("scaled", factor=call.get("alpha", 1.0)).end()


@translates_foreign(*_own("ParametricSoftplus"))
def parametric_softplus(call: Call) -> list[Node]:
    chain = Chain(call).then("scaled", factor=call.get("beta", 1.0)).then("softplus")
    return chain.then("scaled", factor=call.get("alpha", 1.0)).end()


@translates_foreign(*_own("ImageScaler"))
def image_scaler(call: Call) -> list[Node]:
    """Multiply by a scale, and add a bias for each channel."""
    bias: Any = np.asarray(call.get("bias", (0.0,)), np.float32).reshape(-1, 1, 1)
    chain = Chain(call).then("scaled", factor=call.get("scale", 1.0))
    return chain.then("add", call.keep("bias", bias)).end()


def is_quantised(op: str) -> bool:
    """Return whether one of onnxruntime's operators works on quantised numbers."""
    words = ("QLinear", "Quantize", "Quantized", "Integer", "QGemm", "QAttention", "QOrdered",
             "QMoE", "QEmbed", "MatMulNBits", "MatMulBnb4", "GatherBlockQuantized")  # fmt: skip
    return any(word in op for word in words)


def advice(domain: str, op: str) -> str:
    """Return what to do about an operator of another domain that cannot be run."""
    if not domain.startswith(("com.microsoft", "com.ms.")):
        return (
            f"; {op} is not ONNX's but of the domain {domain!r}: write it by operators of ONNX, or "
            f"define it in the model as a function (onnx.FunctionProto)"
        )
    if is_quantised(op):
        return (
            f"; {op} is an operator of onnxruntime's quantiser: quantise the model with "
            f"quant_format=QuantFormat.QDQ instead, or take the model before it was quantised"
        )
    return (
        f"; {op} is an operator of onnxruntime's optimiser: take the model before it was "
        f"optimised, or write it with graph_optimization_level=ORT_ENABLE_BASIC"
    )
