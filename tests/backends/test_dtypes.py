"""16-bit floats, integers and complex numbers on the Numba kernels, against the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv.backends.native import INPUT, OUTPUT, NativePlan, Stage
from fastconv.backends.native.arena import poison
from fastconv.dispatch import choose
from fastconv.machine import get_machine
from fastconv.problem import ConvProblem
from tests.libraries import ISAS
from tests.tolerance import poisoned, sum_tolerance

cast = pytest.importorskip("fastconv.backends.numba.cast")

Array = np.ndarray[Any, Any]
SIXTEEN = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
EVERY = np.arange(1 << 16, dtype=np.uint16)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = fastconv.get_num_threads()
    yield
    fastconv.set_num_threads(before)


def bits(array: Array) -> Array:
    """The array's memory, to compare bit for bit."""
    return np.ascontiguousarray(array).view(np.uint8)


class _Like:
    """As much of a problem as a plan needs."""

    def __init__(self, shape: Any, dtype: Any) -> None:
        self.output_shape, self.output_dtype = shape, np.dtype(dtype)


def cast_by_kernel(x: Array, dtype: Any, lanes: int, hardware: bool) -> Array:
    address = cast.cast_sixteen(x.dtype.name, np.dtype(dtype).name, lanes, hardware)
    stage = Stage(address, -(-x.size // cast.BLOCK), [INPUT(0), OUTPUT, x.size])
    out = poisoned(x.shape, dtype)
    NativePlan(_Like(x.shape, dtype), [stage], seconds=0).run(x, out=out)
    return out


WAYS = [(16, False), (4, False)]
if cast.converts_halves(get_machine()):
    WAYS += [(16, True), (8, True)]


@pytest.mark.parametrize(("lanes", "hardware"), WAYS)
@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
def test_every_short_float_is_widened_exactly(dtype: Any, lanes: int, hardware: bool) -> None:
    x = EVERY[:-3].view(dtype)
    expected = x.astype(np.float32)
    nan = np.isnan(expected)
    result = cast_by_kernel(x, np.float32, lanes, hardware)
    np.testing.assert_array_equal(result.view("u4")[~nan], expected.view("u4")[~nan])
    assert np.isnan(result[nan]).all()


def edges(dtype: Any) -> Array:
    """Floats at every rounding's edge: what the dtype holds, its middles, and their neighbours."""
    held = np.unique(EVERY.view(dtype).astype(np.float32))
    held = held[np.isfinite(held)]
    middles = held[:-1] + np.diff(held) / 2
    beyond = held[-1] + (held[-1] - held[-2]) * np.float32([0.25, 0.5, 0.75])
    values = np.concatenate([held, middles, beyond, -beyond, np.float32([1e-45, -0.0, 3e38])])
    near = np.nextafter(values, np.float32(np.inf)), np.nextafter(values, np.float32(-np.inf))
    special = np.array([np.inf, -np.inf, np.nan, -np.nan], np.float32)
    payloads = np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF], np.uint32).view(np.float32)
    return np.concatenate([values, *near, special, payloads])


@pytest.mark.parametrize(("lanes", "hardware"), WAYS)
@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
def test_floats_are_narrowed_to_the_nearest_even(dtype: Any, lanes: int, hardware: bool) -> None:
    x = edges(dtype)
    with np.errstate(all="ignore"):
        expected = x.astype(dtype)
    result = cast_by_kernel(x, dtype, lanes, hardware)
    nan = np.isnan(x)
    np.testing.assert_array_equal(result.view("u2")[~nan], expected.view("u2")[~nan])
    assert np.isnan(result[nan]).all()
    np.testing.assert_array_equal(np.signbit(result[nan]), np.signbit(x[nan]))
    assert np.isinf(result.astype("f4")).any()


