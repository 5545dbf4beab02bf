"""Depthwise convolutions on every library, in both layouts: edges of tiles, the same sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from fastconv.dispatch.registry import backend_available
from tests.exact import assert_drawn_exact, assert_exact, assert_stays_in_windows
from tests.libraries import ISAS
from tests.planes import assert_same_bits

BACKENDS = [name for name in ("numba", "c") if backend_available(name)]
needs_c = pytest.mark.skipif(not backend_available("c"), reason="the extension was not built")


@st.composite
def depthwise_cases(draw: Any, algorithm: str) -> dict[str, Any]:
    """Draw a convolution with one input channel a group, around the edges of tiles."""
    planar = algorithm == "depthwise_planar"
    n = draw(st.sampled_from((1, 2, 2) if planar else (1, 2, 2, 2, 3)))
    groups = draw(st.sampled_from((1, 2, 3) if planar else (2, 5, 16, 17, 31, 33, 40)))
    multiplier = draw(st.sampled_from((1, 1, 3))) if planar else 1
    kernel = [draw(st.sampled_from((1, 2, 3, 3, 4, 5, 7, 9))) for _ in range(n)]
    dilation = [draw(st.sampled_from((1, 1, 1, 2, 3))) for _ in range(n)]
    padding = [draw(st.integers(0, k + 1)) for k in kernel]
    stride = [draw(st.sampled_from((1, 1, 2, 3, 9))) for _ in range(n)]
    largest = (200, 40, 9)[n - 1]
    least = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    size = [low + draw(st.integers(1, largest)) for low in least]
    modes = ["zeros", "zeros", "replicate"]
    if all(p < s for p, s in zip(padding, size, strict=True)):
        modes += ["reflect", "circular"]
    activation = st.sampled_from((None, "relu", "relu6", ("leaky_relu", 0.5), "hardtanh"))
    return {
        "n": n,
        "input": (draw(st.integers(1, 2)), groups, *size),
        "weight": (groups * multiplier, 1, *kernel),
        "options": {
            "stride": tuple(stride),
            "padding": tuple(padding),
            "dilation": tuple(dilation),
            "padding_mode": draw(st.sampled_from(modes)),
            "groups": groups,
            "activation": draw(activation),
        },
        "bias": draw(st.booleans()),
        "residual": draw(st.booleans()),
        "dtype": draw(st.sampled_from(("float32", "float64"))),
        "last": not planar and draw(st.sampled_from((True, True, False))),
    }


ALGORITHMS = ("depthwise", "depthwise_planar")


@needs_c
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_drawn_problems_are_exact_at_every_instruction_set(
    algorithm: str, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_drawn_exact(isa, depthwise_cases(algorithm), algorithm, monkeypatch)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_drawn_problems_are_exact(algorithm: str, backend: str, data: Any) -> None:
    assert_exact(data.draw(depthwise_cases(algorithm)), algorithm, backend)


@needs_c
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_tile_of_rows_covers_whole_and_ragged_edges(
    isa: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    case: dict[str, Any] = {"n": 2, "bias": True, "dtype": dtype}
    for kernel in (3, 4, 5, 7):
        case["weight"] = (2, 1, kernel, kernel)
        for stride in (1, 2):
            for height in (1, 2, 3, 4, 5, 6, 7, 8, 13):
                for width in (1, 4, 16, 33, 65):
                    size = (stride * height, stride * width)
                    case["input"] = (1, 2, *size)
                    case["residual"] = width == 33
                    case["options"] = {"padding": kernel // 2, "stride": stride, "groups": 2}
                    assert_exact(case, "depthwise_planar", "c")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_not_finite_stays_in_its_windows(algorithm: str, backend: str) -> None:
    assert_stays_in_windows(algorithm, backend, (3, 1, 3, 3), groups=3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_bits_depend_neither_on_batch_nor_on_threads(
    algorithm: str, stride: int, backend: str
) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((5, 33, 40, 37)).astype("f4")
    w = rng.standard_normal((33, 1, 5, 5)).astype("f4")
    how: dict[str, Any] = {"backend": backend, "algorithm": algorithm, "stride": stride}
    assert_same_bits(lambda v: F.conv2d(v, w, padding=2, groups=33, **how), x)
