"""Drawn convolutions that are legal in torch."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

FILTERS = ("winograd", "winograd3", "winograd4", "winograd5", "winograd6")


@st.composite
def conv_cases(draw: Any) -> dict[str, Any]:
    """Draw a convolution that is legal in torch."""
    n = draw(st.sampled_from((1, 2, 2, 2, 3)))
    groups = draw(st.sampled_from((1, 1, 1, 2, 3, 7)))
    per_group = draw(st.sampled_from((1, 1, 2, 3, 5, 17)))
    out = groups * draw(st.sampled_from((1, 1, 2, 3, 11, 33)))
    kernel = [draw(st.integers(1, (9, 5, 3)[n - 1])) for _ in range(n)]
    dilation = [draw(st.sampled_from((1, 1, 2, 3))) for _ in range(n)]
    padding = [draw(st.integers(0, 3)) for _ in range(n)]
    stride = [draw(st.sampled_from((1, 1, 2, 3, 5))) for _ in range(n)]
    least = [
        max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    size = [low + draw(st.integers(0, (40, 13, 5)[n - 1])) for low in least]
    return {
        "n": n,
        "input": (draw(st.integers(1, 3)), groups * per_group, *size),
        "weight": (out, per_group, *kernel),
        "bias": draw(st.booleans()),
        "options": {
            "stride": tuple(stride),
            "padding": tuple(padding),
            "dilation": tuple(dilation),
            "groups": groups,
        },
        "last": draw(st.booleans()),
        "dtype": draw(st.sampled_from(("float32", "float64"))),
        "seed": draw(st.integers(0, 2**16)),
    }
