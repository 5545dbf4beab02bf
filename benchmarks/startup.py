"""From nothing to a first result: whole processes, timed in turn.

``python -m benchmarks.startup [--runs N]``. Each is run once before, so that byte code, kernels and
files are cached; ONNX Runtime takes part where it is installed.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import fastconv

LENET = Path(__file__).parents[1] / "examples" / "digits" / "lenet5.onnx"
_OURS = """
import numpy, fastconv
network = fastconv.models.lenet5()
network.load_state_dict(dict(numpy.load({weights!r})))
network.eval()
network(numpy.zeros((1, 1, 28, 28), numpy.float32))
"""
_RUNTIME = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession({model!r}, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
session.run(None, {{name: numpy.zeros((1, 1, 28, 28), numpy.float32)}})
"""
_CHECK = 'import sys; assert "numba" not in sys.modules'


@click.command()
@click.option("--runs", default=15, show_default=True)
def main(runs: int) -> None:
    """Print the median seconds of each process, and the best."""
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "lenet5.npz")
        state = fastconv.models.lenet5().state_dict()
        np.savez(weights, **{name: np.asarray(v) for name, v in state.items()})  # type: ignore[arg-type]
        scripts = {
            "python": "pass",
            "import numpy": "import numpy",
            "import fastconv": "import fastconv",
            "LeNet-5 by fastconv": _OURS.format(weights=weights),
        }
        if importlib.util.find_spec("onnxruntime"):
            scripts["LeNet-5 by ONNX Runtime"] = _RUNTIME.format(model=str(LENET))
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(folder) / "code")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[float]] = {name: [] for name in scripts}
        run(_OURS.format(weights=weights) + _CHECK, environment)
        for script in scripts.values():
            run(script, environment)
        for _ in range(runs):
            for name, script in scripts.items():
                times[name].append(run(script, environment))
    table = Table("process", "median, s", "best, s")
    for name, seconds in times.items():
        table.add_row(name, f"{statistics.median(seconds):.3f}", f"{min(seconds):.3f}")
    Console().print(table)


def run(script: str, environment: dict[str, str]) -> float:
    """Return the seconds that a new Python takes for a script."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
