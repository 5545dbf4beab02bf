"""Winograd's kernels in Numba's simulator: exact on integers, or inside the stated bound."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from fastconv.backends.cuda.conv import winograd as winograd_module
from fastconv.backends.cuda.conv.direct import geometry_of
from fastconv.backends.cuda.conv.winograd import Winograd4, plan_winograd
from fastconv.backends.cuda.conv.winograd_kernel import LARGE, NARROW, WIDE, winograd
from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.reference.conv import Conv
from fastconv.problem import ConvProblem
from tests.backends.cuda.mutation import assert_caught

RNG = np.random.default_rng(7)

# Batch, size, channels in and out, padding, groups: ragged tiles, filters, quads and steps.
CASES: dict[str, Any] = {
    "padded": (1, (7, 9), 16, 36, 1, 1),
    "ragged": (2, (6, 5), 11, 10, (0, 2), 1),
    "groups": (1, (4, 4), 8, 12, 1, 2),
}


def problem_of(case: Any) -> tuple[ConvProblem, Any]:
    batch, size, inputs, outputs, padding, groups = case
    x = RNG.integers(-4, 5, (batch, *size, inputs)).astype("f4")
    # Quarters of whole numbers are what the transform of weights makes of whole ones.
    weight = RNG.integers(-4, 5, (outputs, inputs // groups, 3, 3)).astype("f4")
    bias = RNG.integers(-4, 5, outputs).astype("f4")
    options: Any = {"layout": "NHWC", "padding": padding, "groups": groups}
    shape = ConvProblem.of(2, x, weight, **options).output_shape
    residual = RNG.integers(-4, 5, shape).astype("f4")
    problem = ConvProblem.of(2, x, weight, bias, residual=residual, activation="relu", **options)
    return problem, (x, weight, bias, residual)


def run(plan: Any, problem: ConvProblem, *inputs: Any) -> Any:
    device = SimulatedDevice()
    result = np.empty(problem.output_shape, "f4")
    output = device.empty(result.nbytes)
    plan.enqueue(device, [None if x is None else device.upload(x) for x in inputs], output)
    device.download(output, result)
    return result


def check(case: Any, filtering: Any) -> None:
    problem, (x, weight, bias, residual) = problem_of(case)
    expected = Conv().plan(problem, weight, bias).run(x, residual)
    result = run(plan_winograd(problem, weight, bias, (filtering,)), problem, x, residual)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("case", CASES)
def test_tiles_of_two_are_exact(case: str) -> None:
    check(CASES[case], NARROW)


def test_tiles_of_two_of_many_filters_are_exact() -> None:
    check((1, (3, 5), 9, 68, 1, 1), WIDE)


@pytest.mark.parametrize("case", [(1, (5, 7), 9, 12, 1, 1), (2, (4, 3), 4, 10, (2, 0), 2)], ids=str)
def test_tiles_of_four_are_inside_their_bound(case: Any) -> None:
    problem, (x, weight, bias, residual) = problem_of(case)
    x, weight = (RNG.standard_normal(given.shape).astype("f4") for given in (x, weight))
    expected = Conv().plan(problem, weight, bias).run(x, residual)
    result = run(plan_winograd(problem, weight, bias, (LARGE,)), problem, x, residual)
    bound = Winograd4().error_bound(problem) * problem.sum_length**0.5
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=bound)


def test_an_image_has_the_same_bits_in_any_batch() -> None:
    x = RNG.standard_normal((2, 5, 5, 3)).astype("f4")
    weight = RNG.standard_normal((6, 3, 3, 3)).astype("f4")
    problem = ConvProblem.of(2, x, weight, layout="NHWC", padding=1)
    alone = dataclasses.replace(problem, batch=1)
    whole = run(plan_winograd(problem, weight, None, (NARROW,)), problem, x)
    last = run(plan_winograd(alone, weight, None, (NARROW,)), alone, x[1:])
    np.testing.assert_array_equal(whole[1:], last)


MUTATIONS = {
    "the barrier of a step": (
        "at = next_half\n                wait_copies()\n                cuda.syncthreads()",
        "at = next_half\n                wait_copies()",
    ),
    "a wait for copies": (
        "at = next_half\n                wait_copies()\n",
        "at = next_half\n",
    ),
    "the barrier before the exchange": (
        "            multiply(at)\n            cuda.syncthreads()",
        "            multiply(at)",
    ),
    "the barrier in the exchange": (
        "cuda.syncthreads()\n                if own_thread < i32(BACK_ITEMS)",
        "if own_thread < i32(BACK_ITEMS)",
    ),
    "rows above and below": ("if (u32(h + i32(i)) < u32(IN_H)) &", "if"),
    "channels of the last step": ("there = i32(step * i32(DEPTH)) < own_inputs", "there = True"),
    "an output's edge": ("(w + i32(j) < i32(OUT_W))", "True"),
    "filters behind the last": ("& (count > i32(0))", "& True"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_kernels_are_seen(name: str) -> None:
    assert_caught(winograd, *MUTATIONS[name], lambda: check((1, (5, 5), 9, 12, 1, 1), NARROW))


def test_slices_are_added_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    # A small GPU: five images have blocks for all of it, and one has not.
    monkeypatch.setattr(winograd_module, "LEAST_CHANNELS", 8)
    monkeypatch.setattr(winograd_module, "BLOCKS", 4)
    monkeypatch.setattr(winograd_module, "MULTIPROCESSORS", 2)
    whole, (x, weight, bias, residual) = problem_of((5, (5, 5), 20, 12, 1, 1))
    expected = Conv().plan(whole, weight, bias).run(x, residual)
    for batch, apart in ((1, True), (5, False)):
        problem = dataclasses.replace(whole, batch=batch)
        geometry = winograd_module.sliced(geometry_of(problem), NARROW)
        assert (geometry.slices, geometry.apart) == (3, apart)
        plan = plan_winograd(problem, weight, bias, (NARROW,))
        result = run(plan, problem, x[-batch:], residual[-batch:])
        np.testing.assert_array_equal(result, expected[-batch:])
