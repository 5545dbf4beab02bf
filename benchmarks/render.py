"""Rows as tables in Markdown, the losses beside the wins, and as a roofline plot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peak import Peak
from benchmarks.suites import OWN, Row

_WITHIN = 0.9
_NAMED = 8
_BUSY = 0.3


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def suite_text(suite: str, rows: Sequence[Row], peak: Peak) -> str:
    """Give a suite's section."""
    body: Callable[[Sequence[Row], Peak], str] = {
        "threads": _threads,
        "algorithms": _algorithms,
    }.get(suite, _against_peers)
    return f"## {suite}\n\n{body(rows, peak)}\n\n{_disturbance(rows)}\n"


def _disturbance(rows: Sequence[Row]) -> str:
    shares = [result.disturbed for row in rows for result in row.results.values()]
    share = float(np.mean(shares)) if shares else 0.0
    busy = " **The machine was too busy for figures to be trusted.**" if share > _BUSY else ""
    return (
        f"In {share:.1%} of the runs another process took a core away; these were left out where "
        f"others remained.{busy}"
    )


def _against_peers(rows: Sequence[Row], peak: Peak) -> str:
    names = [n for n in dict.fromkeys(n for row in rows for n in row.results) if n not in OWN]
    rates = rows[0].suite == "layers"
    head = ["case", "algorithm", *OWN, *names, "best peer", "ratio", "ratio network"]
    if rates:
        head.append("of peak")
    lines = []
    for row in rows:
        best = row.best()
        line = [row.case, row.algorithm, *(_cell(row, n, rates) for n in (*OWN, *names))]
        line += [best[0] if best else "", *(_ratio(row.ratio(n)) for n in OWN)]
        if rates:
            ours = min(row.seconds(n) or np.inf for n in OWN)
            line.append(f"{row.flops / ours / peak.flops:.0%}")
        lines.append(line)
    unit = "GFLOP/s" if rates else "ms"
    parts = [
        f"{unit}; ratio: time of the best peer divided by ours, above 1 we win. In brackets: too "
        "inexact to count.",
        table(head, lines),
        *(_summary(rows, name) for name in OWN),
        _refusals(rows),
    ]
    return "\n\n".join(part for part in parts if part)


def _cell(row: Row, name: str, rates: bool) -> str:
    result = row.results.get(name)
    if result is None or result.seconds is None:
        return ""
    text = f"{row.flops / result.seconds / 1e9:.1f}" if rates else f"{result.seconds * 1e3:.3f}"
    return f"({text})" if result.loose else text


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def mean(values: Sequence[float]) -> float:
    """Give the geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def _summary(rows: Sequence[Row], name: str) -> str:
    ratios = {row.case: ratio for row in rows if (ratio := row.ratio(name)) is not None}
    if not ratios:
        return ""
    values = list(ratios.values())
    best = {row.case: (row.best() or ("", 0))[0] for row in rows}
    losses = sorted((r, case) for case, r in ratios.items() if r < 1)
    told = ", ".join(f"{case} {r:.2f} ({best[case]})" for r, case in losses)
    return (
        f"**{name}**: geometric mean {mean(values):.2f}, worst {min(values):.2f}, best "
        f"{max(values):.2f}; {len(losses)} of {len(values)} lost{': ' + told if told else ''}."
    )


def _refusals(rows: Sequence[Row]) -> str:
    """Give who did not run and why, a line a contestant and reason; nothing if all ran."""
    ran = {name for row in rows for name in row.results}
    never: dict[str, str] = {}
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, why in row.refused.items():
            if name in ran:
                found.setdefault((name, why), []).append(row.case)
            else:
                never.setdefault(name, why)
    lines = [f"- {name}, in no case: {why}" for name, why in sorted(never.items())]
    for (name, why), cases in sorted(found.items()):
        where = ", ".join(cases) if len(cases) <= _NAMED else f"{len(cases)} cases"
        lines.append(f"- {name}: {why} ({where})")
    if not lines:
        return ""
    words = "\n".join(lines)
    return f"<details><summary>Who did not run, and why</summary>\n\n{words}\n\n</details>"


def _threads(rows: Sequence[Row], peak: Peak) -> str:
    lines = []
    counts = sorted({int(name.split("@")[1]) for row in rows for name in row.results})
    for row in rows:
        for name in dict.fromkeys(name.split("@")[0] for name in row.results):
            times = [row.seconds(f"{name}@{count}") for count in counts]
            first, last = times[0], times[-1]
            gain = "" if first is None or last is None else f"{first / last:.2f}"
            shown = ["" if t is None else f"{t * 1e3:.3f}" for t in times]
            lines.append([row.case, name, *shown, gain])
    head = [
        "case",
        "",
        *(f"{count} thread{'s' * (count > 1)}" for count in counts),
        "times as fast",
    ]
    parts = [f"ms\n\n{table(head, lines)}"]
    most = counts[-1]
    for name in OWN:
        ratios = []
        for row in rows:
            mine = row.seconds(f"{name}@{most}")
            peers = [
                n for n in row.results if n.endswith(f"@{most}") and n.split("@")[0] not in OWN
            ]
            best = row.best(peers)
            if mine is not None and best is not None:
                ratios.append(best[1] / mine)
        if ratios:
            parts.append(
                f"**{name}** with {most} threads against the best peer: geometric mean "
                f"{mean(ratios):.2f}, worst {min(ratios):.2f}."
            )
    return "\n\n".join(parts)


def _algorithms(rows: Sequence[Row], peak: Peak) -> str:
    """Tell where the choice was right: within 10 % of the best candidate that ran."""
    lines, shares = [], []
    for row in rows:
        best = row.best(row.results)
        chosen = row.seconds(row.algorithm)
        if best is None or chosen is None:
            lines.append([row.case, row.algorithm, "", "", "not measured"])
            continue
        shares.append(best[1] / chosen)
        others = sorted((r.seconds or 0, name) for name, r in row.results.items())
        told = ", ".join(f"{name.split('.')[-1]} {s * 1e3:.3f}" for s, name in others)
        word = "" if shares[-1] >= _WITHIN else "wrong choice"
        lines.append([row.case, row.algorithm, told, f"{shares[-1]:.2f}", word])
    head = ["case", "chosen", "candidates, ms", "best / chosen", ""]
    right = sum(share >= _WITHIN for share in shares)
    part = f"{right / len(shares):.0%}" if shares else "none"
    return (
        f"{table(head, lines)}\n\nThe chosen algorithm is within 10 % of the best candidate in "
        f"{right} of {len(shares)} cases ({part}).\n\n{_refusals(rows)}"
    )


def baseline_text(suite: str, rows: Sequence[Row]) -> str:
    """Give a suite's section for old against new."""
    lines = []
    found: dict[str, list[float]] = {"": [], " network": []}
    for row in rows:
        line = [row.case, row.algorithm]
        for kind, ratios in found.items():
            new, old = (row.seconds(f"{age}{kind}") for age in ("new", "old"))
            line += ["" if s is None else f"{s * 1e3:.3f}" for s in (old, new)]
            if new is not None and old is not None:
                ratios.append(old / new)
                line.append(f"{old / new:.2f}")
            else:
                line.append("")
        lines.append(line)
    head = ["case", "algorithm", "old", "new", "old / new"]
    head += ["old network", "new network", "old / new"]
    told = [
        f"**{kind.strip() or 'calls'}**: geometric mean {mean(r):.2f}, worst {min(r):.2f}, best "
        f"{max(r):.2f}."
        for kind, r in found.items()
        if r
    ]
    parts = [f"## {suite}", "ms; above 1 the new one is faster.", table(head, lines), *told]
    return "\n\n".join([*parts, _refusals(rows), _disturbance(rows)]) + "\n"


