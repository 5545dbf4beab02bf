"""Kernels of padding, interpolation and shuffling against the reference, and the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native import arena
from fastconv.dispatch import choose
from fastconv.dispatch.registry import backend_available
from fastconv.problem import InterpolateProblem, PadProblem
from tests.libraries import ISAS
from tests.tolerance import poisoned

BACKENDS = [name for name in ("numba", "c") if backend_available(name)]
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
@pytest.mark.parametrize("backend", BACKENDS)
def test_bits_do_not_depend_on_batch_or_threads(case: Any, dtype: str, backend: str) -> None:
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
            results.append(function(x, **options, layout=layout, backend=backend))
    finally:
        fastconv.set_num_threads(threads)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    if len(options.get("pad", ())) < 2 * len(shape):
        one = function(x[:1], **options, layout=layout, backend=backend)
        assert results[0][:1].tobytes() == one.tobytes()
    wide = function(x, **options, layout=layout, backend="reference")
    bound = 0.0
    if options.get("mode", "nearest")[:7] != "nearest":
        problem = InterpolateProblem.of(x, **options, layout=layout)
        candidates = choose(problem, backend=backend).candidates
        # Relative to the output; these weights add up to 2.6 at most in magnitude.
        bound = max(c.error_bound or 0 for c in candidates) * 2.6 * float(np.abs(x).max())
    np.testing.assert_allclose(results[0], wide, rtol=0, atol=bound)


def guarded(shape: Any, dtype: Any) -> tuple[Any, Any]:
    """Return an output, and the memory around it: half of it before, half behind."""
    length = int(np.prod(shape))
    memory = poisoned(length + 256, dtype)
    return memory[128:-128].reshape(shape), memory


def assert_untouched(memory: Any) -> None:
    ends = np.concatenate([memory[:128], memory[-128:]])
    np.testing.assert_array_equal(ends, poisoned(256, memory.dtype))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", calls()[::3], ids=str)
@pytest.mark.skipif("c" not in BACKENDS, reason="the extension was not built")
def test_every_instruction_set_gives_the_same_bits(
    case: Any, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, name, options, layout = case
    x = np.random.default_rng(8).standard_normal(shape).astype(np.float32)
    x = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for dtype in ("float32", "float64"):
        values = x.astype(dtype)
        expected = getattr(F, name)(values, **options, layout=layout, backend=BACKENDS[0])
        with monkeypatch.context() as patch:
            patch.setenv("FASTCONV_ISA", isa)
            arena.take(1 << 16)
            arena.poison()
            out, memory = guarded(expected.shape, dtype)
            getattr(F, name)(values, **options, layout=layout, backend="c", out=out)
        assert out.tobytes() == expected.tobytes()
        assert_untouched(memory)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "int64", "complex128"])
@pytest.mark.skipif("c" not in BACKENDS, reason="the extension was not built")
def test_rows_of_any_length_are_moved(
    dtype: str, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    for length in [*range(1, 75), 128, 131, 257]:
        x = (np.arange(6 * length) % 101).astype(dtype).reshape(2, 3, length)
        out, memory = guarded((2, 3, length + 3), dtype)
        F.pad(x, (2, 1), value=7, backend="c", out=out)
        np.testing.assert_array_equal(out, np.pad(x, [(0, 0), (0, 0), (2, 1)], constant_values=7))
        assert_untouched(memory)
        out, memory = guarded((2, 3, 2 * length), dtype)
        F.interpolate(x, scale_factor=2, backend="c", out=out)
        np.testing.assert_array_equal(out, x.repeat(2, axis=2))
        assert_untouched(memory)
        for step in (1, 2, 3, 4, 5):
            blocks = (length - 1) // step + 1
            image = np.moveaxis(x, 0, -1)[None]
            out, memory = guarded((1, 2, 3 * blocks), dtype)
            F.unfold(image, 1, stride=(1, step), layout="NHWC", backend="c", out=out)
            np.testing.assert_array_equal(out, x[:, :, ::step].reshape(1, 2, -1))
            assert_untouched(memory)
            out, memory = guarded((2, 1, 3 * blocks), dtype)
            F.unfold(x[:, None], 1, stride=(1, step), backend="c", out=out)
            np.testing.assert_array_equal(out, x[:, :, ::step].reshape(2, 1, -1))
            assert_untouched(memory)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "int64", "complex128"])
@pytest.mark.skipif("c" not in BACKENDS, reason="the extension was not built")
def test_pixels_are_shuffled(dtype: str, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    for r in (2, 3, 4, 5):
        for width in (1, 7, 16, 37):
            x = (np.arange(30 * r * r * 2 * width) % 97).astype(dtype)
            x = x.reshape(1, 30 * r * r, 2, width)
            expected = x.reshape(30, r, r, 2, width).transpose(0, 3, 1, 4, 2)
            expected = expected.reshape(1, 30, 2 * r, width * r)
            for layout in ("NCHW", "NHWC"):
                pair = [x, expected]
                if layout == "NHWC":
                    pair = [np.ascontiguousarray(np.moveaxis(p, 1, -1)) for p in pair]
                small, large = pair
                out, memory = guarded(large.shape, dtype)
                F.pixel_shuffle(small, r, layout=layout, backend="c", out=out)
                np.testing.assert_array_equal(out, large)
                assert_untouched(memory)
                out, memory = guarded(small.shape, dtype)
                F.pixel_unshuffle(large, r, layout=layout, backend="c", out=out)
                np.testing.assert_array_equal(out, small)
                assert_untouched(memory)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_copied_whole_and_ends_filled(backend: str) -> None:
    x = np.arange(2 * 3 * 40, dtype=np.int32).reshape(2, 3, 40)
    np.testing.assert_array_equal(
        F.pad(x, (5, 6, 1, 1), value=-1, backend=backend),
        np.pad(x, ((0, 0), (1, 1), (5, 6)), constant_values=-1),
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_five_padded_axes_are_joined(backend: str) -> None:
    x = np.random.default_rng(0).integers(0, 9, (2, 3, 2, 3, 2)).astype(np.int16)
    result = F.pad(x, (1, 0, 0, 1, 2, 0, 0, 2, 1, 1), value=5, backend=backend)
    widths = ((1, 1), (0, 2), (2, 0), (0, 1), (1, 0))
    np.testing.assert_array_equal(result, np.pad(x, widths, constant_values=5))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 2, 3, 15, 16, 17])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (9, 40), (40, 9)])
@pytest.mark.parametrize("mode", ["bilinear", "area", "lanczos"])
def test_layouts_give_the_same_image(
    mode: str, size: tuple[int, int], channels: int, backend: str
) -> None:
    x = np.random.default_rng(0).standard_normal((2, 9, 13, channels)).astype(np.float32)
    options = {"mode": mode, "antialias": mode == "lanczos", "backend": backend}
    last = F.interpolate(x, size, **options, layout="NHWC")
    first = F.interpolate(np.moveaxis(x, -1, 1), size, **options)
    np.testing.assert_array_equal(last, np.moveaxis(first, 1, -1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nan_stays_where_it_is_weighed(backend: str) -> None:
    x = np.ones((1, 1, 5, 60), np.float32)
    clean = F.interpolate(x, scale_factor=2, mode="bilinear", backend=backend)
    x[0, 0, 2, 31] = np.nan
    out = F.interpolate(x, scale_factor=2, mode="bilinear", backend=backend)
    touched = np.zeros((10, 120), bool)
    touched[3:7, 61:65] = True
    np.testing.assert_array_equal(np.isnan(out[0, 0]), touched)
    np.testing.assert_array_equal(out[0, 0][~touched], clean[0, 0][~touched])


def test_cells_too_large_for_a_word_go_to_the_reference() -> None:
    dtype = np.dtype(np.clongdouble)
    if dtype.itemsize <= 16:
        pytest.skip("long double is no wider than double here")
    x = np.array([1 + 2j, 3], dtype)
    assert F.pad(x, (1, 0)).tolist() == [0, 1 + 2j, 3]
    assert choose(PadProblem.of(x, (1, 0))).algorithm.backend == "reference"
