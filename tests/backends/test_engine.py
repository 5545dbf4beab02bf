"""The engines: instruction sets, threads, forks, many callers; Numba's kernels on disk."""

from __future__ import annotations

import mmap
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
import fastconv.functional as F
from fastconv.backends.native import arena, outputs
from tests.libraries import COMPILED, ISAS
from tests.pairs import pairs
from tests.tolerance import small_integers

CONVOLUTION = f"""
    import numpy as np, fastconv
    BACKENDS = {COMPILED!r}
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (4, 19, 40, 41)).astype("f4")
    w = rng.integers(-3, 4, (37, 19, 3, 3)).astype("f4")
    fastconv.set_num_threads(3)
    expected = fastconv.conv2d(x, w, padding=1, backend="reference")
    def check():
        for backend in BACKENDS:
            for algorithm in ("direct", "winograd"):
                result = fastconv.conv2d(x, w, padding=1, backend=backend, algorithm=algorithm)
                assert (result == expected).all()
"""
by_numba = pytest.mark.skipif("numba" not in COMPILED, reason="without Numba")


def run_python(code: str, **environment: str) -> str:
    """Run a script in a new process and give what it printed."""
    script = textwrap.dedent(CONVOLUTION) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def operands() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return small_integers(rng, (2, 13, 17, 18), "f4"), small_integers(rng, (35, 13, 3, 3), "f4")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("backend", "algorithm"), pairs("direct", "im2col", "winograd", "depthwise")
)
def test_every_instruction_set_gives_exact_sums(
    isa: str, dtype: str, backend: str, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    groups = 35 if algorithm == "depthwise" else 1
    x = small_integers(rng, (2, 35, 11, 12), dtype)
    w = small_integers(rng, (35, 35 // groups, 3, 3), dtype)
    monkeypatch.setenv("FASTCONV_ISA", isa)
    expected = F.conv2d(x, w, padding=1, groups=groups, backend="reference")
    result = F.conv2d(x, w, padding=1, groups=groups, backend=backend, algorithm=algorithm)
    np.testing.assert_array_equal(result, expected)


def test_an_unknown_instruction_set_is_refused(
    operands: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_ISA", "mmx")
    with pytest.raises(ValueError, match="FASTCONV_ISA must be one of amx, avx512, avx2, generic"):
        F.conv2d(*operands)


@pytest.mark.parametrize("delta", [-1, 0, 1])
@pytest.mark.parametrize("backend", COMPILED)
def test_sizes_around_the_register_tile(backend: str, delta: int) -> None:
    rng = np.random.default_rng(2)
    for rows, columns in ((12, 32), (24, 16), (13, 64), (97, 33)):
        x = small_integers(rng, (1, 5, rows + delta), "f4")
        w = small_integers(rng, (columns + delta, 5, 1), "f4")
        expected = F.conv1d(x, w, backend="reference")
        np.testing.assert_array_equal(F.conv1d(x, w, backend=backend), expected)


def test_many_python_threads_at_once(operands: Any) -> None:
    expected = F.conv2d(*operands, backend="reference")
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda _: F.conv2d(*operands, algorithm="winograd"), range(64))
    assert all((result == expected).all() for result in results)


@by_numba
def test_kernels_are_kept_on_disk_and_bad_files_are_replaced(tmp_path: Path) -> None:
    code = """
        from fastconv.backends.numba.gemm import gemm
        check()
        print(*[k.target.cache_hits if hasattr(k, 'target') else k._cache_hits
                for k in gemm._compiled.values()])
    """
    run_python(code, FASTCONV_CACHE_DIR=str(tmp_path))
    files = list((tmp_path / "numba").glob("*.nbc"))
    assert files
    assert not list((tmp_path / "numba").glob("*.tmp"))
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    run_python(code, FASTCONV_CACHE_DIR=str(tmp_path))
    assert run_python(code, FASTCONV_CACHE_DIR=str(tmp_path)).split() in (["1"], [])


@by_numba
def test_a_cache_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    run_python("check()", FASTCONV_CACHE_DIR=str(blocked))


@by_numba
def test_kernels_on_disk_are_those_of_the_plans_in_force(monkeypatch: Any) -> None:
    from fastconv.backends.numba.engine import cache

    stamp = cache._source_stamp.__wrapped__
    before = stamp()
    assert stamp() == before
    monkeypatch.setattr(cache, "digest_of_plans", lambda: "of another day")
    assert stamp() != before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_after_use_computes_too() -> None:
    code = """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        check()
        child = os.fork()
        if child == 0:
            try:
                check()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        check()
    """
    run_python(code)


@by_numba
def test_the_slow_thread_layer_is_right_from_many_threads() -> None:
    code = """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: check(), range(32)))
    """
    run_python(code, NUMBA_THREADING_LAYER="workqueue")


def test_threads_follow_the_setting_and_the_environment() -> None:
    code = "print(fastconv.get_num_threads())"
    script = "import fastconv; " + code
    for name in ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS"):
        environment = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**environment, name: "7"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "7"
    with pytest.raises(ValueError, match="must be positive"):
        fastconv.set_num_threads(0)
    with pytest.raises(TypeError, match="must be an int"):
        fastconv.set_num_threads(1.5)  # type: ignore[arg-type]


@by_numba
def test_kernels_compiled_in_different_processes_do_not_mix(tmp_path: Path) -> None:
    calls = (
        "fastconv.max_pool2d(x, 3, 2, 1, backend=B)",
        "fastconv.avg_pool2d(x, 3, 2, 1, backend=B)",
        'fastconv.avg_pool2d(x.astype("f8"), 3, 2, 1, backend=B)',
    )
    for call in calls:
        code = f"B = 'numba'; {call}"
        run_python(textwrap.indent(code, "    "), FASTCONV_CACHE_DIR=str(tmp_path))
    check = "\n".join(
        f"B = 'numba'; got = {call}; B = 'reference'; want = {call}; "
        "assert abs(got - want).max() <= 1e-4"
        for call in calls
    )
    run_python(textwrap.indent(check, "    "), FASTCONV_CACHE_DIR=str(tmp_path))


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="pages are asked for on Linux")
@pytest.mark.parametrize("size", [2**60, 2**63])
def test_memory_that_is_not_there_is_a_memory_error(size: int) -> None:
    for take in (arena.huge_pages, arena.take):
        with pytest.raises(MemoryError, match="allocate"):
            take(size)
    with pytest.raises(MemoryError, match="allocate"):
        outputs.empty((size,), np.dtype("u1"))
