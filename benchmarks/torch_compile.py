"""Modules as torch runs them, and by ``torch.compile(module, backend="fastconv")``.

``python -m benchmarks.torch_compile [NAMES] [--threads N] [--batch N] [--seconds S]``. Both take
turns in one process, on the same tensors, after their answers were compared with float64's.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Result, measure
from benchmarks.ours import with_threads
from benchmarks.peers.pytorch import torch_context
from benchmarks.rival import Rival
from fastconv.machine import cpu_model
from tests.torch_models import make
from tests.zoo import classifiers, others
from tests.zoo.parts import drawn

MODULES: dict[str, Callable[[], Any]] = {
    "unet": others.UNet,
    "convnext_tiny": classifiers.convnext_tiny,
    "hybrid_vit": classifiers.HybridViT,
    "shufflenet_v2": classifiers.shufflenet_v2,
    "efficientnet_b0": classifiers.efficientnet_b0,
    **{name: functools.partial(make, name) for name in ("resnet18", "mobilenet_v2")},
}


class Example:
    """A module, an image, and what float64 gives."""

    dtype, calls = "float32", 1

    def __init__(self, name: str, batch: int) -> None:
        self.x = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        self.module = drawn(MODULES[name](), self.x)
        with torch.inference_mode():
            self.expected = copy.deepcopy(self.module).double()(self.x.double()).numpy()

    def rivals(self, threads: int) -> dict[str, Rival]:
        """Return the module as it is, and compiled."""
        torch._dynamo.reset()
        compiled = torch.compile(self.module, backend="fastconv")
        return {
            "eager": self._rival(self.module, threads),
            "compiled": self._rival(compiled, threads),
        }

    def _rival(self, module: Any, threads: int) -> Rival:
        def context() -> Any:
            return _both(threads)

        return Rival(lambda: module(self.x), lambda: module(self.x).numpy(), context)


@contextlib.contextmanager
def _both(threads: int) -> Iterator[None]:
    """Set both libraries' threads: a compiled module runs by both."""
    with torch_context(threads), with_threads(threads)():
        yield


def contest(name: str, batch: int, threads: int, seconds: float) -> dict[str, Result]:
    """Measure one module both ways."""
    example = Example(name, batch)
    rivals = example.rivals(threads)
    return measure(example, rivals, example.expected, seconds)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--threads", default=1, show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="For one module, both together.")
def main(names: tuple[str, ...], threads: int, batch: int, seconds: float) -> None:
    """Print each module's median milliseconds both ways, and how many times faster compiled is."""
    title = f"{cpu_model()}, {threads} thread{'s' * (threads > 1)}, batch {batch}"
    table = Table("module", "eager, ms", "compiled, ms", "ratio", "error", title=title)
    ratios = []
    for name in names or MODULES:
        results = contest(name, batch, threads, seconds)
        wrong = [f"{way}: {result.why_not}" for way, result in results.items() if result.why_not]
        if wrong:
            table.add_row(name, "; ".join(wrong))
            continue
        eager, compiled = (results[way].seconds or 0.0 for way in ("eager", "compiled"))
        ratios.append(eager / compiled)
        times = (f"{1e3 * seconds:.2f}" for seconds in (eager, compiled))
        table.add_row(name, *times, f"{ratios[-1]:.2f}", f"{results['compiled'].error:.1e}")
    if ratios:
        table.caption = f"geomean {np.exp(np.mean(np.log(ratios))):.2f}, least {min(ratios):.2f}"
    Console(width=max(100, Console().width)).print(table)


if __name__ == "__main__":
    main()
