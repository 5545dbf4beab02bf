"""Whole networks against the engines that people run them on.

``python -m benchmarks.networks [NAMES] [--threads N] [--batch N] [--seconds S]``. The networks are
plain PyTorch modules with drawn weights, exported to ONNX once; fastconv reads the same file as its
peers. Every answer is held against float64 first; then all take turns in one process.
"""

from __future__ import annotations

import copy
import functools
import io
import warnings
from collections.abc import Callable
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import fastconv
from benchmarks import ours
from benchmarks.measure import Result, measure
from benchmarks.peers.ncnn import by_ncnn, ncnn_net
from benchmarks.peers.ncnn_networks import NcnnText
from benchmarks.peers.onnx_models import by_mnn, by_onnxruntime, by_openvino
from benchmarks.peers.pytorch import torch_context
from benchmarks.rival import Rival, Timed, silence
from fastconv.network import passes
from fastconv.network.lowering import lower
from fastconv.network.trace import trace

NAMES = ("lenet5", "convnet1", "alexnet", "resnet18", "resnet50", "mobilenet_v2", "vgg16")
PEERS = ("torch", "torch_cl", "onnxruntime", "openvino", "ncnn", "MNN")
_SIZES = {"lenet5": (1, 28, 28), "convnet1": (1, 28, 28)}


class Example:
    """A network: the module, its ONNX file, an input, and what float64 gives."""

    dtype = "float32"
    # A run is one call.
    calls = 1

    def __init__(self, name: str, batch: int) -> None:
        import torch

        from tests.torch_models import make

        self.module = make(name)
        shape = (batch, *_SIZES.get(name, (3, 224, 224)))
        self.x = np.random.default_rng(0).standard_normal(shape).astype("f4")
        with torch.inference_mode():
            wide = copy.deepcopy(self.module).double()(torch.from_numpy(self.x).double())
        self.expected = wide.numpy()
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.module, (torch.from_numpy(self.x),), file, dynamo=False, opset_version=17,
                input_names=["x"], output_names=["y"],
            )  # fmt: skip
        self.model = file.getvalue()

    def by_fastconv(self, threads: int) -> Rival:
        network = fastconv.load(self.model)
        run = functools.partial(network, self.x)
        return Rival(run, run, ours.with_threads(threads))

    def by_torch(self, threads: int, *, last: bool) -> Rival:
        """Frozen, as ``torch.jit.optimize_for_inference`` leaves it."""
        import torch

        form = torch.channels_last if last else torch.contiguous_format
        x = torch.from_numpy(self.x).to(memory_format=form)
        module = copy.deepcopy(self.module).to(memory_format=form)
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frozen = torch.jit.freeze(torch.jit.trace(module, x))
            frozen = torch.jit.optimize_for_inference(frozen)
        context = functools.partial(torch_context, threads)
        return Rival(lambda: frozen(x), lambda: frozen(x).numpy(), context)

    def by_ncnn(self, threads: int) -> Rival:
        if len(self.x) != 1:
            raise ValueError("no batch")
        network = fastconv.load(self.model)
        lowered = lower(trace(lambda x: network.function(x), [(self.x.shape, self.x.dtype)]))
        for _, one in (*passes.ONCE, *passes.VIEWS):
            lowered = one(lowered)
        text = NcnnText(lowered)
        return by_ncnn(ncnn_net(text.text, text.values, threads), self.x, self.expected.shape)

    def makers(self, threads: int) -> dict[str, Callable[[], Rival]]:
        """Return fastconv and its peers by name."""
        return {
            "fastconv": lambda: self.by_fastconv(threads),
            "torch": lambda: self.by_torch(threads, last=False),
            "torch_cl": lambda: self.by_torch(threads, last=True),
            "onnxruntime": lambda: by_onnxruntime(self.model, self.x, threads),
            "openvino": lambda: by_openvino(self.model, self.x, threads),
            "ncnn": lambda: self.by_ncnn(threads),
            "MNN": lambda: by_mnn(self.model, self.x, threads, self.expected.shape),
        }


def contest(name: str, batch: int, threads: int, seconds: float) -> dict[str, Result]:
    """Measure one network; who cannot take part is left out, with the reason."""
    example = Example(name, batch)
    rivals: dict[str, Timed] = {}
    refused = {}
    for rival, make in example.makers(threads).items():
        try:
            with silence():
                rivals[rival] = make()
        except Exception as problem:
            refused[rival] = Result(why_not=str(problem).strip().splitlines()[0])
    results = measure(example, rivals, example.expected, seconds)
    return {**results, **refused}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--threads", default=1, show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="For one network, all together.")
def main(names: tuple[str, ...], threads: int, batch: int, seconds: float) -> None:
    """Print each network's median milliseconds, and the best peer's time over fastconv's."""
    table = Table("network", "fastconv", *PEERS, "ratio", "error")
    ratios = []
    for name in names or NAMES:
        results = contest(name, batch, threads, seconds)
        mine: Any = results["fastconv"]
        times = [r.seconds for p, r in results.items() if p in PEERS and r.seconds and not r.loose]
        ratios.append(min(times, default=float("nan")) / mine.seconds)
        cells = [_shown(results[peer]) for peer in ("fastconv", *PEERS)]
        table.add_row(name, *cells, f"{ratios[-1]:.2f}", f"{mine.error:.1e}")
        for peer, result in results.items():
            if result.why_not:
                Console(stderr=True).print(f"{name}: {peer} does not take part: {result.why_not}")
    table.caption = f"geomean {np.exp(np.mean(np.log(ratios))):.2f}"
    Console(width=max(120, Console().width)).print(table)


def _shown(result: Result) -> str:
    return "-" if result.seconds is None else f"{result.seconds * 1e3:.3f}"


if __name__ == "__main__":
    main()
