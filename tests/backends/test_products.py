"""Products of batches of matrices and attention: every path against float64, the same bits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native import arena
from fastconv.backends.native import plan as engine_plan
from fastconv.backends.native.bounds import sum_bound
from fastconv.dispatch import choose
from fastconv.problem import AttentionProblem, MatmulProblem
from fastconv.problem.matmul import Matrices
from tests.libraries import LIBRARIES, use
from tests.tolerance import poisoned

RNG = np.random.default_rng(3)
# Few rows and many, batches to share out and none, broadcast ones, panels that are not full,
# one column, an empty sum.
PRODUCTS = [
    ((3, 5, 7), (3, 7, 9)),
    ((6, 197, 64), (6, 64, 197)),
    ((33, 5), (5, 70)),
    ((1, 300), (300, 129)),
    ((2, 1, 5, 6), (3, 6, 40)),
    ((6, 2, 40), (40, 100)),
    ((5, 33, 17), (17, 1)),
    ((1, 12, 700), (1, 700, 45)),
    ((4, 64, 3), (4, 3, 16)),
    ((7,), (4, 7, 3)),
    ((4, 3, 7), (7,)),
    ((5, 0), (0, 40)),
]
ATTENTION = [
    ((2, 3, 50, 16), (2, 3, 70, 16), 24, None, None),
    ((5, 197, 64), (5, 197, 64), 64, None, None),
    ((2, 100, 32), (2, 350, 32), 32, (100, 350), None),
    ((1, 1, 20), (1, 30, 20), 7, None, None),
    ((3, 5, 9, 8), (5, 11, 8), 3, (3, 1, 1, 11), None),
    ((3, 5, 9, 8), (5, 11, 8), 3, (9, 1), None),
    ((1, 300, 40), (1, 400, 40), 40, None, 0),
    ((4, 50, 8), (4, 30, 8), 8, None, 3),
    ((4, 30, 8), (4, 50, 8), 8, None, -4),
]


@pytest.fixture(params=LIBRARIES)
def backend(request: Any, monkeypatch: Any) -> str:
    """Return the backend of a library of kernels, at one of its instruction sets."""
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    monkeypatch.setattr(fastconv.settings, "_threads", 1)
    return use(request.param, monkeypatch)


def drawn(shape: tuple[int, ...], dtype: str) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def on_threads(problem: Any, inputs: tuple[Any, ...], backend: str) -> Any:
    """Run on 1, 2 and 5 threads in poisoned memory; return the result, which is always the same."""
    plan = choose(problem, backend=backend).algorithm.plan(problem)
    results = []
    for threads in (1, 2, 5):
        fastconv.settings.set_num_threads(threads)
        arena.take(1 << 20)
        arena.poison()
        out = poisoned(problem.output_shape, problem.dtype)
        results.append(plan.run(*inputs, out=out))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    return results[0]


def bound(length: int, dtype: Any) -> float:
    return sum_bound(max(1, length), float(np.finfo(dtype).eps) / 2)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("left", "right"), PRODUCTS)
def test_matmul_of_every_form_is_within_its_bound(
    left: Any, right: Any, dtype: str, backend: str
) -> None:
    a, b = drawn(left, dtype), drawn(right, dtype)
    problem = MatmulProblem.of(a, b)
    found = on_threads(problem, (a, b), backend)
    wide = np.longdouble if dtype == "f8" else np.float64
    expected = (
        np.einsum("...i,...i", a.astype(wide), b.astype(wide))
        if found.ndim == 0
        else (np.matmul(a.astype(wide), b.astype(wide)))
    )
    length = a.shape[-1]
    limit = bound(length, dtype) * np.sqrt(max(1, length)) * 2
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)
    # Operands that are transposed, read where they are, have the same sums in the same order.
    turned = [np.ascontiguousarray(v.swapaxes(-1, -2)).swapaxes(-1, -2) if v.ndim > 1 else v
              for v in (a, b)]  # fmt: skip
    for first, second in ((turned[0], b), (a, turned[1]), turned):
        again = F.matmul(first, second, backend=backend)
        np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("query", "key", "values", "mask", "causal"), ATTENTION)
def test_attention_of_every_form_is_within_its_bound(
    query: Any, key: Any, values: int, mask: Any, causal: Any, dtype: str, backend: str
) -> None:
    arrays = [drawn(query, dtype), drawn(key, dtype), drawn((*key[:-1], values), dtype)]
    arrays += [] if mask is None else [drawn(mask, dtype)]
    problem = AttentionProblem.of(*arrays, causal=causal)
    found = on_threads(problem, tuple(arrays), backend)
    wide = [v.astype("f8") for v in arrays]
    exact = AttentionProblem.of(*wide, causal=causal)
    expected = choose(exact, backend="reference").algorithm.plan(exact).run(*wide)
    # A score's error is an exponential's relative one; weights add up to 1.
    width, keys = query[-1], key[-2]
    limit = 8 * (bound(width, dtype) * 2 + bound(keys, dtype) + 8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)
    for name, place in (("query", 0), ("key", 1), ("value", 2)):
        whole = np.ascontiguousarray(arrays[place].swapaxes(-1, -2))
        steps = Matrices.of(whole.shape, problem.lengths).transposed()
        moved = dataclasses.replace(problem, **{name: steps})
        given = [*arrays[:place], whole, *arrays[place + 1 :]]
        again = choose(moved, backend=backend).algorithm.plan(moved).run(*given)
        np.testing.assert_array_equal(again, found)


def test_batch_of_products_has_each_entry_s_bits(backend: str) -> None:
    a, b = drawn((9, 30, 41), "f4"), drawn((9, 41, 35), "f4")
    whole = F.matmul(a, b, backend=backend)
    q, k, v = (drawn((9, 30, 16), "f4") for _ in range(3))
    attended = F.scaled_dot_product_attention(q, k, v, backend=backend)
    for i in range(9):
        np.testing.assert_array_equal(F.matmul(a[i], b[i], backend=backend), whole[i])
        one = F.scaled_dot_product_attention(q[i], k[i], v[i], backend=backend)
        np.testing.assert_array_equal(one, attended[i])


def test_products_are_stored_where_the_target_says(backend: str) -> None:
    a, b = drawn((2, 3, 19, 8), "f4"), drawn((2, 3, 8, 21), "f4")
    problem = MatmulProblem.of(a, b)
    # (batch, rows, heads, columns), as heads are put together again.
    turned = dataclasses.replace(
        problem, output=(2, 19, 3, 21), target=(19 * 63, 21, 63), scale=0.25
    )
    found = on_threads(turned, (a, b), backend)
    expected = np.float32(0.25) * F.matmul(a, b, backend=backend)
    np.testing.assert_array_equal(found, expected.transpose(0, 2, 1, 3))


@pytest.mark.parametrize(("rows", "depth", "columns"), [(40, 1, 40), (5, 1, 70), (50, 9, 40)])
def test_matmul_of_broadcast_and_reversed_matrices_reads_them(
    rows: int, depth: int, columns: int, backend: str
) -> None:
    """Steps of zero, and backwards, as views have them."""
    a, b = drawn((3, rows, depth), "f4"), drawn((3, columns), "f4")
    problem = MatmulProblem.of(a, np.zeros((3, depth, columns), "f4"))
    once = dataclasses.replace(problem, right=Matrices(b.shape, 0, (columns, 0, 1)))
    expected = F.matmul(a, np.repeat(b[:, None], depth, 1), backend=backend)
    np.testing.assert_array_equal(on_threads(once, (a, b), backend), expected)
    back = Matrices(a.shape, depth - 1, (rows * depth, depth, -1))
    turned = dataclasses.replace(once, left=back)
    expected = F.matmul(a[:, :, ::-1].copy(), np.repeat(b[:, None], depth, 1), backend=backend)
    np.testing.assert_array_equal(on_threads(turned, (a, b), backend), expected)
    q = drawn((5, rows, 1), "f4")
    attended = AttentionProblem.of(q, q, q)
    moved = dataclasses.replace(attended, key=Matrices(q.shape, 0, (rows, 1, 0)))
    expected = on_threads(attended, (q, q, q), backend)
    np.testing.assert_array_equal(on_threads(moved, (q, q, q), backend), expected)


def test_attention_without_keys_to_see_gives_zeros_or_nan(backend: str) -> None:
    q, k, v = drawn((2, 6, 4), "f4"), drawn((2, 5, 4), "f4"), drawn((2, 5, 3), "f4")
    mask = np.zeros((6, 5), "f4")
    mask[2] = -np.inf
    mask[3, 1:] = -np.inf
    for zeros in (True, False):
        problem = AttentionProblem.of(q, k, v, mask, zeros=zeros)
        found = on_threads(problem, (q, k, v, mask), backend)
        assert (found[:, 2] == 0).all() if zeros else np.isnan(found[:, 2]).all()
        np.testing.assert_allclose(found[:, 3], v[:, 0], rtol=1e-6)
        assert np.isfinite(found[:, [0, 1, 3, 4, 5]]).all()
    causal = AttentionProblem.of(q, k, v, causal=-1)
    assert (on_threads(causal, (q, k, v), backend)[:, 0] == 0).all()
    none = AttentionProblem.of(q, k[:, :0], v[:, :0])
    np.testing.assert_array_equal(on_threads(none, (q, k[:, :0], v[:, :0]), backend), 0)


def test_nan_in_operands_reaches_its_outputs_alone(backend: str) -> None:
    a, b = drawn((5, 20, 30), "f4"), drawn((5, 30, 40), "f4")
    a[1, 3, 4], b[2, 5, 39] = np.nan, np.inf
    found = F.matmul(a, b, backend=backend)
    off = ~np.isfinite(found)
    assert off[1, 3].all()
    assert off[2, :, 39].all()
    assert off.sum() == 40 + 20
    q, k, v = (drawn((2, 20, 8), "f4") for _ in range(3))
    q[0, 7, 0] = np.nan
    found = F.scaled_dot_product_attention(q, k, v, backend=backend)
    assert np.isnan(found[0, 7]).all()
    assert np.isnan(found).sum() == 8


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "i8", "u4"])
def test_matmul_of_integers_is_exact(dtype: str) -> None:
    limits = np.iinfo(dtype)
    a = RNG.integers(limits.min, limits.max, (3, 5, 70), dtype, endpoint=True)
    b = RNG.integers(limits.min, limits.max, (3, 70, 4), dtype, endpoint=True)
    found = F.matmul(a, b)
    expected = np.matmul(a.astype("i8"), b.astype("i8"))
    assert found.dtype == (np.int32 if dtype in ("i1", "i2") else np.int64)
    np.testing.assert_array_equal(found, expected.astype(found.dtype))


@pytest.mark.parametrize("dtype", ["c8", "c16", "f2"])
def test_matmul_of_other_dtypes_is_numpy_s(dtype: str) -> None:
    a, b = (RNG.standard_normal(s) for s in ((3, 5, 17), (3, 17, 4)))
    if dtype[0] == "c":
        a, b = a + 1j * RNG.standard_normal(a.shape), b - 1j * RNG.standard_normal(b.shape)
    a, b = a.astype(dtype), b.astype(dtype)
    found = F.matmul(a, b)
    wide = np.complex128 if dtype[0] == "c" else np.float64
    eps = float(np.finfo(dtype).eps)
    assert found.dtype == a.dtype
    expected = np.matmul(a.astype(wide), b.astype(wide))
    np.testing.assert_allclose(found, expected, atol=40 * eps, rtol=eps)
    out = np.empty(found.shape, dtype)
    assert F.matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, found)


def test_arguments_that_do_not_fit_are_named() -> None:
    a = np.zeros((2, 3, 4), "f4")
    with pytest.raises(ValueError, match="mat1 and mat2 shapes cannot be multiplied"):
        F.matmul(a, np.zeros((2, 3, 4), "f4"))
    with pytest.raises(ValueError, match="batch axes of matmul must broadcast"):
        F.matmul(a, np.zeros((3, 4, 5), "f4"))
    with pytest.raises(ValueError, match="at least 1D"):
        F.matmul(np.float32(1), a)
    with pytest.raises(TypeError, match="same dtype"):
        F.matmul(a, np.zeros((4, 3), "f8"))
    attend = F.scaled_dot_product_attention
    with pytest.raises(ValueError, match="same last axis"):
        attend(a, np.zeros((2, 3, 5), "f4"), a)
    with pytest.raises(ValueError, match="attn_mask"):
        attend(a, a, a, np.zeros((3, 4), "f4"))
    with pytest.raises(ValueError, match="dropout_p"):
        attend(a, a, a, None, 0.5)
    with pytest.raises(ValueError, match="is_causal"):
        attend(a, a, a, np.zeros((3, 3), "f4"), is_causal=True)
    with pytest.raises(ValueError, match="multiple"):
        attend(np.zeros((3, 2, 4), "f4"), a, a, enable_gqa=True)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}, {"enable_gqa": True}])
def test_attention_is_torch_s(options: Any) -> None:
    torch = pytest.importorskip("torch")
    heads = 2 if "enable_gqa" in options else 6
    q, k, v = (drawn((2, h, n, 16), "f4") for h, n in ((6, 21), (heads, 33), (heads, 33)))
    given = [torch.from_numpy(x) for x in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*given, **options).numpy()
    found = F.scaled_dot_product_attention(q, k, v, **options)
    np.testing.assert_allclose(found, expected, atol=2 * bound(49, "f4"), rtol=1e-5)
    if not options:
        mask = RNG.random((2, 1, 21, 33)) < 0.7
        mask[0, 0, 3] = False
        args = (*given, torch.from_numpy(mask))
        expected = torch.nn.functional.scaled_dot_product_attention(*args).numpy()
        found = F.scaled_dot_product_attention(q, k, v, mask)
        np.testing.assert_allclose(found, expected, atol=2 * bound(49, "f4"), rtol=1e-5)
