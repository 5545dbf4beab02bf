"""Calls that come again: what an earlier call found out, and what must not be taken from it."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.c import objects
from fastconv.dispatch import Parameter, run
from fastconv.dispatch.plans import plans
from fastconv.functional import again


def drawn(*shape: int, dtype: Any = "f4", seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


X, W, B = drawn(2, 4, 9, 9), drawn(6, 4, 3, 3, seed=1), drawn(6, seed=2)


@pytest.fixture(params=["whole", "extension", "python"], autouse=True)
def keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Repeat calls whole, find them by the extension's keys, and by Python's."""
    if request.param == "python":
        monkeypatch.setattr(again, "key_of", again._key_of)
    elif objects.functions().key_of is None:
        pytest.skip("the C extension was not built")
    with contextlib.nullcontext() if request.param == "whole" else objects.repeats_paused():
        yield


@pytest.fixture
def only_whole(request: pytest.FixtureRequest) -> None:
    # What the environment sets is looked up by Python at each call.
    told = {"FASTCONV_ISA", "FASTCONV_BACKEND", "FASTCONV_NUM_THREADS", "FASTCONV_WORKSPACE_MB"}
    paused = request.config.getoption("--guard-pages") or objects.functions().repeats is None
    paused = paused or not told.isdisjoint(os.environ)
    if paused or request.node.callspec.params["keys"] != "whole":
        pytest.skip("calls are repeated by Python")


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], int]:
    """Count the calls that go the whole way from a problem to a plan."""

    def count(call: Callable[[], Any]) -> int:
        found: list[Any] = []
        solve = run.find_packing_plan

        def counted(*arguments: Any, **options: Any) -> Any:
            found.append(arguments)
            return solve(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "find_packing_plan", counted)
            call()
        return len(found)

    return count


def test_repeated_call_goes_the_short_way_with_the_same_bits(
    solved: Callable[[Callable[[], Any]], int],
) -> None:
    first = F.conv2d(X, W, B, padding=1, stride=(1, 2))
    again_ = F.conv2d(X.copy(), W.copy(), B.copy(), padding=1, stride=(1, 2))
    np.testing.assert_array_equal(first, again_)
    assert solved(lambda: F.conv2d(X, W, B, padding=1, stride=(1, 2))) == 0


def test_changed_elements_are_seen_at_the_next_call() -> None:
    x, w, b = X.copy(), W.copy(), B.copy()
    F.conv2d(x, w, b)
    for array in (x, w, b):
        array[0] += 1
        np.testing.assert_array_equal(
            F.conv2d(x, w, b), F.conv2d(x, Parameter(w), Parameter(b), algorithm=chosen(x, w, b))
        )


def chosen(*arrays: Any) -> str:
    return fastconv.explain("conv2d", *arrays).algorithm


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"stride": 1}, {"stride": True}),
        ({"stride": 1}, {"stride": 1.0}),
        ({"stride": (1, 1)}, {"stride": (True, True)}),
        ({"stride": (1, 1)}, {"stride": (1.0, 1.0)}),
        ({"groups": 1}, {"groups": True}),
        ({"groups": 1}, {"groups": 1.0}),
    ],
)
def test_equal_option_of_a_wrong_type_is_refused_after_a_right_call(
    right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    F.conv2d(X, W, **right)
    F.conv2d(X, W, **right)
    with pytest.raises((TypeError, ValueError)):
        F.conv2d(X, W, **wrong)


def test_arrays_at_other_places_of_a_call_are_told_apart() -> None:
    x, mean, variance, extra = drawn(2, 3, 4), drawn(3), np.abs(drawn(3)) + 1, drawn(3, seed=5)
    for _ in range(2):
        as_weight = F.batch_norm(x, mean, variance, extra, None)
        as_bias = F.batch_norm(x, mean, variance, None, extra)
        by_name = F.batch_norm(x, mean, variance, bias=extra)
        np.testing.assert_array_equal(as_bias, by_name)
        assert not np.array_equal(as_weight, as_bias)


def test_one_array_for_two_arguments_serves_no_other_call() -> None:
    x = drawn(5, 5)
    same = F.linear(x, x)
    np.testing.assert_array_equal(F.linear(x, x), same)
    other = drawn(5, 5, seed=3)
    np.testing.assert_allclose(F.linear(x, other), x @ other.T, rtol=1e-4, atol=1e-5)


def test_arrays_out_of_the_ordinary_after_ordinary_ones() -> None:
    expected = F.conv2d(X, W, B)
    F.conv2d(X, W, B)
    wide = np.zeros((2, 4, 9, 18), np.float32)
    wide[..., ::2] = X
    np.testing.assert_array_equal(F.conv2d(wide[..., ::2], W, B), expected)
    swapped = X.astype(X.dtype.newbyteorder())
    np.testing.assert_array_equal(F.conv2d(swapped, W, B), expected)
    np.testing.assert_array_equal(F.conv2d(np.asfortranarray(X), W, B), expected)
    assert F.conv2d(X.tolist(), W.tolist(), B.tolist()).shape == expected.shape
    with pytest.raises(TypeError):
        F.conv2d(X.astype(object), W, B)
    with pytest.raises(ValueError, match="masked"):
        F.conv2d(np.ma.masked_array(X, X > 0), W, B)


def test_out_is_checked_and_filled_at_each_call() -> None:
    expected = F.conv2d(X, W, B)
    for _ in range(3):
        out = np.full(expected.shape, np.nan, np.float32)
        assert F.conv2d(X, W, B, out=out) is out
        np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="out"):
        F.conv2d(X, W, B, out=np.empty((1, 2), np.float32))
    with pytest.raises(TypeError, match="out"):
        F.conv2d(X, W, B, out=np.empty(expected.shape, np.float64))
    memory = np.zeros(X.size + expected.size, np.float32)
    x = memory[: X.size].reshape(X.shape)
    x[...] = X
    F.conv2d(x, W, B, out=np.empty_like(expected))
    with pytest.raises(ValueError, match="overlap"):
        F.conv2d(x, W, B, out=memory[1 : expected.size + 1].reshape(expected.shape))
    frozen = np.empty_like(expected)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        F.conv2d(X, W, B, out=frozen)


