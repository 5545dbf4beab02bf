"""The machine's limits, measured: multiply-adds in registers, and reading from memory and cache."""

from __future__ import annotations

import dataclasses

from fastconv.machine import get_machine
from fastconv.peak import ROUNDS, best_rates, gauges_of, library_here

HOW = (
    "`fastconv.peak`: independent chains of float32 multiply-adds in vector registers; reading"
    " memory that no cache holds, and half of L2"
)


@dataclasses.dataclass(frozen=True)
class Peak:
    """What so many threads reach together: operations and bytes a second."""

    threads: int
    flops: float
    memory_bandwidth: float
    cache_bandwidth: float


def measure_peak(threads: int, repeat: int = ROUNDS) -> Peak:
    """Measure the limits of ``threads`` threads: the best of ``repeat`` rounds."""
    gauges = gauges_of(library_here(), get_machine(), threads)
    wanted = {name: gauges[name] for name in ("float32", "memory", "l2")}
    rates = best_rates(wanted, rounds=repeat)
    return Peak(threads, rates["float32"], rates["memory"], rates["l2"])
