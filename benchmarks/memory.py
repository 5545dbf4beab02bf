"""How much memory a process takes that loads a network and runs it.

``python -m benchmarks.memory [NAMES] [--batch N]``: each engine in a process of its own, one
thread, three runs. The networks are those of `benchmarks.networks`; fastconv reads the ONNX file
and what `Network.save` makes of it. Of Linux alone, whose kernel is asked.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import fastconv
from benchmarks.networks import NAMES, Example

_MEASURE = """
import sys
import numpy as np

def told(word):
    for line in open("/proc/self/status"):
        if line.startswith(word):
            return int(line.split()[1]) * 1024 / 1e6

x = np.zeros(tuple(map(int, sys.argv[2].split(","))), np.float32)
{load}
loaded = told("VmHWM")
for _ in range(3):
    run(x)
print(loaded, told("VmHWM"), told("VmRSS"))
"""
_OURS = """
import fastconv
fastconv.set_num_threads(1)
run = fastconv.load(sys.argv[1])
"""
_RUNTIME = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, ["CPUExecutionProvider"])
run = lambda x: session.run(None, {session.get_inputs()[0].name: x})
"""


@click.command()
@click.argument("names", nargs=-1)
@click.option("--batch", default=1, show_default=True)
def main(names: tuple[str, ...], batch: int) -> None:
    """Print each process's most memory when loaded and in all, and what it keeps, in MB."""
    table = Table("network", "engine", "loaded, at most", "in all, at most", "kept")
    for name in names or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            example = Example(name, batch)
            model, own = Path(folder) / "net.onnx", Path(folder) / "net.fastconv"
            model.write_bytes(example.model)
            fastconv.load(model).save(own)
            sides = {"fastconv, .onnx": (_OURS, model), "fastconv, .fastconv": (_OURS, own)}
            if importlib.util.find_spec("onnxruntime"):
                sides["ONNX Runtime"] = (_RUNTIME, model)
            for engine, (load, file) in sides.items():
                figures = measure(load, file, example.x.shape)
                table.add_row(name, engine, *(f"{figure:.0f}" for figure in figures))
    Console().print(table)


def measure(load: str, file: Path, shape: tuple[int, ...]) -> list[float]:
    """Return a process's most memory when it has loaded a file, its most in all, and what it keeps.

    In MB of 10^6 bytes; the second run of two, when byte code and kernels are cached.
    """
    script = _MEASURE.replace("{load}", load)
    command = [sys.executable, "-c", script, str(file), ",".join(map(str, shape))]
    for _ in range(2):
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(figure) for figure in told.split()]


if __name__ == "__main__":
    main()
