"""Taps that only ever see padding: left out of what algorithms are asked, never of the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv.dispatch import Parameter
from fastconv.problem import ConvProblem


def problem_of(size: tuple[int, ...], kernel: tuple[int, ...], **options: Any) -> ConvProblem:
    n = len(size)
    x, w = np.zeros((1, 2, *size), "f4"), np.zeros((3, 2, *kernel), "f4")
    return ConvProblem.of(n, x, w, **options)


def test_one_cell_sees_one_tap() -> None:
    busy = problem_of((1, 1), (3, 3), padding=1).without_idle()
    assert busy.kernel_size == (1, 1)
    assert busy.padding == ((0, 0), (0, 0))


def test_a_window_wider_than_its_image_keeps_the_taps_between() -> None:
    busy = problem_of((33, 20), (3, 3), padding=(36, 18), dilation=(36, 18)).without_idle()
    assert busy.kernel_size == (1, 3)


@pytest.mark.parametrize("mode", ["replicate", "circular"])
def test_taps_that_see_other_padding_are_busy(mode: str) -> None:
    problem = problem_of((1, 1), (3, 3), padding=1, padding_mode=mode)
    assert problem.without_idle() is problem


def test_nothing_is_left_out_of_ordinary_problems() -> None:
    problem = problem_of((8, 8), (3, 3), padding=1)
    assert problem.without_idle() is problem


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 4),
    padding=st.tuples(st.integers(0, 8), st.integers(0, 8)),
)
def test_the_answer_is_that_of_all_taps(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, dilation: int,
    padding: tuple[int, int],
) -> None:  # fmt: skip
    spans = [dilation * (k - 1) + 1 for k in kernel]
    if any(s + 2 * p < reach for s, p, reach in zip(size, padding, spans, strict=True)):
        return
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, *size)), rng.standard_normal((4, 3, *kernel))
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    expected = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(w), **options).numpy()
    for weight in (w, Parameter(w)):
        np.testing.assert_allclose(F.conv2d(x, weight, **options), expected, atol=1e-12)


def test_explain_tells_of_the_taps_that_are_computed() -> None:
    x, w = np.zeros((1, 512, 1, 1), "f4"), np.zeros((512, 512, 3, 3), "f4")
    told = fastconv.explain(F.conv2d, x, w, padding=1)
    assert told.choices[0] is not None
    assert told.choices[0].problem.kernel_size == (1, 1)  # type: ignore[attr-defined]
