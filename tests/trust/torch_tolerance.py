"""How far a result may be from PyTorch's in float64: by dtype and the length of the sum."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch

from tests.trust.torch_samples import Operator, Sample, array, sizes, widened

Array = np.ndarray[Any, Any]

# Nothing is rounded: the same bits.
EXACT = (
    "relu", "relu6", "hardtanh", "pad", "unfold", "pixel_shuffle", "pixel_unshuffle", "dropout",
    "max_pool", "adaptive_max_pool", "max_unpool",
)  # fmt: skip
SUMS = ("conv", "linear", "avg_pool", "adaptive_avg_pool", "interpolate")
NORMS = ("batch_norm", "instance_norm", "group_norm", "layer_norm")
# Roundings besides those of a sum: of a factor, a bias, a division.
FEW = 8


def family(operator: Operator) -> str:
    """Name the rule that an operator's results are held to."""
    name = operator.name
    if name.startswith(EXACT) or "nearest" in operator.label:
        return "exact"
    rules = ("sum", SUMS), ("norm", NORMS), ("attention", ("scaled_dot_product_attention",))
    for rule, names in rules:
        if name.startswith(names):
            return rule
    return "pointwise"


def allowed(operator: Operator, sample: Sample, want: Array, dtype: np.dtype[Any]) -> Any:
    """Return the largest error of each element of a result of ``dtype``."""
    rule = family(operator)
    if rule == "exact" or dtype.kind in "iub":
        return np.zeros(want.shape)
    import ml_dtypes

    # Halves are summed in float32 and rounded once.
    single = ml_dtypes.finfo(dtype)
    wide = np.finfo(np.float32) if dtype.itemsize == 2 else np.finfo(dtype)
    unit, store = float(wide.eps) / 2, float(single.eps) / 2
    size = np.where(np.isfinite(want), np.abs(want), 0)
    stored = (size * store + float(single.smallest_subnormal)) if dtype.itemsize == 2 else 0
    # A product of complex numbers is four.
    count = 4 if dtype.kind == "c" else 1
    if rule == "sum":
        roundings, scale = length(operator, sample) + FEW, magnitude(operator, sample)
    elif rule == "attention":
        roundings, scale = attended(sample)
    elif rule == "norm":
        roundings, scale = normed(operator, sample, want)
    else:
        roundings, scale = 2 * FEW, near(operator, sample, size)
    return count * roundings * unit * scale + stored + float(wide.tiny)


def magnitude(operator: Operator, sample: Sample) -> Array:
    """Sum the sizes of the terms of each element."""
    call = sample.cast(widened).cast(sizes)
    result = array(operator.theirs(*call.args, **call.kwargs))
    # A bicubic filter has weights below zero: their sizes add up to 1.75 at most.
    return np.abs(result) if "cubic" not in operator.label else cubic(call, result)


def cubic(call: Sample, result: Array) -> Array:
    """Bound the sum of sizes under a filter with weights below zero, in two dimensions."""
    return np.full(result.shape, 1.75**2 * float(call.args[0].max()))


def length(operator: Operator, sample: Sample) -> int:
    """Count the terms of one element's sum."""
    name, x = operator.name, sample.args[0]
    if name.startswith(("conv", "linear")):
        weight = sample.args[1]
        axis = 1 if "transpose" in name else 0
        return (
            int(weight.numel() // max(weight.shape[axis], 1)) if weight.dim() > 1 else len(weight)
        )
    if name.startswith("avg_pool"):
        n = int(name[-2])
        kernel = sample.kwargs.get("kernel_size", sample.args[1] if len(sample.args) > 1 else 1)
        return (
            prod(kernel) if len(np.shape(kernel)) and len(kernel) == n else int(np.max(kernel)) ** n
        )
    return prod(x.shape[2:]) + 16


def attended(sample: Sample) -> tuple[float, float]:
    """Return the roundings of attention, and what they are relative to.

    A score's error is an error of its weight relative to that, in numerator and denominator; the
    weights add up to 1.
    """
    query, key, value = (widened(a) for a in sample.args[:3])
    factor = sample.kwargs.get("scale") or query.shape[-1] ** -0.5
    scores = (query.abs() @ key.abs().transpose(-1, -2) * factor).amax() if query.numel() else 0.0
    mask = sample.kwargs.get("attn_mask")
    added = 0.0
    if isinstance(mask, torch.Tensor) and mask.dtype != torch.bool:
        added = float(mask[mask.isfinite()].abs().max()) if mask.numel() else 0.0
    largest = float(scores) + added
    roundings = 2 * (query.shape[-1] + FEW) * largest + key.shape[-2] + 2 * FEW
    return roundings, float(value.abs().max()) if value.numel() else 0.0


def normed(operator: Operator, sample: Sample, want: Array) -> tuple[float, float]:
    """Return the roundings of a normalisation, and what they are relative to."""
    x = array(widened(sample.args[0]))
    kwargs = sample.kwargs
    eps = kwargs.get("eps", 1e-5)
    tensors = [t for t in (*sample.args[1:], *kwargs.values()) if isinstance(t, torch.Tensor)]
    most = max((float(t.abs().max()) for t in tensors if t.numel()), default=1.0)
    if operator.name == "batch_norm" or kwargs.get("use_input_stats") is False:
        given = kwargs.get("running_var", sample.args[2] if len(sample.args) > 2 else None)
        least, rows = float(given.min()), 1
        centre = 2 * most
    else:
        rows = row_length(operator, sample)
        least = float(x.reshape(-1, rows).var(1).min()) if x.size else 1.0
        centre = 2 * float(np.abs(x).max()) if x.size else 1.0
    size = (float(np.abs(x).max(initial=0)) + centre) * max(most, 1.0) / np.sqrt(least + eps)
    return FEW + np.sqrt(rows), size + max(most, float(np.abs(want).max(initial=0)))


def row_length(operator: Operator, sample: Sample) -> int:
    """Count the elements that share a mean."""
    x = sample.args[0]
    if operator.name == "layer_norm":
        return max(prod(sample.args[1]), 1)
    groups = sample.args[1] if operator.name == "group_norm" else x.shape[1]
    return max(prod(x.shape[1:]) // max(groups, 1), 1)


def near(operator: Operator, sample: Sample, size: Array) -> Array:
    """Return what the roundings of a function of one element are relative to.

    They show as roundings of the result and of the input; beyond 8 all functions are as good as
    flat or straight.
    """
    x = np.abs(array(widened(sample.args[0])).astype(float, copy=False))
    x = np.where(np.isfinite(x), x, 0)
    if "softmax" in operator.name:
        most = 1 + x.max(initial=0)
        return size * most + (most if operator.name.startswith("log") else 0)
    if operator.name == "local_response_norm":
        return size * 2
    return size + np.minimum(x, 8)
