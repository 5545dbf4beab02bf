"""Fully connected layers, products of matrices, normalisation."""

from __future__ import annotations

from fastconv.formats.onnx.arithmetic import element_type
from fastconv.formats.onnx.call import Call, Unsupported, translates
from fastconv.network import Node


@translates("Gemm")
def gemm(call: Call) -> list[Node]:
    """Turn a constant weight round once, here, so that its plan can be kept."""
    inputs, turned = call.inputs, call.flag("transB")
    weight = call.constant(1)
    if weight is not None and not turned:
        inputs = (inputs[0], call.turned(1, weight), *inputs[2:])
        turned = True
    bias = call.constant(2)
    if bias is not None and bias.ndim == 2 and bias.shape[0] == 1:
        inputs = (*inputs[:2], call.keep("bias", bias[0]))
    return call.node(
        "gemm",
        inputs,
        alpha=call.get("alpha", 1.0),
        beta=call.get("beta", 1.0),
        transpose_a=call.flag("transA"),
        transpose_b=turned,
    )


@translates("MatMul")
def matmul(call: Call) -> list[Node]:
    weight = call.constant(1)
    if weight is not None and weight.ndim == 2 and weight.dtype.kind == "f":
        return call.node("linear", (call.input(0), call.turned(1, weight)))
    return call.node("matmul")


@translates("Einsum")
def einsum(call: Call) -> list[Node]:
    return call.node("einsum", equation=call.get("equation").replace(" ", ""))


@translates("Attention")
def attention(call: Call) -> list[Node]:
    kept = tuple(call.outputs) + ("",) * (4 - len(call.outputs))
    names = [name or f"{call.outputs[0]}:{i}" for i, name in enumerate(kept)]
    scores = bool(kept[3])
    heads = [call.get(name, 0) for name in ("q_num_heads", "kv_num_heads")]
    precision = call.get("softmax_precision", 0)
    options = {
        "scale": call.get("scale", None),
        "causal": call.flag("is_causal"),
        "heads": tuple(heads) if all(heads) else None,
        "softcap": call.get("softcap", 0.0),
        "precision": element_type(precision) if precision else None,
        "mode": call.get("qk_matmul_output_mode", 0),
        "window": tuple(call.get(f"{side}_window_size", -1) for side in ("left", "right")),
        "scores": scores,
    }
    given, results = tuple(call.inputs), tuple(names[: 3 + scores])
    return [Node("onnx_attention", given, results, options, call.name)]


@translates("BatchNormalization")
def batch_norm(call: Call) -> list[Node]:
    eps = call.get("epsilon", 1e-5)
    x, scale, bias, mean, variance = call.inputs
    if call.flag("training_mode"):
        if len(call.outputs) > 3:
            raise Unsupported("training_mode with saved statistics")
        return call.node("batch_norm_training", eps=eps, momentum=call.get("momentum", 0.9))
    if any(call.outputs[1:]):
        raise Unsupported("statistics of the batch")
    if call.opset < 9 and not call.flag("spatial", 1):
        return call.node("batch_norm_each", eps=eps)
    return call.node("batch_norm", (x, mean, variance, scale, bias), eps=eps)


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


@translates("RMSNormalization")
def rms_norm(call: Call) -> list[Node]:
    return call.node("rms_norm", axis=call.get("axis", -1), eps=call.get("epsilon", 1e-5))


@translates("GroupNormalization")
def group_norm(call: Call) -> list[Node]:
    """Up to opset 20 there is a scale a group: whose channels are then counted at run time."""
    groups = call.get("num_groups")
    name = "group_norm_of" if call.opset >= 21 else "group_norm_by_group"
    return call.node(name, num_groups=groups, eps=call.get("epsilon", 1e-5))


@translates("LpNormalization")
def lp_normalise(call: Call) -> list[Node]:
    return call.node("lp_normalise", axis=call.get("axis", -1), p=call.get("p", 2))


@translates("MeanVarianceNormalization")
def mean_variance_normalise(call: Call) -> list[Node]:
    return call.node("mean_variance_normalise", axes=tuple(call.get("axes", (0, 2, 3))))


@translates("LRN")
def lrn(call: Call) -> list[Node]:
    size = call.get("size")
    return call.node(
        "local_response_norm" if size % 2 else "even_response_norm",
        size=size,
        alpha=call.get("alpha", 1e-4),
        beta=call.get("beta", 0.75),
        k=call.get("bias", 1.0),
    )


@translates("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(call: Call) -> list[Node]:
    if call.op == "GlobalLpPool":
        return call.node("global_lp_pool", p=call.get("p", 2))
    return call.node("global_avg_pool" if call.op == "GlobalAveragePool" else "global_max_pool")
