"""Kernels of unfold and fold: the same bits for any batch and any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F

OPTIONS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (2, 5), "padding": (0, 4), "stride": (3, 2)},
    {"kernel_size": (11, 13)},
    {"kernel_size": 2, "dilation": 5, "padding": 3, "stride": 7},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bits_do_not_depend_on_batch_or_threads(options: dict[str, Any], layout: str) -> None:
    x = np.random.default_rng(7).standard_normal((2, 5, 11, 13)).astype(np.float32)
    x = x if layout == "NCHW" else np.moveaxis(x, 1, -1)
    threads = fastconv.get_num_threads()
    try:
        results = []
        for count in (1, 3):
            fastconv.set_num_threads(count)
            columns = F.unfold(x, **options, layout=layout, backend="numba")
            image = F.fold(columns, (11, 13), **options, layout=layout, backend="numba")
            results.append(columns.tobytes() + image.tobytes())
    finally:
        fastconv.set_num_threads(threads)
    assert results[0] == results[1]
    one = F.fold(columns[1:], (11, 13), **options, layout=layout, backend="numba")
    assert one.tobytes() == image[1:].tobytes()
    np.testing.assert_array_equal(
        columns, F.unfold(x, **options, layout=layout, backend="reference")
    )
    wide = F.fold(
        columns.astype(np.float64), (11, 13), **options, layout=layout, backend="reference"
    )
    taps = np.prod(np.broadcast_to(options["kernel_size"], 2))
    bound = np.finfo(np.float32).eps * taps * float(np.abs(wide).max())
    np.testing.assert_allclose(image, wide, rtol=0, atol=bound)
