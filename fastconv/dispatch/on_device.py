"""The road of arrays on the GPU: the caller's memory and stream in, the caller's kind out."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from fastconv.backends.cuda.algorithm import CudaAlgorithm, HostPlan, outputs_of
from fastconv.backends.cuda.engine.device import Device, Memory, device_for
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan
from fastconv.backends.cuda.moves import Axis, view
from fastconv.backends.cuda.packing import packed_on_card
from fastconv.backends.native.plan import INPUT
from fastconv.device_arrays import DeviceArray, Kind, as_device_array, contiguous_strides
from fastconv.dispatch.choose import choose
from fastconv.dispatch.registry import algorithms
from fastconv.dispatch.run import find_plan
from fastconv.problem import Problem, Shape

# What wide loads ask of an address.
_ALIGNMENT = 16
_IN_MAIN_MEMORY = "its parameters are worked out in main memory, and these are on the GPU"


def solve_on_device(
    problem: Problem,
    inputs: tuple[Any, ...],
    parameters: tuple[Any, ...],
    out: Any,
    algorithm: str | None,
    backend: str | None,
) -> Any:
    """Solve a problem whose inputs are on a GPU; nothing waits, and nothing is copied off it.

    Parameters in main memory are packed there, once if they are immutable. On the GPU they are
    packed at each call.

    Raises
    ------
    ValueError
        For another backend, or arrays that are not all on one GPU.
    """
    if backend not in (None, "cuda"):
        raise ValueError(
            f"{problem.name} of arrays on the GPU runs on backend 'cuda', not on {backend!r}"
        )
    on_card = any(isinstance(value, DeviceArray) for value in parameters)
    together(inputs, parameters if on_card else ())
    leader = next(value for value in inputs if value is not None)
    device = device_of(leader, inputs)
    problem, inputs, turned = _as_it_lies(problem, inputs, out)
    specs = outputs_of(problem)
    results = [made(leader.kind, *spec, device) for spec in specs]
    if out is not None:
        arrays = [value for value in (*inputs, *parameters) if value is not None]
        results[0] = _checked_out(out, specs[0], arrays)
    if all(0 not in shape for shape, _ in specs):
        given = list(inputs)
        if on_card:
            shapes = tuple(None if p is None else p.shape for p in parameters)
            plan = _packing_plan(problem, shapes, algorithm, len(inputs))
            given += parameters
        else:
            found = find_plan(problem, parameters, algorithm=algorithm, backend="cuda")
            assert isinstance(found, HostPlan)
            plan = found.cuda
        memories = [None if value is None else memory_of(value, device) for value in given]
        # Outputs beyond the first are numbered from the inputs on.
        more = [memory_of(result, device) for result in results[1:]]
        plan.enqueue(device, memories, memory_of(results[0], device), more)
    if turned is not None:
        results = [result.transposed(turned) for result in results]
    if out is not None:
        results[0] = out
    back = [r if r is out else given_back(r, turned) for r in results]
    return back[0] if len(back) == 1 else tuple(back)


def together(inputs: tuple[Any, ...], parameters: tuple[Any, ...] = ()) -> None:
    """Refuse arrays of which some are on the GPU and some are not, or on several."""
    given = [value for value in (*inputs, *parameters) if value is not None]
    where = {f"cuda:{v.device}" if isinstance(v, DeviceArray) else "main memory" for v in given}
    if len(where) > 1:
        raise ValueError(
            f"expected all arrays to be on the same device, but found them on "
            f"{' and '.join(sorted(where))}"
        )


def device_of(leader: DeviceArray, inputs: tuple[Any, ...]) -> Device:
    """Return the GPU and stream that arrays are worked on with: those of the caller's library."""
    stream = leader.kind.stream(leader.device) or leader.stream
    device = device_for(leader.device, stream)
    for value in inputs:
        if value is not None and value.stream is not None and value.stream != stream:
            device.wait_for(value.stream)
    return device