# name -> (call, shapes of the input and the parameters, products in a sum)
Call = Callable[..., Any]
CALLS: dict[str, tuple[Call, tuple[tuple[int, ...], ...], int]] = {
    "conv2d": (lambda x, w, b, **o: F.conv2d(x, w, b, padding=1, activation="relu", **o),
               ((3, 6, 11, 9), (5, 6, 3, 3), (5,)), 54),
    "conv2d last": (lambda x, w, **o: F.conv2d(x, w, padding=1, layout="NHWC", **o),
                    ((2, 9, 7, 17), (20, 17, 3, 3)), 153),
    "conv2d residual": (lambda x, w, r, **o: F.conv2d(x, w, residual=r, activation="gelu", **o),
                        ((2, 4, 7, 7), (4, 4, 1, 1), (2, 4, 7, 7)), 4),
    "depthwise": (lambda x, w, **o: F.conv2d(x, w, groups=8, padding=1, **o),
                  ((2, 8, 13, 13), (8, 1, 3, 3)), 9),
    "conv1d": (lambda x, w, **o: F.conv1d(x, w, padding="causal", dilation=2, **o),
               ((2, 3, 31), (7, 3, 4)), 12),
    "conv3d": (lambda x, w, **o: F.conv3d(x, w, **o), ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2)), 24),
    "conv_transpose2d": (lambda x, w, **o: F.conv_transpose2d(x, w, stride=2, **o),
                         ((2, 6, 5, 7), (6, 3, 3, 3)), 24),
    "linear": (lambda x, w, b, **o: F.linear(x, w, b, activation="silu", **o),
               ((5, 37), (19, 37), (19,)), 37),
    "max_pool2d": (lambda x, **o: F.max_pool2d(x, 3, 2, 1, **o), ((3, 5, 17, 16),), 0),
    "max_pool2d last": (lambda x, **o: F.max_pool2d(x, 2, layout="NHWC", **o), ((9, 8, 8, 19),), 0),
    "avg_pool2d": (lambda x, **o: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, **o),
                   ((3, 7, 15, 16),), 9),
    "lp_pool1d": (lambda x, **o: F.lp_pool1d(x, 2, 3, **o), ((2, 4, 29),), 9),
    "weighted_pool2d": (lambda x, **o: F.weighted_pool2d(x, 3, weights="gaussian", **o),
                        ((2, 5, 11, 12),), 9),
    "adaptive_avg_pool2d": (lambda x, **o: F.adaptive_avg_pool2d(x, (3, 5), **o),
                            ((2, 5, 11, 12),), 16),
    "global_avg_pool": (lambda x, **o: F.global_avg_pool(x, **o), ((3, 30, 7, 7),), 49),
    "relu": (lambda x, **o: F.relu(x, **o), ((70001,),), 0),
    "tanh": (lambda x, **o: F.tanh(x, **o), ((3, 50, 41),), 1),
    "prelu": (lambda x, w, **o: F.prelu(x, w, **o), ((4, 5, 33), (5,)), 1),
    "prelu one": (lambda x, w, **o: F.prelu(x, w, **o), ((4, 5, 33), (1,)), 1),
    "softmax": (lambda x, **o: F.softmax(x, 1, **o), ((33, 57),), 4),
    "log_softmax inner": (lambda x, **o: F.log_softmax(x, 1, **o), ((20, 9, 11),), 4),
    "batch_norm": (lambda x, m, w, b, **o: F.batch_norm(x, m, w * w, w, b, **o),
                   ((3, 5, 8, 9), (5,), (5,), (5,)), 1),
    "group_norm": (lambda x, w, b, **o: F.group_norm(x, 2, w, b, **o),
                   ((3, 6, 7, 9), (6,), (6,)), 4),
    "layer_norm": (lambda x, w, b, **o: F.layer_norm(x, 47, w, b, **o),
                   ((29, 47), (47,), (47,)), 4),
    "local_response_norm": (lambda x, **o: F.local_response_norm(x, 5, **o), ((3, 9, 6, 7),), 5),
    "interpolate": (lambda x, **o: F.interpolate(x, scale_factor=1.7, mode="bilinear", **o),
                    ((2, 5, 9, 8),), 4),
    "fold": (lambda x, **o: F.fold(x, (6, 7), 3, **o), ((3, 18, 20),), 9),
}  # fmt: skip


