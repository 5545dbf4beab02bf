"""Rows as tables in Markdown, the losses with the wins, and as a roofline plot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import PLAIN
from benchmarks.peak import Peak
from benchmarks.suites import OWN, TORCH, Row
from fastconv import show_config

_WITHIN = 0.9
_NAMED = 8
_BUSY = 0.3


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def suite_text(suite: str, rows: Sequence[Row], peak: Peak) -> str:
    """Return a suite's section."""
    body: Callable[[Sequence[Row], Peak], str] = {
        "threads": _threads,
        "algorithms": _algorithms,
        **dict.fromkeys(PLAIN, _plain),
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


def _plain(rows: Sequence[Row], peak: Peak) -> str:
    """Return plain calls against the better PyTorch: means a group, then the cases of each."""
    names = [n for n in dict.fromkeys(n for row in rows for n in row.results) if n not in OWN]
    head = ["case", "algorithm", OWN[0], *names, "better torch", "ratio", "best peer"]
    order = dict.fromkeys(row.group for row in rows)
    groups = {group: [row for row in rows if row.group == group] for group in order}
    parts = [
        f"Microseconds a call, {peak.threads} thread{'s' * (peak.threads > 1)}, on "
        f"{show_config().facts['cpu']}; plain arrays, nothing packed beforehand. Ratio: time of "
        "the better of PyTorch's two memory formats divided by ours, above 1 we win; best peer: "
        "who else is faster than that, and the ratio to it. In brackets: too inexact to count."
    ]
    if len(groups) > 1:
        lines = [_means(group, found) for group, found in {**groups, "all": rows}.items()]
        parts.append(table(["group", "cases", "geometric mean", "worst", "", "lost"], lines))
    for group, found in groups.items():
        lines = []
        for row in found:
            torch, best = row.best(TORCH), row.best()
            line = [row.case, row.algorithm, *(_micro(row, n) for n in (OWN[0], *names))]
            line += [torch[0] if torch else "", _ratio(row.ratio(OWN[0], TORCH))]
            other = best is not None and best[0] not in TORCH
            line.append(f"{best[0]} {_ratio(row.ratio())}" if best and other else "")
            lines.append(line)
        parts += [f"### {group}" if group else "", table(head, lines)]
        parts.append(_summary(found, OWN[0], TORCH, group or "all"))
    return "\n\n".join(part for part in [*parts, _refusals(rows)] if part)


def _means(group: str, rows: Sequence[Row]) -> list[str]:
    found = [(ratio, r.case) for r in rows if (ratio := r.ratio(OWN[0], TORCH)) is not None]
    if not found:
        return [group, "0", "", "", "", ""]
    ratios = [ratio for ratio, _ in found]
    worst, case = min(found)
    lost = sum(ratio < 1 for ratio in ratios)
    return [group, str(len(found)), _ratio(mean(ratios)), _ratio(worst), case, str(lost)]


def _micro(row: Row, name: str) -> str:
    result = row.results.get(name)
    if result is None or result.seconds is None:
        return ""
    text = f"{result.seconds * 1e6:.2f}"
    return f"({text})" if result.loose else text


def _cell(row: Row, name: str, rates: bool) -> str:
    result = row.results.get(name)
    if result is None or result.seconds is None:
        return ""
    text = f"{row.flops / result.seconds / 1e9:.1f}" if rates else f"{result.seconds * 1e3:.3f}"
    return f"({text})" if result.loose else text


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def _summary(
    rows: Sequence[Row], name: str, peers: Sequence[str] | None = None, title: str = ""
) -> str:
    found = ((row.case, row.ratio(name, peers)) for row in rows)
    ratios = {case: ratio for case, ratio in found if ratio is not None}
    if not ratios:
        return ""
    values = list(ratios.values())
    best = {row.case: (row.best(peers) or ("", 0))[0] for row in rows}
    losses = sorted((r, case) for case, r in ratios.items() if r < 1)
    told = ", ".join(f"{case} {_ratio(r)} ({best[case]})" for r, case in losses)
    return (
        f"**{title or name}**: geometric mean {_ratio(mean(values))}, worst "
        f"{_ratio(min(values))}, best {_ratio(max(values))}; {len(losses)} of {len(values)} lost"
        f"{': ' + told if told else ''}."
    )


def _refusals(rows: Sequence[Row]) -> str:
    """Return who did not run and why, a line a contestant and reason; nothing if all ran."""
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
    """Return where the choice was right: within 10 % of the best candidate that ran."""
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
    """Return a suite's section for old against new."""
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
    axes.set_title("Where the layers are; named: the largest losses")
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
