"""Time the layer table against PyTorch: one process, rivals interleaved, answers checked first.

Usage: python benchmarks/layers.py [--threads 1] [--repeat 15] [--layout NCHW]
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fastconv
from fastconv.dispatch import Parameter

TABLE = Path(__file__).with_name("layers.csv")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A row of the table: float32 operands and the options of ``conv2d``."""

    name: str
    x: np.ndarray[Any, Any]
    weight: np.ndarray[Any, Any]
    options: dict[str, Any]

    @classmethod
    def of(cls, row: dict[str, str]) -> Layer:
        name = row["name"]
        n = {key: int(value) for key, value in row.items() if key != "name"}
        rng = np.random.default_rng(0)
        per_group = n["in_channels"] // n["groups"]
        x = rng.standard_normal((n["batch"], n["in_channels"], n["height"], n["width"]))
        weight = rng.standard_normal((n["out_channels"], per_group, n["kernel_h"], n["kernel_w"]))
        options = {
            "stride": n["stride"],
            "padding": (n["pad_h"], n["pad_w"]),
            "dilation": n["dilation"],
            "groups": n["groups"],
        }
        scale = np.sqrt(per_group * n["kernel_h"] * n["kernel_w"])
        return cls(name, x.astype("f4"), (weight / scale).astype("f4"), options)


def rivals(layer: Layer, layout: str) -> dict[str, Callable[[], Any]]:
    """Give the contestants, each with its weights ready; torch in both memory formats."""
    last = layout == "NHWC"
    x = np.ascontiguousarray(layer.x.transpose(0, 2, 3, 1)) if last else layer.x
    weight = Parameter(layer.weight)
    tx, tw = torch.from_numpy(layer.x), torch.from_numpy(layer.weight)
    cx, cw = (t.to(memory_format=torch.channels_last) for t in (tx, tw))
    conv = torch.nn.functional.conv2d
    return {
        "fastconv": lambda: fastconv.conv2d(x, weight, layout=layout, **layer.options),
        "torch": lambda: conv(tx, tw, **layer.options),
        "torch_cl": lambda: conv(cx, cw, **layer.options),
    }


def measure(contestants: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Give median seconds, one run of each in turn."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for count in range(repeat + 2):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if count >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def check(contestants: dict[str, Callable[[], Any]], layout: str) -> float:
    """Give the largest difference from torch; outputs have a variance of about 1."""
    ours = contestants["fastconv"]()
    if layout == "NHWC":
        ours = ours.transpose(0, 3, 1, 2)
    difference = float(np.abs(ours - contestants["torch"]().numpy()).max())
    assert difference < 1e-3, difference
    return difference


def main() -> None:
    """Print a row a layer, then the geometric mean and the worst case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--layout", choices=["NCHW", "NHWC"], default="NCHW")
    args = parser.parse_args()
    fastconv.set_num_threads(args.threads)
    torch.set_num_threads(args.threads)
    print("| layer | algorithm | fastconv | torch | torch channels last | best torch = 1.00 |")
    print("| --- | --- | --- | --- | --- | --- |")
    ratios = []
    with TABLE.open() as file, torch.inference_mode():
        for row in csv.DictReader(file):
            layer = Layer.of(row)
            contestants = rivals(layer, args.layout)
            check(contestants, args.layout)
            seconds = measure(contestants, args.repeat)
            outputs = contestants["torch"]().numel()
            flops = 2 * outputs * layer.weight[0].size
            ratios.append(min(seconds["torch"], seconds["torch_cl"]) / seconds["fastconv"])
            told = fastconv.explain("conv2d", layer.x, layer.weight, **layer.options)
            rates = " | ".join(f"{flops / s / 1e9:.1f}" for s in seconds.values())
            print(f"| {layer.name} | {told.algorithm} | {rates} | {ratios[-1]:.2f} |", flush=True)
    mean = float(np.exp(np.mean(np.log(ratios))))
    print(f"\ngeometric mean {mean:.2f}, worst {min(ratios):.2f}, best {max(ratios):.2f}")


if __name__ == "__main__":
    main()
