"""Time layers on a GPU against cuDNN: ``python -m benchmarks.gpu``; answers are checked first."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.gpu import cudnn, ours
from benchmarks.gpu.clock import copy_bandwidth, medians, product_rate, sets_for
from benchmarks.gpu.layers import MODES, Layer, selected
from benchmarks.gpu.report import Card, Figure, write
from fastconv.backends.cuda.engine.device import current_arch, device_for

# The largest error, relative to the output's deviation, with which a figure is shown. Halves are
# rounded to 11 and 8 bits at the end; sums of tf32's products to 11 bits on the way in.
MOST_ERROR = {"fp32": 1e-4, "3xtf32": 1e-4, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}


@click.command()
@click.option("--quick", is_flag=True, help="A few layers.")
@click.option("--modes", default=",".join(m.name for m in MODES), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/report")
@click.option("--compile-only", is_flag=True, help="Fill the cache of kernels; needs no GPU.")
@click.option("--seconds", type=float, default=420.0, help="Stop before a layer that begins later.")
def main(quick: bool, modes: str, out: Path, compile_only: bool, seconds: float) -> None:
    """Compile, check and time; write gpu.md, gpu.json and gpu-roofline.png."""
    begin = time.monotonic()
    layers = [layer for layer in selected(quick) if layer.mode.name in modes.split(",")]
    workers = max(1, (os.cpu_count() or 2) - 1)
    count = ours.compile_all(layers, current_arch(), workers)
    click.echo(f"{count} kernels compiled in {time.monotonic() - begin:.0f} s by {workers}")
    if compile_only:
        return
    card = _card()
    figures: list[Figure] = []
    for layer in _widely(layers):
        if time.monotonic() - begin > seconds:
            click.echo(f"out of time before {layer.name}")
            break
        figures.append(figure(layer))
    write(card, figures, out)
    click.echo((out / "gpu.md").read_text())


def _widely(layers: Sequence[Layer]) -> list[Layer]:
    """Order layers so that a run that is cut short has some of every mode."""
    by_mode: dict[str, list[Layer]] = {}
    for layer in layers:
        by_mode.setdefault(layer.mode.name, []).append(layer)
    most = max(map(len, by_mode.values()), default=0)
    return [several[i] for i in range(most) for several in by_mode.values() if i < len(several)]


def figure(layer: Layer) -> Figure:
    """Check and time one layer."""
    import torch

    problem = layer.problem()
    chosen, *others = ours.names(problem)
    inputs, weight, outputs = cudnn.tensors(layer, sets_for(problem.bytes))
    errors: dict[str, float] = {}
    missing: dict[str, str] = {}
    runs: dict[str, ours.Run] = {}
    with cudnn.settings(layer):
        right = cudnn.expected(layer, inputs[0], weight)
        device = device_for(0, torch.cuda.current_stream().cuda_stream)
        for name in (chosen, *others):
            try:
                replay = ours.Replay(
                    ours.planned(layer, name), device, list(zip(inputs, outputs, strict=True))
                )
                for output in outputs:
                    output.fill_(float("nan"))
                replay()
                torch.cuda.synchronize()
            except Exception as error:
                missing[name] = f"{type(error).__name__}: {error}"
                continue
            errors[name] = max(ours.error(outputs[0], right), _unwritten(outputs))
            if errors[name] > MOST_ERROR[layer.mode.name]:
                missing[name] = f"wrong: {errors[name]:.1e}"
            else:
                runs[name] = replay
        # Of 3xtf32 the rival is strict float32, whose error it has.
        theirs = cudnn.rivals(layer, inputs, weight)
        times = medians({**runs, **theirs})
    each = len(inputs)
    return Figure(
        layer.case.name, layer.mode.name, layer.batch, chosen, problem.flops, problem.bytes,
        {name: times[name] / each for name in runs}, {name: times[name] / each for name in theirs},
        errors, missing,
    )  # fmt: skip


def _unwritten(outputs: Sequence[object]) -> float:
    return float("inf") if any(bool(o.isnan().any()) for o in outputs) else 0.0  # type: ignore[attr-defined]


def _card() -> Card:
    import torch

    versions = f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    from cuda.bindings import driver

    _, number = driver.cuDriverGetVersion()
    return Card(
        torch.cuda.get_device_name(), datetime.date.today().isoformat(),
        f"for CUDA {number // 1000}.{number % 1000 // 10}", versions, copy_bandwidth(),
        {name: product_rate(name) for name in ("float32", "float16")},
    )  # fmt: skip


if __name__ == "__main__":
    main()
