"""Normalisations against PyTorch in float64, in both layouts, at any rank."""

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
from tests.libraries import BACKENDS
from tests.tolerance import poisoned

Array = np.ndarray[Any, Any]


def wide(function: Any, x: Any, *arguments: Any, **options: Any) -> Array:
    """Call PyTorch with every array in float64."""
    values = [
        torch.from_numpy(a.astype(np.float64)) if isinstance(a, np.ndarray) else a
        for a in (x, *arguments)
    ]
    return np.asarray(function(*values, **options).numpy())


@st.composite
def cases(draw: Any, least_rank: int = 2) -> dict[str, Any]:
    """Draw an array (N, C, ...), a layout, which parameters there are, and an eps."""
    groups = draw(st.sampled_from((1, 2, 3, 17)))
    channels = groups * draw(st.sampled_from((1, 1, 2, 5, 33)))
    rank = draw(st.integers(least_rank, 5))
    longest = {2: 1, 3: 9001, 4: 60, 5: 13}[rank]
    size = [draw(st.sampled_from([s for s in (1, 2, 3, 7, 31, 60, 9001) if s <= longest]))
            for _ in range(rank - 2)]  # fmt: skip
    return {
        "shape": (draw(st.integers(1, 3)), channels, *size),
        "groups": groups,
        "last": draw(st.booleans()),
        "weight": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "eps": draw(st.sampled_from((1e-5, 1e-3, 0.5))),
        "mean": draw(st.sampled_from((0, 0, 1, 100))),
        "dtype": draw(st.sampled_from(("float32", "float64"))),
        "seed": draw(st.integers(0, 2**16)),
    }


def data(case: dict[str, Any]) -> tuple[Array, Array | None, Array | None]:
    rng = np.random.default_rng(case["seed"])
    dtype, channels = case["dtype"], case["shape"][1]
    x = rng.normal(case["mean"], 1, case["shape"]).astype(dtype)
    weight, bias = rng.normal(size=(2, channels)).astype(dtype)
    return x, weight if case["weight"] else None, bias if case["bias"] else None


def run(case: dict[str, Any], name: str, x: Array, *arguments: Any, **options: Any) -> list[Array]:
    """Call each backend on poisoned outputs, in the case's layout; give results (N, C, ...)."""
    results = []
    for backend in BACKENDS:
        given_ = np.moveaxis(x, 1, -1) if case["last"] else x
        out = poisoned(given_.shape, x.dtype)
        layout = "NHWC" if case["last"] else "NCHW"
        getattr(F, name)(given_, *arguments, **options, layout=layout, backend=backend, out=out)
        results.append(np.moveaxis(out, -1, 1) if case["last"] else out)
    return results


def moments_tolerance(x: Array, axes: tuple[int, ...], eps: float, weight: float) -> Array:
    """Error allowed to (x - mean) / deviation, times a weight; sums are in float64.

    The result is rounded to its dtype: 2 units of it. A mean and a variance of n float64 numbers
    are off by up to sqrt(n) units of the largest, the mean's error grows by 1 / deviation, and
    both PyTorch and the kernels have one.
    """
    n = np.prod([x.shape[a] for a in axes])
    wide_x = x.astype(np.float64)
    deviation = np.sqrt(wide_x.var(axis=axes, keepdims=True) + eps)
    largest = np.abs(wide_x).max(axis=axes, keepdims=True)
    wide_eps = np.finfo(np.float64).eps
    size = np.abs(wide_x - wide_x.mean(axis=axes, keepdims=True)) / deviation
    rounding = 2 * np.finfo(x.dtype).eps * (1 + size)
    sums = 8 * np.sqrt(n) * wide_eps * (1 + largest / deviation) * (1 + size)
    return (rounding + sums) * (1 + weight)


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_batch_norm(case: dict[str, Any]) -> None:
    x, weight, bias = data(case)
    rng = np.random.default_rng(1)
    mean = rng.normal(case["mean"], 1, x.shape[1]).astype(x.dtype)
    variance = rng.uniform(0.1, 4, x.shape[1]).astype(x.dtype)
    arguments = (mean, variance, weight, bias)
    expected = wide(torch_f.batch_norm, x, *arguments, eps=case["eps"])
    # x scale + shift in float64 with two products as large as the mean's, then one rounding
    scale = np.abs(weight if weight is not None else 1).max() / np.sqrt(variance.min())
    wide_eps = np.finfo(np.float64).eps
    allowed = 8 * wide_eps * (np.abs(x).max() + np.abs(mean).max()) * scale
    for result in run(case, "batch_norm", x, *arguments, eps=case["eps"]):
        np.testing.assert_allclose(
            result, expected, rtol=2 * np.finfo(x.dtype).eps, atol=allowed + 8 * wide_eps
        )


