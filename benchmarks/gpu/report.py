"""Figures of a GPU as tables in Markdown, as JSON, and as a roofline picture."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.render import table

# Rates of the GPU that figures are held against: what must be reached, and what is hoped for.
TARGETS = {
    "fp32": (45e12, 54e12),
    "3xtf32": (70e12, 110e12),
    "half mma.sync": (300e12, 400e12),
    "half wgmma": (500e12, 700e12),
}
# Of the copy's rate, for what is bound by memory.
BANDWIDTH_TARGETS = (0.75, 0.90)


@dataclasses.dataclass(frozen=True)
class Figure:
    """One layer's: seconds by contestant (ours by algorithm, cuDNN's by layout), error, work.

    ``missing`` says of contestants why they have no figure.
    """

    name: str
    mode: str
    batch: int
    chosen: str
    flops: int
    bytes: int
    ours: dict[str, float]
    theirs: dict[str, float]
    errors: dict[str, float]
    missing: dict[str, str]

    @property
    def best(self) -> float | None:
        """CuDNN's best seconds."""
        return min(self.theirs.values(), default=None)

    @property
    def ratio(self) -> float | None:
        """How many times cuDNN's best takes what the chosen algorithm takes."""
        own = self.ours.get(self.chosen)
        return None if own is None or self.best is None else self.best / own


@dataclasses.dataclass(frozen=True)
class Card:
    """What was measured of a GPU in the same run."""

    name: str
    date: str
    driver: str
    versions: str
    copy: float
    products: dict[str, float]


def text(card: Card, figures: Sequence[Figure]) -> str:
    """Return the whole report."""
    lines = [
        f"# {card.name}, {card.date}", "", f"Driver {card.driver}; {card.versions}.",
        f"A copy moves {card.copy / 1e12:.2f} TB/s, reading and writing; matrix products reach "
        + ", ".join(f"{rate / 1e12:.0f} TFLOP/s in {name}" for name, rate in card.products.items())
        + ".", "",
    ]  # fmt: skip
    for mode in dict.fromkeys(figure.mode for figure in figures):
        own = [figure for figure in figures if figure.mode == mode]
        lines += [f"## {mode}", "", _table(own, card), "", _summary(own), ""]
    return "\n".join(lines)


def _table(figures: Sequence[Figure], card: Card) -> str:
    head = ["layer", "batch", "algorithm", "us", "TFLOP/s", "TB/s", "of copy", "error", "cuDNN us",
            "ratio", "other algorithms, us", "not served"]  # fmt: skip
    rows = []
    for figure in figures:
        own = figure.ours.get(figure.chosen)
        others = {k: v for k, v in figure.ours.items() if k != figure.chosen}
        rows.append([
            figure.name, str(figure.batch), figure.chosen, _us(own),
            "-" if own is None else f"{figure.flops / own / 1e12:.1f}",
            "-" if own is None else f"{figure.bytes / own / 1e12:.2f}",
            "-" if own is None else f"{figure.bytes / own / card.copy:.0%}",
            f"{figure.errors.get(figure.chosen, float('nan')):.1e}", _us(figure.best),
            "-" if figure.ratio is None else f"{figure.ratio:.2f}",
            ", ".join(f"{name} {_us(seconds)}" for name, seconds in others.items()) or "-",
            "; ".join(f"{name}: {why}" for name, why in figure.missing.items()) or "-",
        ])  # fmt: skip
    return table(head, rows)


def _us(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:.1f}"


def _summary(figures: Sequence[Figure]) -> str:
    """Return the geometric mean by batch, and the worst layer: losses with the wins."""
    lines = []
    for batch in dict.fromkeys(figure.batch for figure in figures):
        pairs = [(f.ratio, f.name) for f in figures if f.batch == batch and f.ratio is not None]
        if pairs:
            ratios = [ratio for ratio, _ in pairs]
            mean = float(np.exp(np.mean(np.log(ratios))))
            worst = min(pairs)
            below = sum(ratio < 1 for ratio in ratios)
            lines.append(
                f"Batch {batch}: geometric mean {mean:.2f} of cuDNN's best over {len(pairs)} "
                f"layers, {below} below 1, the worst {worst[1]} at {worst[0]:.2f}."
            )
    return "\n".join(lines)


def write(card: Card, figures: Sequence[Figure], folder: Path) -> None:
    """Write gpu.md, gpu.json and gpu-roofline.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.md").write_text(text(card, figures))
    told = {
        "card": dataclasses.asdict(card),
        "figures": [dataclasses.asdict(figure) for figure in figures],
    }
    (folder / "gpu.json").write_text(json.dumps(told, indent=1))
    _picture(card, figures, folder / "gpu-roofline.png")


def _picture(card: Card, figures: Sequence[Figure], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    chart, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
    intensity = np.geomspace(0.2, 2000, 200)
    for name, rate in card.products.items():
        roof = np.minimum(intensity * card.copy, rate) / 1e12
        axes.plot(intensity, roof, lw=1, label=f"roof, {name}")
    for mode in dict.fromkeys(figure.mode for figure in figures):
        own = [f for f in figures if f.mode == mode and f.chosen in f.ours]
        axes.scatter(
            [f.flops / f.bytes for f in own],
            [f.flops / f.ours[f.chosen] / 1e12 for f in own],
            s=14, label=mode,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="FLOP a byte", ylabel="TFLOP/s")
    axes.set_title(f"{card.name}, {card.date}")
    axes.legend()
    chart.savefig(path, dpi=120)
    pyplot.close(chart)