def test_settings_are_followed_from_call_to_call(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = F.conv2d(X, W, B)
    F.conv2d(X, W, B)
    monkeypatch.setenv("FASTCONV_BACKEND", "reference")
    np.testing.assert_array_equal(F.conv2d(X, W, B), F.conv2d(X, W, B, backend="reference"))
    assert not np.array_equal(F.conv2d(X, W, B), exact)
    monkeypatch.setenv("FASTCONV_BACKEND", "no such backend")
    with pytest.raises(ValueError, match="FASTCONV_BACKEND"):
        F.conv2d(X, W, B)
    monkeypatch.delenv("FASTCONV_BACKEND")
    monkeypatch.setenv("FASTCONV_ISA", "generic")
    np.testing.assert_allclose(F.conv2d(X, W, B), exact, rtol=1e-4, atol=1e-5)
    monkeypatch.setenv("FASTCONV_ISA", "no such set")
    with pytest.raises(ValueError, match="FASTCONV_ISA"):
        F.conv2d(X, W, B)


def test_parameters_that_are_replaced_are_not_taken_for_others() -> None:
    first, second = Parameter(W), Parameter(W + 1)
    bias, other = Parameter(B), Parameter(B + 1)
    for _ in range(2):
        for w in (first, second):
            for b in (bias, other, None):
                expected = F.conv2d(X, np.array(w), None if b is None else np.array(b))
                np.testing.assert_allclose(F.conv2d(X, w, b), expected, rtol=1e-3, atol=1e-4)


def test_bias_of_a_deleted_parameter_is_not_taken_for_a_new_one() -> None:
    weight = Parameter(W)
    # All that lives already is left out of the collections: with torch loaded each takes a second.
    gc.freeze()
    try:
        for seed in range(20):
            bias = Parameter(drawn(6, seed=seed))
            first = F.conv2d(X, weight, bias)
            expected = np.array(bias)[None, :, None, None] + 0 * first
            np.testing.assert_allclose(first - F.conv2d(X, weight), expected, atol=1e-4)
            del bias
            gc.collect()
    finally:
        gc.unfreeze()


def test_weights_looked_at_for_their_values_decide_at_each_call() -> None:
    x = drawn(1, 1, 600, 600)
    line = drawn(1, 1, 1, 9)
    product, other = line * drawn(1, 1, 9, 1, seed=7), drawn(1, 1, 9, 9, seed=8)
    for weight in (product, other, product, other):
        expected = F.conv2d(x, weight, backend="reference")
        np.testing.assert_allclose(F.conv2d(x, weight), expected, rtol=1e-3, atol=1e-3)


def test_unbatched_input_has_an_unbatched_result_again() -> None:
    for _ in range(3):
        assert F.conv2d(X[0], W, B).shape == (6, 7, 7)
        assert F.linear(B, np.ascontiguousarray(W[:, 0, 0, :1].T.repeat(3, 0))).shape == (3,)


def test_empty_batches_and_errors_are_not_remembered() -> None:
    for _ in range(2):
        assert F.conv2d(np.empty((0, 4, 9, 9), np.float32), W, B).shape == (0, 6, 7, 7)
        with pytest.raises(ValueError, match="channels"):
            F.conv2d(X[:, :3].copy(), W, B)


def test_many_threads_take_the_same_calls() -> None:
    expected = {n: F.conv2d(X[:, :, :n].copy(), W, B) for n in range(3, 10)}
    wrong: list[int] = []

    def work() -> None:
        for _ in range(30):
            for n, result in expected.items():
                if not np.array_equal(F.conv2d(X[:, :, :n].copy(), W, B), result):
                    wrong.append(n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_calls_kept_are_bounded() -> None:
    calls = F.relu.__closure__
    assert calls is not None
    for n in range(1, again.MOST_CALLS + 200):
        F.relu(np.zeros(n, np.float32))
    kept = next(c.cell_contents for c in calls if isinstance(c.cell_contents, dict))
    assert 0 < len(kept) <= again.MOST_CALLS


def test_keys_of_extension_and_python_tell_the_same_calls_apart() -> None:
    if objects.functions().key_of is None:
        pytest.skip("the C extension was not built")
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((X, W, B), {}), ((X, W, None), {}), ((X, W), {"bias": B}), ((X, W, B, 1), {}),
        ((X, W, B, True), {}), ((X, W, B, 1.0), {}), ((X, W, B, (1, 1)), {}),
        ((X, W, B), {"stride": 1}), ((X, W, B), {"stride": 2}), ((X[:1], W, B), {}),
        ((X.astype("f8"), W, B), {}), ((X, W, B), {"activation": ("leaky_relu", 0.5)}),
        ((X, W, B), {"activation": "relu"}), ((X, Parameter(W), B), {}),
        ((X.astype(">f4"), W, B), {}), ((X, W, B), {"padding": ((1, 1), (0, 0))}),
        ((X[..., ::2], W, B), {}), ((X[..., ::2].copy(), W, B), {}),
        ((X, W[::-1], B), {}), ((X, W[..., ::-1], B), {}), ((X, W.swapaxes(2, 3), B), {}),
        ((X, W, np.repeat(B, 2)[::2]), {}), ((X, W, B[::-1]), {}),
    ]  # fmt: skip
    for find in (objects.functions().key_of, again._key_of):
        keys = [find(0, *call)[0] for call in calls]
        assert len(set(keys)) == len(calls)
        assert [find(0, *call)[0] for call in calls] == keys
    ordinary: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((X, W, [1]), {}), ((X, W), {"stride": np.int64(1)}), ((X, W), {"out": X[..., ::2]}),
        ((X, W, (True, 1)), {}), ((X, W, ((1.5,), 1)), {}), ((X, W, object()), {}),
        ((X, W), {"activation": ("leaky_relu", 0.0)}), ((X.view(np.matrix) if 0 else "x", {}), {}),
    ]  # fmt: skip
    for find in (objects.functions().key_of, again._key_of):
        assert [find(0, *call) for call in ordinary] == [None] * len(ordinary)


