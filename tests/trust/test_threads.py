"""Many at once: Python threads on networks and functions; no more threads than are asked for."""

from __future__ import annotations

import os
import random
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import container, nn, settings
from tests.libraries import COMPILED
from tests.scripts import run_script

Told = Callable[[str, str, str], None]
THREADS = 16
linux = pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")


@pytest.fixture
def threads_as_before() -> Iterator[None]:
    before = settings._threads
    yield
    settings._threads = before


def networks() -> list[Any]:
    nn.manual_seed(0)
    layers = [
        nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, width, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
        )
        for width in (20, 33)
    ]  # fmt: skip
    return [fastconv.compile(module, (1, 3, 32, 32)) for module in layers]


def calls(backend: str) -> list[Callable[[], Any]]:
    """Return calls whose results depend on nothing but themselves."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return rng.standard_normal(shape).astype("f4")

    several = networks()
    images = {n: drawn(n, 3, 32, 32) for n in (1, 2, 5)}
    large = drawn(2, 24, 56, 57)
    filters = {k: nn.Parameter(drawn(32, 24, k, k)) for k in (1, 3, 5)}
    options: dict[str, Any] = {"backend": backend}
    made: list[Callable[[], Any]] = [
        *(lambda net=net, x=x: net(x) for net in several for x in images.values()),
        *(
            lambda w=w, kind=kind: F.conv2d(large, kind(w), padding="same", **options)
            for w in filters.values()
            for kind in (np.array, lambda w: w)
        ),
        lambda: F.conv2d(large, filters[3], padding=1, algorithm="winograd", **options),
        lambda: F.max_pool2d(large, 3, 2, 1, **options),
        lambda: F.avg_pool2d(large, 5, 2, 2, **options),
        lambda: F.softmax(large, 1),
        lambda: several[0].layers["3"](images[2]),
    ]
    return made


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.usefixtures("threads_as_before")
def test_many_threads_give_the_bits_of_one(
    backend: str, scale: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCONV_BACKEND", backend)
    fastconv.set_num_threads(1)
    wanted = [call().tobytes() for call in calls(backend)]
    # Made again: the threads trace, plan and pack what none has met before.
    fresh = calls(backend)
    rounds = scale(12, 400)
    begin = threading.Barrier(THREADS)

    def work(number: int) -> int:
        chance = random.Random(number)
        begin.wait()
        wrong = 0
        for _ in range(rounds):
            if chance.random() < 0.2:
                fastconv.set_num_threads(chance.randint(1, 5))
            which = chance.randrange(len(fresh))
            wrong += fresh[which]().tobytes() != wanted[which]
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        wrong = sum(pool.map(work, range(THREADS)))
    assert wrong == 0
    told(
        "the same bits from many Python threads",
        f"{THREADS} threads on two networks and functions on {backend!r}, set_num_threads between",
        f"{THREADS * rounds} results, {wrong} others than one thread's",
    )


BUSY = """
    import os, time
    import numpy as np, fastconv

    def used():
        tasks = os.listdir("/proc/self/task")
        return {t: int(open(f"/proc/self/task/{t}/schedstat").read().split()[0]) for t in tasks}

    nn = fastconv.nn
    x = np.ones((2, 64, 56, 56), "f4")
    layer = nn.Conv2d(64, 64, 3, padding=1)
    network = fastconv.compile(nn.Sequential(layer, nn.ReLU(), layer), x.shape)

    def busy(threads, seconds):
        fastconv.set_num_threads(threads)
        network(x), layer(x)
        # What an earlier setting left awake has gone to sleep by then.
        time.sleep(0.2)
        before, end = used(), time.monotonic() + seconds
        while time.monotonic() < end:
            network(x), layer(x)
        spent = [t - before.get(task, 0) for task, t in used().items()]
        # A thread that has a share of the work is busy for most of the time.
        return sum(t > 0.02 * sum(spent) for t in spent)
