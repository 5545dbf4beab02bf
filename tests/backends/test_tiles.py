"""Matrix tiles: exact sums at every instruction set, the processor's own bits, bounds, choice."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv.backends.native.conv.tiles import layout
from fastconv.backends.native.conv.tiles.algorithm import MOST_MEAN, Tiles
from fastconv.backends.native.conv.tiles.layout import Layout
from fastconv.backends.native.items import LEAST_ITEMS
from fastconv.dispatch import algorithms, choose, run
from fastconv.dispatch.registry import backend_available
from fastconv.machine import available_isas, get_machine
from fastconv.problem import ConvProblem
from tests.exact import assert_exact
from tests.tolerance import small_integers

pytestmark = pytest.mark.skipif(not backend_available("c"), reason="the extension was not built")
ISAS = available_isas()
# The best that has no tiles.
EMULATED = next(isa for isa in ISAS if isa != "amx")
FUNCTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    """Draw a convolution around the edges of tiles, of merged taps and of blocks."""
    n = draw(st.sampled_from((1, 2, 2, 2, 3)))
    groups = draw(st.sampled_from((1, 1, 1, 2)))
    channels = st.sampled_from((16, 17, 31, 32, 33, 40, 65))
    per_group = draw(channels if groups > 1 else st.one_of(st.integers(1, 17), channels))
    out = groups * draw(st.sampled_from((16, 17, 32, 33, 50) if groups > 1 else (1, 15, 17, 33)))
    kernel = [draw(st.sampled_from((1, 2, 3, 3, 5))) for _ in range(n)]
    dilation = [draw(st.sampled_from((1, 1, 1, 2))) for _ in range(n)]
    stride = [draw(st.sampled_from((1, 1, 2, 3))) for _ in range(n)]
    padding = [draw(st.integers(0, 3)) for _ in range(n)]
    most = {1: 90, 2: 21, 3: 7}[n]
    size = [d * (k - 1) + draw(st.integers(1, most)) for k, d in zip(kernel, dilation, strict=True)]
    modes = ["zeros", "zeros", "replicate"]
    if all(p < s for p, s in zip(padding, size, strict=True)):
        modes += ["reflect", "circular"]
    return {
        "n": n,
        "last": n == 2 and draw(st.booleans()),
        "input": (draw(st.integers(1, 2)), groups * per_group, *size),
        "weight": (out, per_group, *kernel),
        "options": {
            "stride": tuple(stride),
            "padding": tuple(padding),
            "dilation": tuple(dilation),
            "padding_mode": draw(st.sampled_from(modes)),
            "groups": groups,
            "activation": draw(st.sampled_from((None, "relu", ("leaky_relu", 0.5), "hardtanh"))),
            "precision": draw(st.sampled_from((None, None, "bf16"))),
            "rtol": 10.0,
        },
        "bias": draw(st.booleans()),
        "residual": draw(st.booleans()),
        "dtype": "float32",
    }


# Small blocks, so that images have several.
@pytest.mark.parametrize("share", [None, 0.005])
@pytest.mark.parametrize("isa", [EMULATED, None])
def test_tiles_drawn_problems_are_exact(
    isa: str | None, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_force(isa, monkeypatch)
    run.plans.clear()
    if share is not None:
        monkeypatch.setattr(layout, "BLOCK_SHARE", share)

    @settings(max_examples=80, deadline=None)
    @given(case=cases())
    def check(case: dict[str, Any]) -> None:
        assert_exact(case, "tiles", "c")

    check()
    run.plans.clear()


def in_force(isa: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an instruction set in force; None: all that the machine has, its tiles too."""
    if isa is None:
        monkeypatch.delenv("FASTCONV_ISA", raising=False)
    else:
        monkeypatch.setenv("FASTCONV_ISA", isa)


# Channels in and out, size, kernel, options: odd widths, merged taps, strides, one product.
SHAPES: list[tuple[int, int, tuple[int, ...], int, dict[str, Any]]] = [
    (70, 40, (9, 10), 3, {"padding": 1, "activation": "relu6"}),
    (3, 33, (20, 21), 3, {"stride": 2}),
    (40, 20, (30,), 3, {"padding": 1, "residual": True}),
    (33, 16, (3, 5, 4), 2, {"precision": "bf16"}),
]


