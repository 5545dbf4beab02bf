"""A 1-D signal and a kernel of three: valid, same, strided and dilated, with receptive fields.

Usage: python examples/signal_1d.py [--output signal_1d.png]
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

import fastconv

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Array = np.ndarray

KERNEL = np.array([0.25, 0.5, 0.25], np.float32)
MODES: dict[str, dict[str, Any]] = {
    "valid": {},
    "same": {"padding": "same"},
    "stride 2": {"stride": 2},
    "dilation 2": {"dilation": 2},
}


@dataclasses.dataclass(frozen=True)
class Result:
    """One way to slide the kernel: its outputs, each at the middle of the inputs that it sees."""

    title: str
    places: Array
    values: Array
    field: int


def make_signal(length: int = 32) -> Array:
    """A step, a ramp and a wave, with a little noise."""
    x = np.arange(length)
    signal = np.where(x < 8, 0.0, 1.0) + 0.6 * np.sin(x / 2.0) * (x > 14)
    return (signal + 0.08 * np.random.default_rng(0).standard_normal(length)).astype(np.float32)


def slide(signal: Array, title: str, options: dict[str, Any]) -> Result:
    """Correlate the signal with the kernel, and ask fastconv what one output sees."""
    row = signal[None, None]
    values = fastconv.conv1d(row, KERNEL[None, None], **options)[0, 0]
    explained = fastconv.explain("conv1d", row, KERNEL[None, None], **options)
    (field,) = explained.steps[0].field.size
    first = 0 if options.get("padding") == "same" else field // 2
    places = first + options.get("stride", 1) * np.arange(len(values))
    return Result(title, places, values, field)


def draw(signal: Array, results: list[Result], output: Path) -> None:
    """A panel a mode: the signal, the outputs, and what the marked output sees."""
    figure, axes = plt.subplots(
        len(results), 1, figsize=(9, 2.1 * len(results)), sharex=True, layout="constrained", dpi=120
    )
    for axis, result in zip(axes, results, strict=True):
        marked = len(result.values) // 3
        place = result.places[marked]
        half = result.field // 2
        axis.axvspan(place - half - 0.5, place + half + 0.5, color="tab:orange", alpha=0.2)
        axis.plot(signal, "o-", color="0.65", markersize=3, linewidth=1, label="signal")
        axis.plot(result.places, result.values, "o-", color="tab:blue", markersize=4)
        axis.plot(place, result.values[marked], "o", color="tab:red", markersize=8)
        axis.set_title(
            f"{result.title}: {len(result.values)} outputs, each sees {result.field} inputs",
            loc="left",
            fontsize=10,
        )
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("sample")
    figure.savefig(output)
    plt.close(figure)


def main() -> None:
    """Print a table of the modes and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("signal_1d.png"))
    args = parser.parse_args()

    signal = make_signal()
    results = [slide(signal, title, options) for title, options in MODES.items()]
    print(f"{'mode':<12}{'outputs':>8}{'receptive field':>17}")
    for result in results:
        print(f"{result.title:<12}{len(result.values):>8}{result.field:>17}")
    draw(signal, results, args.output)
    print(args.output)


if __name__ == "__main__":
    main()
