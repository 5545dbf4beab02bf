"""Measuring instead of predicting: every algorithm that can serve a problem, timed in turn."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.backends.base import Algorithm, Array, Arrays, Result
from fastconv.backends.native.sources import source_of
from fastconv.dispatch.choose import Candidate, choose
from fastconv.dispatch.tuning import UNTUNED
from fastconv.problem import ConvProblem, ConvTransposeProblem, Problem

MEASURED_TYPES = (ConvProblem, ConvTransposeProblem)
# A sample lasts at least so many seconds: enough runs that the clock's own grain does not count.
SAMPLE_SECONDS = 1e-3
# Once the runs of one problem add up to so many seconds, the fewest rounds are enough.
PROBLEM_SECONDS = 2.0
FEWEST_ROUNDS = 3
# Bounds are of errors to expect; the largest of a whole output may be somewhat above.
SLACK = 2.0

Stopwatch = Callable[[str, Callable[[], Any]], float]
Run = Callable[..., Result]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Seconds an image on one thread of every algorithm that gave the right answer."""

    problem: Problem
    predicted: Algorithm
    candidates: tuple[Candidate, ...]
    seconds: dict[str, float]
    failed: dict[str, str]

    @property
    def fastest(self) -> str | None:
        """The fastest algorithm that gave the right answer; None if none did."""
        return min(self.seconds, key=self.seconds.__getitem__, default=None)


def sample(name: str, run: Callable[[], Any]) -> float:
    """Return the seconds of one run, from as many runs as a sample takes."""
    runs = 0
    start = now = time.perf_counter()
    while now - start < SAMPLE_SECONDS:
        run()
        runs += 1
        now = time.perf_counter()
    return (now - start) / runs


def bare(problem: Any) -> Any:
    """Return the problem of one image without its epilogue: what is measured, once for all."""
    image = problem.for_one_image().without_idle()
    return dataclasses.replace(image, bias=False, residual=False, activation=None)


def measure(problem: Any, *, rounds: int = 7, stopwatch: Stopwatch | None = None) -> Measurement:
    """Time the algorithms that can serve a convolution: one image, one thread, weights packed.

    They run in turn, ``rounds`` times each, and each one's median counts. Their answers are
    compared first. The reference backend is timed only where nothing else can serve.

    Raises
    ------
    ValueError
        When no algorithm can serve.
    """
    problem = bare(problem)
    choice = choose(problem, tuning=UNTUNED)
    inputs, parameters = operands(problem)
    able = [c for c in choice.candidates if c.why_not is None]
    seconds, failed = race(able, problem, inputs, parameters, rounds=rounds, stopwatch=stopwatch)
    return Measurement(problem, choice.algorithm, choice.candidates, seconds, failed)


def race(
    able: Sequence[Candidate],
    problem: Problem,
    inputs: Arrays,
    parameters: Arrays,
    *,
    rounds: int = 7,
    stopwatch: Stopwatch | None = None,
    frozen: bool = True,
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the median seconds of a run on these operands, and what failed and why.

    Parameters that are not ``frozen`` are packed at each run.
    """
    rivals = [c for c in able if c.algorithm.backend != "reference"] or able
    out = np.empty(problem.output_shape, problem.output_dtype)
    with settings.threads(1):
        plans, failed = _checked_plans(rivals, problem, inputs, parameters, frozen)
        runs = {name: _run(plan, inputs, out) for name, plan in plans.items()}
        return _interleaved(runs, rounds, stopwatch or sample), failed


def _run(run: Run, inputs: Arrays, out: Array) -> Callable[[], Any]:
    return lambda: run(*inputs, out=out)


def _interleaved(
    runs: dict[str, Callable[[], Any]], rounds: int, stopwatch: Stopwatch
) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for done in range(rounds):
        spent = sum(sum(column) for column in times.values())
        if done >= FEWEST_ROUNDS and spent > PROBLEM_SECONDS:
            break
        for name, run in runs.items():
            times[name].append(stopwatch(name, run))
    return {name: statistics.median(column) for name, column in times.items()}


def operands(problem: Any) -> tuple[Arrays, Arrays]:
    """Return random inputs and parameters whose outputs have a variance of about 1."""
    rng = np.random.default_rng(0)
    x = _random(rng, problem.input_shape, problem.dtype, 1.0)
    weight = _random(rng, problem.weight_shape, problem.dtype, problem.sum_length**-0.5)
    if getattr(problem, "separable", False):
        weight = weight[..., :1] * weight[..., :1, :] * problem.sum_length**0.5
    return (x, None), (weight, None)


def _random(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], scale: float
) -> Array:
    if dtype.kind in "iu":
        return rng.integers(0, 4, shape).astype(dtype)
    values: Array = rng.standard_normal(shape) * scale
    if dtype.kind == "c":
        values = values + 1j * rng.standard_normal(shape) * scale
    return values.astype(dtype)


def _checked_plans(
    rivals: Sequence[Candidate], problem: Any, inputs: Arrays, parameters: Arrays, frozen: bool
) -> tuple[dict[str, Run], dict[str, str]]:
    """Plan and run every rival; leave out what fails, and what is wrong where they differ."""
    plans: dict[str, Run] = {}
    failed: dict[str, str] = {}
    answers: dict[str, Array] = {}
    for candidate in rivals:
        name = str(candidate.algorithm)
        try:
            if frozen:
                run: Run = candidate.algorithm.plan(problem, *parameters).run
            else:
                sources = tuple(map(source_of, parameters))
                packing = candidate.algorithm.packing_plan(problem, sources)
                run = functools.partial(packing.run, parameters=parameters)
            answers[name] = _first(run(*inputs))
        except (ValueError, TypeError, MemoryError, ArithmeticError, RuntimeError) as error:
            failed[name] = f"failed: {error}"
            continue
        plans[name] = run
    bounds = {str(c.algorithm): c.error_bound or 0.0 for c in rivals}
    if not _agree(answers, bounds):
        right = _reference(problem, inputs, parameters)
        for name in [n for n in plans if not _close(answers[n], right, bounds[n])]:
            failed[name] = "its answer is wrong"
            del plans[name]
    return plans, failed


def _agree(answers: dict[str, Array], bounds: dict[str, float]) -> bool:
    """Return whether all are as near to the most exact as their bounds say."""
    if not answers:
        return True
    best = min(answers, key=bounds.__getitem__)
    return all(
        _close(answer, answers[best], bounds[name] + bounds[best])
        for name, answer in answers.items()
    )


def _close(answer: Array, right: Array, bound: float) -> bool:
    if answer.dtype.kind in "iu":
        return bool(np.array_equal(answer, right))
    kind = np.complex128 if answer.dtype.kind == "c" else np.float64
    a, b = answer.astype(kind), right.astype(kind)
    # The storage rounding of types that bounds do not count; NumPy does not know bfloat16's.
    eps = 2.0**-7 if answer.dtype.name == "bfloat16" else float(np.finfo(answer.dtype).eps)
    bound = max(bound, eps * 4)
    return bool(np.max(np.abs(a - b), initial=0) <= SLACK * bound * (float(np.std(b)) or 1.0))


def _reference(problem: Any, inputs: Arrays, parameters: Arrays) -> Array:
    choice = choose(problem, backend="reference", tuning=UNTUNED)
    return _first(choice.algorithm.plan(problem, *parameters).run(*inputs))


def _first(result: Result) -> Array:
    return np.asarray(result[0] if isinstance(result, tuple) else result)
