"""No cliffs: what is legal runs on compiled kernels, predicted near the limit of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as torch_f

import fastconv.functional as F
from fastconv import settings
from fastconv.dispatch import Parameter, choose
from fastconv.machine import get_machine
from fastconv.problem import ConvProblem, Problem
from tests.libraries import COMPILED
from tests.trust import fuzz
from tests.trust.calls import Untold

Told = Callable[[str, str, str], None]
Scale = Callable[[int, int], int]

# Of every dtype; all else of floats.
SUMS = ("conv", "linear", "max_pool", "avg_pool", "lp_pool", "weighted_pool", "adaptive", "global")
# Predicted time over the roof's: the worst are three-dimensional, with one or two filters a
# group, so that most of a register tile is idle.
MOST = 40.0
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 32, 33, 64, 67, 128, 256)
FILTERS = (1, 2, 3, 5, 8, 16, 17, 32, 64, 100, 128, 256)
WIDEST = {1: 301, 2: 31, 3: 9}


@pytest.mark.parametrize("backend", COMPILED)
def test_every_legal_call_has_a_compiled_kernel(backend: str, scale: Scale, told: Told) -> None:
    """C serves the floats that it has kernels for, Numba every dtype."""
    count = scale(400, 10_000)
    posed = 0
    for index in range(count):
        call = fuzz.draw(21, index).call
        if backend == "c" and call.dtype.name not in ("float32", "float64"):
            continue
        is_float = call.dtype.kind == "f" or call.dtype.name == "bfloat16"
        if not is_float and not call.function.startswith(SUMS):
            continue
        choice = choose(call.problem(), backend=backend)
        assert choice.algorithm.backend == backend
        posed += 1
    told(
        "no cliffs: every legal call runs on compiled kernels",
        f"{posed:,} drawn calls posed to backend {backend} alone",
        "all served",
    )


def legal(rng: np.random.Generator) -> tuple[ConvProblem, dict[str, Any]] | None:
    """Draw a float32 convolution of 8 to 500 MFLOP, as square as its stride allows."""
    n = int(rng.choice([1, 2, 2, 2, 3]))
    kernel = [int(rng.choice([1, 2, 3, 3, 3, 5, 7, WIDEST[n] // 3, WIDEST[n]])) for _ in range(n)]
    stride = tuple(int(s) for s in rng.choice([1, 1, 1, 2, 3, 5], n))
    dilation = tuple(int(d) for d in rng.choice([1, 1, 1, 2, 3], n))
    padding = tuple(int(rng.choice([0, k // 2])) for k in kernel)
    groups = int(rng.choice([1, 1, 1, 2, 4, 8, 32, 61, 128]))
    channels = 1 if rng.random() < 0.3 else int(rng.choice(CHANNELS))
    filters = groups * int(rng.choice(FILTERS if groups < 8 else FILTERS[:4]))
    wanted = 2.0 ** rng.uniform(22, 28)

    def sizes(side: int) -> list[int]:
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        return [max(span, side) for span in spans]

    def products(side: int) -> float:
        ends = zip(sizes(side), kernel, stride, dilation, padding, strict=True)
        outputs = [float((x + 2 * p - d * (k - 1) - 1) // s + 1) for x, k, s, d, p in ends]
        return prod(outputs) * filters * channels * prod(kernel)

    side = 1
    while products(side) < wanted:
        side += 1 + side // 16
    x, w = (1, channels * groups, *sizes(side)), (filters, channels, *kernel)
    if prod(x) > 2**26:
        return None
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    f4 = np.dtype("f4")
    problem = ConvProblem.of(n, Untold(x, f4), Untold(w, f4), **options)  # type: ignore[arg-type]
    return problem, options | {"shapes": (x, w)}


def roof_seconds(problem: Problem) -> float:
    """Return the time that the machine's fixed figures allow a problem."""
    machine = get_machine()
    compute = problem.flops / machine.peak_flops(problem.dtype)
    return max(compute, problem.bytes / machine.memory_bandwidth)


def test_no_convolution_is_predicted_far_from_the_roof(scale: Scale, told: Told) -> None:
    """By the costs that choices are made by: no clock is read."""
    parts = []
    for index in range(scale(400, 10_000)):
        drawn = legal(np.random.default_rng((5, index)))
        if drawn is None:
            continue
        problem, options = drawn
        choice = choose(problem)
        (cost,) = [c.cost for c in choice.offers if c.algorithm is choice.algorithm]
        assert cost is not None
        part = cost.seconds / roof_seconds(problem)
        assert part < MOST, f"{part:.1f} times the roof: {choice.algorithm}, {options}"
        parts.append(part)
    told(
        "no cliffs: no convolution is predicted far from the machine's limit",
        f"{len(parts):,} drawn shapes in one to three dimensions, float32, 8 to 500 MFLOP",
        f"median {np.median(parts):.1f}, 99 of 100 below {np.quantile(parts, 0.99):.0f}, "
        f"worst {max(parts):.0f} times the roof's time",
    )


def least_times(calls: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Time calls in turn; give each one's least seconds."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def test_the_time_of_drawn_convolutions(scale: Scale, told: Told) -> None:
    """Figures for the table: no clock decides."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    parts, ratios = [], []
    for index in range(scale(2, 100)):
        drawn = legal(np.random.default_rng((6, index)))
        if drawn is None:
            continue
        problem, options = drawn
        x, w = (np.ones(shape, "f4") for shape in options.pop("shapes"))
        ours, theirs = getattr(F, f"conv{problem.n}d"), getattr(torch_f, f"conv{problem.n}d")
        with settings.threads(1), torch.inference_mode():
            packed, out = Parameter(w), ours(x, w, **options)
            tensors = torch.from_numpy(x), torch.from_numpy(w)
            mine, other = least_times(
                [lambda: ours(x, packed, out=out, **options), lambda: theirs(*tensors, **options)],  # noqa: B023
                4,
            )
        parts.append(mine / roof_seconds(problem))
        ratios.append(other / mine)
    torch.set_num_threads(threads)
    told(
        "no cliffs: what drawn convolutions take",
        f"{len(parts)} such shapes on one thread, least of 4, in turn with torch",
        f"torch's time is {np.exp(np.mean(np.log(ratios))):.2f} times as long (geometric mean), at "
        f"least {min(ratios):.2f}, less in {sum(r < 1 for r in ratios)}; ours is "
        f"{np.median(parts):.1f} times the roof's (median)",
    )
