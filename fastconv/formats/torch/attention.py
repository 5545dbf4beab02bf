"""Scaled dot product attention, as its definition reads."""

from __future__ import annotations

from math import sqrt

import numpy as np
import torch

from fastconv.formats.torch.call import Call, Unsupported, length, numpy_dtype, translates

_ATTENTION = "scaled_dot_product_attention"


@translates(_ATTENTION, "_scaled_dot_product_flash_attention_for_cpu")
def attention(call: Call) -> None:
    """Weigh the rows of value by softmax(query key^T scale + mask)."""
    if call.get("dropout_p", 0.0) or call.get("enable_gqa", False):
        raise Unsupported("dropout, or keys and values that queries share")
    if call.op != _ATTENTION and call.reads(1):
        raise Unsupported("the logarithms of its sums")
    query, key, value = (call.value(name) for name in ("query", "key", "value"))
    rank, of_query = call.rank("query"), call.fake("query")
    if rank < 2 or not of_query.dtype.is_floating_point:
        raise Unsupported("of vectors or integers")
    dtype = numpy_dtype(of_query.dtype)
    turned = call.step("transpose", (key,), axes=(*range(rank - 2), rank - 1, rank - 2))
    scaled = call.step("mul", (query, _scale(call, dtype)))
    scores = call.step("matmul", (scaled, turned))
    masked = _masked(call, scores, dtype)
    weights = call.step("softmax", (masked,), dim=rank - 1)
    if masked != scores:
        weights = without_empty_rows(call, masked, weights, dtype, rank - 1)
    result = call.step("matmul", (weights, value))
    if call.op == _ATTENTION:
        call.same(result)
    else:
        call.builder.parts[call.node] = {0: result}


def _scale(call: Call, dtype: np.dtype) -> str:
    """Give what scores are multiplied by: one over the root of a query's length by default."""
    given, width = call.get("scale"), length(call.fake("query").shape[-1])
    if given is not None or width is not None:
        return call.constant(np.array(1 / sqrt(width or 1) if given is None else given, dtype))
    known = call.step("cast", (call.sizes([call.size(-1, "query")]),), dtype=dtype)
    return call.step("reciprocal", (call.step("sqrt", (known,)),))


def _masked(call: Call, scores: str, dtype: np.dtype) -> str:
    """Give the scores with what is masked at -inf, or with the mask added."""
    least = call.constant(np.array(-np.inf, dtype))
    if call.has("attn_mask"):
        mask = call.value("attn_mask")
        if call.fake("attn_mask").dtype == torch.bool:
            return call.step("where", (mask, scores, least))
        return call.step("add", (scores, mask))
    if not call.get("is_causal", False):
        return scores
    sizes = call.sizes([call.size(-2, "query"), call.size(-2, "key")])
    every = call.step("filled", (sizes,), value=np.bool_(True))
    return call.step("where", (call.step("trilu", (every,), upper=False), scores, least))


def without_empty_rows(call: Call, scores: str, weights: str, dtype: np.dtype, axis: int) -> str:
    """Give weights with zeros where all of a row is -inf, as torch has it."""
    highest = call.step("reduce_max", (scores,), axes=(axis,), keepdims=True)
    empty = call.step("equal", (highest, call.constant(np.array(-np.inf, dtype))))
    return call.step("where", (empty, call.constant(np.array(0, dtype)), weights))