def memory_of(value: DeviceArray, device: Device) -> Memory:
    """Return the elements as they follow one another, copied only where they do not."""
    low, high = value.extent
    memory = device.adopt(low, high - low, value.owner)
    if value.is_contiguous and low % _ALIGNMENT == 0:
        return memory
    size = value.dtype.itemsize
    if low % size or any(stride % size for stride in value.strides):
        raise ValueError(f"a GPU array of strides {value.strides} has no whole elements in memory")
    own = contiguous_strides(value.shape, value.dtype)
    axes = [
        Axis(n, stride // size, step // size)
        for n, stride, step in zip(value.shape, value.strides, own, strict=True)
    ]
    copied = device.empty(value.nbytes)
    launch = view(size, axes, INPUT(0), OUTPUT, (value.pointer - low) // size)
    CudaPlan([launch]).enqueue(device, [memory], copied)
    return copied


def _as_it_lies(
    problem: Any, inputs: tuple[Any, ...], out: Any
) -> tuple[Any, tuple[Any, ...], Shape | None]:
    """Return a problem whose images' channels are last in memory as a channels-last one.

    That is what PyTorch's channels_last is. The third is the order of dimensions that gives
    back the outputs' own; None: nothing was turned.
    """
    last = getattr(problem, "channels_last", None)
    images = [value for value in inputs if value is not None]
    n = len(problem.input_shape)
    if (
        last is not False
        or out is not None
        or not images[0].is_channels_last
        or any(value.ndim != n for value in images)
    ):
        return problem, inputs, None
    there = (0, *range(2, n), 1)
    turned = tuple(None if v is None else v.transposed(there) for v in inputs)
    back = (0, n - 1, *range(1, n - 1))
    return dataclasses.replace(problem, channels_last=True), turned, back


@functools.lru_cache(maxsize=512)
def _packing_plan(
    problem: Any, shapes: tuple[Shape | None, ...], algorithm: str | None, first: int
) -> CudaPlan:
    """Return the plan that packs parameters on the GPU; they come after the ``first`` inputs."""
    without = frozenset(
        (str(a), _IN_MAIN_MEMORY)
        for a in algorithms(type(problem), "cuda")
        if isinstance(a, CudaAlgorithm) and not a.moves_parameters
    )
    chosen = choose(problem, algorithm=algorithm, backend="cuda", without=without).algorithm
    assert isinstance(chosen, CudaAlgorithm)
    return packed_on_card(chosen, problem, shapes, first)


def made(kind: Kind, shape: Shape, dtype: np.dtype[Any], device: Device) -> DeviceArray:
    """Return a new array of the caller's kind; of ours, where its library cannot make one."""
    if kind.empty is not None:
        given = as_device_array(kind.empty(shape, dtype, device.ordinal))
        assert given is not None
        return given
    size = int(np.prod(shape)) * dtype.itemsize
    memory = device.empty(size)
    return DeviceArray(
        kind, memory, device.address(memory), shape, dtype, None, device.ordinal, device.stream
    )


def given_back(result: DeviceArray, turned: Shape | None = None) -> Any:
    """Return a result as the caller's library knows it."""
    if result.kind.empty is None:
        return result.kind.given(result)
    if turned is None:
        return result.owner
    assert result.kind.turned is not None
    return result.kind.turned(result.owner, turned)


def _checked_out(out: Any, spec: tuple[Shape, np.dtype[Any]], arrays: list[Any]) -> DeviceArray:
    given = as_device_array(out)
    shape, dtype = spec
    if given is None or given.device != arrays[0].device:
        raise TypeError(f"out must be an array on GPU {arrays[0].device}, as the input is")
    if given.shape != tuple(shape):
        raise ValueError(f"out must have shape {list(shape)}, but got {list(given.shape)}")
    if given.dtype != dtype:
        raise TypeError(f"out must have dtype {dtype.name}, but got {given.dtype.name}")
    if not given.is_contiguous or given.pointer % _ALIGNMENT:
        raise ValueError("out on the GPU must be contiguous, and 16-byte aligned")
    low, high = given.extent
    others = [value.extent for value in arrays if isinstance(value, DeviceArray)]
    if any(low < end and begin < high for begin, end in others):
        raise ValueError("out must not overlap an input or a parameter in memory")
    return given