def repeated_calls() -> dict[str, tuple[Callable[[], Any], Any]]:
    """Return calls that the extension repeats whole, and what is written before the second one."""
    weight, bias = Parameter(W), Parameter(B)
    x = X.copy()
    scale, shift, mean, variance = (np.abs(drawn(4, seed=n)) + 1 for n in range(4))
    return {
        "relu": (lambda: F.relu(x), x),
        "softmax": (lambda: F.softmax(x, dim=-1), x),
        "pad": (lambda: F.pad(x, (1, 2), "constant", 0.5), x),
        "conv2d": (lambda: F.conv2d(x, W, B, padding=(1, 0), activation=("leaky_relu", 0.1)), x),
        "Parameter": (lambda: F.conv2d(x, weight, bias), x),
        "part": (lambda: F.conv2d(x, weight, B), x),
        "unbatched": (lambda: F.conv2d(x[0], W), x),
        "batch_norm": (lambda: F.batch_norm(x, mean, variance, scale, bias=shift), shift),
        "threads": (lambda: F.conv2d(np.resize(x, (2, 4, 90, 90)), W, B), x),
    }


@pytest.mark.parametrize("name", repeated_calls())
def test_repeated_call_without_python_has_the_same_result(
    name: str, only_whole: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, changed = repeated_calls()[name]
    call()
    first = call()
    changed[...] = np.roll(changed, 1) + 0.25
    with monkeypatch.context() as patch:
        patch.setattr(again, "key_of", None)
        second = call()
    with objects.repeats_paused():
        expected = call()
    np.testing.assert_array_equal(second, expected)
    assert not np.array_equal(first, second)
    assert type(second) is np.ndarray
    assert (second.base, second.dtype, second.strides) == (None, expected.dtype, expected.strides)
    assert second.flags.owndata
    assert second.flags.writeable
    assert second.flags.aligned


def test_repeated_calls_leave_no_references_and_no_memory(only_whole: None) -> None:
    calls = [call for call, _ in repeated_calls().values()][:-1]
    for call in calls * 3:
        call()
    dtype = np.dtype("f4")
    held = [dtype, W, B, run, None]
    gc.collect()
    before = [sys.getrefcount(value) for value in held]
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        for _ in range(100_000 // len(calls)):
            for call in calls:
                call()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - start
    finally:
        tracemalloc.stop()
    # Python keeps a few free objects of its own.
    assert grown < 20_000
    after = [sys.getrefcount(value) for value in held]
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) < 50


def test_calls_of_plans_and_parameters_that_are_gone_are_not_repeated(only_whole: None) -> None:
    plans.clear()
    for seed in range(3):
        weight = Parameter(drawn(6, 4, 3, 3, seed=seed))
        for _ in range(3):
            np.testing.assert_array_equal(F.conv2d(X, weight), F.conv2d(X, Parameter(weight)))
        gone = weakref.ref(weight)
        del weight
        gc.collect()
        # The table of calls holds neither the parameter nor the plan with its packed form.
        assert gone() is None
    first = F.relu(X)
    plans.clear()
    gc.collect()
    np.testing.assert_array_equal(F.relu(X), first)
