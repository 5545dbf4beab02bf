"""The C extension: found by name, driven by its own threads, on its own without Numba."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import machine
from fastconv.backends import c
from fastconv.backends.manifest import Kernel
from fastconv.backends.manifest.products import Gemm
from fastconv.dispatch.registry import backend_available
from tests.libraries import ISAS

HERE = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not backend_available("c"), reason="the extension was not built")


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WITHOUT_NUMBA = """
    import sys
    sys.modules["numba"] = sys.modules["llvmlite"] = None
    import numpy as np, fastconv, fastconv.functional as F
    x = np.random.default_rng(0).standard_normal((2, 16, 60, 60)).astype("f4")
"""


def test_a_kernel_that_is_not_there_is_a_lookup_error() -> None:
    from fastconv.backends.c import library

    with pytest.raises(LookupError, match=r"pool\.fold for .*median"):
        library.kernel("pool.fold", library.tile(np.dtype("f4"), machine.get_machine()), "median")


def test_kernel_of_an_extension_is_its_own_or_that_of_the_set_it_extends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fastconv.backends.c import library

    there = {b"both_avx512": 1, b"both_amx": 2, b"one_avx512": 3, b"other_amx": 4}
    rows = {"both": ("avx512", "amx"), "one": ("avx512",), "other": ("amx",)}
    for name, isas in rows.items():
        monkeypatch.setitem(library.MANIFEST, name, Kernel(name, Gemm, None, "x.h", isas=isas))
    monkeypatch.setattr(machine, "detected_isa", lambda: "amx")
    monkeypatch.setattr(library, "_may_use_tiles", lambda: True)
    monkeypatch.setattr(library, "_find", lambda name: there.get(name, 0))
    library._found.cache_clear()
    try:
        assert [library.kernel(name) for name in ("both", "one", "other")] == [2, 3, 4]
        monkeypatch.setenv("FASTCONV_ISA", "avx512")
        assert [library.kernel(name) for name in ("both", "one")] == [1, 3]
        assert not library.has("other")
        with pytest.raises(LookupError, match="no kernel other"):
            library.kernel("other")
    finally:
        library._found.cache_clear()


def test_every_instruction_set_gives_the_same_maxima(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((1, 5, 40, 37)).astype("f4")
    results = []
    for isa in ISAS:
        monkeypatch.setenv("FASTCONV_ISA", isa)
        results.append(F.max_pool2d(x, 5, 2, 2, backend="c"))
    assert all(np.array_equal(r, results[0]) for r in results)


def test_it_serves_without_numba_on_any_number_of_threads() -> None:
    code = (
        WITHOUT_NUMBA
        + """
    expected = F.avg_pool2d(x, 5, 1, 2, backend="reference")
    results = set()
    for threads in (1, 2, 3, 7):
        fastconv.set_num_threads(threads)
        for _ in range(20):
            out = F.avg_pool2d(x, 5, 1, 2)
            results.add(out.tobytes())
    assert np.allclose(out, expected, atol=1e-5)
    assert len(results) == 1
    assert fastconv.explain(F.avg_pool2d, x, 5, 1, 2).backend == "c"
    """
    )
    run_python(code)


def test_its_threads_serve_many_callers_and_a_forked_child() -> None:
    code = (
        WITHOUT_NUMBA
        + """
    import os, warnings
    from concurrent.futures import ThreadPoolExecutor
    warnings.simplefilter("ignore", DeprecationWarning)
    fastconv.set_num_threads(3)
    expected = F.max_pool2d(x, 3, 1, 1).tobytes()
    def check(_=None):
        assert F.max_pool2d(x, 3, 1, 1).tobytes() == expected
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(check, range(200)))
    for _ in range(5):
        child = os.fork()
        if child == 0:
            try:
                for _ in range(20):
                    check()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        check()
    """
    )
    run_python(code)


def test_many_threads_may_call_beside_numba() -> None:
    x = np.random.default_rng(0).standard_normal((1, 32, 50, 50)).astype("f4")
    expected = F.max_pool2d(x, 3, 2, 1, backend="c")

    def check(_: Any) -> bool:
        return np.array_equal(F.max_pool2d(x, 3, 2, 1, backend="c"), expected)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(check, range(60)))


def test_extension_built_for_other_arguments_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c.manifest, "digest", lambda *_: "of another day")
    assert "build it again" in str(c.why_not.__wrapped__())


def test_the_configuration_names_it() -> None:
    assert "c" in str(fastconv.show_config()["backends"]).split(", ")


@pytest.mark.skipif(sys.platform == "win32", reason="flags of gcc and clang")
@pytest.mark.parametrize(
    "source", sorted((HERE / "csrc").rglob("*.c"), key=str), ids=lambda p: p.name
)
def test_the_sources_compile_without_a_warning(source: Path) -> None:
    """Those that take an optimiser to find are `make sanitize`'s."""
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off"]
    flags += ["-fsyntax-only", "-isystem", sysconfig.get_path("include")]
    for compiler in ("gcc", "clang"):
        csrc = HERE / "csrc"
        target = ["-I", str(csrc), "-I", str(csrc / "generated"), "-c", str(source)]
        try:
            done = subprocess.run(
                [compiler, *flags, *target], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            continue
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed there")
def test_threads_that_were_sent_to_other_cores_may_go_anywhere_again() -> None:
    import fastconv.functional as F

    def allowed(threads: str = "self/task/*") -> set[str]:
        found = set()
        for status in Path("/proc").glob(f"{threads}/status"):
            lines = status.read_text().splitlines()
            found |= {line for line in lines if line.startswith("Cpus_allowed_list")}
        return found

    x = np.ones((1, 64, 64, 64), "f4")
    w = fastconv.Parameter(np.ones((64, 64, 3, 3), "f4"))
    before = fastconv.get_num_threads()
    try:
        fastconv.set_num_threads(2)
        F.conv2d(x, w, backend="c")
        usual = allowed("thread-self")
        for _ in range(5):
            # Asleep, so that the next call wakes them.
            time.sleep(0.05)
            F.conv2d(x, w, backend="c")
        # One that is still waking up goes back as soon as it runs.
        for _ in range(100):
            if allowed() == usual:
                break
            time.sleep(0.02)
        assert allowed() == usual
    finally:
        fastconv.set_num_threads(before)