"""


@linux
@pytest.mark.parametrize("backend", COMPILED)
def test_no_more_threads_run_than_the_setting_says(backend: str, scale: Any, told: Told) -> None:
    # Numba's own threads are as many as it is told, whatever fastconv's setting.
    code = (
        BUSY
        + f"""
    for threads in (6, 2, 4, 1):
        print(threads, busy(threads, {scale(1, 3)}))
    """
    )
    # Those that GNU OpenMP has beyond that show: they wait awake, as on a machine of many cores.
    variables = {"NUMBA_NUM_THREADS": "6", "OMP_WAIT_POLICY": "ACTIVE"}
    lines = run_script(code, FASTCONV_BACKEND=backend, **variables).splitlines()
    for line in lines:
        asked, found = map(int, line.split())
        assert found <= asked, lines
    told(
        "no call uses more threads than the setting",
        f"settings of 6, 2, 4, 1 in turn on {backend!r}; processor time of each thread",
        "busy threads: " + ", ".join(line.replace(" ", " -> ") for line in lines),
    )


# Calls with plain weights, which are packed each time, and calls without any.
ALONE = """
    import os, time
    import numpy as np, fastconv
    import fastconv.functional as F

    fastconv.set_num_threads(1)
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return rng.standard_normal(shape).astype("f4")

    x, one = drawn(1, 256, 28, 28), np.ones(256, "f4")
    weight, rows, matrix = drawn(256, 256, 3, 3), drawn(64, 1024), drawn(1024, 1024)
    small, planes = drawn(1, 64, 28, 28), drawn(1, 64, 56, 56)
    turned, filters, large = drawn(64, 64, 4, 4), drawn(64, 1, 5, 5), drawn(64, 1, 31, 31)
    outer = drawn(64, 1, 15, 1) * drawn(64, 1, 1, 15)
    matrices = np.ones((8, 256, 256), "f4")
    calls = {
        "conv2d": lambda: F.conv2d(x, weight, padding=1),
        "direct": lambda: F.conv2d(x, weight, padding=1, algorithm="direct"),
        "im2col": lambda: F.conv2d(x, weight, padding=1, algorithm="im2col"),
        "planar": lambda: F.conv2d(x, weight, padding=1, algorithm="planar"),
        "winograd": lambda: F.conv2d(x, weight, padding=1, algorithm="winograd4"),
        "depthwise": lambda: F.conv2d(planes, filters, padding=2, groups=64),
        "fft": lambda: F.conv2d(planes, large, padding=15, groups=64, algorithm="fft"),
        "separable": lambda: F.conv2d(planes, outer, groups=64, algorithm="separable"),
        "conv_transpose2d": lambda: F.conv_transpose2d(small, turned, stride=2),
        "linear": lambda: F.linear(rows, matrix),
        "batch_norm": lambda: F.batch_norm(x, one, one, one, one),
        "group_norm": lambda: F.group_norm(x, 32),
        "layer_norm": lambda: F.layer_norm(x, (28, 28)),
        "softmax": lambda: F.softmax(x, 1),
        "matmul": lambda: F.matmul(matrices, matrices),
        "attention": lambda: F.scaled_dot_product_attention(matrices, matrices, matrices),
        "max_pool2d": lambda: F.max_pool2d(x, 3, 2),
    }

    def used():
        tasks = os.listdir("/proc/self/task")
        return {t: int(open(f"/proc/self/task/{t}/schedstat").read().split()[0]) for t in tasks}

    for name, call in calls.items():
        call()
        # Threads that an earlier call woke have gone to sleep by then.
        time.sleep(0.2)
        before, end = used(), time.monotonic() + SECONDS
        while time.monotonic() < end:
            call()
        spent = {t: time - before.get(t, 0) for t, time in used().items()}
        print(name, sum(spent.values()) / spent[str(os.getpid())])
