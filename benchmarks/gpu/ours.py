"""fastconv's side: plans, compiled together beforehand, and their replays."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from benchmarks.gpu.layers import Layer
from fastconv.backends.cuda.algorithm import HostPlan
from fastconv.backends.cuda.engine.cache import cubin_of
from fastconv.backends.cuda.engine.device import Device
from fastconv.dispatch.choose import choose
from fastconv.dispatch.registry import algorithms
from fastconv.problem import ConvProblem


def names(problem: ConvProblem) -> list[str]:
    """Return the algorithms that can serve a problem, the chosen one first."""
    chosen = choose(problem, backend="cuda").algorithm
    image = problem.for_one_image()
    able = [a.name for a in algorithms(ConvProblem, "cuda") if a.why_not(image) is None]
    return [chosen.name, *(name for name in able if name != chosen.name)]


def planned(layer: Layer, algorithm: str) -> HostPlan:
    """Plan a layer by an algorithm, with weights drawn again from the same seed."""
    problem = layer.problem()
    _, weight = layer.case.operands()
    assert weight is not None
    found = next(a for a in algorithms(ConvProblem, "cuda") if a.name == algorithm)
    plan = found.plan(problem, weight.astype(layer.dtype), None)
    assert isinstance(plan, HostPlan)
    return plan


def compile_all(layers: Iterable[Layer], arch: str, workers: int) -> int:
    """Compile every layer's kernels into the cache on disk, by many processes; give how many."""
    work = [(layer, arch) for layer in layers]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        return sum(pool.map(_compile, work, chunksize=4))


def _compile(work: tuple[Layer, str]) -> int:
    layer, arch = work
    count = 0
    for name in names(layer.problem()):
        for launch in planned(layer, name).cuda.launches:
            cubin_of(launch.kernel, arch)
            count += 1
    return count


class Replay:
    """A plan's launches as one graph, over some sets of arrays in turn."""

    def __init__(self, plan: HostPlan, device: Device, sets: list[tuple[Any, Any]]) -> None:
        self._device = device
        size = plan.workspace_bytes
        self._workspace = device.empty(size) if size else None
        runs = [
            run
            for x, y in sets
            for run in plan.cuda.bound(
                device, [_memory(device, x), _memory(device, y), self._workspace, None]
            )
        ]
        self._graph = device.capture(runs)

    def __call__(self) -> None:
        self._graph.replay(self._device)


def _memory(device: Device, tensor: Any) -> Any:
    return device.adopt(tensor.data_ptr(), tensor.numel() * tensor.element_size(), tensor)


def error(result: Any, expected: Any) -> float:
    """Return the largest error relative to the expected values' deviation; NaN is infinite."""
    worst = (result.double() - expected).abs().max() / expected.std()
    value = float(worst)
    return value if np.isfinite(value) else float("inf")


Run = Callable[[], None]
