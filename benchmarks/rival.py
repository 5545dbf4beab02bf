"""A contestant: something that runs one case, made ready beforehand."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from benchmarks.cases import Array, Case

# A run's seconds, and whether the system took a core from this process meanwhile.
Time = tuple[float, bool]


class Timed(Protocol):
    """What can take part in a measurement, in this process or in another."""

    def check(self, expected: Array) -> float:
        """Run once; give the largest error relative to the expected output's deviation."""
        ...

    def turn(self, runs: int) -> list[Time]:
        """Run once untimed, then ``runs`` times."""
        ...


@dataclasses.dataclass
class Rival:
    """``run`` is what is timed; ``output`` gives what it gives, as NumPy, channels first.

    ``context`` holds what a call of its library needs around it, such as a number of threads.
    ``rest`` is slept after its turn: the seconds for which its own idle threads spin.
    A run is so many ``calls``, of which the mean is taken: one may be too short for the clock.
    """

    run: Callable[[], Any]
    output: Callable[[], Array]
    context: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext
    rest: float = 0.0
    calls: int = 1

    def check(self, expected: Array) -> float:
        with self.context():
            return error(self.output(), expected)

    def turn(self, runs: int) -> list[Time]:
        times = []
        with self.context():
            self.run()
            for _ in range(runs):
                before = interruptions()
                start = time.perf_counter()
                if self.calls == 1:
                    self.run()
                else:
                    for _ in range(self.calls):
                        self.run()
                seconds = (time.perf_counter() - start) / self.calls
                times.append((seconds, interruptions() > before))
        if self.rest:
            time.sleep(self.rest)
        return times


class Maker(Protocol):
    """A way to solve cases: a peer, or one of fastconv's own."""

    name: str

    def missing(self) -> str | None:
        """Return what is not installed; None: everything is."""
        ...

    def can(self, case: Case) -> str | None:
        """Return why it cannot run ``case``; None: it can."""
        ...

    def build(self, case: Case, threads: int) -> Rival:
        """Make it ready, weights packed where it can."""
        ...


def refusal(maker: Maker, case: Case) -> str | None:
    """Return why ``maker`` takes no part in ``case``, if it does not."""
    return maker.missing() or maker.can(case)


def error(output: Array, expected: Array) -> float:
    """Return the largest difference relative to the expected output's standard deviation."""
    if output.shape != expected.shape:
        raise ValueError(f"gave shape {output.shape}, expected {expected.shape}")
    wide = np.result_type(expected.dtype, np.float64)
    difference = np.abs(output.astype(wide) - expected).max()
    return float(difference / max(float(np.std(expected)), 1e-30))


def _interruptions() -> Callable[[], int]:
    try:
        import resource
    except ImportError:  # Windows does not tell.
        return lambda: 0
    return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


# Counts how often another process was given a core that this one was using.
interruptions = _interruptions()


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep libraries that print as they load from doing so, whatever language they print from."""
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for stream, copy in enumerate(kept, 1):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)
