"""Errors of every convolution algorithm against its own bound, over drawn problems.

``python -m benchmarks.bounds 0 1000`` draws problems 0 to 999 and tells, for each algorithm, the
largest error as a part of its bound, and the problem that it was found on.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import fastconv.functional as F
from fastconv.dispatch import algorithms
from fastconv.problem import ConvProblem

KERNELS = [(1, 1), (3, 3), (3, 3), (5, 5), (1, 7), (7, 7), (3, 1), (2, 2)]


def parts_of_bounds(seed: int) -> dict[str, tuple[float, str]]:
    """Return each algorithm's error on one problem, as a part of its bound."""
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 1, 2, 8]))
    channels = groups * int(rng.choice([1, 3, 16, 40, 130, 300]))
    outputs = groups * int(rng.integers(1, 40))
    kernel = KERNELS[rng.integers(8)]
    stride = int(rng.choice([1, 1, 2]))
    size = [int(v) for v in rng.integers(8, 40, 2)]
    x = rng.standard_normal((1, channels, *size)).astype("f4")
    w = rng.standard_normal((outputs, channels // groups, *kernel)).astype("f4")
    padding = tuple(k // 2 for k in kernel)
    options: dict[str, Any] = {"padding": padding, "groups": groups, "stride": stride}
    problem = ConvProblem.of(2, x, w, **options)
    exact = F.conv2d(x.astype("f8"), w.astype("f8"), algorithm="direct", **options)
    found = {}
    for algorithm in algorithms(ConvProblem):
        if algorithm.backend != "reference" and algorithm.why_not(problem) is None:
            asked: dict[str, Any] = {"algorithm": algorithm.name, "backend": algorithm.backend}
            out = F.conv2d(x, w, rtol=1, **asked, **options)
            error = float(np.abs(out - exact).max()) / problem.sum_length**0.5
            where = f"{x.shape} {w.shape} groups {groups} stride {stride}"
            found[str(algorithm)] = (error / algorithm.error_bound(problem), where)
    return found


def main(first: int, last: int) -> None:
    """Print the largest part of its bound that each algorithm reached."""
    worst: dict[str, tuple[float, str]] = {}
    for seed in range(first, last):
        for name, (part, where) in parts_of_bounds(seed).items():
            worst[name] = max(worst.get(name, (0.0, "")), (part, where))
    for name, (part, where) in worst.items():
        print(f"{name:24} {part:.3f}  {where}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
