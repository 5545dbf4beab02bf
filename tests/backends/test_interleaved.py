"""Transposed convolutions whose patches are stored side by side: exact, at edges, in any batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.backends.native import arena
from fastconv.dispatch.registry import backend_available
from fastconv.machine import available_isas
from tests.planes import assert_same_bits
from tests.tolerance import poisoned, small_integers

pytestmark = pytest.mark.skipif(not backend_available("c"), reason="the extension was not built")


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_interleaved_patches_are_exact(
    isa: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    rng = np.random.default_rng(1)
    for channels, out, groups, down in ((3, 1, 1, 2), (8, 7, 1, 2), (6, 4, 2, 3), (5, 13, 1, 1)):
        for width in (1, 7, 8, 9, 16, 33, 100):
            x = small_integers(rng, (2, channels, 3, width), dtype)
            w = small_integers(rng, (channels, out // groups, down, 2), dtype)
            bias = small_integers(rng, out, dtype)
            options: dict[str, Any] = {"stride": (down, 2), "groups": groups}
            if width == 9:
                shape = (2, out, 3 * down, 2 * width)
                options["residual"] = small_integers(rng, shape, dtype)
                options["activation"] = "relu"
            expected = F.conv_transpose2d(x, w, bias, **options, backend="reference")
            arena.take(1 << 20)
            arena.poison()
            result = poisoned(expected.shape, dtype)
            F.conv_transpose2d(
                x, w, bias, **options, backend="c", algorithm="interleaved", out=result
            )
            np.testing.assert_array_equal(result, expected)


def test_interleaved_bits_depend_neither_on_batch_nor_on_threads() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((5, 24, 40, 37)).astype("f4")
    w = rng.standard_normal((24, 9, 2, 2)).astype("f4")
    how: dict[str, Any] = {"backend": "c", "algorithm": "interleaved", "stride": 2}
    assert_same_bits(lambda v: F.conv_transpose2d(v, w, **how), x)


@pytest.mark.parametrize(
    ("options", "objection"),
    [
        ({"stride": 2, "padding": 1}, "patches"),
        ({"stride": (2, 1)}, "patches"),
        ({"stride": 2, "output_padding": 1}, "patches"),
    ],
)
def test_other_windows_are_refused(options: dict[str, Any], objection: str) -> None:
    x, w = np.ones((1, 2, 4, 4), "f4"), np.ones((2, 3, 2, 2), "f4")
    with pytest.raises(ValueError, match=objection):
        F.conv_transpose2d(x, w, **options, backend="c", algorithm="interleaved")