"""


@linux
@pytest.mark.parametrize("backend", COMPILED)
def test_one_thread_is_all_that_a_call_takes(backend: str, scale: Any, told: Told) -> None:
    """What a call leaves to NumPy, the packing of weights too, keeps to the setting as well."""
    # As many threads as NumPy's BLAS takes by itself, which wait awake.
    free = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "")
    code = f"    SECONDS = {scale(0.2, 1)}\n" + ALONE
    lines = run_script(code, FASTCONV_BACKEND=backend, **free).splitlines()
    shares = {name: float(share) for name, share in map(str.split, lines)}
    assert {name: share for name, share in shares.items() if share > 1.3} == {}
    told(
        "one thread is all that a call takes",
        f"set_num_threads(1) on {backend!r}, processor time of all threads over the caller's",
        f"{len(shares)} kinds of calls, {max(shares.values()):.2f} at most",
    )


# Where pip puts a library that no module loads.
TBB = Path(sys.prefix, "lib", "libtbb.so.12")
LAYERS = ["omp", "workqueue", *(["tbb"] if TBB.exists() else [])]


@pytest.mark.skipif("numba" not in COMPILED, reason="without Numba")
@pytest.mark.parametrize("layer", LAYERS)
def test_fastconv_works_beside_a_program_of_numba(layer: str, told: Told) -> None:
    code = """
    import threading, numba, numpy as np, fastconv

    @numba.njit(parallel=True)
    def total(values):
        sum = 0.0
        for i in numba.prange(len(values)):
            sum += values[i]
        return sum

    ones = np.ones(100000)
    x = np.arange(2 * 16 * 30 * 30).reshape(2, 16, 30, 30).astype("f4") % 7
    w = np.arange(16 * 16 * 9).reshape(16, 16, 3, 3).astype("f4") % 5
    want = fastconv.conv2d(x, w, backend="reference")
    threads = numba.get_num_threads()
    for _ in range(20):
        assert total(ones) == len(ones)
        assert (fastconv.conv2d(x, w, algorithm="direct") == want).all()
        numba.set_num_threads(1 + _ % threads)
        assert (fastconv.conv2d(x, w, algorithm="direct") == want).all()
        assert numba.get_num_threads() == 1 + _ % threads
    print(numba.threading_layer())
    """
    variables = {"LD_LIBRARY_PATH": str(TBB.parent)} if layer == "tbb" else {}
    variables |= {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "3"}
    found = run_script(code, FASTCONV_BACKEND="numba", **variables)
    assert found.strip() == layer
    told(
        "programs of Numba work alongside fastconv",
        f"prange and convolutions in turn, Numba's layer {layer!r}, its setting changed",
        "40 of 40 results exact, Numba's setting left alone",
    )


def test_free_threaded_python(told: Told) -> None:
    """Which needs wheels of NumPy, Numba and cffi for it; nothing here asks for the GIL itself."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this CPython has a GIL; run the tests by python3.13t or later")
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined]
    told("the same bits without a GIL", "this suite on a free-threaded CPython", sys.version)


@pytest.mark.parametrize(("inner", "wanted"), [(None, None), (3, 3)])
def test_workers_of_joblib_keep_to_their_share(inner: Any, wanted: Any, told: Told) -> None:
    joblib = pytest.importorskip("joblib")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 8, 30, 30)).astype("f4")
    w = rng.standard_normal((8, 8, 3, 3)).astype("f4")
    expected = F.conv2d(x, w).tobytes()

    def one() -> tuple[int, bytes]:
        import fastconv

        return fastconv.get_num_threads(), fastconv.conv2d(x, w).tobytes()

    if wanted is None:
        wanted = max(1, joblib.cpu_count() // 2)
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=inner):
        found = joblib.Parallel()(joblib.delayed(one)() for _ in range(4))
    assert {n for n, _ in found} == {wanted}
    assert {bits for _, bits in found} == {expected}
    with joblib.parallel_config("threading", n_jobs=4):
        found = joblib.Parallel()(joblib.delayed(one)() for _ in range(8))
    assert {bits for _, bits in found} == {expected}
    told(
        "workers of joblib do not crowd the machine",
        f"loky with 2 workers, inner_max_num_threads={inner}; threading with 4",
        f"{wanted} threads a call in each process; the same bits in all 12",
    )


