"""Calls on a driver that does nothing: each prints its name, then what the driver is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv
import fastconv.functional as F
from tests.backends.cuda.device_memory import OnDevice

STREAM, OTHER = 4096, 8192
X, WEIGHT = np.ones((1, 4, 6, 6), "f4"), np.ones((4, 4, 3, 3), "f4")
HALF, FILTERS = np.ones((1, 16, 16, 64), "f2"), np.ones((64, 64, 3, 3), "f2")
PLACES = np.ones((2, 1, 8, 8, 64), "f2")
RESIDUAL = np.ones((1, 4, 4, 4), "f4")
KEPT = fastconv.nn.Conv2d(4, 4, 3, bias=False)


def network() -> Any:
    return fastconv.compile(lambda x: F.relu(F.max_pool2d(F.conv2d(x, WEIGHT), 2)), (1, 4, 6, 6))


NETWORK = network()


def mapped(x: Any) -> Any:
    given = OnDevice(x, STREAM), OnDevice(FILTERS, STREAM)
    return F.conv2d(*given, layout="NHWC", algorithm="direct_hopper")


CALLS: dict[str, Callable[[], Any]] = {
    "main memory": lambda: F.relu(X, backend="cuda"),
    "stream": lambda: F.relu(OnDevice(X, STREAM)),
    "default stream": lambda: F.relu(OnDevice(X)),
    "other stream": lambda: F.conv2d(
        OnDevice(X, STREAM), WEIGHT, residual=OnDevice(RESIDUAL, OTHER)
    ),
    "weights on the GPU": lambda: F.conv2d(OnDevice(X, STREAM), OnDevice(WEIGHT, STREAM)),
    "layer": lambda: KEPT(OnDevice(X, STREAM)),
    "layer again": lambda: KEPT(OnDevice(X, STREAM)),
    "tensor cores": lambda: F.conv2d(
        OnDevice(HALF, STREAM), FILTERS, layout="NHWC", padding=1, algorithm="direct_hopper"
    ),
    "map": lambda: mapped(PLACES[0]),
    "map of another array": lambda: mapped(PLACES[1]),
    "network": lambda: NETWORK(OnDevice(X, STREAM)),
    "network again": lambda: NETWORK(OnDevice(X, STREAM)),
    "network on another stream": lambda: NETWORK(OnDevice(X, OTHER)),
    "indices": lambda: F.max_pool2d(OnDevice(X, STREAM), 2, return_indices=True),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or CALLS:
        print(f"== {name}", file=sys.stderr, flush=True)
        CALLS[name]()
