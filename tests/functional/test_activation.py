"""Activations and softmax against PyTorch in float64: values, specials, dtypes, arguments."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as torch_f
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from tests.libraries import BACKENDS, FIRST
from tests.tolerance import flushed, poisoned

DTYPES = ("float32", "float64")
NAMES = (
    "relu", "relu6", "leaky_relu", "hardtanh", "elu", "selu", "celu", "gelu", "silu", "mish",
    "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "softsign",
)  # fmt: skip
EXACT = ("relu", "relu6", "hardtanh")
Array = np.ndarray[Any, Any]
COMMON = settings(max_examples=40, deadline=None)


def specials(dtype: Any) -> Array:
    """Values at which elementwise functions go wrong."""
    limits = np.finfo(dtype)
    numbers = [0.0, limits.smallest_subnormal, limits.tiny, 1e-3, 0.5, 1, 3, 6, 20, 30, 89, 745]
    both = [*numbers, 1e4, limits.max, np.inf]
    return np.array([np.nan, *both, *(-x for x in both)], dtype)


def wide(function: Any, *arrays: Array, **options: Any) -> Array:
    """Call PyTorch in float64."""
    result = function(*(torch.from_numpy(a.astype(np.float64)) for a in arrays), **options)
    return np.asarray(result.numpy())


def assert_near(result: Array, expected: Array, x: Array, scale: float = 1.0) -> None:
    """Compare within 8 units of the result and of the input, as far as that shows in it.

    Functions are made of a few operations, each rounded once; beyond 8 all are as good as flat
    or straight. PyTorch's own float64 is no better than that.
    """
    limits = np.finfo(result.dtype)
    with np.errstate(all="ignore"):
        expected = expected.astype(result.dtype)
        size = np.abs(expected) + np.minimum(np.abs(x), 8) * scale
        allowed = 8 * limits.eps * size + limits.tiny
        wrong = np.abs(result - expected) > allowed
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(result[~finite], expected[~finite])
    assert not wrong[finite].any(), (x[finite & wrong], result[finite & wrong])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_specials(name: str, dtype: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([specials(dtype), rng.normal(0, 4, 997).astype(dtype)])
    result = getattr(F, name)(x, backend=backend, out=poisoned(x.shape, dtype))
    expected = wide(getattr(torch_f, name), x if backend == "reference" else flushed(x))
    if name == "gelu":  # PyTorch's vector code gives NaN here and its scalar code infinity
        expected[x == np.inf] = np.inf
    if name == "hardswish":  # PyTorch multiplies by 6 before it divides by it, and overflows
        expected[x == np.finfo(dtype).max] = np.finfo(dtype).max
    assert_near(result, expected, x)
    if name in EXACT:
        np.testing.assert_array_equal(result, expected.astype(dtype))
        zeros = x == 0
        np.testing.assert_array_equal(np.signbit(result[zeros]), np.signbit(x[zeros]))


PARAMETERS: dict[str, Any] = {
    "leaky_relu": st.tuples(st.floats(-4, 4)),
    "elu": st.tuples(st.floats(-4, 4)),
    "celu": st.tuples(st.floats(0.0625, 16)),
    "gelu": st.tuples(st.sampled_from(("none", "tanh"))),
    "softplus": st.tuples(st.sampled_from((0.5, 1.0, 2.0, 8.0)), st.sampled_from((-5.0, 1.0, 30))),
    "hardtanh": st.tuples(st.floats(-4, 1), st.floats(1, 4)),
}


@given(data=st.data(), seed=st.integers(0, 2**16), dtype=st.sampled_from(DTYPES))
@settings(max_examples=80, deadline=None)
def test_parameters(data: Any, seed: int, dtype: str) -> None:
    name = data.draw(st.sampled_from(list(PARAMETERS)))
    drawn = data.draw(PARAMETERS[name])
    # what a kernel in float32 makes of a parameter is the parameter
    given_ = [p if isinstance(p, str) else float(np.float32(p)) for p in drawn]
    x = np.random.default_rng(seed).normal(0, 6, (3, 5)).astype(dtype)
    keywords = {"approximate": given_[0]} if name == "gelu" else {}
    rest = [] if keywords else given_
    function = getattr(torch_f, name)
    expected = wide(lambda t: function(t, *rest, **keywords), x)
    scale = 2.0 if name == "softplus" else 1.0 + max(abs(p) for p in rest or [1.0])
    for backend in BACKENDS:
        result = getattr(F, name)(x, *given_, backend=backend)
        assert_near(result, expected, np.ones_like(x) * np.maximum(np.abs(x), 1), scale)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8"])
def test_integers(dtype: str) -> None:
    x = np.arange(-120, 120).astype(dtype)
    limits = (0, 7) if dtype.startswith("u") else (-5, 7)
    for name, args in (("relu", ()), ("relu6", ()), ("hardtanh", limits)):
        result = getattr(F, name)(x, *args)
        assert result.dtype == x.dtype
        np.testing.assert_array_equal(
            result, getattr(torch_f, name)(torch.from_numpy(x), *args).numpy()
        )


def test_large_integers_keep_their_digits() -> None:
    x = np.array([2**62 + 1, -(2**62) - 1], np.int64)
    np.testing.assert_array_equal(F.relu(x), [2**62 + 1, 0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_sixteen_bits(name: str, dtype: str) -> None:
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x = np.random.default_rng(1).normal(0, 4, 300).astype(kind)
    result = getattr(F, name)(x)
    assert result.dtype == kind
    expected = wide(getattr(torch_f, name), x)
    # one rounding to the nearest, and a tie's worth for having come through float32
    allowed = 0.51 * float(ml_dtypes.finfo(kind).eps) * np.abs(expected)
    # PyTorch's gelu in float64 has an absolute error of eps times x in its tail
    allowed += float(ml_dtypes.finfo(kind).smallest_subnormal) + 16 * np.finfo(float).eps
    assert (np.abs(result.astype(np.float64) - expected) <= allowed).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_shape_and_strides(backend: str) -> None:
    x = np.random.default_rng(2).normal(size=(4, 6, 10)).astype("f4")
    for view in (x, x[::2, ::-1, 1::3], x.T, x[0, 0, 0, ...], np.asarray(x[0, 0, 0]), x[:0]):
        expected = torch_f.silu(torch.from_numpy(np.array(view))).numpy()
        result = F.silu(view, backend=backend)
        assert result.shape == view.shape
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)
    big_endian = x.astype(">f4")
    np.testing.assert_array_equal(F.silu(big_endian), F.silu(x))
    out = poisoned((10, 6, 4), "f4").T
    assert F.silu(x, out=out, backend=backend) is out
    np.testing.assert_array_equal(out, F.silu(x, backend=backend))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("gelu", "softplus")])
def test_inplace_is_refused(name: str) -> None:
    if name in ("sigmoid", "tanh", "softsign"):
        with pytest.raises(TypeError, match="inplace"):
            getattr(F, name)(np.zeros(3, "f4"), inplace=True)
        return
    getattr(F, name)(np.zeros(3, "f4"), inplace=False)
    with pytest.raises(ValueError, match=r"inplace=True is not supported.*pass out="):
        getattr(F, name)(np.zeros(3, "f4"), inplace=True)


def test_out_is_checked() -> None:
    x = np.zeros(3, "f4")
    with pytest.raises(ValueError, match="must not overlap"):
        F.relu(x, out=x)
    with pytest.raises(TypeError, match="out must have dtype float32"):
        F.relu(x, out=np.zeros(3))


def test_an_unknown_algorithm_is_named() -> None:
    with pytest.raises(ValueError, match="unknown algorithm 'fft' for gelu"):
        F.gelu(np.zeros(3, "f4"), algorithm="fft")
    with pytest.raises(ValueError, match="int64"):
        F.relu(np.zeros(3, "i8"), backend=FIRST)


@given(
    shape=st.lists(st.sampled_from((1, 2, 3, 7, 40)), min_size=1, max_size=4),
    one=st.booleans(),
    last=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
@COMMON
def test_prelu(shape: list[int], one: bool, last: bool, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape).astype(dtype)
    x.flat[0] = rng.choice([np.nan, np.inf, -np.inf, -0.0])
    weight = rng.normal(size=1 if one or len(shape) < 2 else shape[1]).astype(dtype)
    expected = torch_f.prelu(torch.from_numpy(x), torch.from_numpy(weight)).numpy()
    moved = last and len(shape) > 1
    for backend in BACKENDS:
        given_ = np.moveaxis(x, 1, -1) if moved else x
        layout = "NHWC" if moved else "NCHW"
        out = poisoned(given_.shape, dtype)
        F.prelu(given_, weight, layout=layout, backend=backend, out=out)
        np.testing.assert_array_equal(np.moveaxis(out, -1, 1) if moved else out, expected)


def test_prelu_takes_a_number_and_half_precision() -> None:
    x = np.array([-2.0, 3.0], np.float16)
    np.testing.assert_array_equal(F.prelu(x, np.float16(0.5)), [-1, 3])
    assert F.prelu(np.float32(-2), np.array([0.25], "f4")).shape == ()


@given(
    shape=st.lists(st.sampled_from((1, 2, 3, 5, 33, 300)), min_size=1, max_size=3),
    axis=st.integers(0, 2),
    log=st.booleans(),
    special=st.sampled_from((0.0, np.nan, np.inf, -np.inf, 1e4, -1e4)),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_softmax(
    shape: list[int], axis: int, log: bool, special: float, dtype: str, seed: int
) -> None:
    dim = axis % len(shape) - len(shape) * (seed % 2)
    name = "log_softmax" if log else "softmax"
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 3, shape).astype(dtype)
    x.flat[rng.integers(x.size)] = special
    expected = wide(getattr(torch_f, name), x, dim=dim)
    eps = np.finfo(dtype).eps
    # x - largest is rounded: a relative error of its exponential's, an absolute one of the log's;
    # an exponential further away than 100 is as good as nothing
    reach = np.ptp(np.where(np.isfinite(x), x, 0)) + np.log(x.size) + 1
    relative = 8 if log else 8 + min(reach, 100)
    absolute = 8 * eps * reach if log else 1e-40
    for backend in BACKENDS:
        out = poisoned(shape, dtype)
        getattr(F, name)(x, dim, backend=backend, out=out)
        np.testing.assert_allclose(out, expected, rtol=relative * eps, atol=absolute)


@pytest.mark.parametrize("backend", BACKENDS)
def test_softmax_of_nothing_but_minus_infinity(backend: str) -> None:
    x = np.full((2, 9), -np.inf, "f4")
    x[1, 4] = 0
    expected = torch_f.softmax(torch.from_numpy(x), 1).numpy()
    np.testing.assert_array_equal(F.softmax(x, 1, backend=backend), expected)
    np.testing.assert_array_equal(F.softmax(x.T, 0, backend=backend), expected.T)
    assert np.isnan(expected[0]).all()


def test_softmax_converts_first() -> None:
    x = np.arange(6).reshape(2, 3)
    result = F.softmax(x, 1, dtype=np.float32)
    expected = torch_f.softmax(torch.from_numpy(x), 1, dtype=torch.float32).numpy()
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=4 * np.finfo("f4").eps)
    assert F.softmax(x, 1, 3, "float64").dtype == np.float64
    assert F.softmax(np.float32(3), 0) == 1
    assert F.log_softmax(np.zeros((0, 3)), 0).shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_softmax_of_sixteen_bits(dtype: Any) -> None:
    x = np.random.default_rng(3).normal(0, 3, (5, 70)).astype(dtype)
    expected = wide(torch_f.softmax, x, dim=1)
    result = F.softmax(x, 1)
    assert result.dtype == x.dtype
    np.testing.assert_allclose(
        result.astype("f8"), expected, rtol=0.51 * float(ml_dtypes.finfo(dtype).eps), atol=6e-8
    )