def wide(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Return numbers of widely different sizes, subnormal ones among them."""
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-80, 60, shape).astype("f8"))
    x.flat[rng.integers(0, x.size, 20)] = 1e-40
    return x.astype("f4")


@pytest.mark.parametrize("spoiled", [False, True])
@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_tiles_of_every_instruction_set_give_the_same_bits(
    shape: int, spoiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels, out, size, k, options = SHAPES[shape]
    rng = np.random.default_rng(shape)
    x, w = wide(rng, (2, channels, *size)), wide(rng, (out, channels, *(k,) * len(size)))
    b, more = rng.standard_normal(out).astype("f4"), dict(options)
    if spoiled:
        for place, value in enumerate((np.nan, -np.inf, 3.4e38)):
            x[(0, place, *(place,) * len(size))] = value
        # A NaN that rounding would carry to zero.
        x.view("u4")[1].flat[0], w.view("u4")[1].flat[0] = 0xFFFFFFFF, 0xFF800000
    results = []
    for isa in (None, *ISAS):
        in_force(isa, monkeypatch)
        if options.get("residual"):
            more["residual"] = rng.standard_normal((2, out, *(n for n in size))).astype("f4") * 0
        y = FUNCTIONS[len(size)](x, w, b, algorithm="tiles", backend="c", **more)
        assert np.isfinite(y).all() != spoiled
        results.append(np.where(np.isnan(y), np.float32(0), y).view("u4"))
    for got in results[1:]:
        np.testing.assert_array_equal(got, results[0])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_tiles_images_and_threads_do_not_move_a_bit(layout: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 40, 22, 19)).astype("f4")
    x[1, 7, 5, 5], x[2, 0, 0, 0] = np.inf, 3.4e38
    w = rng.standard_normal((100, 40, 3, 3)).astype("f4")
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    options: dict[str, Any] = {
        "padding": 1, "backend": "c", "algorithm": "tiles", "layout": layout
    }  # fmt: skip
    single = [F.conv2d(image[None], w, **options).tobytes() for image in x]
    before = fastconv.get_num_threads()
    try:
        for threads in (1, 2, 5):
            fastconv.set_num_threads(threads)
            for parameter in (w, fastconv.Parameter(w)):
                whole = F.conv2d(x, parameter, **options)
                assert [image.tobytes() for image in whole] == single
    finally:
        fastconv.set_num_threads(before)


def mean_and_deviation(kind: str, rng: np.random.Generator) -> Any:
    """Return images of which neighbours are alike, or which have a mean."""
    x = rng.standard_normal((1, 64, 40, 40))
    if kind == "smooth":
        x = np.cumsum(np.cumsum(x, -1), -2)
        x = (x - x.mean()) / x.std()
    elif kind == "rectified":
        x = np.maximum(x, 0)
    elif kind == "mean":
        x += MOST_MEAN
    return x.astype("f4")


@pytest.mark.parametrize("kind", ["normal", "smooth", "rectified", "mean"])
@pytest.mark.parametrize("precision", [None, "bf16"])
def test_tiles_error_is_within_its_bound(kind: str, precision: str | None) -> None:
    rng = np.random.default_rng(3)
    x = mean_and_deviation(kind, rng)
    w = (rng.standard_normal((64, 64, 3, 3)) / 24).astype("f4")
    factors = [x, w]
    if precision == "bf16":
        # Their roundings are what was asked for.
        factors = [(a.view("u4") + 0x8000 & 0xFFFF0000).view("f4") for a in factors]
    exact = F.conv2d(*(a.astype("f8") for a in factors), backend="reference")
    got = F.conv2d(x, w, algorithm="tiles", precision=precision)
    problem = ConvProblem.of(2, x, w, precision=precision)
    tiles = next(a for a in algorithms(ConvProblem) if isinstance(a, Tiles))
    # Relative to what an output deviates over channels and filters.
    deviation = np.sqrt((w.astype("f8") ** 2).sum((1, 2, 3)).mean()) * x.std()
    error = np.abs(got - exact).max() / deviation
    assert error <= tiles.error_bound(problem)
    # A bound of ten times the error would keep the algorithm from what it can do.
    assert error > tiles.error_bound(problem) / 30


def test_tiles_of_data_with_a_large_mean_err_in_proportion() -> None:
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal((1, 64, 30, 30)), rng.standard_normal((64, 64, 3, 3))
    errors = []
    for mean in (0.0, 10.0, 100.0):
        a, b = (x + mean).astype("f4"), w.astype("f4")
        exact = F.conv2d(a.astype("f8"), b.astype("f8"), backend="reference")
        errors.append(np.square(F.conv2d(a, b, algorithm="tiles") - exact).mean() ** 0.5)
    assert errors[1] / errors[0] == pytest.approx(101**0.5, rel=0.5)
    assert errors[2] / errors[0] == pytest.approx(1e4**0.5, rel=0.7)


def test_tiles_are_not_chosen_where_rtol_asks_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTCONV_ISA", raising=False)
    x, w = np.empty((1, 64, 56, 56), "f4"), np.empty((64, 64, 3, 3), "f4")
    for rtol in (0, 1e-6, 1e-5):
        problem = ConvProblem.of(2, x, w, padding=1, rtol=rtol)
        assert choose(problem).algorithm.name != "tiles"
        with pytest.raises(ValueError, match="above rtol"):
            choose(problem, algorithm="tiles")
    assert choose(ConvProblem.of(2, x, w, padding=1), algorithm="tiles").algorithm.name == "tiles"
    monkeypatch.setenv("FASTCONV_ISA", ISAS[-1])
    assert choose(ConvProblem.of(2, x, w, padding=1)).algorithm.name != "tiles"


def test_tiles_of_wide_and_exact_integers_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen bits of a factor are in the two pieces; products of the low ones are left out."""
    in_force(None, monkeypatch)
    rng = np.random.default_rng(5)
    x = rng.integers(-(2**15), 2**15, (1, 33, 9, 9)).astype("f4")
    w = small_integers(rng, (17, 33, 1, 1), "f4")
    exact = F.conv2d(x, w, backend="reference")
    np.testing.assert_array_equal(F.conv2d(x, w, algorithm="tiles"), exact)


def test_tiles_explanation_names_the_arithmetic() -> None:
    x, w = np.ones((1, 32, 9, 9), "f4"), np.ones((32, 32, 3, 3), "f4")
    for precision, word in ((None, "bf16x3"), ("bf16", "bf16")):
        told = str(fastconv.explain(F.conv2d, x, w, algorithm="tiles", precision=precision))
        assert f"arithmetic {word}" in told
    (step,) = fastconv.explain(F.conv2d, x, w, algorithm="direct").as_dict()["steps"]
    assert step["arithmetic"] == "f32"


def test_tiles_long_layers_have_items() -> None:
    for size, channels in (((7, 7), 512), ((14, 14), 256), ((56, 56), 64), ((4000,), 64)):
        x = np.broadcast_to(np.zeros((), "f4"), (1, channels, *size))
        w = np.broadcast_to(np.zeros((), "f4"), (channels, channels, *(3,) * len(size)))
        problem = ConvProblem.of(len(size), x, w, padding=1)
        for l2 in (1 << 18, 1 << 21):
            cut = Layout.of(problem, 2, l2)
            assert cut.items >= min(LEAST_ITEMS, cut.column_tiles // 2)
            assert cut.scratch_bytes <= l2 or cut.block == 1


PERMISSION = """
import os, sys
import numpy as np
import fastconv, fastconv.functional as F
def permitted():
    import ctypes
    mask = ctypes.c_ulong(0)
    ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(mask))
    return mask.value >> 18 & 1
assert not permitted(), "asked at import"
fastconv.set_num_threads(2)
F.max_pool2d(np.ones((1, 3, 8, 8), "f4"), 2)
assert not permitted(), "asked for a pool"
rng = np.random.default_rng(0)
x = rng.standard_normal((2, 64, 30, 30)).astype("f4")
w = rng.standard_normal((64, 64, 3, 3)).astype("f4")
before = F.conv2d(x, w, algorithm="tiles").tobytes()
assert permitted()
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if F.conv2d(x, w, algorithm="tiles").tobytes() == before else 1)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux permits tiles")
def test_tiles_are_asked_for_when_a_convolution_is_chosen_and_serve_after_a_fork(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FASTCONV_ISA", raising=False)
    from fastconv.backends.c import library

    if not library.has_tiles():
        pytest.skip("the processor has no tiles")
    environment = {k: v for k, v in os.environ.items() if k != "FASTCONV_ISA"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PERMISSION], env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_tiles_that_are_refused_are_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    run.plans.clear()
    from fastconv.backends.c import library

    in_force(None, monkeypatch)
    x, w = np.ones((1, 32, 9, 9), "f4"), np.ones((32, 32, 3, 3), "f4")
    monkeypatch.setattr(library, "_may_use_tiles", lambda: False)
    library._found.cache_clear()
    assert not library.has_tiles()
    problem = ConvProblem.of(2, x, w)
    tiles = next(a for a in algorithms(ConvProblem) if isinstance(a, Tiles))
    np.testing.assert_array_equal(tiles.plan(problem, w, None).run(x), np.full((1, 32, 7, 7), 288))
    assert tiles.cost(problem, get_machine()).seconds > 1e-5
    library._found.cache_clear()
