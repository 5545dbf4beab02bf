"""Arithmetic near an activation, or that goes into weights, keeps numbers of every size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.dispatch import Parameter
from fastconv.network.passes import rewrites, run_passes
from fastconv.network.passes.agreement import Chain, named
from fastconv.network.passes.fold import fold_affine
from fastconv.network.pointwise import POINTWISE, erf
from tests.network.test_passes import X, conv, kinds, lowered, run

LIMITS = np.finfo("f4")
# Every kind of argument: both zeros, infinities, NaN, flat ends, the ends of the dtype's range.
EDGES = [0.0, np.inf, np.nan, *np.geomspace(1e-36, 1e36, 145), *np.arange(1, 121) / 4, 1e2, 3e38]
POINTS = np.array([side * x for x in EDGES for side in (1, -1)], "f4")
GUARDS = [1e-30, 1e-20, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1.5e-6]
Function = Callable[[Any], Any]


def number(value: float, like: Any) -> Any:
    return like.dtype.type(value)


# A guard, a small unit, or a small offset: functions of x and of how small.
SMALL: dict[str, Callable[[Any, Any], Any]] = {
    "root of a guarded clamp": lambda x, c: np.sqrt(F.relu(x) + c),
    "guarded quotient": lambda x, c: x / (F.relu(x) + c),
    "guarded size": lambda x, c: x / (np.abs(x) + c),
    "guarded logarithm": lambda x, c: np.log(F.relu(x) + c),
    "reciprocal": lambda x, c: np.reciprocal(F.sigmoid(x) + c),
    "clamp off zero": lambda x, c: F.relu(x + c),
    "clamp and more": lambda x, c: F.relu(x) + c,
    "clamp to small limits": lambda x, c: np.clip(x, -c, c),
    "clamp below": lambda x, c: np.maximum(x, c),
    "clamp of a small unit": lambda x, c: F.relu6(x * c),
    "sigmoid and more": lambda x, c: F.sigmoid(x) + c,
    "sigmoid in small units": lambda x, c: F.sigmoid(x) * c,
    "tanh and more": lambda x, c: F.tanh(x) + c,
    "tanh in small units": lambda x, c: F.tanh(x) * c,
    "erf in small units": lambda x, c: erf(x) * c,
    "gate in small units": lambda x, c: x * F.sigmoid(x) * c,
    "gate off zero": lambda x, c: x * (F.sigmoid(x) + c),
    "gate and more": lambda x, c: x * F.hardsigmoid(x) + c,
    "softplus and more": lambda x, c: F.softplus(x) + c,
    "hard sigmoid and more": lambda x, c: F.relu6(x + 3) / number(6, x) + c,
    "exponential and less": lambda x, c: np.exp(-np.abs(x)) + c,
    "small slope": lambda x, c: np.where(x > 0, x, x * c),
    "small unit": lambda x, c: x * c,
    "offset": lambda x, c: x + c,
    "small step": lambda x, c: np.where(x > c, x, x * number(0, x)),
}  # fmt: skip
# What is special at 0, at infinity or NaN, or where digits are lost on purpose.
SPECIAL: dict[str, Function] = {
    "two digits more": lambda x: F.relu(x) * (1 + 8 * np.finfo(x.dtype).eps),
    "times zero": lambda x: x * number(0, x),
    "sigmoid times zero": lambda x: F.sigmoid(x) * number(0, x),
    "reciprocal of a size": lambda x: np.reciprocal(np.abs(x)),
    "negated clamp": lambda x: np.reciprocal(-F.relu(-x)),
    "zero or x": lambda x: np.where(x > 0, x, number(0, x)),
    "times its sign": lambda x: x * np.where(x > 0, number(1, x), number(0, x)),
    "half of x and its size": lambda x: (x + np.abs(x)) * number(0.5, x),
    "root of a square": lambda x: (x + np.sqrt(x * x)) * number(0.5, x),
    "rounded by a large number": lambda x: F.relu((x + number(12582912, x)) - number(12582912, x)),
    "swamped": lambda x: F.relu((x + number(1e20, x)) - number(1e20, x)),
    "swamped in small units": lambda x: F.relu((x * number(1e-10, x) + 1) - 1) * number(1e10, x),
    "rounded to halves": lambda x: F.relu(x.astype(np.dtype("f2")).astype(x.dtype)),
    "rounded to whole numbers": lambda x: F.relu(x.astype(np.dtype("i4")).astype(x.dtype)),
    "kink at a constant": lambda x: np.where(x > number(7.003, x), x + 1, F.relu(x)),
    "quick gelu": lambda x: x * F.sigmoid(number(1.702, x) * x),
    "x, in two steps": lambda x: np.maximum(x, number(-1e-30, x)) + number(1e-30, x),
    "tiny slope": lambda x: F.leaky_relu(x, 1e-30),
}  # fmt: skip


def assert_as_written(function: Function, x: Any, roundings: int = 4) -> None:
    """Hold a compiled function against the same one, done step by step.

    Each result must be within some roundings of its own size; subnormals count as 0.
    """
    before = lowered(function, x)
    (wanted,) = run(before, x)
    (given,) = run(run_passes(before, rewrites(), None)[0], x)
    limits = np.finfo(x.dtype)
    np.testing.assert_allclose(
        given, wanted, rtol=roundings * float(limits.eps), atol=float(limits.tiny)
    )
    exact = (wanted == 0) & (x != 0)
    assert np.array_equal(np.signbit(given[exact]), np.signbit(wanted[exact]))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", SMALL)
def test_arithmetic_with_a_small_number_compiled_gives_its_own_values(
    name: str, dtype: str
) -> None:
    x = POINTS.astype(dtype)
    with np.errstate(all="ignore"):
        for guard in GUARDS:
            assert_as_written(lambda v, c=guard: SMALL[name](v, number(c, v)), x)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", SPECIAL)
def test_arithmetic_special_at_its_ends_compiled_gives_its_own_values(
    name: str, dtype: str
) -> None:
    if dtype == "f4" or "rounded by" not in name:
        with np.errstate(all="ignore"):
            assert_as_written(SPECIAL[name], POINTS.astype(dtype))


BASES: dict[str, Function] = {
    "x": lambda x: x, "relu": F.relu, "relu6": F.relu6, "sigmoid": F.sigmoid, "tanh": F.tanh,
    "silu": F.silu, "gelu": F.gelu, "mish": F.mish, "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid, "softplus": F.softplus, "softsign": F.softsign, "elu": F.elu,
    "erf": erf, "size": np.abs,
}  # fmt: skip
STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, c: x + c, "subtract": lambda x, c: x - c, "from": lambda x, c: c - x,
    "multiply": lambda x, c: x * c, "divide": lambda x, c: x / c, "over": lambda x, c: c / x,
    "maximum": np.maximum, "minimum": np.minimum, "relu": lambda x, c: F.relu(x),
    "where": lambda x, c: np.where(x > c, x, c), "root": lambda x, c: np.sqrt(np.abs(x)),
    "gate": lambda x, c: x * F.sigmoid(x), "itself": lambda x, c: x + x * c,
}  # fmt: skip


def chained(base: str, steps: list[str], constants: Any) -> Function:
    def function(x: Any) -> Any:
        value = BASES[base](x)
        for step, constant in zip(steps, constants, strict=True):
            value = STEPS[step](value, number(constant, x))
        return value

    return function


@pytest.mark.parametrize("seed", range(60))
def test_drawn_chains_compiled_are_no_farther_from_float64(seed: int) -> None:
    """Recognising something may bring digits back that the arithmetic lost, and lose none."""
    rng = np.random.default_rng(seed)
    for _ in range(4):
        base = str(rng.choice(list(BASES)))
        steps = [str(name) for name in rng.choice(list(STEPS), rng.integers(1, 5))]
        likely = [0, 1, 3, 6, 0.5, *(10.0 ** rng.integers(-30, 30, 4))]
        constants = rng.choice([-1, 1], len(steps)) * rng.choice(likely, len(steps))
        function = chained(base, steps, constants)
        with np.errstate(all="ignore"):
            truth = np.asarray(function(POINTS.astype("f8")))
        before = lowered(function, POINTS)
        written, given = (
            np.asarray(run(program, POINTS)[0], "f8")
            for program in (before, run_passes(before, rewrites(), None)[0])
        )
        with np.errstate(all="ignore"):
            size = 64 * LIMITS.eps * np.abs(truth) + LIMITS.tiny
            allowed = 4 * np.abs(written - truth) + size
            same = (given == written) | (np.isnan(given) & np.isnan(written))
            near = np.abs(given - truth) <= allowed
            near |= np.abs(given - written) <= 16 * LIMITS.eps * np.abs(written)
            near &= np.isfinite(written)
            wrong = ~(same | near | (np.abs(given - truth) <= size))
            # Which of both zeros a maximum returns is open, and shows in quotients.
            wrong &= (POINTS != 0) | ~np.isin(steps, ["maximum", "minimum", "relu"]).any()
        assert not wrong.any(), (base, steps, constants, POINTS[wrong], given[wrong])


def test_chains_of_one_form_in_other_values_are_looked_at_once(monkeypatch: Any) -> None:
    import fastconv.network.passes.agreement as agreement

    looked: list[Chain] = []
    found = agreement._found
    monkeypatch.setattr(agreement, "_known", {})
    monkeypatch.setattr(agreement, "_found", lambda chain: looked.append(chain) or found(chain))

    def twice(x: Any) -> Any:
        for _ in range(2):
            x = conv(x / (1 + np.exp(-x)))
        return x

    program = run_passes(lowered(twice), rewrites(), None)[0]
    once = len(looked)
    other = X[:1, :, :3]
    run_passes(lowered(twice, other), rewrites(), None)
    assert [n for n in kinds(program) if n == "silu"]
    assert len(looked) == once


def test_chains_that_differ_in_a_constant_s_last_digit_are_told_apart() -> None:
    def chain(factor: float) -> Chain:
        program = lowered(lambda x: x * F.sigmoid(x * np.float32(factor)))
        return Chain(program.inputs[0], program.ops, "f4")

    exact, near = chain(1.0), chain(float(np.nextafter(np.float32(1), np.float32(2))))
    assert exact.key != near.key
    assert named(near) is None
    assert str(named(exact)) == "silu"


EXTREME: dict[str, tuple[Function, float]] = {
    "down and up": (lambda y: y * np.float32(1e-30) * np.float32(1e30), 1e-20),
    "far down": (lambda y: y * np.float32(1e-30), 1e-12),
    "far down, large values": (lambda y: y * np.float32(1e-30), 1e25),
    "far up": (lambda y: y * np.float32(1e30), 1e-12),
    "over a small number": (lambda y: y / np.float32(1e-36), 1e-15),
    "over a large number": (lambda y: y / np.float32(1e36), 1e30),
    "rounded": (lambda y: (y + np.float32(12582912)) - np.float32(12582912), 1.0),
    "swamped": (lambda y: np.float32(1e20) - (np.float32(1e20) - y), 1.0),
    "by zero": (lambda y: y / np.float32(0), 1.0),
    "to infinity": (lambda y: y * np.float32(np.inf), 1.0),
}


@pytest.mark.parametrize("weight", [1.0, 1e-12, 1e-30, 1e25])
@pytest.mark.parametrize("name", EXTREME)
def test_extreme_factors_after_a_convolution_keep_every_digit(name: str, weight: float) -> None:
    function, size = EXTREME[name]
    given = np.asarray(X * np.float32(size), "f4")
    filters = Parameter(np.random.default_rng(3).standard_normal((4, 4, 3, 3)) * weight, "f4")
    line = Parameter(np.random.default_rng(3).standard_normal((5, 7)) * weight, "f4")
    layers: list[Function] = [
        lambda x: F.conv2d(x, filters.astype(x.dtype), algorithm="direct"),
        lambda x: F.conv_transpose2d(x, filters.astype(x.dtype), groups=2),
        lambda x: F.linear(x, line.astype(x.dtype)),
    ]
    for layer in layers:
        before = lowered(lambda x, layer=layer: function(layer(x)), given)
        with np.errstate(all="ignore"):
            (written,) = run(before, given)
            (after,) = run(fold_affine(before), given)
            truth = function(layer(given.astype("f8")))
            size = np.max(np.abs(truth), initial=0, where=np.isfinite(truth))
            bound = 256 * LIMITS.eps * size + LIMITS.tiny
            near = np.abs(after - truth) <= bound + np.abs(written - truth)
            same = (after == written) | (np.isnan(after) & np.isnan(written))
            assert np.all(near | same), layer


def test_batch_norm_of_extreme_variance_after_a_convolution_keeps_its_digits() -> None:
    gain = Parameter(np.float32([1e-30, 1, 1e20, 1]))
    variance = Parameter(np.float32([1e30, 1e-30, 1, 1]))
    filters = Parameter(np.random.default_rng(4).standard_normal((4, 4, 3, 3)) * 1e-12, "f4")

    def network(x: Any) -> Any:
        zero = Parameter(np.zeros(4, "f4"))
        return F.batch_norm(
            F.conv2d(x, filters, algorithm="direct"), zero, variance, gain, zero, eps=0.0
        )

    x = X * np.float32(1e12)
    before = lowered(network, x)
    np.testing.assert_allclose(run(fold_affine(before), x)[0], run(before, x)[0], rtol=1e-4)


def test_dead_channels_do_not_keep_a_batch_norm_out_of_the_weights() -> None:
    filters = np.array(np.random.default_rng(5).standard_normal((4, 4, 3, 3)), "f4")
    filters[1] = 1e-41
    filters[2] = 0
    scale = np.float32([0, 1e-3, 5, 1]).reshape(4, 1, 1)
    before = lowered(lambda x: F.conv2d(x, Parameter(filters)) * scale + scale)
    assert kinds(fold_affine(before)) == ["conv2d"]


def test_hard_sigmoid_of_a_slope_near_a_sixth_is_its_own() -> None:
    x = np.linspace(-4, 4, 99, dtype="f4")
    hard = POINTWISE["hard_sigmoid"]
    for alpha in (np.nextafter(np.float32(1 / 6), np.float32(1)), 0.16666673):
        wanted = np.clip(x * np.float32(alpha) + np.float32(0.5), 0, 1)
        np.testing.assert_array_equal(hard(x, alpha=float(alpha), beta=0.5), wanted)
