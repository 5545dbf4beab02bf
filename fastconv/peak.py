"""What this machine reaches at most, measured once and kept: reports are held against it.

Nothing that chooses knows of it: dispatch follows the fixed figures of `fastconv.machine`, so that
choices are the same wherever and whenever they are made.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastconv import kept, settings
from fastconv.backends.base import Work
from fastconv.dispatch.registry import LIBRARIES, backend_available
from fastconv.machine import Machine, cpu_model, forced_isa, get_machine
from fastconv.problem.record import record

FORMAT = 1
WHAT = "fastconv peak figures"
# Each limit is the best of many short samples, taken in turn in so many rounds, so that a neighbour
# who is busy for a while spoils none of them; fewer once they have taken so long. Of short samples
# a round has several.
ROUNDS = 40
FEWEST_ROUNDS = 5
MOST_SECONDS = 0.8
TURN_SECONDS = 1e-3
TURN_SAMPLES = 8
# Least and most bytes that are read to measure memory: several times the last cache.
MEMORY_BYTES = (64 << 20, 256 << 20)
# No machine is outside of this; a file that says otherwise is damaged.
PLAUSIBLE = (1e6, 1e16)

Stopwatch = Callable[[str, Callable[[], Any]], float]


@record(frozen=True)
class Figures:
    """Operations and bytes a second of one core; ``together``: bytes from memory of all cores.

    ``l3_count`` is how many third caches those cores have.
    """

    float32: float
    float64: float
    l1: float
    l2: float
    l3: float
    memory: float
    together: float
    l3_count: int


@record(frozen=True)
class Peak:
    """The limits of a machine as measured: what its cores compute and read at most.

    Measured with ``cores`` cores at an instruction set.
    """

    cpu: str
    isa: str
    cores: int
    figures: Figures

    def flops(self, dtype: str, threads: int = 1) -> float:
        """Operations a second of so many threads in a dtype, as wide as its numbers are."""
        wide = np.dtype(dtype).itemsize > 4
        return threads * (self.figures.float64 if wide else self.figures.float32)

    def memory_seconds(self, size: float, machine: Machine, threads: int = 1) -> float:
        """Least time to move so many bytes: each cache holds as much as fits, memory the rest."""
        figures = self.figures
        first, second = machine.l1_bytes * threads, machine.l2_bytes * threads
        # The third cache of some machines holds nothing that the second does.
        third = second + machine.l3_bytes * min(threads, figures.l3_count)
        memory = min(figures.memory * threads, max(figures.memory, figures.together))
        rates = (figures.l1 * threads, figures.l2 * threads, figures.l3 * threads, memory)
        seconds = below = 0.0
        for room, rate in zip((first, second, third, math.inf), rates, strict=True):
            held = max(0.0, min(size, room) - below)
            seconds += held / rate
            below += held
        return seconds

    def seconds(
        self, work: Work, machine: Machine, *, threads: int = 1, pieces: int = 1
    ) -> tuple[float, float]:
        """Least time to compute, and to move, some work that is done in so many pieces."""
        compute = work.flops / self.flops(work.dtype, threads)
        return compute, pieces * self.memory_seconds(work.bytes / pieces, machine, threads)

    def __str__(self) -> str:
        f = self.figures
        read = ", ".join(
            f"{name} {rate / 1e9:.0f}"
            for name, rate in (("L1", f.l1), ("L2", f.l2), ("L3", f.l3), ("memory", f.memory))
        )
        return (
            f"{f.float32 / 1e9:.0f} GFLOP/s float32, {f.float64 / 1e9:.0f} float64 a core; "
            f"reads {read} GB/s, {f.together / 1e9:.0f} on {self.cores} "
            f"core{'s' * (self.cores != 1)}"
        )


_found: dict[tuple[Path, str, int], Peak] = {}


def known() -> Peak | None:
    """Return what was measured here before, by this process or another; measure nothing."""
    path, isa, cores = key = _key()
    if key not in _found:
        content = kept.read(path) if path.parent.is_dir() else None
        peak = None if content is None else _parsed(content)
        if peak is None or (peak.cpu, peak.isa, peak.cores) != (cpu_model(), isa, cores):
            return None
        _found[key] = peak
    return _found[key]


def measured() -> Peak | None:
    """Return what was measured here, now if it never was; None where nothing can run kernels."""
    peak = known()
    if peak is None:
        library = library_here()
        if library is None:
            return None
        with _progress() as progress:
            peak = measure(library, progress=progress)
        key = _key()
        _found[key] = peak
        kept.write(key[0], _written(peak))
    return peak


def forget() -> None:
    """Look at the file again when next asked."""
    _found.clear()


def path_here() -> Path:
    """Return where the figures of this machine are kept, at the instruction set in force."""
    return _key()[0]


def measure(
    library: Any,
    *,
    stopwatch: Stopwatch | None = None,
    progress: Callable[[float], Any] | None = None,
) -> Peak:
    """Measure this machine on the kernels of a library.

    ``stopwatch`` gives the seconds of one run of what it is given; ``progress`` is told how much
    is done.
    """
    cores, machine = settings.cores_allowed(), get_machine()
    gauges = gauges_of(library, machine)
    rates = best_rates(gauges, stopwatch=stopwatch, progress=progress)
    rates["together"] = max(rates["together"], rates["memory"])
    figures = Figures(**rates, l3_count=_l3_count())
    return Peak(cpu_model(), machine.isa, cores, figures)


def gauges_of(library: Any, machine: Machine, threads: int = 1) -> dict[str, Any]:
    """Return what is timed, by the name of the figure: on so many threads, ``together`` on all."""
    from fastconv.backends.native.peak import filled, multiplying, reading

    l1, l2, l3 = machine.l1_bytes, machine.l2_bytes, machine.l3_bytes
    least, most = MEMORY_BYTES
    # A thread's own of the first two caches; of the third what the second does not hold.
    sizes = {
        "l1": l1 // 2 * threads,
        "l2": max(l2 // 2, l1) * threads,
        "l3": max(min(l3 // 2, 4 * l2 * threads), l2 * threads),
        "memory": max(least, min(most, 4 * l3, settings.memory_allowed() // 8)),
    }
    sources = {name: filled(size) for name, size in sizes.items()}
    cores = max(threads, settings.cores_allowed())
    return {
        **{name: multiplying(library, machine, name, threads) for name in ("float32", "float64")},
        **{name: reading(library, machine, source, threads) for name, source in sources.items()},
        "together": reading(library, machine, sources["memory"], cores),
    }


def best_rates(
    gauges: dict[str, Any],
    *,
    rounds: int = ROUNDS,
    stopwatch: Stopwatch | None = None,
    progress: Callable[[float], Any] | None = None,
) -> dict[str, float]:
    """Return what each of the gauges reached in its best sample, a second."""
    watch = stopwatch or _sample
    best = dict.fromkeys(gauges, math.inf)
    # The first runs wake threads, fill caches and have the clock rise.
    for name, gauge in gauges.items():
        watch(name, gauge.run)
    spent = 0.0
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and spent > MOST_SECONDS:
            break
        for name, gauge in gauges.items():
            turn = 0.0
            for _ in range(TURN_SAMPLES):
                seconds = watch(name, gauge.run)
                best[name] = min(best[name], seconds)
                turn += seconds
                if turn > TURN_SECONDS:
                    break
            spent += turn
        if progress is not None:
            progress((done + 1) / rounds)
    return {name: gauge.amount / best[name] for name, gauge in gauges.items()}


def _sample(name: str, run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def library_here() -> Any:
    """Return the kernels that exist, compiled ones first; None where there are none."""
    backend = next(filter(backend_available, LIBRARIES), None)
    if backend is None:
        return None
    return importlib.import_module(f"fastconv.backends.{backend}.library")


def _l3_count() -> int:
    """Count the third caches of the cores that this process may use; 1 where none is told."""
    if not hasattr(os, "sched_getaffinity"):
        return 1
    found = set()
    for core in os.sched_getaffinity(0):
        with contextlib.suppress(OSError):
            place = Path(f"/sys/devices/system/cpu/cpu{core}/cache/index3/shared_cpu_list")
            found.add(place.read_text())
    return max(1, len(found))


def _key() -> tuple[Path, str, int]:
    isa, cores = forced_isa(), settings.cores_allowed()
    words = re.sub(r"[^a-z0-9]+", "-", f"{cpu_model()} {isa}".lower()).strip("-")
    name = f"{words[:110]}-{cores}-peak-{FORMAT}.json"
    return settings.cache_dir() / "tuning" / name, isa, cores


def _written(peak: Peak) -> bytes:
    held = {"what": WHAT, "format": FORMAT, **dataclasses.asdict(peak)}
    return json.dumps(held, indent=1).encode()


def _parsed(content: bytes) -> Peak | None:
    """Read what `_written` wrote; None: it is something else."""
    try:
        held = json.loads(content)
        if (held["what"], held["format"]) != (WHAT, FORMAT):
            return None
        names = [field.name for field in dataclasses.fields(Figures)]
        figures = {name: held["figures"][name] for name in names}
        cpu, isa, cores = held["cpu"], held["isa"], held["cores"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    count = figures.pop("l3_count")
    least, most = PLAUSIBLE
    rates = figures.values()
    if any(type(rate) not in (int, float) or not least < rate < most for rate in rates):
        return None
    if type(count) is not int or type(cores) is not int or not 0 < count <= cores:
        return None
    return Peak(cpu, isa, cores, Figures(**figures, l3_count=count))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[float], Any] | None]:
    """Yield a function to be told how much is done: a line on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    # It draws when it is told: a thread of its own would take part of what is measured.
    console = Console(stderr=True)
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("measuring this machine's limits", total=1.0)
        progress.refresh()
        yield lambda done: progress.update(task, completed=done, refresh=True)
