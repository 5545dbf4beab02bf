"""What must have the same bits wherever it is computed: calls of every kind, and networks.

``python -m tests.trust.bits`` prints the digest of each, to be compared with another process's.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np

import fastconv
from fastconv import models, nn, settings
from fastconv.backends.native import plan
from fastconv.network import executor
from tests.libraries import BACKENDS
from tests.network.random_networks import RandomNetwork
from tests.trust import fuzz
from tests.trust.calls import Array, Call

BATCH = 4
# Where a call's axis 0 is not a batch: these sum over it.
MIXING = ("softmax", "log_softmax")


@contextlib.contextmanager
def shared_out() -> Iterator[None]:
    """Share the smallest plan out over threads."""
    with (
        patch.object(plan, "SERIAL_SECONDS", 0.0),
        patch.object(executor, "SERIAL_SECONDS", 0.0),
    ):
        yield


# Numba compiles a kernel for each dtype: with few trials, those of the usual one.
FEW = 100


def trials(seed: int, count: int, backend: str) -> list[fuzz.Trial]:
    """Draw calls that a backend runs on several images."""
    usual = backend == "numba" and count < FEW
    found: list[fuzz.Trial] = []
    index = 0
    while len(found) < count:
        trial = fuzz.draw(seed, index)
        index += 1
        call = trial.call
        several = call.input.ndim > 1 and len(call.input) > 1 and call.function not in MIXING
        if usual and call.dtype.name != "float32":
            continue
        if several and trial.asked and trial.algorithm.backend == backend:
            found.append(trial)
    return found


def run(trial: fuzz.Trial, call: Call, threads: int) -> Array:
    """Run a trial's algorithm on a call; several outputs become one array of bytes."""
    how = {"algorithm": trial.algorithm.name, "backend": trial.algorithm.backend}
    with fuzz.forced(trial.isa), settings.threads(threads), np.errstate(all="ignore"):
        result = call.run(**how)
    if isinstance(result, tuple):
        flat = [r.reshape(len(r), -1).view(np.uint8) for r in result]
        return np.concatenate(flat, axis=1)
    return np.asarray(result)


def networks() -> dict[str, tuple[Callable[[], Any], tuple[int, ...]]]:
    """Return networks by name: what makes one, and the shape of an image."""
    small = (3, 32, 32)
    return {
        "lenet5": (lambda: weighted(models.lenet5()), (1, 28, 28)),
        "convnet1": (lambda: weighted(models.convnet1()), (1, 28, 28)),
        "mobilenet_v2": (lambda: weighted(models.mobilenet_v2(10, width_mult=0.25)), small),
        "random 1": (lambda: RandomNetwork(1), (4, 9, 9)),
        "random 2": (lambda: RandomNetwork(2, steps=20), (4, 12, 12)),
        "random 3": (lambda: RandomNetwork(3, dtype="float64"), (3, 8, 8)),
    }


def weighted(module: nn.Module) -> nn.Module:
    """Draw a module's weights again: the same in every process."""
    rng = np.random.default_rng(0)
    state = {}
    for name, value in module.state_dict().items():
        shape, dtype = np.shape(value), np.asarray(value).dtype
        if dtype.kind != "f":
            state[name] = value
        elif name.endswith("running_var"):
            state[name] = (rng.random(shape) + 0.5).astype(dtype)
        else:
            fan = max(1, int(np.prod(shape[1:])))
            state[name] = (rng.standard_normal(shape) / np.sqrt(fan)).astype(dtype)
    module.load_state_dict(state)
    return module


def compiled(name: str, batch: int) -> tuple[Any, Array]:
    """Return a network compiled for a batch, and that many images."""
    make, shape = networks()[name]
    module = make()
    x = np.random.default_rng(5).standard_normal((batch, *shape))
    x = x.astype(getattr(module, "dtype", "float32"))
    return fastconv.compile(module, x.shape, dtype=x.dtype), x


def outputs(network: Any, x: Array) -> list[Array]:
    """Run a network; give its outputs as a list."""
    result = network(x)
    return list(result) if isinstance(result, (tuple, list)) else [result]


def digests(count: int) -> list[str]:
    """Return lines: a backend, what was run, and the digest of its bytes."""
    lines = []
    with shared_out():
        for backend in BACKENDS:
            for trial in trials(1, count, backend):
                found = digest([run(trial, trial.call, 2)])
                lines.append(f"{trial.index} {trial.algorithm} {trial.call.function} {found}")
            for name in ("lenet5", "random 1", "random 2"):
                with settings.on_backend(backend):
                    network, x = compiled(name, 2)
                    lines.append(f"{backend} {name} {digest(outputs(network, x))}")
    return lines


def digest(arrays: list[Array]) -> str:
    """Return the digest of arrays' bytes."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


if __name__ == "__main__":
    print("\n".join(digests(int(sys.argv[1]))))
