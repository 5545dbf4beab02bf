"""Kernels of padding, interpolation and shuffling against the reference, and the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.dispatch import choose
from fastconv.problem import InterpolateProblem, PadProblem

SHAPES = [(3, 5, 37), (2, 3, 17, 29), (2, 67, 9, 8), (2, 3, 5, 7, 6)]
MODES = {
    3: ("linear", "area", "nearest"),
    4: ("bilinear", "bicubic", "area", "nearest-exact"),
    5: ("trilinear", "area", "nearest"),
}


def calls() -> list[Any]:
    """Every kernel's shape of work: few and many rows, narrow and wide cells, long sums."""
    found = []
    for shape in SHAPES:
        for layout in ("NCHW", "NHWC"):
            for mode in MODES[len(shape)]:
                for factor in (2.3, 0.21 if len(shape) < 5 else 0.4):
                    found.append(
                        (shape, "interpolate", {"mode": mode, "scale_factor": factor}, layout)
                    )
            found.append((shape, "pad", {"pad": (3, 1), "value": 2}, layout))
        found.append((shape, "pad", {"pad": (1, 2) * len(shape)}, "NCHW"))
    return found


@pytest.mark.parametrize("case", calls(), ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_batch_or_threads(case: Any, dtype: str) -> None:
    shape, name, options, layout = case
    x = np.random.default_rng(7).standard_normal(shape).astype(dtype)
    x = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    x = np.concatenate([x] * 3)
    function = getattr(F, name)
    threads = fastconv.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            fastconv.set_num_threads(count)
            results.append(function(x, **options, layout=layout, backend="numba"))
    finally:
        fastconv.set_num_threads(threads)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    if len(options.get("pad", ())) < 2 * len(shape):
        one = function(x[:1], **options, layout=layout, backend="numba")
        assert results[0][:1].tobytes() == one.tobytes()
    wide = function(x, **options, layout=layout, backend="reference")
    bound = 0.0
    if options.get("mode", "nearest")[:7] != "nearest":
        problem = InterpolateProblem.of(x, **options, layout=layout)
        candidates = choose(problem, backend="numba").candidates
        # Relative to the output; these weights add up to 2.6 at most in magnitude.
        bound = max(c.error_bound or 0 for c in candidates) * 2.6 * float(np.abs(x).max())
    np.testing.assert_allclose(results[0], wide, rtol=0, atol=bound)


def test_rows_are_copied_whole_and_ends_filled() -> None:
    x = np.arange(2 * 3 * 40, dtype=np.int32).reshape(2, 3, 40)
    np.testing.assert_array_equal(
        F.pad(x, (5, 6, 1, 1), value=-1, backend="numba"),
        np.pad(x, ((0, 0), (1, 1), (5, 6)), constant_values=-1),
    )


def test_five_padded_axes_are_joined() -> None:
    x = np.random.default_rng(0).integers(0, 9, (2, 3, 2, 3, 2)).astype(np.int16)
    result = F.pad(x, (1, 0, 0, 1, 2, 0, 0, 2, 1, 1), value=5, backend="numba")
    widths = ((1, 1), (0, 2), (2, 0), (0, 1), (1, 0))
    np.testing.assert_array_equal(result, np.pad(x, widths, constant_values=5))


def test_cells_too_large_for_a_word_go_to_the_reference() -> None:
    dtype = np.dtype(np.clongdouble)
    if dtype.itemsize <= 16:
        pytest.skip("long double is no wider than double here")
    x = np.array([1 + 2j, 3], dtype)
    assert F.pad(x, (1, 0)).tolist() == [0, 1 + 2j, 3]
    assert choose(PadProblem.of(x, (1, 0))).algorithm.backend == "reference"
