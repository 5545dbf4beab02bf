"""Memory: what fails leaves nothing behind, what is kept is bounded, limits hold."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import nn, settings
from fastconv.backends.c import objects
from fastconv.backends.native import plan as plans
from fastconv.dispatch import parameter
from fastconv.network import executor
from tests.libraries import COMPILED
from tests.scripts import run_script

Told = Callable[[str, str, str], None]
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is told and limited by Linux")

SHORT = """
    import gc, resource
    import numpy as np, fastconv
    from fastconv import nn
    fastconv.set_num_threads(2)
    rng = np.random.default_rng(0)
    small = rng.standard_normal((1, 8, 20, 20)).astype("f4")
    filters = rng.standard_normal((8, 8, 3, 3)).astype("f4")
    large = rng.standard_normal((8, 32, 400, 400)).astype("f4")
    wide = nn.Parameter(rng.standard_normal((32, 32, 3, 3)).astype("f4"))
    module = nn.Sequential(nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 5), nn.MaxPool2d(2))
    network = fastconv.compile(module, (1, 32, 400, 400))

    def of_this_process(word):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(word))

    CALLS = {
        "direct": lambda: fastconv.conv2d(large, wide, algorithm="direct"),
        "winograd": lambda: fastconv.conv2d(large, wide, algorithm="winograd"),
        "pool": lambda: fastconv.max_pool2d(large, 3, 1, 1),
        "strided": lambda: fastconv.conv2d(large.transpose(0, 1, 3, 2), wide),
        "network": lambda: network(large),
    }
    def check():
        return fastconv.conv2d(small, filters).tobytes()
"""


@linux
@pytest.mark.parametrize("backend", COMPILED)
def test_memory_that_is_not_there_is_an_error_and_no_more(
    backend: str, scale: Any, told: Told
) -> None:
    """The address space ends a little further at each try: whatever is allocated fails in turn."""
    code = (
        SHORT
        + f"""
    wanted = {{name: call().tobytes() for name, call in CALLS.items()}}
    right = check()
    out = np.full((8, 32, 398, 398), np.nan, "f4")
    refused = served = 0
    for name, call in CALLS.items():
        for step in range({scale(4, 24)}):
            gc.collect()
            if name == "network":
                # A shape that was never met is traced and planned, too.
                network = fastconv.compile(module, (1, 32, 400, 400))
            room = (400 << 20) * step // {scale(4, 24)}
            most = of_this_process("VmSize") + room
            resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
            try:
                found = call().tobytes()
                served += 1
                assert found == wanted[name]
                del found
            except MemoryError:
                refused += 1
            # The next call works, short of memory as it is.
            assert check() == right
            if name == "direct":
                try:
                    fastconv.conv2d(large, wide, algorithm="direct", out=out)
                except MemoryError:
                    assert np.isnan(out).all()
                out[:] = np.nan
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        assert call().tobytes() == wanted[name]
    assert refused > 0
    print(refused, served)
    """
    )
    # OpenBLAS, which is NumPy's, ends a process without memory to share out a product.
    said = run_script(code, FASTCONV_BACKEND=backend, OPENBLAS_NUM_THREADS="1")
    refused, served = map(int, said.split())
    told(
        "a failing allocation is a MemoryError, and the next call works",
        f"the address space limited at growing sizes on {backend!r}, 5 calls and `out=`",
        f"{refused} refused, {served} served with the right bits, none after it wrong",
    )


@pytest.mark.parametrize("backend", COMPILED)
def test_each_allocation_may_fail(
    backend: str, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """Those of a run by name, in turn: outputs, workspaces, what a program is given."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 16, 40, 40)).astype("f4")
    w = nn.Parameter(rng.standard_normal((16, 16, 3, 3)).astype("f4"))
    network = fastconv.compile(nn.Sequential(nn.Conv2d(16, 8, 3), nn.ReLU()), x.shape)

    def calls() -> list[bytes]:
        return [
            F.conv2d(x, w, backend=backend, algorithm="winograd").tobytes(),
            F.max_pool2d(x, 3, backend=backend).tobytes(),
            network(x).tobytes(),
        ]

    wanted = calls()
    failed = 0

    def fails(*_: Any, **__: Any) -> Any:
        nonlocal failed
        failed += 1
        raise MemoryError("none left")

    sites = [(plans, "take_address"), (plans, "drive_arrays")]
    sites += [(executor, name) for name in ("empty", "take_address", "drive")]
    for module, name in sites:
        before = failed
        with monkeypatch.context() as patch, objects.repeats_paused():
            patch.setattr(module, name, fails)
            with pytest.raises(MemoryError, match="none left"):
                calls()
        assert failed > before
        assert calls() == wanted
    large = np.ones((1, 1, 3000, 3000), "f4")
    whole = F.relu(large, backend=backend)
    with monkeypatch.context() as patch:
        patch.setattr(plans, "empty", fails)
        with pytest.raises(MemoryError, match="none left"):
            F.relu(large, backend=backend)
    np.testing.assert_array_equal(F.relu(large, backend=backend), whole)
    told("a failing allocation is a MemoryError", f"made to fail on {backend!r}", f"{failed} sites")