@given(case=cases())
@settings(max_examples=80, deadline=None)
def test_group_norm(case: dict[str, Any]) -> None:
    x, weight, bias = data(case)
    groups = case["groups"]
    split = x.reshape(x.shape[0], groups, -1)
    if split.shape[-1] * x.shape[0] == 1:
        return  # PyTorch refuses these
    expected = wide(torch_f.group_norm, x, groups, weight, bias, eps=case["eps"])
    largest = max(0 if p is None else np.abs(p).max() for p in (np.ones(1), weight, bias))
    allowed = moments_tolerance(split, (2,), case["eps"], largest).reshape(x.shape)
    for result in run(case, "group_norm", x, groups, weight, bias, eps=case["eps"]):
        assert (np.abs(result - expected) <= allowed).all()


@given(case=cases(least_rank=3), statistics=st.booleans())
@settings(max_examples=40, deadline=None)
def test_instance_norm(case: dict[str, Any], statistics: bool) -> None:
    x, weight, bias = data(case)
    if np.prod(x.shape[2:]) == 1:
        return
    rng = np.random.default_rng(1)
    mean = rng.normal(size=x.shape[1]).astype(x.dtype)
    variance = rng.uniform(0.5, 2, x.shape[1]).astype(x.dtype)
    arguments = (mean, variance, weight, bias, statistics)
    copies = [mean.copy(), variance.copy()]
    expected = wide(torch_f.instance_norm, x, *arguments, eps=case["eps"])
    axes = tuple(range(2, x.ndim))
    largest = max(0 if p is None else np.abs(p).max() for p in (np.ones(1), weight, bias))
    allowed = moments_tolerance(x, axes, case["eps"], largest)
    allowed = allowed + 4 * np.finfo(x.dtype).eps * np.abs(expected)
    for result in run(case, "instance_norm", x, *arguments, eps=case["eps"]):
        assert (np.abs(result - expected) <= allowed).all()
    np.testing.assert_array_equal((mean, variance), copies)


