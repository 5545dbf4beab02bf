"""Every pool against PyTorch where the meanings agree, and against its definition where not."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as torch_f
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from tests.libraries import BACKENDS
from tests.tolerance import poisoned, small_integers

# The C extension's kernels are of floats.
INTEGER_BACKENDS = tuple(name for name in BACKENDS if name != "c")
COMMON = settings(max_examples=50, deadline=None)
Array = np.ndarray[Any, Any]


@st.composite
def pool_cases(draw: Any) -> dict[str, Any]:
    """Draw a sliding-window pool that is legal in torch; dilation is for max pools."""
    n = draw(st.sampled_from((1, 2, 2, 3)))
    kernel = [draw(st.integers(1, (11, 5, 3)[n - 1])) for _ in range(n)]
    dilation = [draw(st.sampled_from((1, 1, 2, 3))) for _ in range(n)]
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    stride = [draw(st.sampled_from((1, 1, 2, 3, 7))) for _ in range(n)]
    least = [
        max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    size = [low + draw(st.integers(0, (50, 17, 5)[n - 1])) for low in least]
    return {
        "n": n,
        "shape": (draw(st.integers(1, 2)), draw(st.sampled_from((1, 2, 3, 17))), *size),
        "kernel_size": kernel,
        "stride": draw(st.sampled_from((stride, stride, None))),
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": draw(st.booleans()),
        "last": draw(st.booleans()),
        "dtype": draw(st.sampled_from(("float32", "float64"))),
        "seed": draw(st.integers(0, 2**16)),
    }


def chosen(case: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: case[name] for name in names}


def data(case: dict[str, Any]) -> Array:
    """Small integers: sums are exact, and ties are common."""
    rng = np.random.default_rng(case["seed"])
    return small_integers(rng, case["shape"], case["dtype"], 9)


def run(name: str, x: Array, last: bool, *args: Any, **options: Any) -> Any:
    """Call fastconv in a layout, on a poisoned output, and give the result NC..."""
    function = getattr(F, name)
    if last:
        x = np.moveaxis(x, 1, -1)
        options["layout"] = "NHWC"
    expected = function(x, *args, **options)
    shape = expected[0].shape if isinstance(expected, tuple) else expected.shape
    out = poisoned(shape, x.dtype)
    result = function(x, *args, out=out, **options)
    if isinstance(result, tuple):
        assert result[0] is out
        return tuple(np.moveaxis(r, -1, 1) if last else r for r in result)
    assert result is out
    return np.moveaxis(result, -1, 1) if last else result


@pytest.mark.parametrize("backend", BACKENDS)
@COMMON
@given(case=pool_cases())
def test_max_pool_is_torch(backend: str, case: dict[str, Any]) -> None:
    x, name = data(case), f"max_pool{case['n']}d"
    options = chosen(case, "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    values, indices = getattr(torch_f, name)(torch.from_numpy(x), **options, return_indices=True)
    with_indices = run(name, x, case["last"], **options, return_indices=True, backend=backend)
    # Where dilation steps over a small image, torch gives places outside of it; we give -1.
    seen = with_indices[1] >= 0
    assert (np.isneginf(with_indices[0]) == ~seen).all()
    np.testing.assert_array_equal(with_indices[0], values.numpy())
    np.testing.assert_array_equal(with_indices[1][seen], indices.numpy()[seen])
    result = run(name, x, case["last"], **options, backend=backend)
    np.testing.assert_array_equal(result, values.numpy())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_no_tap_meets_have_no_place(backend: str, dtype: str) -> None:
    # Two taps, three apart, step over two rows: one is in front of them, one behind.
    x = np.zeros((2, 3, 2, 37), dtype)
    options = {"kernel_size": (2, 1), "stride": 1, "padding": (1, 0), "dilation": (3, 1)}
    values, _ = torch_f.max_pool2d(torch.from_numpy(x), **options, return_indices=True)
    assert torch.isneginf(values).all()
    for last in (False, True):
        got = run("max_pool2d", x, last, **options, return_indices=True, backend=backend)
        np.testing.assert_array_equal(got[0], values.numpy())
        assert (got[1] == -1).all()


@pytest.mark.parametrize("backend", BACKENDS)
@COMMON
@given(case=pool_cases(), include=st.booleans(), divisor=st.sampled_from((None, None, 3, -2)))
def test_avg_pool_is_torch(backend: str, case: dict[str, Any], include: bool, divisor: Any) -> None:
    x, name = data(case), f"avg_pool{case['n']}d"
    options = chosen(case, "kernel_size", "stride", "padding", "ceil_mode")
    options["count_include_pad"] = include
    if case["n"] > 1:
        options["divisor_override"] = divisor
    if case["n"] == 3:  # torch counts no padding when it compares sizes there
        assume(all(k <= s for k, s in zip(case["kernel_size"], case["shape"][2:], strict=True)))
    expected = getattr(torch_f, name)(torch.from_numpy(x), **options).numpy()
    result = run(name, x, case["last"], **options, backend=backend)
    # The sum is exact; one division here, and up to one in torch.
    np.testing.assert_allclose(result, expected, rtol=2 * np.finfo(x.dtype).eps, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@COMMON
@given(case=pool_cases(), p=st.sampled_from((1.0, 2.0, 3.0, 4.0, 2.5, 0.5, 20.0)))
def test_lp_pool_is_torch_where_nothing_is_negative(
    backend: str, case: dict[str, Any], p: float
) -> None:
    x, name = np.abs(data(case)).astype("float64"), f"lp_pool{case['n']}d"
    options = chosen(case, "kernel_size", "stride")
    assume(all(k <= s for k, s in zip(case["kernel_size"], case["shape"][2:], strict=True)))
    expected = torch_lp_pool(x, p, case)
    result = run(name, x.astype(case["dtype"]), case["last"], p, **options, backend=backend)
    # A sum of positive powers, then a root, all in float64; rounded once to the dtype. The
    # oracle's mean, times the count, adds as much again.
    cells = int(np.prod(case["kernel_size"]))
    eps = np.finfo(case["dtype"]).eps + (2 * cells + 8 * max(p, 1 / p)) * np.finfo("f8").eps
    np.testing.assert_allclose(result, expected, rtol=eps, atol=0)


def torch_lp_pool(x: Array, p: float, case: dict[str, Any]) -> Array:
    """torch's lp_pool, which takes one int in one dimension and tuples in more."""
    kernel, stride = (
        None if v is None else (v[0] if case["n"] == 1 else tuple(v))
        for v in (case["kernel_size"], case["stride"])
    )
    function = getattr(torch_f, f"lp_pool{case['n']}d")
    return function(torch.from_numpy(x), p, kernel, stride).numpy()


