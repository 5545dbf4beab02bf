"""Scaled dot product attention, as its definition reads."""

from __future__ import annotations

import numpy as np

from fastconv.formats.torch.call import Call, Unsupported, translates

_ATTENTION = "scaled_dot_product_attention"


@translates(_ATTENTION, "_scaled_dot_product_flash_attention_for_cpu")
def attention(call: Call) -> None:
    """Weigh the rows of value by softmax(query key^T scale + mask)."""
    if call.get("dropout_p", 0.0):
        raise Unsupported("dropout")
    if call.op != _ATTENTION and call.reads(1):
        raise Unsupported("the logarithms of its sums")
    rank, of_query = call.rank("query"), call.fake("query")
    if rank < 2 or not of_query.dtype.is_floating_point:
        raise Unsupported("of vectors or integers")
    given = [call.value(name) for name in ("query", "key", "value")]
    given += [call.value("attn_mask")] if call.has("attn_mask") else []
    causal = bool(call.get("is_causal", False))
    scale = call.get("scale")
    options = {
        "scale": scale if scale is None else float(scale),
        "causal": 0 if causal else None,
        "shared": bool(call.get("enable_gqa", False)),
    }
    result = call.step("attention", tuple(given), **options)
    if call.op == _ATTENTION:
        call.same(result)
    else:
        call.builder.parts[call.node] = {0: result}


def without_empty_rows(call: Call, scores: str, weights: str, dtype: np.dtype, axis: int) -> str:
    """Return weights with zeros where all of a row is -inf, as torch has it."""
    highest = call.step("reduce_max", (scores,), axes=(axis,), keepdims=True)
    empty = call.step("equal", (highest, call.constant(np.array(-np.inf, dtype))))
    return call.step("where", (empty, call.constant(np.array(0, dtype)), weights))
