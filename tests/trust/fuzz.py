"""Draw problems and hold every algorithm to its answer: ``python -m tests.trust.fuzz``.

``--count N --seed S`` draws problems 0 to N - 1 of a seed; ``--only "conv2d numba"`` runs those
alone whose line has all these words; ``--index I`` runs one. A failure prints the command that
runs it again. At the end it prints, for each algorithm, the largest error as a part of its bound.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np

from fastconv import settings
from fastconv.backends.base import Algorithm
from fastconv.backends.native import arena, plan
from fastconv.dispatch import choose
from fastconv.machine import available_isas
from fastconv.problem import Problem
from tests.tolerance import poisoned
from tests.trust.allowed import allowed, bound_of, deviation, is_exact
from tests.trust.calls import Array, Call, able
from tests.trust.draws import drawn, pick

THREADS = (1, 2, 3, 8)
# What an input and an output may be besides plain arrays.
FORMS = (
    "plain",
    "plain",
    "plain",
    "plain",
    "strided",
    "unaligned",
    "reversed",
    "fortran",
    "read-only",
)
OUTPUTS = ("none", "plain", "plain", "plain", "strided", "reversed", "unaligned")


@dataclasses.dataclass
class Trial:
    """A drawn call and how it is run."""

    seed: int
    index: int
    call: Call
    problem: Problem
    algorithm: Algorithm
    # Whether the algorithm is asked for, or what is chosen anyway.
    asked: bool
    isa: str
    threads: int
    form: str
    output: str

    def __str__(self) -> str:
        how = f"{self.isa} {self.threads} threads, {self.form} input, {self.output} output"
        word = "" if self.asked else " (chosen)"
        return f"{self.algorithm}{word} {how}: {self.call}"

    @property
    def command(self) -> str:
        """The command that runs it again."""
        return f"python -m tests.trust.fuzz --seed {self.seed} --index {self.index}"


def draw(seed: int, index: int) -> Trial:
    """Draw problem ``index`` of a seed: the same on every machine with the same algorithms."""
    rng = np.random.default_rng((seed, index))
    call = drawn(rng)
    problem = call.problem()
    isas = available_isas()
    isa = pick(rng, *isas)
    asked = bool(rng.random() < 0.85)
    with forced(isa):
        candidates = able(problem)
        backends = sorted({a.backend for a in candidates})
        # Where compiled kernels serve, the reference is held to itself in few draws.
        weights = np.array([0.04 if b == "reference" else 1.0 for b in backends])
        backend = backends[int(rng.choice(len(backends), p=weights / weights.sum()))]
        if backend == "numba" and rng.random() < 0.8:
            isa = isas[0]
    with forced(isa):
        candidates = [a for a in able(problem) if a.backend == backend]
        algorithm = pick(rng, *candidates)
        if not asked:
            algorithm = choose(problem).algorithm
    threads, form, output = (pick(rng, *these) for these in (THREADS, FORMS, OUTPUTS))
    return Trial(seed, index, call, problem, algorithm, asked, isa, threads, form, output)


def attempt(trial: Trial) -> float | None:
    """Run a trial; give its error as a part of its bound, where it has one.

    Raises
    ------
    AssertionError
        For an answer that is not what it must be.
    """
    call, how = trial.call, dict[str, Any]()
    if trial.asked:
        how = {"algorithm": trial.algorithm.name, "backend": trial.algorithm.backend}
    with forced(trial.isa), settings.threads(trial.threads):
        expected = first(call.exact())
        arrays = {name: formed(array, trial.form) for name, array in call.arrays.items()}
        kept = {name: array.tobytes() for name, array in call.arrays.items()}
        given = dataclasses.replace(call, arrays=arrays)
        out = output(expected.shape, trial)
        arena.take(1 << 20)
        arena.poison()
        result = given.run(**how, out=out)
        assert out is None or first(result) is out, "out was given and not returned"
        for name, array in arrays.items():
            assert array.tobytes() == kept[name], f"{name} was written to"
        part = held(trial, result, expected)
        images(trial, how, result)
    return part


def held(trial: Trial, result: Any, expected: Any) -> float | None:
    """Hold a result against the exact one."""
    call, algorithm = trial.call, trial.algorithm
    got = first(result)
    assert got.shape == expected.shape, f"shape {got.shape}, not {expected.shape}"
    assert got.dtype == trial.problem.output_dtype, f"dtype {got.dtype}"
    if isinstance(result, tuple):
        places = call.exact()[1]
        assert np.array_equal(result[1], places), "other places"
    if is_exact(call, algorithm):
        wanted = expected.astype(got.dtype)
        same = (got == wanted) | ((got != got) & (wanted != wanted))
        assert same.all(), f"{(~same).sum()} of {same.size} cells are not exact"
        return None
    wide = got.astype(expected.dtype)
    finite = np.isfinite(expected)
    assert np.array_equal(wide[~finite], expected[~finite], equal_nan=True), "other NaN or inf"
    error = np.abs(wide - expected)[finite]
    most = allowed(call, trial.problem, algorithm, expected)[finite]
    if not np.all(error <= most):
        at = int(np.argmax(np.where(np.isnan(error), np.inf, error - most)))
        worst = f"{(~(error <= most)).sum()} of {error.size} cells"
        raise AssertionError(f"{worst}: error {error[at]:.3g}, allowed {most[at]:.3g}")
    summed = call.function.startswith("conv") or call.function == "linear"
    if not summed or call.whole or error.size == 0 or call.dtype.itemsize == 2:
        return None
    bound = bound_of(algorithm, trial.problem) * deviation(call, trial.problem)
    return float(error.max()) / bound if bound else None


def images(trial: Trial, how: dict[str, Any], result: Any) -> None:
    """Look that an image of a batch has the same bits alone, on another number of threads."""
    call, got = trial.call, first(result)
    mixing = (
        call.function in ("softmax", "log_softmax") and call.options["dim"] % call.input.ndim == 0
    )
    if call.input.ndim < 2 or len(call.input) < 2 or mixing:
        return
    number = trial.index % len(call.input)
    with settings.threads(THREADS[trial.index % len(THREADS)]):
        alone = first(call.image(number).run(**how))
    assert alone[0].tobytes() == got[number].tobytes(), f"image {number} has other bits alone"


def first(result: Any) -> Any:
    """Return a result without its indices."""
    return result[0] if isinstance(result, tuple) else result


def formed(array: Array, form: str) -> Array:
    """Return an array in one of ``FORMS``."""
    if form == "unaligned":
        raw = np.empty(array.nbytes + 1, np.uint8)[1:]
        copy = raw.view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy
    if form in ("strided", "reversed"):
        return placed(array.shape, array.dtype, form, array)
    if form == "fortran":
        return np.asfortranarray(array)
    copy = array.copy()
    copy.flags.writeable = form != "read-only"
    return copy


def placed(shape: tuple[int, ...], dtype: Any, form: str, values: Any) -> Array:
    """Return a view of larger memory, every other cell of it or from the end, with ``values``."""
    if not shape:
        return np.asarray(values, dtype).copy()
    step = 2 if form == "strided" else -1
    memory = np.zeros((*shape[:-1], 2 * shape[-1]), dtype)
    view = memory[..., : 2 * shape[-1] : 2] if step == 2 else memory[..., : shape[-1]][..., ::-1]
    view[...] = values
    return view


def output(shape: tuple[int, ...], trial: Trial) -> Array | None:
    """Return an ``out`` full of NaN in one of ``OUTPUTS``."""
    if trial.output == "none":
        return None
    return formed(poisoned(shape, trial.problem.output_dtype), trial.output)


@contextlib.contextmanager
def forced(isa: str) -> Iterator[None]:
    """Take an instruction set."""
    with patch.dict(os.environ, FASTCONV_ISA=isa):
        yield


@dataclasses.dataclass
class Tally:
    """What a run came to."""

    count: int = 0
    exact: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    reached: Counter[str] = dataclasses.field(default_factory=Counter)
    parts: dict[str, tuple[float, str]] = dataclasses.field(default_factory=dict)

    @property
    def worst(self) -> float:
        """The largest part of a bound that any algorithm reached."""
        return max((part for part, _ in self.parts.values()), default=0.0)


def trials(seed: int, indices: range, words: list[str], numba: tuple[str, ...]) -> list[Trial]:
    """Draw, and put together what needs the same kernels; Numba has the dtypes ``numba`` alone."""
    found = []
    for index in indices:
        trial = draw(seed, index)
        spared = trial.algorithm.backend == "numba" and numba and trial.call.dtype.name not in numba
        if not spared and all(word in str(trial).split() or word in str(trial) for word in words):
            found.append(trial)
    return found


def run(
    seed: int, indices: range, words: list[str] | None = None, numba: tuple[str, ...] = ()
) -> Tally:
    """Draw and run; failures are told as they come."""
    tally = Tally()
    with patch.object(plan, "SERIAL_SECONDS", 0.0), np.errstate(all="ignore"):
        for index in indices:
            for trial in trials(seed, range(index, index + 1), words or [], numba):
                try:
                    part = attempt(trial)
                except Exception as error:
                    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
                    line = f"FAILED {trial.command}\n  {kind}{error}\n  {trial}"
                    tally.failures.append(line)
                    print(line, flush=True)
                    if not isinstance(error, AssertionError):
                        traceback.print_exc(limit=-3)
                    part = None
                tally.count += 1
                name = f"{trial.call.function} {trial.algorithm}"
                tally.reached[name] += 1
                if part is not None:
                    last = tally.parts.get(name, (0.0, ""))
                    tally.parts[name] = max(last, (part, trial.command))
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="the first problem's number")
    parser.add_argument("--index", type=int, help="run this one problem alone")
    parser.add_argument("--only", default="", help="words that a problem's line must have")
    parser.add_argument("--guard-pages", action="store_true", help="end where a kernel strays")
    given = parser.parse_args()
    indices = range(given.start, given.start + given.count)
    if given.index is not None:
        indices = range(given.index, given.index + 1)
        print(draw(given.seed, given.index))
    context: Any = contextlib.nullcontext()
    if given.guard_pages:
        from tests.guarded import guard_pages

        context = guard_pages()
    began = time.perf_counter()
    with context:
        tally = run(given.seed, indices, given.only.split())
    for name, (part, command) in sorted(tally.parts.items()):
        print(f"{name:40} {part:.3f} of its bound  {command}")
    print(
        f"{tally.count} problems, {len(tally.reached)} pairs of function and algorithm, "
        f"{len(tally.failures)} failed, {time.perf_counter() - began:.0f} s"
    )
    return 1 if tally.failures else 0


if __name__ == "__main__":
    os.environ["FASTCONV_TUNING"] = "off"
    sys.exit(main())
