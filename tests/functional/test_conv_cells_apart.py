"""Cells a multiple of 4 KB apart, which are packed though they are stored channels last."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.backends.native import arena
from tests.libraries import BACKENDS
from tests.tolerance import small_integers


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "stride"),
    [
        ((1, 8, 8, 512), 2),
        ((2, 5, 9, 256), (1, 4)),
        ((1, 2, 640, 16), (1, 64)),
        ((2, 4, 4, 1024), 2),
    ],
)
def test_of_cells_that_a_stride_skips_the_others_are_read(
    shape: tuple[int, ...], stride: object, backend: str
) -> None:
    rng = np.random.default_rng(0)
    x = small_integers(rng, shape, "f4")
    w = small_integers(rng, (5, shape[-1], 1, 1), "f4")
    options = {"stride": stride, "layout": "NHWC"}
    expected = F.conv2d(x, w, **options, backend="reference")
    arena.take(1 << 20)
    arena.poison()
    algorithm = None if backend == "reference" else "direct"
    result = F.conv2d(x, w, **options, backend=backend, algorithm=algorithm)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 3, 20])
def test_a_stride_over_images_of_one_pixel(channels: int, backend: str) -> None:
    """Channels first and last are one where there is one pixel."""
    rng = np.random.default_rng(1)
    x = small_integers(rng, (3, channels, 1, 1), "f4")
    w = small_integers(rng, (5, channels, 1, 1), "f4")
    arena.take(1 << 20)
    arena.poison()
    algorithm = None if backend == "reference" else "direct"
    result = F.conv2d(x, w, stride=2, backend=backend, algorithm=algorithm)
    np.testing.assert_array_equal(result, F.conv2d(x, w, backend="reference"))