def drawn(shapes: tuple[tuple[int, ...], ...], dtype: Any, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_sixteen_bits_sum_in_float32_and_round_once(name: str, dtype: Any) -> None:
    call, shapes, length = CALLS[name]
    arrays = drawn(shapes, dtype)
    exact = call(*(a.astype("f8") for a in arrays), backend="reference")
    if name == "batch_norm":  # the square of its weight is rounded to the dtype there
        exact = call(*arrays, backend="reference").astype("f8")
    out = poisoned(exact.shape, dtype)
    call(*arrays, backend="numba")
    poison()
    result = call(*arrays, backend="numba", out=out)
    assert result is out
    step = float(ml_dtypes.finfo(dtype).eps) * np.abs(exact)
    allowed = 0.5 * step + float(ml_dtypes.finfo(dtype).smallest_subnormal)
    allowed += (sum_tolerance("f4", length) if length else 0) + 8e-7 * np.abs(exact)
    allowed += step if name == "batch_norm" else 0
    assert (np.abs(result.astype("f8") - exact) <= allowed).all()


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_sixteen_bits_are_the_same_in_any_batch_and_on_any_thread(name: str, dtype: Any) -> None:
    call, shapes, _ = CALLS[name]
    x, *others = drawn(shapes, dtype, seed=1)
    whole = call(x, *others, backend="numba")
    fastconv.set_num_threads(2)
    np.testing.assert_array_equal(bits(call(x, *others, backend="numba")), bits(whole))
    if "residual" not in name and len(x) > 1:
        part = call(np.ascontiguousarray(x[1:2]), *others, backend="numba")
        np.testing.assert_array_equal(bits(part), bits(whole[1:2]))


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
def test_indices_of_short_floats(dtype: Any) -> None:
    (x,) = drawn(((5, 7, 13, 12),), dtype)
    x[0, 0, 3] = np.nan
    for layout in ("NCHW", "NHWC"):
        options = {"layout": layout, "return_indices": True}
        values, indices = F.max_pool2d(x, 3, 2, 1, backend="numba", **options)
        wanted, places = F.max_pool2d(x, 3, 2, 1, backend="reference", **options)
        assert indices.dtype == np.int64
        np.testing.assert_array_equal(indices, places)
        np.testing.assert_array_equal(bits(values), bits(wanted))
        back = F.max_unpool2d(values, indices, 3, 2, 1, output_size=x.shape[2:]) if (
            layout == "NCHW") else values  # fmt: skip
        assert back.dtype == dtype


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
def test_nan_infinity_overflow_and_subnormals_pass(dtype: Any) -> None:
    info = ml_dtypes.finfo(dtype)
    # Those of bfloat16 are float32's too, which are taken as zero: see tests/trust.
    wide = dtype == SIXTEEN[0]
    large, small = float(info.max), float(info.smallest_subnormal if wide else info.smallest_normal)
    x = np.array([np.nan, np.inf, -np.inf, large, small, -small, 0, -0.0], dtype)
    results = [F.relu(x, backend=backend).astype("f4") for backend in ("numba", "reference")]
    np.testing.assert_array_equal(*results)
    two = np.full((1, 1, 1), 2, dtype)
    doubled = F.conv1d(x.reshape(1, 1, -1), two, backend="numba").ravel()
    with np.errstate(over="ignore"):
        expected = (x.astype("f8") * 2).astype(dtype)
    np.testing.assert_array_equal(doubled.astype("f4"), expected.astype("f4"))
    assert np.isinf(doubled[3])
    assert float(doubled[4]) == 2 * small
    # Sums may pass the dtype's largest number on the way, and come back.
    half = SIXTEEN[0]
    terms, four = np.array([[60000, -60000, 1]], half), np.full((1, 3), 4, half)
    assert F.linear(terms, four, backend="numba") == 4


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_sixteen_bits_of_any_shape(data: st.DataObject) -> None:
    draw = data.draw
    dtype = draw(st.sampled_from(SIXTEEN))
    channels, out = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    size = [draw(st.integers(1, 19)) for _ in range(2)]
    kernel = [draw(st.integers(1, n)) for n in size]
    shapes = (draw(st.integers(1, 3)), channels, *size), (out, channels, *kernel)
    x, w = drawn(shapes, dtype, seed=draw(st.integers(0, 99)))
    stride = draw(st.integers(1, 3))
    exact = F.conv2d(x.astype("f8"), w.astype("f8"), stride=stride, backend="reference")
    result = F.conv2d(x, w, stride=stride, backend="numba")
    unit = float(ml_dtypes.finfo(dtype).eps) / 2
    allowed = np.abs(exact) * unit + 1e-4 * np.sqrt(w[0].size)
    assert (np.abs(result.astype("f8") - exact) <= allowed).all()


@pytest.mark.parametrize("isa", ISAS)
def test_sixteen_bits_at_every_instruction_set(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV_ISA", isa)
    for dtype in SIXTEEN:
        call, shapes, length = CALLS["linear"]
        arrays = drawn(shapes, dtype)
        exact = call(*(a.astype("f8") for a in arrays), backend="reference")
        result = call(*arrays, backend="numba").astype("f8")
        unit = float(ml_dtypes.finfo(dtype).eps) / 2
        allowed = np.abs(exact) * unit + sum_tolerance("f4", length)
        assert (np.abs(result - exact) <= allowed).all()


def test_half_precision_is_chosen_by_the_same_rtol() -> None:
    x, w = np.zeros((1, 64, 56, 56), "f2"), np.zeros((64, 64, 3, 3), "f2")
    # Matrix tiles are for float32 alone.
    wide = choose(ConvProblem.of(2, x.astype("f4"), w.astype("f4"), padding=1), backend="numba")
    narrow = choose(ConvProblem.of(2, x, w, padding=1))
    assert narrow.algorithm.backend == "numba"
    assert narrow.algorithm.name == wide.algorithm.name
    exact = choose(ConvProblem.of(2, x, w, padding=1, rtol=0))
    assert "winograd" not in exact.algorithm.name
    refused = {c.algorithm.name: c.why_not for c in exact.candidates if c.why_not}
    assert "above rtol" in str(refused["winograd"])


INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


def integers(rng: np.random.Generator, shape: Any, dtype: str, limit: int | None = None) -> Array:
    """Integers of the dtype's whole range, or of a part of it."""
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    if limit is not None:
        low, high = max(low, -limit), min(high, limit)
    return rng.integers(low, high, shape, dtype, endpoint=True)


def both(call: Call, *arrays: Any, **options: Any) -> Array:
    """The Numba result, after it was compared with the reference's bit for bit."""
    expected = call(*arrays, backend="reference", **options)
    poison()
    out = poisoned(expected.shape, expected.dtype)
    result = call(*arrays, backend="numba", out=out, **options)
    assert result is out
    np.testing.assert_array_equal(result, expected)
    return out


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_exact_and_wrap(dtype: str, limit: int | None) -> None:
    rng = np.random.default_rng(4)
    x, w = integers(rng, (2, 6, 9, 8), dtype), integers(rng, (10, 3, 3, 3), dtype, limit)
    total = F.conv2d(x, w, groups=2, backend="reference").dtype
    own, wide = integers(rng, 10, dtype, limit), integers(rng, 10, total.name)
    residual = integers(rng, (2, 10, 9, 8), total.name)
    for bias in (None, own, wide):
        for activation in (None, "relu", "relu6"):
            options = {"groups": 2, "padding": 1, "activation": activation}
            both(F.conv2d, x, w, bias, **options)
            both(F.conv2d, x, w, bias, residual=residual, **options)
    last = {"layout": "NHWC", "groups": 2, "padding": 1}
    both(F.conv2d, np.ascontiguousarray(x.transpose(0, 2, 3, 1)), w, wide, **last)
    both(F.conv_transpose2d, x, w[:6].copy(), stride=2, dilation=2, groups=2)
    both(F.conv2d, x, integers(rng, (6, 1, 3, 3), dtype, limit), groups=6)
    both(F.linear, x.reshape(12, 72), integers(rng, (7, 72), dtype, limit), wide[:7].copy())
    both(F.fold, x.reshape(2, 54, 8)[:, :36].copy(), (3, 5), 2)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize(
    ("algorithm", "filters"),
    [("direct", (9, 2, 3, 3)), ("im2col", (9, 2, 3, 3)), ("planar", (9, 2, 3, 3)),
     ("planar", (9, 2, 1, 1)), ("depthwise", (6, 1, 3, 3)), ("depthwise_planar", (12, 1, 3, 3))],
)  # fmt: skip
def test_every_algorithm_for_int64_wraps(algorithm: str, filters: Any, dtype: str) -> None:
    rng = np.random.default_rng(10)
    x, w = integers(rng, (2, 6, 13, 17), dtype), integers(rng, filters, dtype)
    bias = integers(rng, filters[0], "int64")
    groups = 6 // filters[1]
    for options in ({}, {"stride": 2, "padding": 1, "activation": "relu"}):
        plain = {**options, "groups": groups}
        shape = F.conv2d(x, w, **plain, backend="reference").shape
        for posed in (plain, {**plain, "residual": integers(rng, shape, "int64")}):
            expected = F.conv2d(x, w, bias, **posed, backend="reference")
            result = F.conv2d(x, w, bias, **posed, algorithm=algorithm, backend="numba")
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_clamps_of_integers(dtype: str) -> None:
    rng = np.random.default_rng(5)
    x = integers(rng, (3, 5000), dtype)
    x[0, :2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    if dtype == "int64":
        with pytest.raises(ValueError, match=r"may be beyond 2\^53"):
            F.relu(x, backend="numba")
        return
    both(F.relu, x)
    both(F.relu6, x)
    both(lambda value, **o: F.hardtanh(value, 2, 100, **o), x)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_integers_of_any_shape(data: st.DataObject) -> None:
    draw = data.draw
    dtype = draw(st.sampled_from(INTEGERS))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    groups = draw(st.integers(1, 3))
    channels, out = (groups * draw(st.integers(1, 9)) for _ in range(2))
    size = [draw(st.integers(1, 17)) for _ in range(2)]
    kernel = [draw(st.integers(1, n)) for n in size]
    x = integers(rng, (draw(st.integers(1, 3)), channels, *size), dtype)
    limit = draw(st.sampled_from((None, 9)))
    w = integers(rng, (out, channels // groups, *kernel), dtype, limit)
    both(F.conv2d, x, w, stride=draw(st.integers(1, 3)), groups=groups)


@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_integers_are_the_same_in_any_batch_and_on_any_thread(dtype: str) -> None:
    rng = np.random.default_rng(6)
    x, w = integers(rng, (4, 16, 20, 20), dtype), integers(rng, (16, 16, 3, 3), dtype)
    whole = F.conv2d(x, w, backend="numba")
    fastconv.set_num_threads(2)
    np.testing.assert_array_equal(F.conv2d(x, w, backend="numba"), whole)
    np.testing.assert_array_equal(F.conv2d(x[2:3].copy(), w, backend="numba"), whole[2:3])


def test_sums_at_the_limits_of_float32_and_float64_are_exact() -> None:
    # 2^24 + 1 and 2^53 + 1 are the first integers that float32 and float64 do not hold.
    x = np.array([[128] * 1024 + [1]], np.int16)
    assert both(F.linear, x, x)[0, 0] == 2**24 + 1
    x, w = np.array([[2**30, 1]], np.int32), np.array([[2**23, 1]], np.int32)
    assert both(F.linear, x, w)[0, 0] == 2**53 + 1
    one = np.ones((1, 1), np.int8)
    assert both(F.linear, one, one, np.array([2**24], np.int32))[0, 0] == 2**24 + 1


COMPLEX = ("complex64", "complex128")


def complexes(rng: np.random.Generator, shape: Any, dtype: str) -> Array:
    """Numbers whose parts have variance 1."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


def close(result: Array, expected: Array, length: int) -> None:
    """Compare with sums of twice so many products in each part."""
    assert result.dtype == expected.dtype
    real = np.dtype("f4" if result.dtype.name == "complex64" else "f8")
    allowed = 2 * sum_tolerance(real, 2 * length)
    assert (np.abs(result - expected) <= allowed).all()


COMPLEX_CALLS: dict[str, tuple[Call, tuple[tuple[int, ...], ...], int]] = {
    "conv2d": (lambda x, w, b, **o: F.conv2d(x, w, b, padding=1, rtol=0, **o),
               ((3, 5, 9, 10), (7, 5, 3, 3), (7,)), 45),
    "conv2d last": (lambda x, w, b, **o: F.conv2d(x, w, b, layout="NHWC", rtol=0, **o),
                    ((3, 9, 10, 5), (7, 5, 3, 3), (7,)), 45),
    "conv2d stride": (lambda x, w, **o: F.conv2d(x, w, rtol=0, stride=2, **o),
                      ((2, 16, 12, 12), (16, 16, 3, 3)), 144),
    "grouped": (lambda x, w, r, **o: F.conv2d(x, w, groups=3, residual=r, rtol=0, **o),
                ((2, 6, 8, 7), (9, 2, 2, 3), (2, 9, 7, 5)), 12),
    "depthwise": (lambda x, w, **o: F.conv2d(x, w, groups=6, rtol=0, **o),
                  ((2, 6, 8, 7), (6, 1, 3, 3)), 9),
    "conv1d": (lambda x, w, **o: F.conv1d(x, w, padding=2, padding_mode="circular", rtol=0, **o),
               ((2, 3, 31), (4, 3, 5)), 15),
    "conv_transpose2d": (lambda x, w, b, **o: F.conv_transpose2d(x, w, b, stride=2, groups=2, **o),
                         ((2, 6, 5, 7), (6, 4, 3, 3), (8,)), 27),
    "conv_transpose1d last": (lambda x, w, **o: F.conv_transpose1d(x, w, layout="NWC", **o),
                              ((2, 9, 6), (6, 4, 3)), 18),
    "linear": (lambda x, w, b, **o: F.linear(x, w, b, **o), ((5, 37), (19, 37), (19,)), 37),
    "linear row": (lambda x, w, **o: F.linear(x, w, **o), ((1, 37), (19, 37)), 37),
}  # fmt: skip


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("name", COMPLEX_CALLS)
def test_complex_numbers(name: str, dtype: str) -> None:
    call, shapes, length = COMPLEX_CALLS[name]
    rng = np.random.default_rng(7)
    x, *others = (complexes(rng, shape, dtype) for shape in shapes)
    expected = call(x, *others, backend="reference")
    call(x, *others, backend="numba")
    poison()
    result = call(x, *others, backend="numba", out=poisoned(expected.shape, dtype))
    close(result, expected, length)
    fastconv.set_num_threads(2)
    np.testing.assert_array_equal(bits(call(x, *others, backend="numba")), bits(result))
    if name != "grouped":
        part = call(np.ascontiguousarray(x[-1:]), *others, backend="numba")
        np.testing.assert_array_equal(bits(part), bits(result[-1:]))


def test_complex_numbers_take_fast_algorithms_inside_rtol() -> None:
    rng = np.random.default_rng(9)
    x, w = (complexes(rng, s, "complex64") for s in ((1, 32, 28, 28), (32, 32, 3, 3)))
    chosen = choose(ConvProblem.of(2, x, w, padding=1))
    assert chosen.algorithm.name.startswith("winograd")
    expected = F.conv2d(x, w, padding=1, backend="reference")
    assert np.abs(F.conv2d(x, w, padding=1) - expected).max() <= 1e-4 * expected.std()


def test_small_complex_integers_are_exact() -> None:
    rng = np.random.default_rng(8)
    x, w = (
        (integers(rng, s, "int8", 3) + 1j * integers(rng, s, "int8", 3)).astype("complex64")
        for s in ((2, 4, 7, 9), (3, 4, 2, 3))
    )
    both(F.conv2d, x, w, rtol=0)


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_complex_numbers_of_any_shape(data: st.DataObject) -> None:
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    channels, out = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    size = [draw(st.integers(1, 17)) for _ in range(2)]
    kernel = [draw(st.integers(1, n)) for n in size]
    x = complexes(rng, (draw(st.integers(1, 3)), channels, *size), "complex64")
    w = complexes(rng, (out, channels, *kernel), "complex64")
    options = {"stride": draw(st.integers(1, 3)), "rtol": 0}
    expected = F.conv2d(x, w, backend="reference", **options)
    close(F.conv2d(x, w, backend="numba", **options), expected, w[0].size)


def test_explain_says_how_other_dtypes_are_computed_or_why_not() -> None:
    x, w = np.zeros((1, 8, 9, 9)), np.zeros((8, 8, 3, 3))

    def told(dtype: str) -> str:
        text = str(fastconv.explain("conv2d", x.astype(dtype), w.astype(dtype)))
        return " ".join(text.split())

    assert "in float32, cast before and after" in told("float16")
    assert "exact in float32" in told("int8")
    assert "exact in float64, or narrower as the weights allow" in told("int16")
    assert "this algorithm's transforms are not" in told("int8")
    assert "exact in int64, or narrower as the weights allow" in told("int32")
    assert "in float32, parts as channels" in told("complex64")
    assert "in float32" not in told("float32")
