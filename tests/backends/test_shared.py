"""Packed weights: what is packed, that it is held once, and how much memory a network takes."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import nn
from fastconv.backends.native.arena import aligned_zeros
from fastconv.backends.native.gemm import flush
from fastconv.backends.native.shared import shared
from fastconv.dispatch.registry import backend_available
from fastconv.network import Network, compile_module


def drawn(*shape: int, dtype: Any = "f4") -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def test_subnormals_are_flushed_however_an_array_lies() -> None:
    for array in (drawn(300, 400), drawn(300, 400).T, drawn(400, 300)[::2]):
        array[7, 11] = np.float32(1e-40)
        array[-1, -1] = np.float32(-1e-40)
        wanted = array.copy()
        wanted[7, 11] = wanted[-1, -1] = 0
        np.testing.assert_array_equal(flush(array), wanted)


def test_arrays_of_the_same_bits_are_held_once() -> None:
    first = shared(drawn(200, 200))
    assert shared(drawn(200, 200)) is first
    # One element that no sample sees, the shape, the dtype, a zero's sign.
    differs = drawn(200, 200)
    differs[3, 5] += 1
    assert shared(differs) is not first
    assert np.array_equal(shared(differs), differs)
    assert shared(drawn(100, 400)) is not first
    assert shared(drawn(200, 200).view("c8")) is not first
    zeros = aligned_zeros((200, 200), np.float32)
    assert shared(zeros) is zeros
    assert shared(-zeros) is not zeros
    # Tables are of integers, and what is small is not looked for.
    assert shared(np.arange(40000)) is not shared(np.arange(40000))
    assert shared(drawn(20)) is not shared(drawn(20))


def test_what_no_plan_holds_is_forgotten() -> None:
    from fastconv.backends.native import shared as module

    array = shared(drawn(300, 200))
    count = len(module._known)
    del array
    gc.collect()
    assert len(module._known) < count


def packed(network: Network, shape: tuple[int, ...]) -> dict[int, Any]:
    compiled = network.compiled(shape)
    assert compiled is not None
    parts: list[Any] = [p for p in compiled.executor.code.parts if hasattr(p, "constants")]
    kept = (array for part in parts for array in part.constants)
    return {id(a): a for a in kept if a.dtype.kind == "f" and a.nbytes >= 1 << 16}


def test_batches_and_sizes_share_what_is_packed(request: pytest.FixtureRequest) -> None:
    """Winograd, 1x1 and depthwise; another network of these weights shares them too."""
    if request.config.getoption("--guard-pages"):
        pytest.skip("what is guarded is a copy")
    layers = nn.Sequential(
        nn.Conv2d(64, 64, 3, padding=1),
        nn.Conv2d(64, 512, 1),
        nn.Conv2d(512, 512, 7, padding=3, groups=512),
    )
    network = compile_module(layers, (1, 64, 20, 20))
    one, four = packed(network, (1, 64, 20, 20)), packed(network, (4, 64, 20, 20))
    assert len(one) >= 3
    assert one.keys() == four.keys()
    again = compile_module(layers, (1, 64, 20, 20))
    assert packed(again, (1, 64, 20, 20)).keys() == one.keys()
    x = drawn(4, 64, 20, 20)
    np.testing.assert_array_equal(network(x)[:1], network(x[:1]))
    layers[1] = nn.Conv2d(64, 512, 1)
    other = packed(compile_module(layers, (1, 64, 20, 20)), (1, 64, 20, 20))
    assert len(other.keys() - one.keys()) == 1


_MEASURED = """
import sys
import numpy as np
import fastconv

def rss(word):
    for line in open("/proc/self/status"):
        if line.startswith(word):
            return int(line.split()[1]) / 1024

x = np.zeros((1, 1024, 2, 2), np.float32)
fastconv.conv2d(x[:, :8], np.zeros((8, 8, 1, 1), np.float32))
before = rss("VmRSS")
network = fastconv.load(sys.argv[1])
loaded = rss("VmHWM")
network(x)
print(loaded - before, rss("VmHWM") - before, rss("VmRSS") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told there")
@pytest.mark.skipif(not backend_available("c"), reason="Numba's compiler takes memory of its own")
def test_a_network_takes_little_more_memory_than_its_packed_weights(tmp_path: Path) -> None:
    """Sixteen layers of 4 MB: not held twice at any time, and not at all when just loaded."""
    layers = nn.Sequential(*(nn.Conv2d(1024, 1024, 1) for _ in range(16)))
    path = tmp_path / "large.fastconv"
    compile_module(layers, (1, 1024, 2, 2)).save(path)
    run = [sys.executable, "-c", _MEASURED, str(path)]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    loaded, peak, kept = map(float, told.split())
    assert loaded < 24
    assert peak < 64 + 36
    assert kept < 64 + 32
