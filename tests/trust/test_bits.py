"""The same image, the same bits: whatever its batch, place, threads, process and memory."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fastconv import settings
from tests.libraries import BACKENDS, COMPILED
from tests.trust import bits
from tests.trust.calls import Array, Call

Told = Callable[[str, str, str], None]
Scale = Callable[[int, int], int]


@pytest.fixture(autouse=True)
def _shared_out() -> Iterator[None]:
    with bits.shared_out():
        yield


def with_images(call: Call, places: list[int]) -> Call:
    """Return the call for a batch of these images."""
    arrays = dict(call.arrays)
    for name in ("input", "residual", "indices"):
        if name in arrays:
            arrays[name] = arrays[name][places].copy()
    return dataclasses.replace(call, arrays=arrays)


def shifted(array: Array, offset: int) -> Array:
    """Return a copy that begins so many bytes after a multiple of 64."""
    memory = np.empty(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("backend", BACKENDS)
def test_layers_have_the_same_bits_everywhere(backend: str, scale: Scale, told: Told) -> None:
    few = {"c": 25, "numba": 3, "reference": 5}[backend]
    trials = bits.trials(1, scale(few, 600), backend)
    compared = 0
    for trial in trials:
        call = trial.call
        whole = bits.run(trial, call, 1)
        count = len(call.input)
        size = call.dtype.itemsize
        for threads in (*range(1, 9), 2):
            again = bits.run(trial, call, threads)
            assert again.tobytes() == whole.tobytes(), f"{threads} threads: {trial}"
        for offset in (size, 3 * size, 1):
            arrays = {name: shifted(array, offset) for name, array in call.arrays.items()}
            moved = bits.run(trial, dataclasses.replace(call, arrays=arrays), 3)
            assert moved.tobytes() == whole.tobytes(), f"{offset} bytes further: {trial}"
        orders = [[i] for i in range(count)]
        orders += [list(range(count))[::-1], [0, *range(count), count - 1], [count - 1] * 7]
        for order in orders:
            part = bits.run(trial, with_images(call, order), 1 + len(order) % 4)
            for place, image in enumerate(order):
                compared += 1
                same = part[place].tobytes() == whole[image].tobytes()
                assert same, f"image {image} at place {place} of {len(order)}: {trial}"
    told(
        "an image has the same bits in any batch, at any place, on any threads, at any address",
        f"{len(trials)} drawn layers on backend {backend}",
        f"{compared} images compared, all the same",
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", list(bits.networks()))
def test_networks_have_the_same_bits_everywhere(
    name: str, backend: str, scale: Scale, told: Told
) -> None:
    if scale(0, 1) == 0 and name in ("mobilenet_v2", "random 2") and backend != "c":
        pytest.skip("full form: many kernels to compile")
    with settings.on_backend(backend):
        network, x = bits.compiled(name, scale(5, 33))
        with settings.threads(1):
            whole = bits.outputs(network, x)
        for threads in (2, 3, 8):
            with settings.threads(threads):
                again = bits.outputs(network, x)
            assert bits.digest(again) == bits.digest(whole), f"{threads} threads"
        for order in ([0], [4], [2, 0], [1, 2, 3, 4], [4, 3, 2, 1, 0, 0, 1]):
            # Another network, made for another batch, and this one given another batch.
            other, _ = bits.compiled(name, len(order))
            given = shifted(x[order], x.itemsize * (len(order) % 3))
            for one in (network, other):
                with settings.threads(1 + len(order) % 3):
                    parts = bits.outputs(one, given)
                for part, all_of_it in zip(parts, whole, strict=True):
                    assert part.tobytes() == all_of_it[order].tobytes(), order
    told(
        "a network gives an image the same bits in any batch, on any threads",
        f"{name} on backend {backend}, batches of 1 to {len(x)}, 1 to 8 threads",
        "all the same",
    )


def digests_in_child(count: int, place: Any) -> None:
    place.put(bits.digests(count))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_other_processes_give_the_same_bits(scale: Scale, told: Told) -> None:
    count = scale(2, 60)
    here = bits.digests(count)
    context = multiprocessing.get_context("fork")
    place = context.Queue()
    child = context.Process(target=digests_in_child, args=(count, place))
    child.start()
    forked = place.get(timeout=240)
    child.join(60)
    assert forked == here
    seeds = ("0", "1", "4242")[: scale(1, 3)]
    for seed in seeds:
        fresh = subprocess.run(
            [sys.executable, "-m", "tests.trust.bits", str(count)],
            env=os.environ | {"PYTHONHASHSEED": seed, "FASTCONV_TUNING": "off"},
            capture_output=True,
            text=True,
            timeout=240,
            check=True,
        )
        assert fresh.stdout.split("\n")[:-1] == here, f"PYTHONHASHSEED={seed}"
    told(
        "other processes give the same bits",
        f"{len(here)} layers and networks, forked and in {len(seeds)} fresh with other hash seeds",
        "all digests the same",
    )


def spoiled(call: Call, image: int, value: float, rng: np.random.Generator) -> tuple[Call, Array]:
    """Return the call with one cell of an image spoiled."""
    x = call.input.copy()
    at = (image, *(int(rng.integers(n)) for n in x.shape[1:]))
    x[at] = value
    return dataclasses.replace(call, arrays=call.arrays | {"input": x}), x


def spread(algorithm: str) -> str | None:
    """Return by which rule of docs/semantics.md a NaN may reach more than its own windows."""
    if algorithm.startswith("winograd"):
        return "its tiles"
    return {"fft": "the two blocks that share it"}.get(algorithm)


@pytest.mark.parametrize("backend", COMPILED)
def test_a_nan_stays_in_its_image_and_its_windows(backend: str, scale: Scale, told: Told) -> None:
    rng = np.random.default_rng(8)
    trials = bits.trials(2, scale(30 if backend == "c" else 3, 600), backend)
    trials = [t for t in trials if t.call.dtype.kind == "f" or t.call.dtype.name == "bfloat16"]
    known = 0
    for trial in trials:
        call = trial.call
        clean = bits.run(trial, call, 2)
        for value in (np.nan, np.inf, -np.inf):
            image = int(rng.integers(len(call.input)))
            bad, _ = spoiled(call, image, value, rng)
            dirty = bits.run(trial, bad, 3)
            others = [i for i in range(len(call.input)) if i != image]
            same = dirty[others].tobytes() == clean[others].tobytes()
            assert same, f"{value} in image {image} reached another: {trial}"
            if call.options.get("return_indices"):
                continue
            with np.errstate(all="ignore"):
                wide = bad.exact()[image].astype("f8")
            got = dirty[image].astype("f8")
            wanted, found = ~np.isfinite(wide), ~np.isfinite(got)
            if spread(trial.algorithm.name) is None:
                agree = np.array_equal(np.isnan(wide), np.isnan(got))
                assert agree, f"{value}: NaN elsewhere: {trial}"
                assert np.array_equal(wanted, found), f"{value} elsewhere: {trial}"
            else:
                known += int((found & ~wanted).any())
    told(
        "a NaN or an infinity stays in its image, and in the windows that see it",
        f"{3 * len(trials)} layers of backend {backend} with one cell spoiled",
        f"no other image touched; minimal filters and FFT spread it in {known}, no others do",
    )
