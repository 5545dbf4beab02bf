"""Fully connected layers, normalisation, activations, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fastconv.formats.torch.attention import without_empty_rows
from fastconv.formats.torch.call import Call, Unsupported, numpy_dtype, refuse_integers, translates
from fastconv.nn.foreign import to_array
from fastconv.problem.activation import BY_TORCH


@translates("linear")
def linear(call: Call) -> None:
    refuse_integers(call)
    call.answer("linear", (call.value("input"), call.value("weight"), call.value("bias")))


def _turned(call: Call, name: str) -> str:
    """Return the transpose of a matrix; of a weight, it is computed beforehand."""
    source = call.arguments[name]
    known = call.builder.known
    if source in known:
        return call.constant(to_array(known[source].T, name))
    if _is_transpose(source) and call.builder.has(source.args[0]):
        return call.builder.name_of(source.args[0])
    return call.step("transpose", (call.value(name),), axes=(1, 0))


def _is_transpose(source: Any) -> bool:
    """Return whether a matrix is another one, transposed."""
    if source.target is torch.ops.aten.permute.default:
        return list(source.args[1]) == [1, 0]
    return source.target is torch.ops.aten.t.default


@translates("addmm")
def addmm(call: Call) -> None:
    refuse_integers(call)
    product = (call.value("mat1"), _turned(call, "mat2"))
    if call.get("alpha") != 1 or call.get("beta") != 1:
        _add_scaled(call, call.step("linear", product))
    elif tuple(call.fake("self").shape) == tuple(call.fake("mat2").shape[1:]):
        call.answer("linear", (*product, call.value("self")))
    else:
        call.answer("add", (call.step("linear", product), call.value("self")))


def _add_scaled(call: Call, product: str) -> None:
    """Answer with alpha times a product and beta times what it is added to."""
    dtype = numpy_dtype(call.result.dtype)
    terms = []
    for value, name in ((product, "alpha"), (call.value("self"), "beta")):
        factor = call.get(name)
        if factor == 0 and name == "beta":
            continue  # torch reads nothing of it then, NaN neither
        scaled = (value, call.constant(np.array(factor, dtype)))
        terms.append(value if factor == 1 else call.step("mul", scaled))
    if len(terms) == 2:
        call.answer("add", terms)
    else:
        call.same(terms[0])


@translates("mm", "matmul")
def matmul(call: Call) -> None:
    refuse_integers(call)
    other = "mat2" if call.op == "mm" else "other"
    if call.rank(other) == 2:
        call.answer("linear", (call.value("self"), _turned(call, other)))
    elif call.rank("self") == 1 or call.rank(other) == 1:
        _times_vector(call, other)
    else:
        call.answer("matmul", (call.value("self"), call.value(other)))


def _times_vector(call: Call, other: str) -> None:
    """Answer with a product in which a vector stands for a row or a column."""
    left, right = call.value("self"), call.value(other)
    gone = []
    if call.rank("self") == 1:
        left = call.step("unsqueeze", (left,), axes=(0,))
        gone.append(-2)
    if call.rank(other) == 1:
        right = call.step("unsqueeze", (right,), axes=(1,))
        gone.append(-1)
    product = call.step("matmul", (left, right))
    rank = len(call.result.shape) + len(gone)
    call.answer("squeeze", (product,), axes=tuple(place % rank for place in gone))


@translates("mv", "dot", "vdot")
def times_vector(call: Call) -> None:
    refuse_integers(call)
    _times_vector(call, {"mv": "vec", "dot": "tensor", "vdot": "other"}[call.op])


@translates("bmm")
def bmm(call: Call) -> None:
    call.answer("matmul", (call.value("self"), call.value("mat2")))


@translates("baddbmm")
def baddbmm(call: Call) -> None:
    product = call.step("matmul", (call.value("batch1"), call.value("batch2")))
    _add_scaled(call, product)


@translates("bilinear")
def bilinear(call: Call) -> None:
    """Multiply two vectors with a matrix for each output."""
    refuse_integers(call)
    weight = call.builder.known.get(call.arguments["weight"])
    if weight is None:
        raise Unsupported("a weight that is computed from inputs")
    count, _, width = weight.shape
    turned = call.constant(to_array(weight.permute(0, 2, 1).reshape(count * width, -1), "weight"))
    product = call.step("linear", (call.value("input1"), turned, ""))
    lead = [call.size(axis, "input1") for axis in range(call.rank("input1") - 1)]
    product = call.step("reshape", (product, call.sizes([*lead, count, width])), allow_zero=True)
    rank = call.rank("input2")
    other = call.step("unsqueeze", (call.value("input2"),), axes=(rank - 1,))
    scores = call.step("mul", (product, other))
    total = call.step("reduce_sum", (scores,), axes=(rank,), keepdims=False)
    if call.has("bias"):
        total = call.step("add", (total, call.value("bias")))
    call.same(total)


@translates("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm")
def batch_norm(call: Call) -> None:
    if call.arguments.get("training"):
        raise Unsupported("statistics of the batch; call .eval() on the module")
    if not call.has("running_mean"):
        raise Unsupported("no running statistics")
    names = ("input", "running_mean", "running_var", "weight", "bias")
    inputs = tuple(call.value(name) for name in names)
    if call.op == "batch_norm":
        call.answer("batch_norm", inputs, eps=call.get("eps"))
    else:
        call.several("batch_norm", inputs, 1, eps=call.get("eps"))


@translates("instance_norm")
def instance_norm(call: Call) -> None:
    names = ("input", "running_mean", "running_var", "weight", "bias")
    inputs = tuple(call.value(name) for name in names)
    stats = bool(call.get("use_input_stats"))
    call.answer("instance_norm", inputs, use_input_stats=stats, eps=call.get("eps"))


@translates("group_norm", "native_group_norm")
def group_norm(call: Call) -> None:
    inputs = tuple(call.value(name) for name in ("input", "weight", "bias"))
    if call.op == "group_norm":
        groups = call.get("num_groups")
        call.answer("group_norm_of", inputs, num_groups=groups, eps=call.get("eps"))
    else:
        call.several("group_norm_of", inputs, 1, num_groups=call.get("group"), eps=call.get("eps"))


@translates("layer_norm", "native_layer_norm")
def layer_norm(call: Call) -> None:
    inputs = tuple(call.value(name) for name in ("input", "weight", "bias"))
    axis = -len(call.arguments["normalized_shape"])
    if call.op == "layer_norm":
        call.answer("layer_norm_from", inputs, axis=axis, eps=call.get("eps"))
    else:
        call.several("layer_norm_from", inputs, 1, axis=axis, eps=call.get("eps"))


@translates(*BY_TORCH)
def plain(call: Call) -> None:
    if not call.fake().dtype.is_floating_point and call.op != "relu":
        raise Unsupported("of integers")
    call.answer(BY_TORCH[call.op])


@translates("leaky_relu")
def leaky_relu(call: Call) -> None:
    call.answer("leaky_relu", negative_slope=float(call.get("negative_slope")))


@translates("rrelu")
def rrelu(call: Call) -> None:
    if call.get("training"):
        raise Unsupported("training; call .eval() on the module")
    call.answer("leaky_relu", negative_slope=(call.get("lower") + call.get("upper")) / 2)


@translates("elu")
def elu(call: Call) -> None:
    """Translate the one operator behind elu, celu (1 / alpha inside) and selu (scaled outside)."""
    alpha, scale, inner = (float(call.get(name)) for name in ("alpha", "scale", "input_scale"))
    if inner == 1:
        outer: dict[str, Any] = {} if scale == 1 else {"gamma": scale}
        call.answer("scaled_elu" if outer else "elu", alpha=alpha, **outer)
    elif scale == 1 and inner == 1 / alpha:
        call.answer("celu", alpha=alpha)
    else:
        raise Unsupported(f"input_scale {inner}")


@translates("celu")
def celu(call: Call) -> None:
    call.answer("celu", alpha=float(call.get("alpha")))


@translates("gelu")
def gelu(call: Call) -> None:
    call.answer("gelu", approximate=call.get("approximate"))


@translates("hardtanh")
def hardtanh(call: Call) -> None:
    low, high = float(call.get("min_val")), float(call.get("max_val"))
    call.answer("hardtanh", min_val=low, max_val=high)


@translates("softplus")
def softplus(call: Call) -> None:
    beta, threshold = float(call.get("beta")), float(call.get("threshold"))
    call.answer("softplus", beta=beta, threshold=threshold)


@translates("prelu", "_prelu_kernel")
def prelu(call: Call) -> None:
    weight = call.arguments["weight"]
    known = call.builder.known.get(weight)
    if call.op == "prelu":
        call.answer("prelu", (call.value("self"), call.value("weight")))
    elif known is not None:
        slope = call.constant(to_array(known.reshape(-1), "weight"))
        call.answer("prelu", (call.value("self"), slope))
    else:
        call.answer("prelu_broadcast", (call.value("self"), call.value("weight")))


@translates("softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax")
def softmax(call: Call) -> None:
    op = "log_softmax" if "log" in call.op else "softmax"
    value = call.value("self")
    wanted = call.result.dtype
    if wanted != call.fake().dtype:
        value = call.step("cast", (value,), dtype=numpy_dtype(wanted))
    if call.op == "_safe_softmax":
        weights = call.step(op, (value,), dim=call.axis())
        call.same(without_empty_rows(call, value, weights, numpy_dtype(wanted), call.axis()))
        return
    call.answer(op, (value,), dim=call.axis())


_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")


@translates(*_DROPOUTS, "native_dropout")
def dropout(call: Call) -> None:
    if call.get("train", False):
        raise Unsupported("training; call .eval() on the module")
    call.same(call.value("input"))
