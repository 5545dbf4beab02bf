"""Minimal filters in C: every register tile and its narrow last panel, and Numba's bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.backends.manifest.tiles import tiles_of
from fastconv.backends.native import arena
from fastconv.backends.native.conv.winograd import layout
from fastconv.dispatch import algorithms
from fastconv.dispatch.registry import backend_available
from fastconv.machine import get_machine
from fastconv.problem import ConvProblem
from tests.libraries import ISAS

pytestmark = pytest.mark.skipif(not backend_available("c"), reason="the extension was not built")
FILTERS = ("winograd", "winograd3", "winograd4", "winograd5", "winograd6")
SHAPES = [(isa, shape) for isa in ISAS for shape in tiles_of(isa).blocks]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("isa", "shape"), SHAPES)
def test_every_register_tile_serves_with_panels_of_any_width(
    isa: str, shape: tuple[int, int], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    monkeypatch.setattr(layout, "tiles_of", lambda isa: tiles_of(isa)._replace(blocks=(shape,)))
    chosen = next(a for a in algorithms(ConvProblem) if (a.backend, a.name) == ("c", "winograd"))
    rng = np.random.default_rng(0)
    lanes = get_machine().lanes(np.dtype(dtype))
    x = rng.standard_normal((2, 37, 9, 11)).astype(dtype)
    for vectors in range(1, 2 * shape[1] + 1):
        w = rng.standard_normal((vectors * lanes - 1, 37, 3, 3)).astype(dtype)
        problem = ConvProblem.of(2, x, w, padding=1, rtol=10.0)
        exact = F.conv2d(x.astype("f8"), w.astype("f8"), padding=1, backend="reference")
        arena.take(1 << 20)
        arena.poison()
        result = chosen.plan(problem, w, None).run(x)
        bound = chosen.error_bound(problem) + np.finfo("f8").eps
        assert np.abs(result - exact).max() <= bound * np.sqrt(problem.sum_length)


@pytest.mark.skipif(not backend_available("numba"), reason="Numba is not installed")
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algorithm", FILTERS)
def test_both_libraries_give_the_same_bits(algorithm: str, layout: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 70, 13, 17)).astype("f4")
    w = rng.standard_normal((40, 70, 3, 3)).astype("f4")
    b = rng.standard_normal(40).astype("f4")
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    options: dict[str, Any] = {
        "padding": 1, "activation": "relu", "layout": layout, "algorithm": algorithm, "rtol": 10.0
    }  # fmt: skip
    results = [F.conv2d(x, w, b, **options, backend=backend) for backend in ("numba", "c")]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("algorithm", FILTERS)
def test_images_and_threads_do_not_move_a_bit(algorithm: str) -> None:
    import fastconv

    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 40, 22, 19)).astype("f4")
    w = rng.standard_normal((48, 40, 3, 3)).astype("f4")
    options: dict[str, Any] = {"padding": 1, "backend": "c", "algorithm": algorithm, "rtol": 10.0}
    single = np.concatenate([F.conv2d(image[None], w, **options) for image in x])
    before = fastconv.get_num_threads()
    try:
        for threads in (1, 2, 5):
            fastconv.set_num_threads(threads)
            np.testing.assert_array_equal(F.conv2d(x, w, **options), single)
    finally:
        fastconv.set_num_threads(before)