def test_a_network_that_lacks_memory_while_it_is_traced_is_traced_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run step by step it would have other bits, for as long as it lives."""
    from fastconv.network import compiled

    network = fastconv.compile(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (1, 3, 9, 9))
    x = np.ones((2, 3, 9, 9), "f4")

    def fails(*_: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(compiled, "lower", fails)
        with pytest.raises(MemoryError):
            network(x)
    network(x)
    assert network.compiled(x.shape) is not None


FLAT = """
    import gc, itertools
    import numpy as np, fastconv, fastconv.functional as F
    from fastconv import nn

    def resident():
        gc.collect()
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

    x = np.random.default_rng(0).standard_normal((2, 8, 90, 90)).astype("f4")
    weight = nn.Parameter(np.ones((8, 8, 3, 3), "f4"))
    module = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 1))
    network = fastconv.compile(module, (1, 8, 40, 40))

    def day(rounds, sizes):
        for number in range(rounds):
            h, w = sizes[number % len(sizes)]
            part = x[:, :, :h, :w]
            F.max_pool2d(part, 3, 2)
            F.conv2d(part, weight, padding=1)
            F.conv2d(part, weight.copy())
            F.relu(part)
            if number % 10 == 0:
                network(x[: 1 + number // 10 % 2, :, :40, :40])
                # A bias of its own each time, with a weight that stays.
                F.conv2d(part, weight, nn.Parameter(np.ones(8, "f4")))
"""


@linux
@pytest.mark.parametrize("backend", COMPILED)
def test_memory_stays_flat(backend: str, scale: Any, told: Told) -> None:
    """Shapes that change all the time fill the caches of plans, and then no more."""
    shapes, rounds = scale(150, 1200), scale(300, 1500)
    code = (
        FLAT
        + f"""
    sizes = list(itertools.product(range(14, 90), repeat=2))[:{shapes}]
    day({rounds}, sizes)
    first = resident()
    day({rounds}, sizes)
    second = resident()
    day({rounds}, sizes)
    print(first, second, resident())
    """
    )
    printed = run_script(code, seconds=scale(100, 400), FASTCONV_BACKEND=backend)
    first, second, third = map(float, printed.split())
    # The system's allocator takes and gives in larger pieces than any leak a call would be.
    assert third - second < 8, (first, second, third)
    told(
        "memory stays flat",
        f"{3 * rounds} rounds of calls on {backend!r}, {shapes} shapes in turn",
        f"{first:.0f}, {second:.0f}, {third:.0f} MB resident after each third",
    )


def test_a_bias_that_changes_leaves_no_plans_behind(told: Told) -> None:
    weight = nn.Parameter(np.ones((64, 64, 3, 3), "f4"))
    x = np.ones((1, 64, 5, 5), "f4")
    for value in range(100):
        result = F.conv2d(x, weight, nn.Parameter(np.full(64, value, "f4")))
        assert (result == 64 * 9 + value).all()
    assert len(weight._plans) <= parameter.SETS
    told(
        "what is kept is bounded",
        "one weight with 100 biases in turn",
        f"{len(weight._plans)} sets of plans kept",
    )


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Note the bytes of scratch memory that runs take."""
    sizes: list[int] = []
    for module in (plans, executor):
        plainly = module.take_address

        def noted(size: int, plainly: Any = plainly) -> Any:
            sizes.append(size)
            return plainly(size)

        monkeypatch.setattr(module, "take_address", noted)
    before = settings._threads
    with objects.repeats_paused():
        yield sizes
    settings._threads = before


@pytest.mark.parametrize("backend", COMPILED)
def test_workspaces_stay_below_the_limit(
    backend: str, taken: list[int], monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 64, 58, 58)).astype("f4")
    w = rng.standard_normal((64, 64, 3, 3)).astype("f4")
    most, free, refusals = [], [], []
    for threads in (1, 2, 8, 64):
        fastconv.set_num_threads(threads)
        for algorithm in (None, "direct", "winograd", "im2col"):
            monkeypatch.delenv("FASTCONV_WORKSPACE_MB", raising=False)
            taken.clear()
            F.conv2d(x, w, padding=1, backend=backend, algorithm=algorithm)
            free.append(max(taken))
            for limit in (0.25, 1.0, 4.0):
                monkeypatch.setenv("FASTCONV_WORKSPACE_MB", str(limit))
                taken.clear()
                try:
                    F.conv2d(x, w, padding=1, backend=backend, algorithm=algorithm)
                except ValueError as error:
                    refusals.append(str(error))
                    continue
                assert max(taken) <= limit * 2**20
                most.append(max(taken) / (limit * 2**20))
    assert all("WORKSPACE_MB" in refusal for refusal in refusals)
    # Without it they are above: it is the limit that holds.
    assert max(free) > 4 << 20
    told(
        "workspaces stay below FASTCONV_WORKSPACE_MB",
        f"limits of 1/4, 1 and 4 MB, 1 to 64 threads, each algorithm on {backend!r}",
        f"at most {max(most):.0%} of the limit; {max(free) / 2**20:.0f} MB without",
    )


def test_workspaces_of_a_network_stay_below_the_limit(
    taken: list[int], monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    x = np.random.default_rng(0).standard_normal((1, 64, 58, 58)).astype("f4")
    module = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3))
    fastconv.set_num_threads(1)
    wanted = fastconv.compile(module, x.shape)(x).tobytes()
    fastconv.set_num_threads(64)
    shares = []
    for limit in (0.5, 1.0, 2.0, 4.0):
        monkeypatch.setenv("FASTCONV_WORKSPACE_MB", str(limit))
        network = fastconv.compile(module, x.shape)
        result = network(x)
        code = network.compiled(x.shape)
        assert code is not None
        threads = code.executor.threads
        for plan in code.executor.planned.all_plans():
            needed = plan.workspace_bytes + plans.scratch_stride(plan.scratch_bytes) * threads
            assert needed <= limit * 2**20
            shares.append(needed / (limit * 2**20))
        if limit == 4.0:
            assert result.tobytes() == wanted
    told(
        "workspaces stay below FASTCONV_WORKSPACE_MB",
        "a network at 64 threads, limits of 1/2 to 4 MB",
        f"each plan's at most {max(shares):.0%} of the limit",
    )


@pytest.mark.parametrize("threads", [1, 8])
def test_a_network_stays_below_max_memory(threads: int, taken: list[int], told: Told) -> None:
    x = np.random.default_rng(0).standard_normal((2, 16, 64, 64)).astype("f4")
    module = nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.MaxPool2d(2))
    fastconv.set_num_threads(threads)
    refusals, served = [], 0
    for megabytes in (0.5, 1, 2, 3, 4, 6, 8, 16):
        network = fastconv.compile(module, x.shape, max_memory=int(megabytes * 2**20))
        taken.clear()
        gc.collect()
        try:
            network(x)
        except ValueError as error:
            refusals.append(str(error))
            continue
        served += 1
        assert max(taken) <= megabytes * 2**20
    assert refusals
    assert all("max_memory" in refusal for refusal in refusals)
    assert served
    told(
        "a network stays below max_memory",
        f"limits of 1/2 to 16 MB at {threads} threads",
        f"{len(refusals)} refused, {served} served, each within its limit",
    )
