"""What corresponds in SciPy gives the same: drawn arrays, and the examples that SciPy publishes."""

from __future__ import annotations

import collections
import contextlib
import doctest
import io
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from fastconv.problem.conv import DEFAULT_RTOL
from tests.tolerance import sum_tolerance
from tests.trust import scipy_calls as calls

ndimage = pytest.importorskip("scipy.ndimage", reason="the other side")
signal = pytest.importorskip("scipy.signal")

Array = np.ndarray[Any, Any]
MODES = ("constant", "nearest", "mirror", "wrap", "reflect")


def tolerance(dtype: Any, length: int) -> float:
    """Return the error allowed to a sum of normal numbers, by an algorithm inside its bound."""
    real = np.dtype(dtype).type(0).real.dtype
    if real.kind == "i":
        return 0.0
    stated = DEFAULT_RTOL if real == np.float32 else 0.0
    return 4 * sum_tolerance(real, length) + stated * np.sqrt(length)


def assert_near(got: Array, want: Array, length: int, where: Any) -> None:
    """Compare shape and values."""
    assert got.shape == want.shape, where
    limit = tolerance(got.dtype, length)
    np.testing.assert_allclose(got, want, rtol=limit, atol=limit, err_msg=str(where))


def numbers(rng: np.random.Generator, shape: Any, dtype: str) -> Array:
    """Draw normal numbers, or integers whose sums are exact."""
    if np.dtype(dtype).kind == "i":
        return rng.integers(-9, 10, shape).astype(dtype)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


@st.composite
def filters(draw: Any, most: int = 3) -> dict[str, Any]:
    """Draw an image and a kernel that reaches no more than once around it."""
    ndim = draw(st.integers(1, most))
    shape = [draw(st.integers(1, (40, 12, 6)[ndim - 1])) for _ in range(ndim)]
    kernel = [draw(st.integers(1, max(1, side - 1))) for side in shape]
    return {
        "shape": shape,
        "kernel": kernel,
        "dtype": draw(st.sampled_from(("float64", "float32"))),
        "mode": draw(st.sampled_from(MODES)),
        "seed": draw(st.integers(0, 99)),
    }


def drawn(check: Any, strategy: Any, count: int) -> None:
    """Run a check on so many draws."""
    settings(max_examples=count, deadline=None, derandomize=True)(given(strategy)(check))()


