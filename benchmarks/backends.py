"""The same algorithm from two backends, turn by turn: numba's seconds over c's.

``python -m benchmarks.backends [SUITE ...] [--threads N] [--seconds S] [--only NAME]``
"""

from __future__ import annotations

import statistics

import click
from rich.console import Console
from rich.table import Table

from benchmarks import ours
from benchmarks.cases import Case, suites
from benchmarks.measure import expect, measure

PAIR = ("numba", "c")


@click.command()
@click.argument("names", nargs=-1, metavar="[SUITE]...")
@click.option("--threads", default=1, show_default=True)
@click.option("--seconds", default=1.0, show_default=True, help="For each case and algorithm.")
@click.option("--only", default="", help="Cases and algorithms whose name holds this.")
@click.option("--every", is_flag=True, help="Every algorithm that both have, not the chosen alone.")
def main(names: tuple[str, ...], threads: int, seconds: float, only: str, every: bool) -> None:
    """Compare the C kernels with Numba's on SUITES (layers and cliffs)."""
    table = Table("case", "algorithm", *PAIR, "ratio", title=f"{threads} threads, microseconds")
    ratios: list[float] = []
    for name in names or ("layers", "cliffs"):
        for case in suites()[name]:
            for algorithm in _shared(case, every):
                if only in f"{case.name} {algorithm}":
                    ratio = _row(table, case, algorithm, threads, seconds)
                    ratios += [ratio] if ratio is not None else []
    Console(width=100).print(table)
    if ratios:
        below = sum(ratio < 0.97 for ratio in ratios)
        mean = statistics.geometric_mean(ratios)
        print(
            f"{len(ratios)} pairs, geomean {mean:.3f}, {below} below 0.97, least {min(ratios):.3f}"
        )


def _shared(case: Case, every: bool) -> list[str]:
    """Name the algorithms that both backends have, the chosen one first."""
    chosen = ours.choice(case)
    able = [c.algorithm for c in chosen.candidates if c.why_not is None]
    of = {backend: [a.name for a in able if a.backend == backend] for backend in PAIR}
    both = [name for name in of["c"] if name in of["numba"]]
    return both if every else [name for name in both if name == chosen.algorithm.name]


def _row(table: Table, case: Case, algorithm: str, threads: int, seconds: float) -> float | None:
    makers = {b: ours.Call(b, algorithm=algorithm, backend=b) for b in PAIR}
    rivals = {b: maker.build(case, threads) for b, maker in makers.items()}
    results = measure(case, rivals, expect(case), seconds)
    wrong = [f"{b}: {r.why_not}" for b, r in results.items() if r.seconds is None]
    if wrong:
        table.add_row(case.name, algorithm, *("" for _ in PAIR), "; ".join(wrong))
        return None
    times = [results[b].seconds or 0.0 for b in PAIR]
    ratio = times[0] / times[1]
    table.add_row(case.name, algorithm, *(f"{1e6 * t:.1f}" for t in times), f"{ratio:.3f}")
    return ratio


if __name__ == "__main__":
    main()