@st.composite
def adaptive_cases(draw: Any) -> dict[str, Any]:
    n = draw(st.sampled_from((1, 2, 2, 3)))
    size = [draw(st.integers(1, (90, 19, 6)[n - 1])) for _ in range(n)]
    return {
        "n": n,
        "shape": (draw(st.integers(1, 2)), draw(st.sampled_from((1, 2, 3, 17))), *size),
        "output_size": tuple(
            draw(st.sampled_from((None, 1, 2, 3, 5, 7, size[i]))) for i in range(n)
        ),
        "last": draw(st.booleans()),
        "dtype": draw(st.sampled_from(("float32", "float64"))),
        "seed": draw(st.integers(0, 2**16)),
    }


@pytest.mark.parametrize("backend", BACKENDS)
@COMMON
@given(case=adaptive_cases())
def test_adaptive_pools_are_torch(backend: str, case: dict[str, Any]) -> None:
    x, n, size = data(case), case["n"], case["output_size"]
    given = size[0] if n == 1 else size  # torch takes None in tuples of 2 or 3 alone
    given = x.shape[2] if given is None else given
    most, places = getattr(torch_f, f"adaptive_max_pool{n}d")(
        torch.from_numpy(x), given, return_indices=True
    )
    name = f"adaptive_max_pool{n}d"
    result = run(name, x, case["last"], size, return_indices=True, backend=backend)
    np.testing.assert_array_equal(result[0], most.numpy())
    np.testing.assert_array_equal(result[1], places.numpy())
    result = run(name, x, case["last"], size, backend=backend)
    np.testing.assert_array_equal(result, most.numpy())
    mean = getattr(torch_f, f"adaptive_avg_pool{n}d")(torch.from_numpy(x), given).numpy()
    result = run(f"adaptive_avg_pool{n}d", x, case["last"], size, backend=backend)
    # The sum is exact; one division here, one a dimension in torch.
    np.testing.assert_allclose(result, mean, rtol=(n + 1) * np.finfo(x.dtype).eps, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("size", [(1,), (49,), (500,), (7, 7), (13, 40), (3, 4, 5), (2, 3, 2, 3)])
def test_global_pools_reduce_all_there_is(backend: str, last: bool, size: tuple[int, ...]) -> None:
    x = small_integers(np.random.default_rng(3), (2, 19, *size), "float32", 50)
    axes = tuple(range(2, x.ndim))
    wide = x.astype("f8")
    largest = run("global_max_pool", x, last, backend=backend)
    np.testing.assert_array_equal(largest, x.max(axes, keepdims=True))
    mean = run("global_avg_pool", x, last, backend=backend)
    np.testing.assert_array_equal(mean, wide.mean(axes, keepdims=True).astype("f4"))
    for p in (1, 2, 3, np.inf):
        norm = np.linalg.norm(wide.reshape(2, 19, -1), p, axis=2).reshape(mean.shape)
        result = run("global_lp_pool", x, last, p, backend=backend)
        np.testing.assert_allclose(result, norm, rtol=2 * np.finfo("f4").eps)
    assert F.global_lp_pool(x).shape == (2, 19, *(1,) * len(size))


def windows(case: dict[str, Any], place: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    """List (cell, tap) of one window a dimension, straight from the definition."""
    stride = case["stride"] or case["kernel_size"]
    return [
        [(o * stride[i] - case["padding"][i] + tap, tap) for tap in range(case["kernel_size"][i])]
        for i, o in enumerate(place)
    ]


def weighted_by_definition(x: Array, w: Array, case: dict[str, Any], include: bool) -> Array:
    """Average every window by visiting its cells."""
    shape = torch_output_shape(case)
    size = x.shape[2:]
    result = np.zeros((*x.shape[:2], *shape))
    for place in itertools.product(*map(range, shape)):
        weight = 0.0
        for cells in itertools.product(*windows(case, place)):
            at = tuple(c[0] for c in cells)
            tap = tuple(c[1] for c in cells)
            inside = all(0 <= a < s for a, s in zip(at, size, strict=True))
            counted = all(a < s + p for a, s, p in zip(at, size, case["padding"], strict=True))
            if inside:
                result[(..., *place)] += x[(..., *at)].astype("f8") * w[tap]
            if inside or (include and counted):
                weight += w[tap]
        result[(..., *place)] /= weight
    return result


def torch_output_shape(case: dict[str, Any]) -> tuple[int, ...]:
    options = chosen(case, "kernel_size", "stride", "padding", "ceil_mode")
    x = torch.zeros((1, 1, *case["shape"][2:]))
    return tuple(getattr(torch_f, f"avg_pool{case['n']}d")(x, **options).shape[2:])


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=30, deadline=None)
@given(case=pool_cases(), include=st.booleans())
def test_weighted_pool_is_its_definition(backend: str, case: dict[str, Any], include: bool) -> None:
    case["shape"] = (*case["shape"][:2], *(min(s, 14) for s in case["shape"][2:]))
    case["kernel_size"] = [
        min(k, s) for k, s in zip(case["kernel_size"], case["shape"][2:], strict=True)
    ]
    case["padding"] = [
        min(p, k // 2) for p, k in zip(case["padding"], case["kernel_size"], strict=True)
    ]
    x = data(case)
    w = np.random.default_rng(case["seed"]).uniform(0.1, 1, case["kernel_size"])
    options = chosen(case, "kernel_size", "stride", "padding", "ceil_mode")
    expected = weighted_by_definition(x, w, case, include)
    result = run(
        f"weighted_pool{case['n']}d", x, case["last"], **options, weights=w,
        count_include_pad=include, backend=backend,
    )  # fmt: skip
    # |x| <= 9 under weights that sum to 1; roundings of weights, products, sums, the division.
    # Few cells counted magnify what the weights' scaling rounds, by up to 10 = 1 / 0.1.
    allowed = 9 * 10 * (w.size + 4) * np.finfo(x.dtype).eps / 2
    np.testing.assert_allclose(result, expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("last", [False, True])
def test_named_weights_are_their_formulas(backend: str, last: bool) -> None:
    x = np.random.default_rng(4).standard_normal((1, 3, 9, 11))
    rows, columns = np.arange(4) - 1.5, np.arange(3) - 1.0
    gaussian = np.exp(-0.5 * ((rows[:, None] / (4 / 6)) ** 2 + (columns[None] / (3 / 6)) ** 2))
    distance = 1 / (1 + np.hypot(rows[:, None], columns[None]))
    for name, weights in (("gaussian", gaussian), ("inverse_distance", distance)):
        named = run("weighted_pool2d", x, last, (4, 3), 2, 1, name, backend=backend)
        given = run("weighted_pool2d", x, last, (4, 3), 2, 1, weights, backend=backend)
        np.testing.assert_allclose(named, given, rtol=0, atol=1e-15)
        assert np.isclose(named[0, 0, 1, 1], (x[0, 0, 1:5, 1:4] * weights / weights.sum()).sum())


@pytest.mark.parametrize("backend", BACKENDS)
def test_even_weights_are_the_plain_mean(backend: str) -> None:
    x = np.random.default_rng(4).standard_normal((2, 3, 9, 11))
    for include in (False, True):
        options = {"count_include_pad": include, "ceil_mode": True, "backend": backend}
        weighted = F.weighted_pool2d(x, 3, 2, 1, np.ones((3, 3), "i4"), **options)
        np.testing.assert_allclose(weighted, F.avg_pool2d(x, 3, 2, 1, **options), atol=1e-15)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("p", [1, 3, np.inf])
def test_lp_pool_takes_the_size_of_negative_cells(backend: str, p: float) -> None:
    x = small_integers(np.random.default_rng(5), (2, 3, 8, 9), "float64", 9)
    cells = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(2, 3))[:, :, ::2, ::2]
    expected = np.linalg.norm(cells.reshape(*cells.shape[:4], -1), p, axis=-1)
    result = F.lp_pool2d(x, p, (3, 2), 2, backend=backend)
    np.testing.assert_allclose(result, expected, rtol=1e-14)
    # Padding adds nothing, and a window that ceil_mode cuts short is not scaled up.
    padded = F.lp_pool2d(x, p, (3, 2), 2, True, padding=((1, 1), (0, 1)), backend=backend)
    wide = np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 1)))
    expected = F.lp_pool2d(wide, p, (3, 2), 2, backend="reference")
    np.testing.assert_allclose(padded, expected[:, :, : padded.shape[2], : padded.shape[3]])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("last", [False, True])