@linux
@pytest.mark.parametrize("backend", COMPILED)
def test_workers_of_dask_keep_to_one_thread(backend: str, told: Told) -> None:
    # What dask's nannies set before their workers start; dask itself is not needed for it.
    code = (
        BUSY
        + """
    from concurrent.futures import ThreadPoolExecutor
    assert fastconv.get_num_threads() == 1
    with ThreadPoolExecutor(2) as pool:
        assert fastconv.get_num_threads() == 1
        list(pool.map(lambda _: network(x), range(6)))
        before = used()
        # Results end in the thread that made them: to give their memory back takes a while too.
        list(pool.map(lambda _: max(network(x) is None for _ in range(10)), range(40)))
        spent = [t - before.get(task, 0) for task, t in used().items()]
    print(sum(t > 0.05 * sum(spent) for t in spent))
    """
    )
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    busy = int(run_script(code, FASTCONV_BACKEND=backend, NUMBA_NUM_THREADS="4", **one))
    assert busy <= 2
    told(
        "workers of dask do not crowd the machine",
        f"OMP_NUM_THREADS=1 and two worker threads on {backend!r}",
        f"{busy} busy threads of 2",
    )


def cgroups(root: Path, monkeypatch: pytest.MonkeyPatch, member: str, **files: str) -> None:
    """Lay out a machine's control groups as they would be found."""
    monkeypatch.setattr(container, "ROOT", root / "cgroup")
    monkeypatch.setattr(container, "MEMBERSHIP", root / "membership")
    (root / "membership").write_text(member)
    for name, text in files.items():
        path = root / "cgroup" / name.replace("__", ".").replace("_of_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


OLD = "9:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n"
LIMITS: dict[str, tuple[str, dict[str, str], int | None, int | None]] = {
    "no group": ("", {}, None, None),
    "container": ("0::/\n", {"cpu__max": "300000 100000", "memory__max": "1048576"}, 3, 2**20),
    "no limit": ("0::/\n", {"cpu__max": "max 100000", "memory__max": "max"}, None, None),
    "half a core": ("0::/\n", {"cpu__max": "50000 100000"}, 1, None),
    "two and a half": ("0::/\n", {"cpu__max": "250000 100000"}, 2, None),
    "service": ("0::/a/b\n", {"a_of_b_of_cpu__max": "200000 100000"}, 2, None),
    "slice above": (
        "0::/a/b\n",
        {"a_of_cpu__max": "400000 100000", "a_of_b_of_cpu__max": "600000 100000",
         "a_of_memory__max": "5000000", "a_of_b_of_memory__max": "6000000"},
        4, 5000000,
    ),
    "another's": ("0::/../other\n", {"other_of_cpu__max": "100000 100000"}, None, None),
    "old container": (
        OLD,
        {"cpu_of_cpu__cfs_quota_us": "600000", "cpu_of_cpu__cfs_period_us": "100000",
         "memory_of_memory__limit_in_bytes": "777"},
        6, 777,
    ),
    "old group": (
        OLD,
        {"cpu,cpuacct_of_docker_of_abc_of_cpu__cfs_quota_us": "150000",
         "cpu,cpuacct_of_docker_of_abc_of_cpu__cfs_period_us": "50000",
         "memory_of_docker_of_abc_of_memory__limit_in_bytes": "4242"},
        3, 4242,
    ),
    "old, no limit": (
        OLD, {"cpu_of_cpu__cfs_quota_us": "-1", "cpu_of_cpu__cfs_period_us": "100000"}, None, None
    ),
    "nonsense": ("x\n::\n", {"cpu__max": "many", "memory__max": ""}, None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_a_containers_limits_are_honoured(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    member, files, cores, memory = LIMITS[name]
    cgroups(tmp_path, monkeypatch, member, **files)
    assert container.cores() == cores
    assert container.memory() == memory
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert settings.cores_allowed() == (cores or 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert settings.cores_allowed() == 1
    if name == "nonsense":
        told(
            "a container's limits and the affinity are honoured",
            "laid out control groups of both versions, own and above; sched_getaffinity",
            f"{len(LIMITS)} layouts, the least limit each time",
        )


@linux
def test_affinity_is_honoured(told: Told) -> None:
    code = """
    import os
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:1])
    import fastconv
    print(fastconv.get_num_threads())
    """
    assert run_script(code, FASTCONV_NUM_THREADS="", OMP_NUM_THREADS="").strip() == "1"
