"""The normalisations' kernels: every path against the reference, the same bits always."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.manifest.elements import Response
from fastconv.backends.native import arena, channelwise
from fastconv.backends.native import plan as engine_plan
from fastconv.backends.native.pointwise import BLOCK
from fastconv.dispatch import find_plan
from fastconv.problem import BatchNormProblem, ElementwiseProblem, GroupNormProblem
from tests.guarded import guard_pages
from tests.libraries import LIBRARIES, use
from tests.tolerance import poisoned

Array = np.ndarray[Any, Any]

# Shapes (N, C, ...), each of which takes another path through tables, rows, chunks and blocks.
SHAPES: dict[str, tuple[int, ...]] = {
    "rows of several chunks": (2, 2, 2 * BLOCK + 3),
    "many short rows": (3, 600, 5, 7),
    "runs too short for rows": (2, 5, 3),
    "a period longer than a block": (2, BLOCK + 10, 2),
    "one element a channel": (3, 24, 1, 1),
    "no spatial axes": (200, 6),
    "one channel": (2, 1, 40, 40),
    "several blocks of pixels": (2, 4, Response.PIXELS + 1, 2),
    "the longest short run": (2, 6, channelwise.SHORT - 1),
}
NAMES = ("batch_norm", "group_norm", "instance_norm", "local_response_norm", "prelu", "layer_norm")


def call(name: str, x: Array, last: bool, **options: Any) -> Array:
    """Call a function with parameters made for the array."""
    channels = x.shape[-1] if last else x.shape[1]
    rng = np.random.default_rng(7)
    weight, bias, mean = rng.normal(size=(3, channels)).astype(x.dtype)
    variance = rng.uniform(0.5, 2, channels).astype(x.dtype)
    if name == "layer_norm":
        place, shift = rng.normal(size=(2, *x.shape[1:])).astype(x.dtype)
        return F.layer_norm(x, x.shape[1:], place, shift, **options)
    arguments: dict[str, tuple[Any, ...]] = {
        "batch_norm": (mean, variance, weight, bias),
        "group_norm": (2 if channels % 2 == 0 else 1, weight, bias),
        "instance_norm": (None, None, weight, bias),
        "local_response_norm": (4, 0.3),
        "prelu": (weight,),
    }
    result: Array = getattr(F, name)(
        x, *arguments[name], layout="NHWC" if last else "NCHW", **options
    )
    return result


def legal(name: str, shape: tuple[int, ...]) -> bool:
    if name == "instance_norm":
        return int(np.prod(shape[2:])) > 1
    return name != "local_response_norm" or len(shape) > 2


@pytest.fixture(autouse=True)
def _shared_out(monkeypatch: Any) -> Any:
    """Share all work out over threads, however small, and put the setting back."""
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    monkeypatch.setattr(fastconv.settings, "_threads", 3)


@pytest.fixture(params=LIBRARIES)
def backend(request: Any, monkeypatch: Any) -> str:
    """Return the backend of a library of kernels, at one of its instruction sets."""
    return use(request.param, monkeypatch)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", list(SHAPES))
def test_every_path(
    case: str, name: str, last: bool, dtype: str, backend: str, monkeypatch: Any
) -> None:
    shape = SHAPES[case]
    if not legal(name, shape):
        return
    x = np.random.default_rng(0).normal(1, 1, shape).astype(dtype)
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    expected = call(name, x, last, backend="reference")
    out = poisoned(x.shape, dtype)
    arena.take(1 << 20)
    arena.poison()
    call(name, x, last, backend=backend, out=out)
    # float64 inside: one rounding to float32, and a second in PReLU; deviations are near 1, but
    # those of two numbers may be near 0
    eps = float(np.finfo(dtype).eps)
    relative, absolute = (eps, 1e-9) if dtype == "f4" else (64 * eps, 1e-12)
    np.testing.assert_allclose(out, expected, rtol=relative, atol=absolute)
    monkeypatch.setattr(fastconv.settings, "_threads", 1)
    np.testing.assert_array_equal(call(name, x, last, backend=backend), out)
    for i in range(min(2, len(x))):
        alone = call(name, x[i : i + 1], last, backend=backend)
        np.testing.assert_array_equal(alone[0], out[i])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("case", "activation"),
    [
        ("rows of several chunks", ("hardtanh", -0.5, 0.25)),
        ("many short rows", "relu"),
        ("runs too short for rows", "relu6"),
        ("one element a channel", "silu"),
    ],
)
def test_an_activation_ends_it(
    case: str, activation: Any, last: bool, dtype: str, backend: str
) -> None:
    x = np.random.default_rng(0).normal(0, 1, SHAPES[case]).astype(dtype)
    x.reshape(-1)[::7] = np.nan
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    channels, layout = x.shape[-1] if last else x.shape[1], "NHWC" if last else "NCHW"
    parameters = np.random.default_rng(1).uniform(0.5, 2, (4, channels)).astype(dtype)
    groups = 2 if channels % 2 == 0 else 1
    for problem, given in (
        (BatchNormProblem.of(x, *parameters, layout=layout), tuple(parameters)),
        (GroupNormProblem.of(x, groups, *parameters[:2], layout=layout), tuple(parameters[:2])),
    ):
        plain = find_plan(problem, given, backend=backend).run(x)
        own = ElementwiseProblem.of(plain, activation)
        ended = dataclasses.replace(problem, activation=own.activation)
        expected = find_plan(own, (), backend=backend).run(plain)
        result = find_plan(ended, given, backend=backend).run(x)
        np.testing.assert_array_equal(result, expected)
        wide = find_plan(ended, given, backend="reference").run(x)
        np.testing.assert_allclose(wide, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last", [False, True])
def test_a_mean_far_from_zero_costs_nothing(last: bool, backend: str) -> None:
    x = np.random.default_rng(0).normal(1e4, 1, (1, 4, 150, 150)).astype("f4")
    wide = x.astype("f8")
    axes, layout = ((1, 2), "NHWC") if last else ((2, 3), "NCHW")
    given = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    wide = np.moveaxis(wide, 1, -1) if last else wide
    expected = wide - wide.mean(axes, keepdims=True)
    expected /= np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    result = F.instance_norm(given, layout=layout, backend=backend)
    np.testing.assert_allclose(result, expected, rtol=np.finfo("f4").eps, atol=1e-9)


def test_large_numbers_do_not_overflow(backend: str) -> None:
    x = np.random.default_rng(0).normal(0, 1e30, (1, 4, 9, 9)).astype("f4")
    for name in ("group_norm", "local_response_norm", "layer_norm"):
        result, expected = (call(name, x, False, backend=b) for b in (backend, "reference"))
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(result, expected, rtol=np.finfo("f4").eps, atol=1e-9)


def test_a_nan_or_an_infinity_stays_with_what_it_is_normalised_with(backend: str) -> None:
    clean = np.random.default_rng(0).normal(1, 1, (2, 6, 9, 9)).astype("f4")
    for name in NAMES:
        for last in (False, True):
            base = np.ascontiguousarray(np.moveaxis(clean, 1, -1)) if last else clean
            for value in (np.nan, np.inf, -np.inf, -0.0):
                x = base.copy()
                x[1, 3, 4, 5] = value
                with np.errstate(all="ignore"):
                    expected = call(name, x, last, backend="reference")
                result = call(name, x, last, backend=backend)
                np.testing.assert_allclose(result, expected, rtol=np.finfo("f4").eps, atol=1e-9)
                zeros = expected == 0
                np.testing.assert_array_equal(
                    np.signbit(result[zeros]), np.signbit(expected[zeros])
                )


def test_windows_wider_than_the_channels(backend: str) -> None:
    for shape in ((2, 5, 3, 11), (1, 21, 40)):
        x = np.random.default_rng(0).normal(0, 2, shape).astype("f4")
        for size in (2, 9, 100):
            for layout in ("NCHW", "NHWC"):
                given = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout == "NHWC" else x
                for beta in (0.75, 0.6):
                    result, expected = (
                        F.local_response_norm(given, size, 0.7, beta, layout=layout, backend=b)
                        for b in (backend, "reference")
                    )
                    np.testing.assert_allclose(result, expected, rtol=np.finfo("f4").eps, atol=1e-9)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_nothing_outside_the_arrays_is_touched(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    for shape in ((2, 5, 3), (2, 6, 31), (1, 19, 21), (2, 3, 40), (1, 260, 2), (3, 24, 1)):
        x = rng.normal(1, 1, shape).astype(dtype)
        for name in NAMES:
            for last in (False, True):
                given = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
                if legal(name, shape):
                    expected = call(name, given, last, backend=backend)
                    with guard_pages(sum(shape) + last):
                        result = call(name, given, last, backend=backend)
                    np.testing.assert_array_equal(result, expected)


def test_parameters_are_packed_once() -> None:
    from fastconv.dispatch import Parameter, find_plan
    from fastconv.problem import BatchNormProblem

    x = np.zeros((2, 4, 3), "f4")
    parameters = tuple(Parameter(np.ones(4, "f4")) for _ in range(4))
    problem = BatchNormProblem.of(x, *parameters)
    assert find_plan(problem, parameters) is find_plan(problem, parameters)
