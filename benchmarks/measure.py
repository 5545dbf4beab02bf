"""Measuring: every answer checked first, then the contestants in turn until the time is up."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Mapping
from typing import Protocol

import numpy as np

import fastconv
from benchmarks.cases import Array, Case
from benchmarks.rival import Time, Timed

# Errors relative to the output's deviation. Above WRONG an answer is wrong. Above LOOSE, where
# the next narrower dtype might be at work, it is timed and shown, but does not count as a rival.
# Integers must be exact.
LOOSE = {
    "float32": 1e-3, "float64": 1e-9, "float16": 2e-2, "bfloat16": 1e-1, "complex64": 1e-3,
}  # fmt: skip
WRONG = {
    "float32": 5e-2, "float64": 1e-6, "float16": 2e-1, "bfloat16": 5e-1, "complex64": 5e-2,
}  # fmt: skip
_TURN_SECONDS = 2e-3
_MOST_RUNS = 16
_MOST_ROUNDS = 60


@dataclasses.dataclass(frozen=True)
class Result:
    """Median and quartiles of one contestant's seconds, or why there are none.

    ``disturbed`` is the share of its runs in which another process took a core away.
    """

    seconds: float | None = None
    quartiles: tuple[float, float] | None = None
    runs: int = 0
    disturbed: float = 0.0
    error: float | None = None
    loose: bool = False
    why_not: str | None = None


class Subject(Protocol):
    """What is measured: its dtype, and of how many calls a run is."""

    @property
    def dtype(self) -> str: ...

    @property
    def calls(self) -> int: ...


def measure(
    case: Subject,
    rivals: Mapping[str, Timed],
    expected: Array,
    budget: float,
    pause: float = 0.0,
) -> dict[str, Result]:
    """Time ``rivals`` for about ``budget`` seconds together, each in turn.

    A turn is one run that is not timed, so that none finds the caches as another left them,
    and as many timed ones as fit into 2 ms. Slow contestants take part in fewer rounds. Between
    turns there is a ``pause``, in which other libraries' threads stop spinning.
    """
    results = {name: _checked(rival, case, expected) for name, rival in rivals.items()}
    able = [name for name, result in results.items() if result.why_not is None]
    times: dict[str, list[Time]] = {name: rivals[name].turn(1) for name in able}
    share = budget / max(1, len(able))
    plans = {
        name: _plan(times[name][0][0] * case.calls, share, getattr(rivals[name], "rest", 0.0))
        for name in able
    }
    last = max((rounds for rounds, _ in plans.values()), default=0)
    for count in range(last):
        for name in able:
            rounds, runs = plans[name]
            if (count + 1) * rounds // last > count * rounds // last:
                if pause:
                    time.sleep(pause)
                times[name] += rivals[name].turn(runs)
    return {name: _summary(result, times.get(name, [])) for name, result in results.items()}


def _plan(seconds: float, share: float, rest: float) -> tuple[int, int]:
    """Return rounds, and runs a round, for a contestant that takes ``seconds`` a run."""
    runs = min(_MOST_RUNS, max(1, int(_TURN_SECONDS / max(seconds, 1e-7))))
    rounds = int(share / max(seconds * (runs + 1) + rest, 1e-7))
    # One run of a slow contestant is enough.
    least = 0 if seconds > share else 3
    return min(_MOST_ROUNDS, max(least, rounds)), runs


def _checked(rival: Timed, case: Subject, expected: Array) -> Result:
    wrong, loose = (bounds.get(case.dtype, 0.0) for bounds in (WRONG, LOOSE))
    try:
        error = rival.check(expected)
    # Whatever a library may raise for what it has no kernel for.
    except Exception as problem:
        return Result(why_not=first_line(problem))
    if not error <= wrong:
        return Result(error=error, why_not=f"wrong: error {error:.1e}")
    return Result(error=error, loose=error > loose)


def first_line(problem: BaseException) -> str:
    """Return the first line of an error's text, shortened, or its type."""
    lines = str(problem).strip().splitlines()
    return lines[0][:120] if lines else type(problem).__name__


def _summary(result: Result, times: list[Time]) -> Result:
    """Sum up; runs that were disturbed count only where there are hardly any others."""
    if not times:
        return result
    # The first was run on its own, to plan by.
    times = times[1:] or times
    calm = [seconds for seconds, disturbed in times if not disturbed]
    kept = calm if len(calm) >= 3 else [seconds for seconds, _ in times]
    low, middle, high = np.percentile(kept, (25, 50, 75))
    return dataclasses.replace(
        result,
        seconds=float(middle),
        quartiles=(float(low), float(high)),
        runs=len(kept),
        disturbed=1 - len(calm) / len(times),
    )


def expect(case: Case) -> Array:
    """Compute the answer wide: float64, complex128, or exact integers.

    What has no weight by PyTorch where it is installed, since pooling with NumPy goes a window at a
    time; the rest by fastconv's NumPy backend, which the tests hold against PyTorch.
    """
    arrays, named = case.arguments()
    arrays = [wide(array) for array in arrays]
    named = {name: wide(array) for name, array in named.items()}
    if case.weight_shape is None and importlib.util.find_spec("torch"):
        import torch

        tensors = [torch.from_numpy(array) for array in arrays]
        others = {name: torch.from_numpy(array) for name, array in named.items()}
        return np.asarray(getattr(torch.nn.functional, case.op)(*tensors, **others, **case.options))
    function = getattr(fastconv, case.op)
    return np.asarray(function(*arrays, **named, backend="reference", **case.options))


def wide(array: Array) -> Array:
    """Return an array in the widest dtype of its kind; bfloat16 is of no kind that NumPy knows."""
    widest = {"f": np.float64, "V": np.float64, "c": np.complex128}
    return array.astype(widest.get(array.dtype.kind, array.dtype))