def roofline(rows: Sequence[Row], peak: Peak, folder: Path) -> str | None:
    """Plot what was reached against the machine's limits; say why not, if not."""
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed"
    suites = ("layers", "cliffs")
    shown = [
        r for r in rows if r.suite in suites and r.dtype == "float32" and "fastconv" in r.results
    ]
    if not shown:
        return "no row is for it"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    work = np.array([row.flops / row.bytes for row in shown])
    _roofs(axes, peak, work)
    series: list[tuple[str, str, Any]] = [
        ("best peer", "s", [(row.best() or ("", np.nan))[1] for row in shown]),
        ("fastconv, a call", "o", [row.seconds("fastconv") or np.nan for row in shown]),
        ("fastconv, in a network", "^", [row.seconds("network") or np.nan for row in shown]),
    ]
    for label, marker, seconds in series:
        rates = np.array([row.flops for row in shown]) / np.array(seconds) / 1e9
        hollow: dict[str, Any] = (
            {"facecolors": "none", "edgecolors": "0.4"} if marker == "s" else {}
        )
        axes.scatter(work, rates, marker=marker, s=22, label=label, **hollow)
    lost = sorted(shown, key=lambda row: row.ratio() or np.inf)[:8]
    for i, row in enumerate(lost):
        rate = row.flops / (row.seconds("fastconv") or np.nan) / 1e9
        place: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7}
        place["xytext"] = (4, 4 if i % 2 else -8)
        axes.annotate(row.case, (row.flops / row.bytes, rate), **place)
    axes.set(xscale="log", yscale="log", xlabel="operations a byte that must move at least")
    axes.set_ylabel(f"GFLOP/s, {peak.threads} thread{'s' if peak.threads > 1 else ''}")
    axes.set_title("Where the layers stand; named: the largest losses")
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=8)
    for kind in ("png", "svg"):
        figure.savefig(folder / f"roofline.{kind}", dpi=120)
    return None


def _roofs(axes: Any, peak: Peak, work: Any) -> None:
    span = np.geomspace(work.min() / 2, work.max() * 2, 50)
    for name, bandwidth, style in (
        ("memory", peak.memory_bandwidth, "-"),
        ("L2", peak.cache_bandwidth, "--"),
    ):
        roof = np.minimum(span * bandwidth, peak.flops) / 1e9
        axes.plot(span, roof, "k" + style, linewidth=1, label=f"limit, data in {name}")
