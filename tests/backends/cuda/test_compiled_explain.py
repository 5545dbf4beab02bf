"""What would run on a GPU that is not installed: named, and held against a GPU's limits."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv

X, WEIGHT = np.ones((1, 256, 112, 112), "f4"), np.ones((256, 256, 3, 3), "f4")


@pytest.mark.parametrize(
    ("dtype", "precision", "algorithms"),
    [
        ("f4", None, ("cuda.winograd", "cuda.winograd4", "cuda.direct")),
        ("f4", "tf32", ("cuda.direct_hopper", "cuda.direct_tensor")),
        ("f2", None, ("cuda.direct_hopper", "cuda.direct_tensor")),
    ],
)
def test_a_card_that_is_not_there_is_explained(
    dtype: str, precision: str | None, algorithms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_CUDA_ARCH", "sm_90a")
    x, weight = X.astype(dtype), WEIGHT.astype(dtype)
    report = fastconv.explain(
        "conv2d", x, weight, padding=1, backend="cuda", precision=precision
    ).reports[0]  # fmt: skip
    assert report.algorithm in algorithms
    able = [c for c in report.contenders if c.why_not is None]
    assert len(able) >= 2
    # Minimal filters do less than the definition; nothing does it at many times the limit.
    assert all(0.02 < c.roof < 3.0 for c in able if c.roof is not None)
