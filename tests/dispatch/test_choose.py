"""Choosing: by the image alone, inside rtol, with reasons; plans kept where nothing can change."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv import settings
from fastconv.backends.native import plan as plan_module
from fastconv.dispatch import Parameter, choose, find_plan
from fastconv.dispatch.registry import LIBRARIES, algorithms
from fastconv.machine import FAMILY_FIGURES, FIGURES, INTEL_SERVER, Machine
from fastconv.problem import ConvProblem
from tests.libraries import FIRST


def problem(batch: int = 1, **options: Any) -> ConvProblem:
    x, w = np.zeros((batch, 64, 56, 56), "f4"), np.zeros((64, 64, 3, 3), "f4")
    return ConvProblem.of(2, x, w, **{"padding": 1, **options})


def test_the_choice_does_not_depend_on_the_batch() -> None:
    one, several = choose(problem(1)), choose(problem(7))
    assert one.algorithm is several.algorithm
    # Nor does what it depends on.
    assert one.candidates == several.candidates


def test_rtol_rules_out_what_its_bound_exceeds() -> None:
    chosen = choose(problem(rtol=0))
    assert chosen.algorithm.name == "direct"
    refused = {str(c.algorithm): c.why_not for c in chosen.candidates if c.why_not}
    assert "above rtol" in str(refused[f"{FIRST}.winograd"])


@pytest.mark.parametrize("rtol", [0, 1e-6, 1e-5, 1e-4, 1e-2])
@pytest.mark.parametrize(("channels", "size", "kernel"), [(1, 28, 5), (64, 56, 3), (512, 7, 3)])
def test_the_cheapest_of_those_that_can_is_taken(
    rtol: float, channels: int, size: int, kernel: int
) -> None:
    x, w = np.zeros((1, channels, size, size), "f4"), np.zeros((64, channels, kernel, kernel), "f4")
    choice = choose(ConvProblem.of(2, x, w, rtol=rtol))
    able = [c for c in choice.candidates if c.cost and c.why_not is None]
    rivals = [c for c in able if c.algorithm.backend != "reference"]
    best = min(rivals, key=lambda c: c.cost.seconds if c.cost else 0)
    assert choice.algorithm is best.algorithm
    assert choice.reason == "lowest predicted cost"


def test_every_candidate_says_what_it_would_take_or_why_not() -> None:
    choice = choose(problem())
    for candidate in choice.candidates:
        assert (candidate.why_not is None) == (candidate.cost is not None)
    assert {c.algorithm.name for c in choice.candidates} >= {"direct", "im2col", "winograd"}


def test_the_environment_forces_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV_BACKEND", "reference")
    assert choose(problem()).algorithm.backend == "reference"
    monkeypatch.setenv("FASTCONV_BACKEND", "abacus")
    with pytest.raises(ValueError, match="FASTCONV_BACKEND must be one of"):
        choose(problem())


def test_a_workspace_limit_rules_out_what_exceeds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV_WORKSPACE_MB", "0.001")
    candidates = choose(problem()).candidates
    assert any("FASTCONV_WORKSPACE_MB" in (c.why_not or "") for c in candidates)


def test_plans_are_kept_for_parameters_and_only_for_them() -> None:
    w = np.ones((64, 64, 3, 3), "f4")
    assert find_plan(problem(), (w, None)) is not find_plan(problem(), (w, None))
    parameter = Parameter(w)
    assert find_plan(problem(), (parameter, None)) is find_plan(problem(), (parameter, None))
    assert find_plan(problem(), (parameter, None)) is not find_plan(problem(2), (parameter, None))


def test_a_change_in_place_is_seen_or_not_possible() -> None:
    x, w = np.ones((1, 1, 3, 3), "f4"), np.ones((1, 1, 3, 3), "f4")
    assert F.conv2d(x, w) == 9
    w[:] = 2
    assert F.conv2d(x, w) == 18
    parameter = Parameter(w)
    assert F.conv2d(x, parameter) == 18
    w[:] = 3
    assert F.conv2d(x, parameter) == 18
    with pytest.raises(ValueError, match="read-only"):
        parameter[:] = 3
    with pytest.raises(ValueError, match="WRITEABLE"):
        parameter.flags.writeable = True
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(parameter)[0] = 1


def test_copies_that_can_be_changed_keep_no_plans() -> None:
    x = np.ones((1, 1, 3, 3), "f4")
    parameter = Parameter(np.ones((1, 1, 3, 3), "f4"))
    for changeable in (parameter.astype("f4"), parameter.copy(), np.ones_like(parameter)):
        assert F.conv2d(x, changeable) == 9
        changeable[...] = 2
        assert F.conv2d(x, changeable) == 18
    assert parameter.T.frozen


def test_parameters_copy_pickle_and_compute_as_arrays() -> None:
    parameter = Parameter(np.arange(6, dtype=">f4").reshape(2, 3))
    assert parameter.dtype == np.dtype("f4")
    assert copy.deepcopy(parameter) is parameter
    again = pickle.loads(pickle.dumps(parameter))
    assert isinstance(again, Parameter)
    np.testing.assert_array_equal(again, parameter)
    assert type(parameter + 1) is np.ndarray
    assert float(parameter.sum()) == 15
    assert Parameter(np.zeros((0, 3))).shape == (0, 3)


def test_kept_plans_are_bounded() -> None:
    parameter = Parameter(np.ones((1, 1, 3), "f4"))
    for length in range(3, 60):
        F.conv1d(np.ones((1, 1, length), "f4"), parameter)
    (plans,) = parameter._plans.values()
    assert len(plans._kept) <= plans.LIMIT


def test_a_plan_whose_workers_take_too_much_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    w = Parameter(np.ones((64, 64, 3, 3), "f4"))
    free = find_plan(problem(), (w, None))
    assert free.scratch_bytes > 1 << 17
    monkeypatch.setenv("FASTCONV_WORKSPACE_MB", "0.125")
    bound = find_plan(problem(), (w, None))
    assert bound.workspace_bytes + bound.scratch_bytes <= 1 << 17
    monkeypatch.delenv("FASTCONV_WORKSPACE_MB")
    assert find_plan(problem(), (w, None)) is free


def test_fewer_threads_run_where_more_would_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    w = Parameter(np.ones((64, 64, 3, 3), "f4"))
    x = np.random.default_rng(0).standard_normal((1, 64, 56, 56)).astype("f4")
    free = find_plan(problem(), (w, None))
    expected = free.run(x, None)
    taken: list[int] = []
    true_take = plan_module.take_address

    def take(size: int) -> Any:
        taken.append(size)
        return true_take(size)

    monkeypatch.setattr(plan_module, "take_address", take)
    limit = free.workspace_bytes + free.scratch_bytes + 64
    monkeypatch.setenv("FASTCONV_WORKSPACE_MB", str(limit / 2**20))
    with settings.threads(2):
        assert np.array_equal(free.run(x, None), expected)
    assert taken[-1] <= limit


def test_cuda_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastconv.backends.cuda.why_not_compile", lambda: "numba-cuda is missing")
    with pytest.raises(ValueError, match="backend 'cuda' is not there: numba-cuda is missing"):
        F.relu(np.ones(3, np.float32), backend="cuda")


@pytest.mark.parametrize("size", [2, 4])
def test_weights_of_few_pixels_are_read_as_given_where_that_is_measured_to_be_faster(
    size: int,
) -> None:
    """Those of a call alone: frozen ones are packed once."""
    x, w = np.zeros((1, 512, size, size), "f4"), np.zeros((256, 512, 3, 3), "f4")
    problem = ConvProblem.of(2, x, w, padding=1)
    intel = Machine("avx512", FAMILY_FIGURES["avx512", INTEL_SERVER], 48 << 10, 2 << 20, 480 << 20)
    other = Machine("avx512", FIGURES["avx512"], 32 << 10, 1 << 20, 32 << 20)

    def cheapest(machine: Machine, frozen: bool) -> str:
        able = [a for a in algorithms(ConvProblem) if a.why_not(problem) is None]
        costs = [a.cost(problem, machine) for a in able if a.backend in LIBRARIES]
        seconds = [c.seconds + (0.0 if frozen else c.packing_seconds) for c in costs]
        return [a for a in able if a.backend in LIBRARIES][int(np.argmin(seconds))].name

    assert cheapest(intel, frozen=False) == "skinny"
    assert "skinny" not in (cheapest(intel, frozen=True), cheapest(other, frozen=False))
