"""Compiling kernels before they are needed, so that no first call waits for the compiler."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import fastconv.functional as F
from fastconv.dispatch import algorithms
from fastconv.problem import ACTIVATIONS, ConvProblem
from fastconv.problem.values import dtype_of, is_sequence, items_of, shapes_of, shown

Job = tuple[str, Callable[[], Any]]


def warmup(
    network: Callable[..., Any] | None = None,
    input_shape: Any = None,
    *,
    dtypes: Sequence[Any] = ("float32",),
    progress: Callable[[int, int, str], None] | None = None,
) -> int:
    """Compile kernels now, and keep them on disk for every process to come.

    Parameters
    ----------
    network : Network, module or callable, optional
        What to run once on zeros. Without it, every family of kernels is compiled.
    input_shape : tuple of ints, optional
        With the batch; for a `Network` whose sizes are all known it may be left out.
    dtypes : sequence of dtypes
        float32, float64 or both.
    progress : callable, optional
        Called with (done, total, name) before each job and once at the end.

    Returns
    -------
    int
        The number of jobs done.

    Raises
    ------
    ValueError
        For a network whose input shape is neither known nor given.
    """
    check_progress(progress)
    if not is_sequence(dtypes):
        raise TypeError(f"dtypes must be a sequence of dtypes, not {shown(dtypes)}")
    dtypes = [dtype_of(dtype, "dtypes") for dtype in items_of(dtypes, "dtypes")]
    if network is not None and not callable(network):
        raise TypeError(f"network must be a network, a module or None, not {shown(network)}")
    if network is not None:
        jobs = list(_network_jobs(network, input_shape, dtypes))
    else:
        jobs = [job for dtype in dtypes for job in _family_jobs(dtype)]
    for done, (name, run) in enumerate(jobs):
        if progress is not None:
            progress(done, len(jobs), name)
        run()
    if progress is not None:
        progress(len(jobs), len(jobs), "")
    return len(jobs)


def check_progress(progress: Any) -> None:
    """Refuse a ``progress`` that cannot be called."""
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable or None, not {shown(progress)}")


def _network_jobs(network: Any, input_shape: Any, dtypes: Sequence[Any]) -> Iterator[Job]:
    ports = getattr(network, "inputs", None)
    if input_shape is None:
        if ports is None:
            raise ValueError("warmup of a module needs an input_shape, such as (1, 3, 224, 224)")
        shapes = [tuple(s if isinstance(s, int) else 1 for s in port.shape) for port in ports]
    else:
        shapes = shapes_of(input_shape)
    for dtype in [ports[0].dtype] if ports else dtypes:
        yield "network", functools.partial(network, *(np.zeros(s, dtype) for s in shapes))


def _family_jobs(dtype: np.dtype[Any]) -> Iterator[Job]:
    for name, function, *arguments in _family_calls(dtype):
        yield f"{name} {dtype.name}", functools.partial(function, *arguments)
    x = np.ones((1, 4, 12, 12), dtype)
    for algorithm in algorithms(ConvProblem):
        if algorithm.backend == "reference":
            continue
        weight, groups = np.ones((4, 4, 3, 3), dtype), 1
        padding = 1
        if algorithm.why_not(ConvProblem.of(2, x, weight, padding=1)) is not None:
            weight, groups = weight[:, :1], 4
        if algorithm.name == "dot":
            # Its one window is the whole image.
            weight, groups, padding = np.ones((4, 4, 12, 12), dtype), 1, 0
        options: dict[str, Any] = {"groups": groups, "algorithm": algorithm.name, "rtol": 1}
        run = functools.partial(F.conv2d, x, weight, padding=padding, **options)
        yield f"conv2d {algorithm.name} {dtype.name}", run


def _family_calls(dtype: np.dtype[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield (name, function, argument, ...) of small calls that reach every family's kernels."""
    x, ones = np.ones((1, 4, 12, 12), dtype), np.ones(4, dtype)
    yield "conv_transpose2d", F.conv_transpose2d, x, np.ones((4, 4, 3, 3), dtype), None, 2
    for rows in (1, 4):
        yield "linear", F.linear, np.ones((rows, 12), dtype), np.ones((5, 12), dtype)
    for pool in (F.max_pool2d, F.avg_pool2d, F.weighted_pool2d):
        yield pool.__name__, pool, x, 2
    yield "lp_pool2d", F.lp_pool2d, x, 2, 2
    yield "max_pool2d with indices", F.max_pool2d, x, 2, None, 0, 1, False, True
    indices = np.arange(36).reshape(1, 1, 6, 6).repeat(4, 1)
    yield "max_unpool2d", F.max_unpool2d, x[..., :6, :6], indices, 2
    for activation in ACTIVATIONS:
        yield activation, getattr(F, activation), x
    yield "prelu", F.prelu, x, ones
    for softmax in (F.softmax, F.log_softmax):
        for axis in (1, 3):
            yield softmax.__name__, softmax, x, axis
    yield "batch_norm", F.batch_norm, x, ones, ones, ones, ones
    yield "group_norm", F.group_norm, x, 2, ones, ones
    yield "layer_norm", F.layer_norm, x, (12,)
    yield "local_response_norm", F.local_response_norm, x, 3
    yield "pad", F.pad, x, (1, 1)
    for mode in ("nearest", "bilinear", "bicubic"):
        yield f"interpolate {mode}", F.interpolate, x, 20, None, mode
    yield "pixel_shuffle", F.pixel_shuffle, x, 2
    yield "unfold", F.unfold, x, 3
    yield "fold", F.fold, np.ones((1, 36, 100), dtype), (12, 12), 3