def test_nan_wins_in_max_pools_and_stays_in_its_windows(backend: str, last: bool) -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2, 3, 12, 20)).astype("f4")
    x[1, 2, 5, 7] = np.nan
    x[1, 2, 4, 8] = np.nan
    x[0, 0, 0, 0] = np.inf
    expected = torch_f.max_pool2d(torch.from_numpy(x), 3, 1, 1).numpy()
    result = run("max_pool2d", x, last, 3, 1, 1, backend=backend)
    np.testing.assert_array_equal(result, expected)
    values, indices = run("max_pool2d", x, last, 3, 1, 1, return_indices=True, backend=backend)
    np.testing.assert_array_equal(values, expected)
    assert indices[1, 2, 5, 7] == 4 * 20 + 8  # the first of the two
    assert indices[1, 2, 6, 6] == 5 * 20 + 7
    for name in ("avg_pool2d", "weighted_pool2d"):
        mean = run(name, x, last, 3, 1, 1, backend=backend)
        np.testing.assert_array_equal(np.isnan(mean), np.isnan(expected))
    for p in (2, np.inf):
        norm = run("lp_pool2d", x, last, p, 3, 1, padding=1, backend=backend)
        np.testing.assert_array_equal(np.isnan(norm), np.isnan(expected))
    assert np.isnan(run("global_max_pool", x, last, backend=backend)[1, 2, 0, 0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_is_never_chosen_even_below_everything(backend: str) -> None:
    x = np.full((1, 1, 4, 4), -np.inf, "f4")
    values, indices = F.max_pool2d(x, 3, 2, 1, return_indices=True, backend=backend)
    assert np.isneginf(values).all()
    np.testing.assert_array_equal(indices[0, 0], [[0, 1], [4, 5]])


@pytest.mark.parametrize("backend", INTEGER_BACKENDS)
def test_padding_is_never_chosen_even_below_every_integer(backend: str) -> None:
    small = np.full((1, 1, 4, 4), -128, "i1")
    values, indices = F.max_pool2d(small, 3, 2, 1, return_indices=True, backend=backend)
    assert (values == -128).all()
    np.testing.assert_array_equal(indices[0, 0], [[0, 1], [4, 5]])


@pytest.mark.parametrize("backend", INTEGER_BACKENDS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_integer_max_pools_are_exact(backend: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    rng = np.random.default_rng(7)
    x = rng.integers(info.min, info.max, (2, 5, 9, 40), dtype, endpoint=True)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=info.min)
    cells = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    for last in (False, True):
        result = run("max_pool2d", x, last, 3, 2, 1, backend=backend)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, cells.max((-2, -1)))


@pytest.mark.parametrize("dtype", [np.dtype("float16"), np.dtype(ml_dtypes.bfloat16)])
def test_half_precision_is_computed_wide_and_rounded_once(dtype: Any) -> None:
    x = np.random.default_rng(8).standard_normal((2, 5, 9, 10)).astype(dtype)
    wide = x.astype("f8")
    calls = [
        lambda a: F.max_pool2d(a, 3, 2, 1),
        lambda a: F.avg_pool2d(a, 3, 2, 1),
        lambda a: F.lp_pool2d(a, 3, 2),
        lambda a: F.weighted_pool2d(a, 3, 2, 1),
        lambda a: F.adaptive_avg_pool2d(a, 4),
        lambda a: F.global_avg_pool(a),
        lambda a: F.global_lp_pool(a),
    ]
    for call in calls:
        result, exact = call(x), call(wide)
        assert result.dtype == dtype
        # The wide sums may be an ulp of float64 apart: at most a unit in the last place here.
        unit = float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(result.astype("f8"), exact, rtol=unit)
    values, indices = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    flat = x.reshape(2, 5, -1)
    there = np.take_along_axis(flat, indices.reshape(2, 5, -1), 2).reshape(values.shape)
    np.testing.assert_array_equal(there, values)


@pytest.mark.parametrize("backend", BACKENDS)
@COMMON
@given(case=pool_cases())
def test_max_unpool_is_torch(backend: str, case: dict[str, Any]) -> None:
    n, x = case["n"], data(case)
    stride = case["stride"] or case["kernel_size"]
    # Windows apart, so that no place is written twice: torch leaves open who wins.
    case["stride"] = [max(s, k) for s, k in zip(stride, case["kernel_size"], strict=True)]
    options = chosen(case, "kernel_size", "stride", "padding")
    size = [max(s, k) for s, k in zip(case["shape"][2:], case["kernel_size"], strict=True)]
    x = np.resize(x, (*case["shape"][:2], *size))
    values, indices = getattr(torch_f, f"max_pool{n}d")(
        torch.from_numpy(x), **options, return_indices=True
    )
    expected = getattr(torch_f, f"max_unpool{n}d")(
        values, indices, **options, output_size=x.shape
    ).numpy()
    move = (lambda a: np.moveaxis(a, 1, -1)) if case["last"] else (lambda a: a)
    out = poisoned(move(expected).shape, x.dtype)
    layout = "NHWC" if case["last"] else "NCHW"
    function = getattr(F, f"max_unpool{n}d")
    result = function(
        move(values.numpy()), move(indices.numpy()), **options, output_size=out.shape,
        layout=layout, out=out, backend=backend,
    )  # fmt: skip
    assert result is out
    np.testing.assert_array_equal(result, move(expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_max_unpool_refuses_places_outside(backend: str) -> None:
    x = np.ones((1, 1, 2, 2), "f4")
    for wrong in (16, -1, 2**40):
        indices = np.array([[[[0, 3], [8, wrong]]]])
        out = np.full((1, 1, 4, 4), 7, "f4")
        with pytest.raises(ValueError, match="Found an invalid max index"):
            F.max_unpool2d(x, indices, 2, out=out, backend=backend)
        assert (out == 7).all()
    both = np.zeros((1, 1, 2, 2), np.int64)
    values = np.arange(4, dtype="f4").reshape(1, 1, 2, 2)
    assert F.max_unpool2d(values, both, 2, backend=backend)[0, 0, 0, 0] == 3  # the last stays


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_in_all_its_spellings(backend: str) -> None:
    x = small_integers(np.random.default_rng(9), (1, 2, 7, 8), "f4", 9)
    for stride in (1, 2, 3):
        same = F.avg_pool2d(x, (3, 4), stride, "same", count_include_pad=False, backend=backend)
        assert same.shape[2:] == (-(-7 // stride), -(-8 // stride))
    pairs = ((2, 0), (1, 3))
    low = np.pad(x, ((0, 0), (0, 0), *pairs), constant_values=-np.inf)
    most = F.max_pool2d(x, (3, 4), 2, pairs, backend=backend)
    np.testing.assert_array_equal(most, F.max_pool2d(low, (3, 4), 2, backend="reference"))
    zero = np.pad(x, ((0, 0), (0, 0), *pairs))
    mean = F.avg_pool2d(x, (3, 4), 2, pairs, backend=backend)
    np.testing.assert_array_equal(mean, F.avg_pool2d(zero, (3, 4), 2, backend="reference"))
    valid = F.avg_pool2d(x, 3, padding="valid", backend=backend)
    np.testing.assert_array_equal(valid, F.avg_pool2d(x, 3, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_unbatched_and_empty_batches(backend: str) -> None:
    x = small_integers(np.random.default_rng(10), (3, 8, 8), "f4", 9)
    for name, args in (
        ("max_pool2d", (2,)),
        ("avg_pool2d", (2,)),
        ("lp_pool2d", (2, 2)),
        ("weighted_pool2d", (2,)),
        ("adaptive_max_pool2d", (3,)),
        ("adaptive_avg_pool2d", (3,)),
    ):
        function = getattr(F, name)
        single, batch = function(x, *args, backend=backend), function(x[None], *args)
        assert single.shape == batch.shape[1:]
        np.testing.assert_allclose(single, batch[0], rtol=1e-6)
        assert function(x[None][:0], *args, backend=backend).shape == (0, *single.shape)
    values, indices = F.max_pool2d(x, 2, return_indices=True, backend=backend)
    assert values.shape == indices.shape == (3, 4, 4)
    assert F.max_unpool2d(values, indices, 2, backend=backend).shape == (3, 8, 8)
    empty = F.max_pool2d(x[None][:0], 2, return_indices=True, backend=backend)
    assert empty[0].shape == empty[1].shape == (0, 3, 4, 4)
    assert empty[1].dtype == np.int64
    out = poisoned((0, 3, 4, 4), "f4")
    assert F.max_pool2d(x[None][:0], 2, return_indices=True, out=out)[0] is out


@pytest.mark.parametrize("backend", BACKENDS)
def test_awkward_arrays_and_outputs(backend: str) -> None:
    x = small_integers(np.random.default_rng(11), (2, 3, 9, 10), "f8", 9)
    expected = F.avg_pool2d(x, 3, 2, backend="reference")
    views = [
        np.asfortranarray(x),
        np.repeat(x, 2, axis=3)[..., ::2],
        x.astype(">f8"),
        x[..., ::-1].copy()[..., ::-1],
    ]
    views[0].flags.writeable = False
    for view in views:
        np.testing.assert_array_equal(F.avg_pool2d(view, 3, 2, backend=backend), expected)
    memory = poisoned((2, 3, 4, 8), "f8")
    for indices in (False, True):
        view = memory[..., ::2]
        F.max_pool2d(x, 3, 2, return_indices=indices, out=view, backend=backend)
        np.testing.assert_array_equal(view, F.max_pool2d(x, 3, 2, backend="reference"))
    assert np.isnan(memory[..., 1::2]).all()
