"""Pictures by matplotlib: a figure without a window, and a profile along time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv.network.profile import Profile

# Kinds that take the most time have colours of their own; the rest share one.
_COLOURS = 9


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure (inches) that belongs to no window and no global state.

    Raises
    ------
    ValueError
        Where matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("drawing needs matplotlib: pip install 'fastconv[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def draw_timeline(profile: Profile) -> Any:
    """Draw operations as bars along time, a colour a kind; below, each one's part of its roof."""
    figure = new_figure(11, 3.6)
    from matplotlib import colormaps

    times: dict[str, float] = {}
    for row in profile.rows:
        times[row.kind] = times.get(row.kind, 0.0) + row.seconds
    order = sorted(times, key=lambda kind: -times[kind])
    together = sum(times.values()) or 1.0
    palette = colormaps["tab10"]
    colours = {kind: palette(min(i, _COLOURS)) for i, kind in enumerate(order)}
    bars, roofs = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.4))
    for place, kind in enumerate(order):
        rows = [row for row in profile.rows if row.kind == kind]
        spans = [(row.begin_seconds * 1e3, row.seconds * 1e3) for row in rows]
        label = f"{kind} {times[kind] / together:.0%}" if place < _COLOURS else None
        bars.broken_barh(spans, (0, 1), color=colours[kind], edgecolor="white", linewidth=0.3,
                         label=label)  # fmt: skip
        roofs.bar(
            [begin for begin, _ in spans], [100 * min(1, row.roof or 0) for row in rows],
            [width for _, width in spans], align="edge", color=colours[kind],
        )  # fmt: skip
    bars.set(yticks=[], ylim=(0, 1), title=profile.title)
    bars.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small", frameon=False)
    roofs.axhline(100, color="black", linewidth=0.8, linestyle=":")
    roofs.set(
        xlabel="ms, one operation after the other", ylabel="% of roof", xlim=(0, together * 1e3)
    )
    roofs.set_ylim(0, 105)
    if profile.why_above is not None:
        roofs.set_title(f"> 100 %, cut: {profile.why_above}", fontsize="small", loc="right")
    return figure
