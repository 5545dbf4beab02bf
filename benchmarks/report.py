"""Time fastconv against its peers, or against its past, and write a report.

One process, contestants in turn, every answer checked before the clock starts.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import fastconv
from benchmarks import baseline, cases, peak, render, suites
from benchmarks.peers import PEERS

FOLDER = Path(__file__).with_name("report")


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Fewer cases, less time each: within three minutes.")
@click.option(
    "--suite",
    "wanted",
    multiple=True,
    type=click.Choice(list(cases.suites())),
    help="Only this suite; may be given several times.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--layout",
    type=click.Choice(["NCHW", "NHWC"]),
    default="NCHW",
    show_default=True,
    help="Of fastconv's input and output; peers keep the one that they like best.",
)
@click.option("--filter", "part", default="", help="Only cases whose name holds this.")
@click.option("--peers", default="", help="Only these peers, by name, with commas between.")
@click.option("--seconds", type=float, help="Time a case, shared by its contestants.")
@click.option(
    "--baseline",
    "old",
    metavar="REVISION|FOLDER",
    help="Time this fastconv against an older one instead of against peers.",
)
@click.option("--save", metavar="NAME", help="Write to a folder of this name in the report's.")
def main(
    quick: bool,
    wanted: tuple[str, ...],
    threads: int,
    layout: str,
    part: str,
    peers: str,
    seconds: float | None,
    old: str | None,
    save: str | None,
) -> None:
    names = tuple(peers.split(",")) if peers else ()
    known = [peer.name for peer in PEERS]
    if unknown := set(names) - set(known):
        raise click.BadParameter(f"{', '.join(unknown)}; there are {', '.join(known)}")
    plan = suites.Plan(threads, seconds or (0.4 if quick else 3.0), layout, quick, part, names)
    chosen = wanted or (("layers",) if old else tuple(cases.suites()))
    folder = FOLDER / save if save else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    try:
        text, data = write(chosen, plan, old, folder)
    except baseline.NoBaseline as problem:
        raise click.BadParameter(str(problem)) from None
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(json.dumps(data, indent=1))
    Console().print(f"{folder / 'report.md'} and its neighbours are written.")


def write(
    chosen: Iterable[str], plan: suites.Plan, old: str | None, folder: Path
) -> tuple[str, dict[str, Any]]:
    """Measure; give the report as Markdown and as data, and put its plot into ``folder``."""
    console = Console()
    limits = peak.measure_peak(plan.threads)
    facts = _facts(plan, limits, old)
    sections = [_head(facts)]
    rows: list[suites.Row] = []
    for suite, found in _measured(chosen, plan, old, console):
        rows += found
        if not found:
            continue
        if old:
            sections.append(render.baseline_text(suite, found))
        else:
            sections.append(render.suite_text(suite, found, limits))
        console.print(sections[-1], markup=False, highlight=False, soft_wrap=True)
    if not old:
        why_not = render.roofline(rows, limits, folder)
        sections.append("![roofline](roofline.svg)\n" if why_not is None else f"No plot: {why_not}")
    return "\n".join(sections), {"facts": facts, "rows": [dataclasses.asdict(r) for r in rows]}


def _measured(
    chosen: Iterable[str], plan: suites.Plan, old: str | None, console: Console
) -> Iterator[tuple[str, list[suites.Row]]]:
    if old is None:
        for suite in chosen:
            yield suite, _watched(suite, suites.run(suite, plan), plan, console)
        return
    with baseline.workers(old) as workers:
        for suite in chosen:
            yield suite, _watched(suite, suites.run_against(suite, plan, workers), plan, console)


def _watched(
    suite: str, rows: Iterable[suites.Row], plan: suites.Plan, console: Console
) -> list[suites.Row]:
    columns = TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn()
    found = []
    # Drawn between cases alone: a clock of its own would disturb what is timed.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task(suite, total=len(plan.cases(suite)))
        progress.refresh()
        for row in rows:
            found.append(row)
            progress.update(task, advance=1, description=f"{suite}: after {row.case}")
            progress.refresh()
    return found


def _facts(plan: suites.Plan, limits: peak.Peak, old: str | None) -> dict[str, Any]:
    versions = {peer.name: peer.missing() or peer.version() for peer in PEERS}
    shown = ("cpu", "instruction set", "caches", "cores allowed", "python", "numpy", "numba")
    config = fastconv.show_config().facts
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "fastconv": f"{fastconv.__version__} at {_revision()}",
        **({"baseline": old} if old else {}),
        **{name: str(config[name]) for name in shown},
        **versions,
        "load when begun": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "plan": dataclasses.asdict(plan),
        "peak": dataclasses.asdict(limits),
    }


def _revision() -> str:
    command = ["git", "-C", str(baseline.ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no revision"
    return done.stdout.strip()


def _head(facts: dict[str, Any]) -> str:
    plan, limits = facts["plan"], facts["peak"]
    lines = [f"- {name}: {value}" for name, value in facts.items() if name not in ("plan", "peak")]
    return "\n".join(
        [
            "# Benchmark report",
            "",
            f"{plan['threads']} thread(s), {plan['layout']}, {plan['seconds']} s a case. Medians; "
            "contestants in turn in one process, answers checked first.",
            "",
            f"The machine's limit: {limits['flops'] / 1e9:.0f} GFLOP/s, "
            f"{limits['memory_bandwidth'] / 1e9:.0f} GB/s from memory, "
            f"{limits['cache_bandwidth'] / 1e9:.0f} GB/s from cache. Measured by {peak.HOW}.",
            "",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
