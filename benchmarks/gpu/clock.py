"""Medians of interleaved replays, by the GPU's own events; and the GPU's two limits."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from math import ceil

TURNS = 15
# Bytes that sets of arrays come to, so that no second cache holds them.
SPREAD_BYTES = 240 << 20
MOST_SETS = 24


def sets_for(nbytes: int) -> int:
    """Return how many sets of arrays of so many bytes are taken in turn."""
    return max(1, min(MOST_SETS, ceil(SPREAD_BYTES / max(nbytes, 1))))


def medians(runs: Mapping[str, Callable[[], None]], turns: int = TURNS) -> dict[str, float]:
    """Time contestants in turn; give each one's median seconds."""
    import torch

    for run in runs.values():
        run()
        run()
    torch.cuda.synchronize()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            end.synchronize()
            times[name].append(begin.elapsed_time(end) / 1e3)
    return {name: statistics.median(several) for name, several in times.items()}


def copy_bandwidth() -> float:
    """Measure the bytes read and written a second by a copy on the GPU."""
    import torch

    source = torch.empty(1 << 30, dtype=torch.float32, device="cuda").normal_()
    target = torch.empty_like(source)
    seconds = medians({"copy": lambda: target.copy_(source)}, 10)["copy"]
    return float(2 * source.numel() * 4 / seconds)


def product_rate(dtype: str) -> float:
    """Measure the FLOP a second of a large matrix product of random numbers."""
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
    out = torch.empty_like(a)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    seconds = medians({"product": lambda: torch.matmul(a, b, out=out)}, 10)["product"]
    torch.backends.cuda.matmul.allow_tf32 = before
    return float(2 * 8192**3 / seconds)
