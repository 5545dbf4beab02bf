"""Calls whose weight is a Parameter and whose other parameters are plain arrays."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native.plan import Constant, Given, HostWeights, NativePlan, Weights
from fastconv.dispatch import Parameter
from fastconv.dispatch.registry import backend_available


def drawn(*shape: int, dtype: Any = "f4", seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


CALLS: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "direct": (F.conv2d, (2, 6, 9, 9), (5, 6, 3, 3), {"algorithm": "direct"}),
    "im2col": (F.conv2d, (2, 6, 9, 9), (5, 6, 3, 3), {"algorithm": "im2col"}),
    "planar": (F.conv2d, (2, 6, 9, 9), (5, 6, 3, 3), {"algorithm": "planar"}),
    "winograd4": (F.conv2d, (2, 6, 9, 9), (5, 6, 3, 3), {"algorithm": "winograd4"}),
    "fft": (F.conv2d, (2, 4, 40, 40), (4, 1, 9, 9), {"algorithm": "fft", "groups": 4}),
    "transposed": (F.conv_transpose2d, (2, 6, 5, 5), (6, 5, 3, 3), {"stride": 2}),
    "linear": (F.linear, (3, 40), (7, 40), {}),
}
DTYPES = ("f4", "f8", "f2")
called = pytest.mark.parametrize("name", CALLS)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List the bytes of what parameters are packed into ahead of a run."""
    found: list[int] = []
    for kind in (Weights, HostWeights):
        whole = kind.packed

        def counted(self: Any, parameters: Any, whole: Any = whole) -> Any:
            made = whole(self, parameters)
            found.append(made.array.nbytes)
            return made

        monkeypatch.setattr(kind, "packed", counted)
    return found


@called
@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_bias_with_a_frozen_weight_gives_the_bits_of_a_frozen_bias(
    name: str, dtype: str
) -> None:
    if dtype == "f2" and not backend_available("numba"):
        pytest.skip("16-bit floats need Numba")
    function, shape, weights, options = CALLS[name]
    x, weight = drawn(*shape, dtype=dtype), Parameter(drawn(*weights, dtype=dtype, seed=1))
    columns = weights[1] if name == "transposed" else weights[0]
    for seed in range(3):
        bias = drawn(columns, dtype=dtype, seed=seed)
        expected = function(x, weight, Parameter(bias), **options)
        np.testing.assert_array_equal(function(x, weight, bias, **options), expected)
        out = np.full_like(expected, np.nan)
        function(x, weight, bias, out=out, **options)
        np.testing.assert_array_equal(out, expected)


@called
def test_frozen_weight_is_packed_once_for_all_plain_biases(name: str, packed: list[int]) -> None:
    function, shape, weights, options = CALLS[name]
    x, weight = drawn(*shape), Parameter(drawn(*weights, seed=1))
    columns = weights[1] if name == "transposed" else weights[0]
    function(x, weight, drawn(columns), **options)
    assert sum(packed) >= weight.nbytes
    packed.clear()
    for seed in range(3):
        function(x, weight, drawn(columns, seed=seed), **options)
        # Another way to the same plan: arrays that the short way refuses.
        function(x[..., ::-1][..., ::-1], weight, list(drawn(columns, seed=seed)), **options)
    assert not packed


def test_plain_weight_with_a_frozen_bias_is_packed_at_each_call() -> None:
    x, weight, bias = drawn(1, 6, 9, 9), drawn(5, 6, 3, 3), Parameter(drawn(5))
    before = F.conv2d(x, weight, bias)
    weight[:] = -weight
    after = F.conv2d(x, weight, bias)
    np.testing.assert_array_equal(after, F.conv2d(x, weight.copy(), np.array(bias)))
    assert not np.array_equal(before, after)


def test_plan_of_one_frozen_weight_serves_no_other() -> None:
    x, bias = drawn(1, 6, 9, 9), drawn(5)
    first, second = (Parameter(drawn(5, 6, 3, 3, seed=s)) for s in (1, 2))
    for _ in range(2):
        for weight in (first, second):
            np.testing.assert_array_equal(
                F.conv2d(x, weight, bias), F.conv2d(x, weight, Parameter(bias))
            )


def test_frozen_weight_with_a_plain_bias_is_explained_as_frozen() -> None:
    x, weight, bias = drawn(1, 64, 56, 56), drawn(64, 64, 3, 3), drawn(64)
    frozen = fastconv.explain("conv2d", x, Parameter(weight), bias, padding=1)
    assert "weights packed at each call" not in str(frozen)
    assert frozen.algorithm == fastconv.explain("conv2d", x, Parameter(weight), padding=1).algorithm
    plain = fastconv.explain("conv2d", x, weight, Parameter(bias), padding=1)
    assert "weights packed at each call" in str(plain)


def test_weight_that_is_read_as_it_is_is_neither_copied_nor_kept_alive(
    request: pytest.FixtureRequest,
) -> None:
    """Minimal filters read it where infinities made a tile sum plainly."""
    if request.config.getoption("--guard-pages"):
        pytest.skip("between guard pages each plan has constants of its own")
    weight = Parameter(drawn(16, 16, 3, 3, seed=77))
    F.conv2d(drawn(1, 16, 24, 24), weight, padding=1, algorithm="winograd4")
    ((plan,),) = ([*plans._kept.values()] for plans in weight._plans.values())
    assert isinstance(plan, NativePlan)
    own = [array for array in plan.arrays() if np.shares_memory(array, weight)]
    assert len(own) == 1
    assert all(a.nbytes != weight.nbytes for a in plan.arrays() if a is not own[0])
    gone = weakref.ref(weight)
    del weight, plan, own
    gc.collect()
    assert gone() is None


def test_array_that_can_be_made_writeable_again_is_copied() -> None:
    owner = drawn(16, 16, 3, 3)
    owner.flags.writeable = False
    made = Given(0).packed((owner,))
    assert isinstance(made, Constant)
    assert not np.shares_memory(made.array, owner)
