"""Networks in long use: memory that stays, many callers, forked children, bounds that hold."""

from __future__ import annotations

import functools
import inspect
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import models, nn
from fastconv.dispatch import find_plan
from fastconv.network import compile_module, planner
from fastconv.network.kept import MOST_BYTES, KeptPrograms

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"convnet1": (1, 1, 28, 28), "lenet5": (1, 1, 28, 28)}
ZOO = [
    name for name, made in vars(models).items()
    if inspect.isfunction(made) and "num_classes" in inspect.signature(made).parameters
]  # fmt: skip


def run_python(code: str) -> None:
    """Run code in a fresh process, where nothing else has taken memory or started threads."""
    begin = """
    import gc, os, sys, threading, tracemalloc, warnings
    import numpy as np, fastconv
    from fastconv import nn
    fastconv.set_num_threads(2)
    fastconv.nn.manual_seed(0)
    def made(channels, size):
        layers = [nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.MaxPool2d(2)]
        return fastconv.compile(nn.Sequential(*layers), (1, 3, size, size))
    def drawn(*shape):
        return np.random.default_rng(0).standard_normal(shape).astype("f4")
    """
    source = textwrap.dedent(begin) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, encoding="utf-8",
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_thousands_of_runs_take_no_more_memory() -> None:
    code = """
    network, x = made(4, 32), drawn(1, 3, 32, 32)
    mixed = fastconv.compile(lambda v: np.exp(fastconv.relu(np.sin(v))), (1, 3, 32, 32))
    def resident():
        gc.collect()
        with open("/proc/self/statm") as told:
            return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    def use(count):
        for _ in range(count):
            network(x), mixed(x)
            network.outputs_of(["0", "3"], x)
        for batch in range(count // 50):
            threads = [threading.Thread(target=network, args=(x,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    use(500)
    measured = os.path.exists("/proc/self/statm")
    before = resident() if measured else 0
    def held():
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    tracemalloc.start()
    use(100)
    first = held()
    use(1000)
    grown = held() - first
    tracemalloc.stop()
    assert grown < 64_000, f"{grown:,} bytes of Python's are kept"
    use(3000)
    more = resident() - before if measured else 0
    assert more < 6_000_000, f"{more:,} bytes are kept"
    """
    run_python(code)


def test_programs_kept_are_bounded_by_their_bytes(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--guard-pages"):
        pytest.skip("between guard pages each plan has constants of its own")
    network = compile_module(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), (1, 1, 5, 5))
    x = np.random.default_rng(0).standard_normal((40, 1, 5, 5)).astype("f4")
    whole = network(x)
    one = network._shapes.kept.nbytes
    network._shapes._kept = KeptPrograms(6 * one)
    for batch in range(1, 40):
        np.testing.assert_array_equal(network(x[:batch]), whole[:batch])
    kept = network._shapes.kept
    assert 4 < len(kept) <= 7
    assert kept.nbytes <= 7 * one < MOST_BYTES
    assert [key[0][0] for key in kept][-1] == 39
    np.testing.assert_array_equal(network(x[:1]), whole[:1])


def test_many_threads_share_one_network() -> None:
    network = compile_module(models.resnet18(), (1, 3, 40, 40))
    images = np.random.default_rng(0).standard_normal((12, 3, 40, 40)).astype("f4")
    with fastconv.settings.threads(2):
        expected = [network(image[None]) for image in images]
        fresh = compile_module(network.function, (1, 3, 40, 40))

        def check(number: int) -> bool:
            # Shapes are met for the first time by several threads at once.
            size = 1 + number % 3
            batch = images[number % 9 :][:size]
            wanted = np.concatenate(expected[number % 9 :][:size])
            return np.array_equal(fresh(batch), wanted) and np.array_equal(network(batch), wanted)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(check, range(36)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_uses_its_parents_network() -> None:
    code = """
    warnings.simplefilter("ignore", DeprecationWarning)
    network, x = made(64, 128), drawn(2, 3, 128, 128)
    with_python = fastconv.compile(lambda v: fastconv.relu(np.sin(v)), x.shape)
    expected, other = network(x), with_python(x)
    def check():
        assert np.array_equal(network(x), expected)
        assert np.array_equal(with_python(x), other)
        assert np.array_equal(network(x[:1]), expected[:1])
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                for _ in range(5):
                    check()
                os._exit(0)
            finally:
                os._exit(1)
        check()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    run_python(code)


def test_max_memory_takes_leaner_algorithms_or_refuses() -> None:
    layers = [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1)]
    module = nn.Sequential(*layers)
    x = np.random.default_rng(0).standard_normal((1, 64, 28, 28)).astype("f4")
    usual = compile_module(module, x.shape)
    compiled = usual.compiled(x.shape)
    assert compiled is not None

    def needed(of: Any) -> int:
        found = of.compiled(x.shape)
        workers = found.executor.threads * found.footprint.scratch_bytes
        return int(found.footprint.arena_bytes + workers)

    most = needed(usual)
    least = x.nbytes
    assert most > least + 10_000
    for limit in (most, (most + least) // 2, least + (most - least) // 4):
        network = compile_module(module, x.shape, max_memory=limit)
        np.testing.assert_allclose(network(x), usual(x), rtol=0, atol=1e-4)
        assert needed(network) <= limit
        with fastconv.settings.threads(1):
            alone = compile_module(module, x.shape, max_memory=limit)(x)
        np.testing.assert_array_equal(network(x), alone)
    with pytest.raises(ValueError, match=r"is more than max_memory, 1,000|needs .* max_memory"):
        compile_module(module, x.shape, max_memory=1000)(x)

    def block(x: Any) -> Any:
        inner = module[0](x)
        return module[2](module[1](inner)) * inner.mean((2, 3), keepdims=True) + inner

    with pytest.raises(ValueError, match=r"max_memory is .*; allow more, or take a smaller batch"):
        compile_module(block, x.shape, max_memory=x.nbytes * 3 // 2)(x)


_given: dict[Any, Any] = {}


@functools.cache
def _one_for_all(problem: Any, **asked: Any) -> Any:
    return find_plan(problem, _given[problem], **asked)


def _plan(problem: Any, parameters: Any, **asked: Any) -> Any:
    """Plan a problem once for all networks, whatever its weights: its location is the same."""
    _given.setdefault(problem, parameters)
    return _one_for_all(problem, **asked)


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_takes_little_more_than_what_lives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "find_plan", _plan)
    model = getattr(models, name)()
    if hasattr(model, "classifier") and name.startswith(("alexnet", "vgg")):
        # Their values are small compared with images, and their weights large.
        model.classifier = nn.Identity()
    # Nothing is run, and weights are zeros that take no memory.
    with nn.initial.shapes_only():
        network = compile_module(model, SMALL.get(name, (1, 3, 224, 224)))
        compiled = network.compiled()
    assert compiled is not None
    footprint = compiled.footprint
    assert footprint.live_bytes <= footprint.arena_bytes <= 1.15 * footprint.live_bytes
    assert (footprint.native_calls, footprint.python_calls) == (1, 0)
