"""Kernels of float16 and bfloat16 cells in Numba's simulator: rounded once, from float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv.functional as F

ml_dtypes = pytest.importorskip("ml_dtypes")
RNG = np.random.default_rng(16)


def images(dtype: Any, *shape: int) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_functions_of_halves(dtype: str) -> None:
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x, last = images(kind, 2, 3, 4, 5), images(kind, 1, 4, 3, 8)
    rows, weight = images(kind, 3, 20), images(kind, 6, 20)
    taps, lines = images(kind, 4, 2, 2), images(kind, 8, 1, 3, 3)
    for call in (
        lambda backend: F.gelu(x, backend=backend),
        lambda backend: F.max_pool2d(x, 2, backend=backend),
        lambda backend: F.avg_pool2d(last, 2, layout="NHWC", backend=backend),
        lambda backend: F.max_pool2d(x, 2, return_indices=True, backend=backend)[0],
        lambda backend: F.batch_norm(x, x[0, :, 0, 0], abs(x[0, :, 1, 1]), backend=backend),
        lambda backend: F.prelu(last, last[0, 0, 0], layout="NHWC", backend=backend),
        lambda backend: F.layer_norm(x, 5, x[0, 0, 0], backend=backend),
        lambda backend: F.group_norm(last, 2, layout="NHWC", backend=backend),
        lambda backend: F.softmax(x, 1, backend=backend),
        lambda backend: F.local_response_norm(x, 2, backend=backend),
        lambda backend: F.interpolate(x, (6, 3), mode="bilinear", backend=backend),
        lambda backend: F.fold(x[:, :, 0, :4].repeat(4, 1), (3, 3), 2, backend=backend),
        lambda backend: F.linear(rows, weight, activation="relu", backend=backend),
        lambda backend: F.conv2d(
            last, lines, lines[:, 0, 0, 0], padding=1, groups=8, layout="NHWC", backend=backend
        ),
        lambda backend: F.conv_transpose1d(x[0, :1].reshape(1, 4, 5), taps, backend=backend),
    ):
        result, expected = call("cuda"), call("reference")
        assert result.dtype == expected.dtype == kind
        # A half unit in the last place, where a float32 sum may fall on the other side.
        eps = float(ml_dtypes.finfo(kind).eps)
        np.testing.assert_allclose(
            result.astype("f8"), expected.astype("f8"), rtol=1.01 * eps, atol=1e-5
        )
