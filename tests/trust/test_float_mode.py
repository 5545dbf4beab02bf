"""Threads compute alike whatever a program has set, and subnormal numbers slow no kernel."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import fastconv
import fastconv.functional as F
from fastconv import nn, settings
from tests.libraries import COMPILED
from tests.trust import bits
from tests.trust.calls import Array, Call

Told = Callable[[str, str, str], None]
Scale = Callable[[int, int], int]

# What only moves cells, or picks one: it keeps what it finds, and is no slower for it.
MOVES = (
    "max_pool", "adaptive_max_pool", "max_unpool", "global_max_pool", "pad", "fold", "unfold",
    "pixel_shuffle", "interpolate", "relu", "hardtanh",
)  # fmt: skip
HAS_MODE = platform.machine().lower() in ("x86_64", "amd64", "aarch64", "arm64")
needs_mode = pytest.mark.skipif(not HAS_MODE, reason="no such mode on this processor")


def with_input(call: Call, scale: float) -> Call:
    """Return a call on an image of such numbers, with large weights and nothing added to them."""
    arrays = dict(call.arrays)
    arrays["input"] = (arrays["input"] * 0 + 1) * call.dtype.type(scale)
    arrays["weight"] = (arrays["weight"] * call.dtype.type(2.0**60)).astype(call.dtype)
    for name in ("bias", "residual"):
        if name in arrays:
            arrays[name] = np.zeros_like(arrays[name])
    return dataclasses.replace(call, arrays=arrays)


def of_subnormals(call: Call) -> tuple[Call, Call]:
    """Return a call on the largest subnormals, and on zeros."""
    kind = np.finfo("f8" if call.dtype in (np.dtype("f8"), np.dtype("c16")) else "f4")
    return with_input(call, float(kind.tiny) * 0.75), with_input(call, 0.0)


@needs_mode
@pytest.mark.parametrize("backend", COMPILED)
def test_no_kernel_multiplies_a_subnormal(backend: str, scale: Scale, told: Told) -> None:
    """An image of subnormals gives what one of zeros gives: none has met a multiplication."""
    algorithms = set()
    count = 0
    for trial in bits.trials(9, scale(60 if backend == "c" else 6, 600), backend):
        call = trial.call
        wide = call.dtype.kind in "fc" and call.dtype.name != "float16"
        if not wide or "weight" not in call.arrays or call.function.startswith(MOVES):
            continue
        small, none = of_subnormals(call)
        for threads in (1, 3):
            result, expected = (bits.run(trial, c, threads) for c in (small, none))
            np.testing.assert_array_equal(result, expected, err_msg=str(trial))
        algorithms.add(str(trial.algorithm))
        count += 1
    told(
        "no kernel multiplies a subnormal number, which takes 100 times as long",
        f"{count} drawn layers of backend {backend} on images of subnormals",
        f"{len(algorithms)} algorithms take them as zero",
    )


def normal_and_subnormal(shape: tuple[int, ...]) -> tuple[Array, Array]:
    x = np.random.default_rng(0).standard_normal(shape).astype("f4")
    return x, (np.abs(x) * 1e-39).astype("f4")


@needs_mode
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("threads", [1, 2])
def test_functions_take_subnormals_as_zero(backend: str, threads: int) -> None:
    _, small = normal_and_subnormal((2, 8, 12, 12))
    zero = np.zeros_like(small)
    line = np.full(8, 2.0**60, "f4")
    functions: dict[str, Callable[[Array], Any]] = {
        "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 1, backend=backend),
        "lp_pool2d": lambda x: F.lp_pool2d(x, 1, 3, backend=backend),
        "weighted_pool2d": lambda x: F.weighted_pool2d(x, 3, weights="gaussian", backend=backend),
        "bilinear": lambda x: F.interpolate(
            x, scale_factor=2, mode="bilinear", backend=backend
        ),
        "batch_norm": lambda x: F.batch_norm(x, 0 * line, 0 * line, line, eps=1, backend=backend),
        "leaky_relu": lambda x: F.leaky_relu(-x, 0.5, backend=backend),
        "tanh": lambda x: F.tanh(x, backend=backend),
        "gelu": lambda x: F.gelu(x, backend=backend),
    }  # fmt: skip
    with settings.threads(threads), bits.shared_out():
        for name, function in functions.items():
            np.testing.assert_array_equal(function(small), function(zero), err_msg=name)
        # Nor is one made.
        least = np.full_like(zero, np.finfo("f4").tiny)
        assert not F.batch_norm(least, 0 * line, 16 + 0 * line, eps=0, backend=backend).any()


@contextlib.contextmanager
def flushing() -> Iterator[None]:
    """Have this thread flush subnormals, as libraries that are built for speed do by loading."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def rounding_up() -> Iterator[None]:
    """Have this thread round upwards."""
    libm = ctypes.CDLL("libm.so.6")
    upward = {"x86_64": 0x800, "aarch64": 0x400000}[platform.machine()]
    assert libm.fesetround(upward) == 0
    try:
        yield
    finally:
        libm.fesetround(0)


@needs_mode
@pytest.mark.skipif(platform.system() != "Linux", reason="names libm of Linux")
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("mode", [flushing, rounding_up])
def test_a_program_s_own_mode_changes_no_bit(mode: Any, backend: str, told: Told) -> None:
    x = np.random.default_rng(0).standard_normal((3, 16, 30, 30)).astype("f4")
    with settings.on_backend(backend), bits.shared_out():
        layers = [nn.Conv2d(16, 24, 3), nn.AvgPool2d(3), nn.Tanh(), nn.GroupNorm(4, 16)]
        network = fastconv.compile(bits.weighted(nn.Sequential(layers[0], *layers[1:3])), x.shape)
        for call in (*layers, network):
            call(x)  # packs its weights, which NumPy does as this thread is set
            plain = bits.digest([np.asarray(call(x))])
            for threads in (1, 3):
                with settings.threads(threads), mode():
                    there = np.asarray(call(x))
                    kept = np.float32(1) + np.float32(2**-30) > 1, np.float32(1e-40) * 1 > 0
                assert bits.digest([there]) == plain, f"{call} on {threads} threads"
                # The program's mode is its own again after the call.
                assert kept == ((True, True) if mode is rounding_up else (False, False))
    assert np.float32(1e-40) * np.float32(0.5) > 0
    told(
        "what a program sets of its thread's floats changes no bit, and stays as it was set",
        f"layers and a network on backend {backend}, 1 and 3 threads, {mode.__name__}",
        "all the same",
    )


@needs_mode
@pytest.mark.parametrize("backend", COMPILED)
def test_the_time_of_subnormal_images(backend: str, scale: Scale, told: Told) -> None:
    """A figure for the table: no clock decides."""
    x, small = normal_and_subnormal((1, 32, 28, 28))
    w = np.random.default_rng(1).standard_normal((32, 32, 3, 3)).astype("f4")
    taken: dict[str, list[float]] = {}
    for algorithm in ("direct", "winograd"):
        layer = fastconv.dispatch.Parameter(w)
        for _ in range(scale(1, 30)):
            for image, times in ((x, "normal"), (small, "small")):
                start = time.perf_counter()
                F.conv2d(image, layer, padding=1, algorithm=algorithm, backend=backend)
                taken.setdefault(algorithm + times, []).append(time.perf_counter() - start)
    ratios = [
        min(taken[f"{name}small"]) / min(taken[f"{name}normal"]) for name in ("direct", "winograd")
    ]
    told(
        "images of subnormals take no longer than others",
        f"direct and winograd of backend {backend}, 32 channels of 28 x 28",
        f"{max(ratios):.2f} times as long",
    )