@pytest.mark.parametrize("name", ["correlate", "convolve"])
def test_ndimage(name: str, scale: Callable[[int, int], int], told: Callable[..., None]) -> None:
    count = collections.Counter[str]()

    def check(case: dict[str, Any], shift: int) -> None:
        rng = np.random.default_rng(case["seed"])
        x = numbers(rng, case["shape"], case["dtype"])
        w = numbers(rng, case["kernel"], case["dtype"])
        # The origins that all the kernel's sides allow.
        least, most = -(min(w.shape) // 2), (min(w.shape) - 1) // 2
        least, most = (least, most) if name == "correlate" else (-most, -least)
        if name == "convolve" and min(w.shape) % 2 == 0:
            most -= 1
        origin = min(max(shift, least), most)
        options = {"mode": case["mode"], "origin": origin}
        if case["mode"] == "constant" and case["seed"] % 2:
            options["cval"] = 1.5
        want = getattr(ndimage, name)(x, w, **options)
        got = getattr(calls, name)(x, w, **options)
        assert_near(got, want, 2 * w.size, (case, options))
        count[case["mode"]] += 1

    wide = st.tuples(filters(), st.sampled_from((0, 0, 1, -1, 3, -3)))
    drawn(lambda drawing: check(*drawing), wide, scale(60, 600))
    told("SciPy's meaning", f"ndimage.{name}: 1 to 3 dimensions, origins, modes", words(count))


POOLS = ("uniform_filter", "maximum_filter", "minimum_filter")


@pytest.mark.parametrize("name", POOLS)
def test_ndimage_pools(
    name: str, scale: Callable[[int, int], int], told: Callable[..., None]
) -> None:
    count = collections.Counter[str]()

    def check(case: dict[str, Any], shift: int) -> None:
        x = numbers(np.random.default_rng(case["seed"]), case["shape"], case["dtype"])
        size = min(case["kernel"])
        origin = min(max(shift, -(size // 2)), (size - 1) // 2)
        options = {"mode": case["mode"], "origin": origin, "cval": 0.25}
        want = getattr(ndimage, name)(x, size, **options)
        got = getattr(calls, name)(x, size, **options)
        assert_near(got, want, size**x.ndim if name == "uniform_filter" else 0, (case, options))
        count[case["mode"]] += 1

    wide = st.tuples(filters(), st.sampled_from((0, 0, 1, -1)))
    drawn(lambda drawing: check(*drawing), wide, scale(40, 400))
    told("SciPy's meaning", f"ndimage.{name}: 1 to 3 dimensions, origins, modes", words(count))


def test_gaussians(scale: Callable[[int, int], int], told: Callable[..., None]) -> None:
    rng = np.random.default_rng(0)
    pairs = [(sigma, mode) for sigma in (0.5, 1.0, 2.3) for mode in MODES]
    for sigma, mode in pairs[:: scale(4, 1)]:
        x = rng.standard_normal((31, 28))
        want = ndimage.gaussian_filter(x, sigma, mode=mode)
        assert_near(calls.gaussian_filter(x, sigma, mode), want, 400, (sigma, mode))
    # A window of a weighted pool spans six sigma.
    for size in (3, 5, 7, 9):
        x, radius = rng.standard_normal((20, 20)), size // 2
        want = ndimage.gaussian_filter(x, size / 6, mode="constant", radius=radius)
        got = F.weighted_pool2d(x[None, None], size, 1, radius)[0, 0]
        assert_near(got, want, size**2, size)
    told("SciPy's meaning", "ndimage.gaussian_filter; weighted_pool2d", f"{len(pairs) + 4} cases")


SIGNAL = ("convolve", "correlate", "fftconvolve", "oaconvolve", "convolve2d", "correlate2d")


@pytest.mark.parametrize("name", SIGNAL)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_signal(
    name: str, mode: str, scale: Callable[[int, int], int], told: Callable[..., None]
) -> None:
    count = collections.Counter[str]()
    plain = name in ("convolve", "correlate")
    dtypes = ("float64", "float32", "complex128", "int64") if plain else ("float64", "float32")

    def check(case: dict[str, Any], dtype: str, boundary: str) -> None:
        rng = np.random.default_rng(case["seed"])
        if name.endswith("2d") and len(case["shape"]) != 2:
            case["shape"], case["kernel"] = [7, 9], [4, 3]
        x, w = numbers(rng, case["shape"], dtype), numbers(rng, case["kernel"], dtype)
        options: dict[str, Any] = {"mode": mode}
        ours = name
        if name.endswith("2d"):
            options["boundary"] = boundary
            if boundary == "fill" and case["seed"] % 2:
                options["fillvalue"] = 2
        elif not plain:  # by transforms there, by whatever is cheapest here
            ours = "convolve"
        want = getattr(signal, name)(x, w, **options)
        got = getattr(calls, f"signal_{ours}")(x, w, **options)
        assert_near(got, want, 2 * w.size, (case, options))
        count[boundary if name.endswith("2d") else dtype] += 1

    three = st.tuples(filters(), st.sampled_from(dtypes), st.sampled_from(("fill", "wrap", "symm")))
    drawn(lambda drawing: check(*drawing), three, scale(25, 200))
    told("SciPy's meaning", f"signal.{name}, mode {mode!r}", words(count))


def test_filters_without_feedback_are_causal() -> None:
    rng = np.random.default_rng(1)
    for taps in (1, 2, 5, 8):
        b, x = rng.standard_normal(taps), rng.standard_normal(50)
        assert_near(calls.lfilter(b, 2.0, x), signal.lfilter(b, 2.0, x), taps, taps)


def test_fft_is_scipys() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((70, 64)), rng.standard_normal((21, 17))
    got = calls.signal_convolve(x, w, "same", algorithm="fft")
    assert_near(got, signal.fftconvolve(x, w, "same"), w.size, "fft")


def test_a_stride_takes_every_so_many_of_a_valid_result() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((17, 20)), rng.standard_normal((4, 3))
    every = signal.correlate(x, w, "valid")[::3, ::2]
    assert_near(F.conv2d(x[None, None], w[None, None], stride=(3, 2))[0, 0], every, 12, "stride")


@pytest.mark.parametrize("mode", ["mirror", "wrap"])
def test_borders_that_go_round_more_than_once_are_refused(mode: str) -> None:
    x, w = np.ones(3), np.ones(11)
    ndimage.correlate(x, w, mode=mode)
    with pytest.raises(ValueError, match=r"(?i)padding"):
        calls.correlate(x, w, mode=mode)


# What is in SciPy's own docstrings, by the names that its examples call. (Those of
# gaussian_filter are of integers, cut down to integers again after each dimension.)
DOCUMENTED = (
    "convolve", "convolve1d", "correlate1d", "gaussian_filter1d", "maximum_filter1d",
    "minimum_filter1d", "uniform_filter1d",
)  # fmt: skip


class _Ndimage:
    """A module whose names are fastconv's calls."""

    def __getattr__(self, name: str) -> Any:
        return getattr(calls, name)


def test_published_examples(told: Callable[..., None]) -> None:
    checked = 0
    for name in DOCUMENTED:
        here = 0
        examples = doctest.DocTestParser().get_examples(getattr(ndimage, name).__doc__)
        names: dict[str, Any] = {"np": np}
        for example in examples:
            source = example.source
            if "import" in source or "pyplot" in source:
                names |= {"ndimage": _Ndimage(), name: getattr(calls, name)}
                names["rng"] = np.random.default_rng()
                continue
            if "plt" in source or "misc" in source or "datasets" in source:
                break
            if not example.want or name not in source:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(source, names)
                continue
            want = eval(example.want, {"array": np.array})
            got = eval(source, names)
            # Those of integers are cut down to integers there.
            got = got + 1e-9 if want.dtype.kind == "i" else got
            np.testing.assert_allclose(got.astype(want.dtype), want, rtol=1e-7, err_msg=source)
            here += 1
        checked += here
        assert here, name
    assert checked >= 10
    told("SciPy's meaning", "the examples in scipy.ndimage's docstrings", f"{checked} equal")


def words(count: collections.Counter[str]) -> str:
    """Return how many there were of each."""
    return ", ".join(f"{number:,} {word}" for word, number in sorted(count.items()))


def test_the_table_of_modes_is_numpys() -> None:
    x = np.arange(prod((4, 5))).reshape(1, 1, 4, 5).astype("f4")
    numpy_modes = {"replicate": "edge", "reflect": "reflect", "circular": "wrap"}
    for ours, theirs in numpy_modes.items():
        want = np.pad(x, [(0, 0), (0, 0), (1, 2), (3, 1)], mode=theirs)
        np.testing.assert_array_equal(F.pad(x, (3, 1, 1, 2), ours), want)
