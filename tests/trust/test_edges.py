"""Arrays at the edges: forms, special numbers, sizes that no memory holds, outputs that overlap."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.backends.base import Algorithm
from fastconv.backends.native import NativePlan
from fastconv.backends.native.plan import Constant
from tests.libraries import BACKENDS, COMPILED
from tests.trust import bits
from tests.trust.calls import Array, Call, able

Told = Callable[[str, str, str], None]
Scale = Callable[[int, int], int]


@contextlib.contextmanager
def ended(seconds: int) -> Iterator[None]:
    """End a hang: not a clock that decides, for what passes takes a thousandth of it."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"no answer in {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def images() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 9, 9)).astype("f4")
    return x, rng.standard_normal((4, 3, 3, 3)).astype("f4")


HUGE = 2**61
ABSURD: dict[str, Callable[[Array, Array, str], Any]] = {
    "stride and padding": lambda x, w, b: F.conv2d(x, w, stride=2**40, padding=2**40, backend=b),
    "padding": lambda x, w, b: F.conv2d(x, w, padding=2**40, backend=b),
    "stride": lambda x, w, b: F.conv2d(x, w, stride=HUGE, backend=b),
    "dilation": lambda x, w, b: F.conv2d(x, w, dilation=2**40, padding=2**40, backend=b),
    "transposed": lambda x, w, b: F.conv_transpose2d(x, w[:3], stride=HUGE, backend=b),
    "output padding": lambda x, w, b: F.conv_transpose2d(
        x, w[:3], stride=HUGE, output_padding=2**40, backend=b
    ),
    "pool": lambda x, w, b: F.max_pool2d(x, 2, stride=HUGE, backend=b),
    "pool's dilation": lambda x, w, b: F.max_pool2d(x, 1, dilation=HUGE, backend=b),
    "average": lambda x, w, b: F.avg_pool2d(x, 2, stride=HUGE, backend=b),
    "norm": lambda x, w, b: F.lp_pool2d(x, 2, 2, stride=HUGE, backend=b),
    "weighted": lambda x, w, b: F.weighted_pool2d(x, 2, stride=HUGE, backend=b),
    "window": lambda x, w, b: F.avg_pool2d(x, 2**40, stride=HUGE, padding=2**39, backend=b),
    "adaptive": lambda x, w, b: F.adaptive_avg_pool2d(x, (2**40, 2**40), backend=b),
    "unpool": lambda x, w, b: F.max_unpool2d(
        x, np.zeros(x.shape, np.int64), 2, stride=2**40, backend=b
    ),
    "unfold": lambda x, w, b: F.unfold(x, 3, stride=HUGE, backend=b),
    "resized": lambda x, w, b: F.interpolate(x, size=(2**40, 2**40), backend=b),
    "scaled": lambda x, w, b: F.interpolate(x, scale_factor=1e30, backend=b),
    "padded": lambda x, w, b: F.pad(x, (HUGE, 0), backend=b),
    "cropped": lambda x, w, b: F.pad(x, (-HUGE, HUGE), backend=b),
}


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="nothing would end a hang")
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_no_address_can_name_is_refused(backend: str, told: Told) -> None:
    x, w = images()
    for name, call in ABSURD.items():
        with (
            ended(60),
            pytest.raises(ValueError, match=r"address|bytes|too big|negative|scale_factor"),
        ):
            print(name, call(x, w, backend).shape)
    told(
        "bad input never hangs: sizes that no address can name are refused",
        f"{len(ABSURD)} calls on backend {backend}, sizes of 2^39 to 2^61",
        "all ValueError",
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stride_wider_than_the_output_costs_nothing(backend: str) -> None:
    x, w = images()
    pixel = x[:, :, :1, :1]
    wide = F.conv_transpose2d(pixel, w[:3], stride=10**6, backend=backend)
    np.testing.assert_array_equal(wide, F.conv_transpose2d(pixel, w[:3], stride=3, backend=backend))
    np.testing.assert_array_equal(
        F.conv2d(x, w, stride=10**5, backend=backend),
        F.conv2d(x, w, stride=9, backend=backend),
    )
    if backend != "reference":
        size = 2 * 10**5
        line = F.conv1d(x[:, :, 0], w[:, :, 0], padding=size, backend=backend)
        assert line.shape == (2, 4, 2 * size + 7)
        short = F.conv1d(x[:, :, 0], w[:, :, 0], padding=2)
        np.testing.assert_allclose(line[:, :, size - 2 : size + 9], short, atol=1e-5)


def test_masked_cells_are_not_computed_with() -> None:
    x, w = images()
    masked = np.ma.MaskedArray(x, mask=x > 1)
    with pytest.raises(ValueError, match="input has masked cells"):
        F.conv2d(masked, w)
    with pytest.raises(ValueError, match="weight has masked cells"):
        F.conv2d(x, np.ma.MaskedArray(w, mask=w > 1))
    with pytest.raises(TypeError, match="without a mask"):
        F.relu(x, out=np.ma.zeros(x.shape, "f4"))
    np.testing.assert_array_equal(F.relu(masked.filled(0)), F.relu(np.where(x > 1, 0, x)))


def test_an_out_with_two_elements_in_one_place_is_refused() -> None:
    x, w = images()
    expected = F.conv2d(x, w)
    memory = np.full(10_000, 7, "f4")
    strided = np.lib.stride_tricks.as_strided
    for strides in ((0, 196, 28, 4), (784, 196, 24, 4), (784, 196, 28, 2), (784, -4, 28, 4)):
        out = strided(memory[2000:], expected.shape, strides)
        with pytest.raises(ValueError, match="out must not overlap itself"):
            F.conv2d(x, w, out=out)
    assert (memory == 7).all()
    # Woven, but each element has a place of its own.
    woven = strided(memory, (2, 3), (12, 8))
    F.relu(-np.ones((2, 3), "f4"), out=woven)
    assert (memory[[0, 2, 3, 4, 5, 7]] == 0).all()
    assert memory[1] == memory[6] == 7


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_out_that_overlaps_an_input_is_refused_untouched(backend: str, scale: Scale) -> None:
    for trial in bits.trials(4, scale(6, 60), backend):
        call = trial.call
        expected = bits.run(trial, call, 1)
        if call.options.get("return_indices"):
            continue
        for name, array in call.arrays.items():
            size = expected.nbytes + array.nbytes
            memory = np.zeros(size + 64, np.uint8)
            place = memory[: array.nbytes].view(array.dtype).reshape(array.shape)
            place[...] = array
            behind = max(0, array.nbytes - array.itemsize) // 16 * 16
            out = memory[behind : behind + expected.nbytes].view(expected.dtype)
            before = memory.copy()
            more = dataclasses.replace(call, arrays=call.arrays | {name: place})
            if not np.shares_memory(out, place):
                continue
            with pytest.raises(ValueError, match="must not overlap"):
                more.run(
                    out=out.reshape(expected.shape), backend=backend, algorithm=trial.algorithm.name
                )
            assert (memory == before).all(), f"{name}: {trial}"


def calls_with_weights(rng: np.random.Generator) -> list[Call]:
    """Return small calls that between them every algorithm can serve."""

    def of(*shape: int) -> Array:
        return rng.standard_normal(shape).astype("f4")

    lines = np.einsum("oi,oj->oij", of(3, 5), of(3, 5))[:, None].astype("f4")
    options: dict[str, Any] = {"rtol": 10.0}
    each = options | {"groups": 3}
    return [
        Call("conv2d", {"input": of(1, 20, 12, 12), "weight": of(9, 20, 3, 3)}, options),
        Call("conv2d", {"input": of(1, 1, 40, 40), "weight": of(3, 1, 9, 9)}, options),
        Call("conv2d", {"input": of(1, 3, 20, 20), "weight": lines}, each, outer=True),
        Call("conv2d", {"input": of(1, 3, 20, 20), "weight": of(3, 1, 3, 3)}, each),
        Call("conv_transpose2d", {"input": of(1, 4, 8, 8), "weight": of(4, 5, 3, 3)}, options),
        Call("linear", {"input": of(5, 33), "weight": of(17, 33)}, options),
    ]  # fmt: skip


def packed(call: Call, algorithm: Algorithm) -> list[Array]:
    """Return what an algorithm's plan keeps of floats, as it is stored in memory."""
    problem = call.problem().without_idle()
    weight = call.arrays["weight"]
    plan = algorithm.plan(problem, weight, None)
    assert isinstance(plan, NativePlan)
    arguments = (a for stage in plan.stages for a in stage.arguments)
    constants = [a.array for a in arguments if isinstance(a, Constant)]
    # Minimal filters keep the weight as it is too, for images with infinities.
    constants = [a for a in constants if a.tobytes() != weight.tobytes()]
    return [a.reshape(-1).view(np.uint8) for a in constants if a.dtype == np.float32]


# What these read are the weights themselves, turned; kernels take subnormal ones for zeros.
COPYING = ("direct", "planar", "im2col", "depthwise", "depthwise_planar", "dot", "tiles")


def test_no_packed_weight_is_subnormal(told: Told) -> None:
    """What slows a multiplication 40 to 100 times is not multiplied, or is a zero."""
    looked, tiny = set(), np.finfo(np.float32).tiny
    for call in calls_with_weights(np.random.default_rng(6)):
        # Around the smallest normal number: transforms and products leave many below it.
        call.arrays["weight"] = (call.arrays["weight"] * tiny).astype("f4")
        for algorithm in able(call.problem()):
            if algorithm.backend not in COMPILED:
                continue
            if algorithm.name in COPYING:
                weight = call.arrays["weight"]
                plain = algorithm.plan(call.problem().without_idle(), weight, None)
                zeros = np.where(np.abs(weight) < tiny, np.float32(0), weight)
                flushed = algorithm.plan(call.problem().without_idle(), zeros, None)
                x = np.full(call.problem().input_shape, 2.0**100, np.float32)
                assert plain.run(x).tobytes() == flushed.run(x).tobytes(), f"{algorithm}: {call}"
                looked.add(str(algorithm))
                continue
            for constants in packed(call, algorithm):
                values = np.abs(constants.view(np.float32))
                below = ((values > 0) & (values < tiny)).sum()
                assert below == 0, f"{algorithm}: {below} of {values.size} on {call}"
            looked.add(str(algorithm))
    told(
        "subnormal weights slow nothing: none is packed",
        "weights around the smallest normal number, every algorithm that multiplies with weights",
        f"{len(looked)} algorithms, no subnormal in their constants",
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_subnormals_that_are_moved_keep_their_digits(backend: str) -> None:
    """What computes takes them as zero: see test_float_mode.py."""
    x = (np.arange(1, 82, dtype="f4").reshape(1, 1, 9, 9) * np.float32(1e-42)).astype("f4")
    assert 0 < x.max() < np.finfo(np.float32).tiny
    for result in (
        F.interpolate(x, size=(9, 9), backend=backend), F.unfold(x, 1, backend=backend),
        F.pad(x, (1, 1), backend=backend)[..., 1:-1],
    ):  # fmt: skip
        np.testing.assert_array_equal(result.reshape(x.shape), x)


@pytest.mark.parametrize("backend", COMPILED)
def test_weights_at_the_top_of_the_range_do_not_overflow(backend: str) -> None:
    """A filter that is split into two lines holds in both what it held in one."""
    x = np.full((1, 3, 60, 60), 1e-30, "f4")
    w = np.full((3, 1, 5, 5), 3e38, "f4")
    exact = F.conv2d(x.astype("f8"), w.astype("f8"), groups=3, backend="reference")
    out = F.conv2d(x, w, groups=3, algorithm="separable", backend=backend)
    np.testing.assert_allclose(out, exact, rtol=1e-5)
    x, w = np.full(x.shape, 1e30, "f4"), np.full(w.shape, 2e-38, "f4")
    exact = F.conv2d(x.astype("f8"), w.astype("f8"), groups=3, backend="reference")
    out = F.conv2d(x, w, groups=3, algorithm="separable", backend=backend)
    np.testing.assert_allclose(out, exact, rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("error")
def test_special_weights_are_no_warning_and_no_other_filter_s_business(value: float) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((1, 8, 120, 120)).astype("f4")
    for taps, groups in ((5, 8), (3, 1), (3, 8), (11, 8)):
        w = rng.standard_normal((8, 8 // groups, taps, taps)).astype("f4")
        clean = F.conv2d(x, w, padding=taps // 2, groups=groups)
        w[3, 0, 1, 1] = value
        dirty = F.conv2d(x, w, padding=taps // 2, groups=groups)
        others = [i for i in range(8) if i != 3]
        assert dirty[:, others].tobytes() == clean[:, others].tobytes()
        assert not np.isfinite(dirty[:, 3, taps:-taps, taps:-taps]).any()