@given(case=cases(), axes=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_layer_norm(case: dict[str, Any], axes: int) -> None:
    x, weight, bias = data(case)
    normalized = x.shape[-min(axes, x.ndim) :]
    rng = np.random.default_rng(1)
    parameters = [
        None if p is None else rng.normal(size=normalized).astype(x.dtype) for p in (weight, bias)
    ]
    expected = wide(torch_f.layer_norm, x, normalized, *parameters, eps=case["eps"])
    largest = max(0 if p is None else np.abs(p).max() for p in (np.ones(1), *parameters))
    axis = tuple(range(x.ndim - len(normalized), x.ndim))
    allowed = moments_tolerance(x, axis, case["eps"], largest)
    for backend in BACKENDS:
        out = poisoned(x.shape, x.dtype)
        F.layer_norm(x, normalized, *parameters, case["eps"], backend=backend, out=out)
        assert (np.abs(out - expected) <= allowed).all()


@given(
    case=cases(least_rank=3),
    size=st.sampled_from((1, 2, 3, 5, 8, 60)),
    alpha=st.sampled_from((1e-4, 0.7)),
    beta=st.sampled_from((0.75, 0.75, 0.5, 1.3)),
    k=st.sampled_from((1.0, 2.0)),
)
@settings(max_examples=50, deadline=None)
def test_local_response_norm(
    case: dict[str, Any], size: int, alpha: float, beta: float, k: float
) -> None:
    x, *_ = data(case)
    expected = wide(torch_f.local_response_norm, x, size, alpha=alpha, beta=beta, k=k)
    # sums of positive numbers in float64, a power, a quotient, and one rounding
    allowed = 2 * np.finfo(x.dtype).eps + (2 * size + 8) * np.finfo(np.float64).eps
    for result in run(case, "local_response_norm", x, size, alpha=alpha, beta=beta, k=k):
        np.testing.assert_allclose(result, expected, rtol=allowed)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_specials_stay_in_their_group(special: float, backend: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 5)).astype("f4")
    x[1, 2, 3, 4] = special
    t = torch.from_numpy(x)
    ones = np.ones(4, "f4")
    for result, expected in (
        (F.batch_norm(x, ones, ones, backend=backend), torch_f.batch_norm(t, *[torch.ones(4)] * 2)),
        (F.group_norm(x, 2, backend=backend), torch_f.group_norm(t, 2)),
        (F.instance_norm(x, backend=backend), torch_f.instance_norm(t)),
        (F.layer_norm(x, (5,), backend=backend), torch_f.layer_norm(t, (5,))),
        (F.local_response_norm(x, 3, backend=backend), torch_f.local_response_norm(t, 3)),
    ):
        np.testing.assert_allclose(result, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("wide_parameters", [False, True])
def test_sixteen_bits(dtype: Any, wide_parameters: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 5, 5)).astype(dtype)
    kind = np.float32 if wide_parameters else dtype
    weight, bias, mean = (rng.normal(size=6).astype(kind) for _ in range(3))
    variance = rng.uniform(0.5, 2, 6).astype(kind)
    for name, arguments in (
        ("batch_norm", (mean, variance, weight, bias)),
        ("instance_norm", (None, None, weight, bias)),
        ("group_norm", (3, weight, bias)),
        ("local_response_norm", (3,)),
        ("layer_norm", ((5, 5),)),
    ):
        result = getattr(F, name)(x, *arguments)
        assert result.dtype == x.dtype
        expected = wide(getattr(torch_f, name), x, *arguments)
        np.testing.assert_allclose(
            result.astype("f8"), expected, rtol=0.51 * float(ml_dtypes.finfo(dtype).eps), atol=1e-7
        )


def test_a_group_of_one_gives_the_bias_in_any_batch() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("f4")
    bias = np.arange(4, dtype="f4")
    for batch in (x, x[:1]):
        np.testing.assert_array_equal(
            F.group_norm(batch, 4, None, bias), np.broadcast_to(bias, batch.shape)
        )


def test_a_constant_image_has_no_variance() -> None:
    x = np.full((1, 3, 100, 100), 0.1, "f4")
    for result in (F.group_norm(x, 1), F.instance_norm(x), F.layer_norm(x, (100, 100))):
        np.testing.assert_allclose(result, 0, atol=1e-10)


def test_empty_batches() -> None:
    x = np.zeros((0, 4, 3), "f4")
    c = np.zeros(4, "f4")
    for result in (F.batch_norm(x, c, c), F.group_norm(x, 2), F.local_response_norm(x, 2)):
        assert result.shape == x.shape
    assert F.layer_norm(np.zeros((2, 0), "f4"), 0).shape == (2, 0)


def test_running_statistics_are_asked_for() -> None:
    x, c = np.zeros((1, 4, 3), "f4"), np.zeros(4, "f4")
    with pytest.raises(ValueError, match="running_mean and running_var to be defined when use_inp"):
        F.instance_norm(x, use_input_stats=False)
    with pytest.raises(ValueError, match="training=True"):
        F.batch_norm(x, c, c, training=True)
    with pytest.raises(TypeError, match="use_input_stats must be True or False"):
        F.instance_norm(x, use_input_stats="no")  # type: ignore[arg-type]
