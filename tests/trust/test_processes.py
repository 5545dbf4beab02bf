"""Forks, other interpreters, and signals."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import nn, settings
from fastconv.backends.native import driver
from tests.libraries import COMPILED
from tests.scripts import SECONDS, run_script, start_script

Told = Callable[[str, str, str], None]
# CPython 3.12 warns of forks in a process of several threads, which are the point here.
LOUD = ("-W", "error", "-W", "ignore::DeprecationWarning")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
by_numba = pytest.mark.skipif("numba" not in COMPILED, reason="without Numba")

NETWORK = """
    import os, sys, threading, time, signal
    from concurrent.futures import ThreadPoolExecutor
    import numpy as np, fastconv
    from fastconv import nn

    fastconv.set_num_threads(3)

    def made():
        nn.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 256, 10),
        )
        return fastconv.compile(module, (1, 3, 32, 32))

    network = made()
    x = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype("f4")
    w = np.random.default_rng(1).standard_normal((8, 3, 3, 3)).astype("f4")

    def answers():
        return network(x).tobytes() + network(x[:1]).tobytes() + fastconv.conv2d(x, w).tobytes()

    def serve(wanted, threads=4, rounds=5):
        with ThreadPoolExecutor(threads) as pool:
            return all(pool.map(lambda _: answers() == wanted, range(threads * rounds)))

    def child(work):
        pid = os.fork()
        if pid:
            return pid
        try:
            os._exit(0 if work() else 3)
        finally:
            os._exit(4)

    def ended(pid, seconds=200):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return "hung"
"""


@forks
@pytest.mark.parametrize("backend", COMPILED)
def test_a_server_that_forks_its_workers(backend: str, scale: Any, told: Told) -> None:
    """Each serves from its first thread and from others; one of them forks once more."""
    code = (
        NETWORK
        + """
    before = child(lambda: True)          # before first use
    wanted = answers()
    def worker():
        again = child(lambda: answers() == wanted)
        return answers() == wanted and serve(wanted) and ended(again) == 0
    ends = [ended(pid) for pid in [before, *(child(worker) for _ in range(4))]]
    assert ends == [0] * 5, ends
    # The parent's own threads live on.
    assert answers() == wanted and serve(wanted)
    """
    )
    for _ in range(scale(1, 10)):
        run_script(code, options=LOUD, FASTCONV_BACKEND=backend)
    told(
        "safe after fork",
        f"a warm server forks 4 workers on {backend!r}; each serves from 4 threads and forks again",
        f"{4 * scale(1, 10)} workers, every result the parent's bits",
    )


@forks
@pytest.mark.parametrize("backend", COMPILED)
def test_forks_while_others_compute(backend: str, scale: Any, told: Told) -> None:
    """Whatever locks the other threads hold just then, the child computes."""
    count = scale(12, 300)
    code = (
        NETWORK
        + f"""
    wanted = answers()
    over = threading.Event()
    def others(number):
        while not over.is_set():
            fastconv.set_num_threads(1 + number)
            answers()
            # What is met for the first time is planned under a lock.
            made()(x[: 1 + number % 4])
    threads = [threading.Thread(target=others, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range({count}):
            pid = child(lambda: answers() == wanted)
            assert ended(pid) == 0
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert answers() == wanted
    """
    )
    run_script(code, options=LOUD, FASTCONV_BACKEND=backend)
    told(
        "safe after fork",
        f"forks while 3 threads trace, plan and compute on {backend!r}",
        f"{count} children, none hung, all bits right",
    )


@forks
def test_a_lock_held_at_a_fork_is_free_in_the_child() -> None:
    code = (
        NETWORK
        + """
    layers = network.layers
    wanted = layers["3"](x).tobytes()
    held, over = threading.Event(), threading.Event()
    def holds():
        with network._shapes._lock, layers._lock:
            held.set()
            over.wait()
    thread = threading.Thread(target=holds)
    thread.start()
    held.wait()
    # The child meets a shape for the first time.
    pid = child(lambda: network(x[:3]) is not None and layers["3"](x).tobytes() == wanted)
    code = ended(pid, 20)
    over.set()
    thread.join()
    assert code == 0, code
    """
    )
    run_script(code, options=LOUD)


@forks
@by_numba
def test_forks_while_another_thread_compiles(tmp_path: Any, told: Told) -> None:
    code = (
        NETWORK
        + """
    import fastconv.backends.numba.pointwise
    signs = np.arange(-50, 50)
    begun = threading.Event()
    def compiles():
        begun.set()
        for dtype in ("f4", "f8"):
            fastconv.relu(signs.astype(dtype))
    thread = threading.Thread(target=compiles)
    thread.start()
    begun.wait()
    pids = []
    for pause in (0.1, 0.1, 0.3):
        time.sleep(pause)
        pids.append(child(lambda: (fastconv.relu(signs.astype("f8")) >= 0).all()))
    assert [ended(pid) for pid in pids] == [0] * 3
    thread.join()
    """
    )
    run_script(
        code, options=LOUD, FASTCONV_BACKEND="numba", FASTCONV_CACHE_DIR=str(tmp_path / "cache")
    )
    told("safe after fork", "3 forks while a thread compiles kernels by Numba", "3 of 3 compute")


@forks
@by_numba
@pytest.mark.parametrize("imported", ["before", "after"])
def test_a_fork_after_a_program_used_numbas_threads(imported: str, told: Told) -> None:
    """GNU OpenMP ends a child that uses it again."""
    code = """
    import numba, numpy as np, os
    {before}

    @numba.njit(parallel=True)
    def total(values):
        sum = 0.0
        for i in numba.prange(len(values)):
            sum += values[i]
        return sum

    assert total(np.ones(1000)) == 1000
    pid = os.fork()
    if pid == 0:
        try:
            import fastconv
            fastconv.set_num_threads(3)
            x = np.ones((8, 16, 40, 40), "f4")
            assert (fastconv.conv2d(x, np.ones((16, 16, 1, 1), "f4")) == 16).all()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """.replace(
        "{before}",
        "import fastconv, fastconv.backends.numba.engine.driver" * (imported == "before"),
    )
    run_script(
        code, options=LOUD, FASTCONV_BACKEND="numba", NUMBA_NUM_THREADS="3",
        NUMBA_THREADING_LAYER="omp",
    )  # fmt: skip
    told(
        "safe after fork",
        f"a program's own prange, a fork, then fastconv (imported {imported} it)",
        "the child computes",
    )


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_every_start_method(method: str, told: Told, tmp_path: Any) -> None:
    script = tmp_path / "pool.py"
    script.write_text(
        "import multiprocessing as m, sys, warnings\n"
        "import numpy as np, fastconv\n"
        "from fastconv import nn\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"
        "def made():\n"
        "    nn.manual_seed(0)\n"
        "    return fastconv.compile(nn.Conv2d(3, 8, 3), (2, 3, 20, 20))\n"
        "x = np.random.default_rng(0).standard_normal((2, 3, 20, 20)).astype('f4')\n"
        "def work(network):\n"
        "    return (network or made())(x).tobytes()\n"
        "if __name__ == '__main__':\n"
        "    network = made()\n"
        "    wanted = work(network)\n"
        "    with m.get_context(sys.argv[1]).Pool(2) as pool:\n"
        "        assert pool.map(work, [None, network] * 2) == [wanted] * 4\n"
    )
    # Run as a main module: that is what children run again.
    code = (
        f"import runpy, sys\nsys.argv[1:] = [{method!r}]\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    run_script(code)
    told("processes of every start method", f"multiprocessing by {method!r}", "4 of 4 results")


INNER = """
import sys
try:
    import numpy as np, fastconv
    y = fastconv.conv2d(np.ones((1, 4, 9, 9), "f4"), np.ones((5, 4, 3, 3), "f4"))
    assert (y == 36).all()
    print("computes", flush=True)
except (ImportError, RuntimeError) as error:
    print("refused:", type(error).__name__, str(error).splitlines()[0], flush=True)
"""


def test_a_second_interpreter_is_refused_or_computes(told: Told) -> None:
    """NumPy and Numba live in one interpreter: never a crash, never a wrong answer."""
    code = f"""
    import fastconv, numpy as np
    x, w = np.ones((1, 4, 9, 9), "f4"), np.ones((5, 4, 3, 3), "f4")
    assert (fastconv.conv2d(x, w) == 36).all()
    inner = {INNER!r}
    try:
        import _interpreters as interpreters
        number = interpreters.create()
        failed = interpreters.exec(number, inner)
        assert failed is None, failed
        interpreters.destroy(number)
    except ImportError:
        import _xxsubinterpreters as interpreters
        number = interpreters.create()
        interpreters.run_string(number, inner)
        interpreters.destroy(number)
    assert (fastconv.conv2d(x, w) == 36).all()
    """
    said = run_script(code, options=()).strip()
    assert said.startswith(("computes", "refused:"))
    told("other interpreters are refused, or served", "a subinterpreter imports fastconv", said)


LONG = """
    import os, signal, sys, threading, time
    import numpy as np, fastconv
    from fastconv import nn
    # A shell lets what it starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fastconv.set_num_threads(2)
    rng = np.random.default_rng(0)
    small = rng.standard_normal((1, 8, 20, 20)).astype("f4")
    filters = rng.standard_normal((8, 8, 3, 3)).astype("f4")
    wanted = fastconv.conv2d(small, filters).tobytes()
    # Whole, some 20 seconds and more of one core.
    x = np.ones((24, 256, 128, 128), "f4")
    w = nn.Parameter(np.ones((256, 256, 5, 5), "f4"))
    # Its kernels are compiled before anything is sent: what LLVM calls meanwhile hears no Ctrl-C.
    fastconv.conv2d(x[:1], w, algorithm="direct")
    def long(**more):
        return fastconv.conv2d(x, w, algorithm="direct", **more)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")
@pytest.mark.parametrize("backend", COMPILED)
def test_ctrl_c_ends_a_long_call(backend: str, told: Told) -> None:
    code = (
        LONG
        + """
    times = []
    for _ in range(2):
        sent = []
        def press():
            time.sleep(1.0)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=press)
        thread.start()
        start = time.monotonic()
        try:
            long()
            raise SystemExit("it ran to its end")
        except KeyboardInterrupt:
            times.append(time.monotonic() - sent[0])
        thread.join()
        # The next calls are right, and find the threads free.
        for _ in range(5):
            assert fastconv.conv2d(small, filters).tobytes() == wanted
    # What a handler computes meanwhile changes nothing.
    medium = np.ones((4, 256, 64, 64), "f4")
    calls = []
    def handler(*_):
        calls.append(fastconv.conv2d(small, filters).tobytes() == wanted)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    result = fastconv.conv2d(medium, w, padding=2, algorithm="direct")
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert (result[:, :, 2:-2, 2:-2] == 256 * 25).all() and all(calls)
    print(max(times))
    """
    )
    seconds = float(run_script(code, FASTCONV_BACKEND=backend))
    told(
        "Ctrl-C ends a long call, and harms none after it",
        f"SIGINT in a convolution of half a minute on {backend!r}, twice; an alarm that computes",
        f"KeyboardInterrupt {seconds:.2f} s later, all later bits right",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")
def test_ctrl_c_ends_a_long_network(told: Told) -> None:
    """One native call of many operations, and of pieces of a batch."""
    code = (
        LONG
        + """
    layers = [nn.Conv2d(64, 64, 3, padding=1) for _ in range(40)]
    network = fastconv.compile(nn.Sequential(*layers), (1, 64, 64, 64))
    x = np.ones((100, 64, 64, 64), "f4")
    network.compiled(x.shape)
    sent = []
    def press():
        time.sleep(1.0)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        network(x)
        raise SystemExit("it ran to its end")
    except KeyboardInterrupt:
        print(time.monotonic() - sent[0])
    thread.join()
    # In parts or whole, in the first thread or another, the bits are the same.
    few = rng.standard_normal((12, 64, 64, 64)).astype("f4")
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(network(few).tobytes()))
    thread.start()
    thread.join()
    assert [network(few).tobytes()] == elsewhere
    """
    )
    seconds = float(run_script(code))
    told("Ctrl-C ends a long call", "SIGINT in a network of 40 layers", f"{seconds:.2f} s later")


def test_a_long_program_runs_in_parts(monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    """Where signals are seen: how long the parts take, no test says."""
    layers = [nn.Conv2d(64, 64, 3, padding=1) for _ in range(40)]
    network = fastconv.compile(nn.Sequential(*layers), (1, 64, 64, 64))
    x = np.zeros((48, 64, 64, 64), "f4")
    network.compiled(x.shape)
    parts: list[Any] = []
    offer = driver._offers[0]._replace(drive=lambda program, *_: parts.append(program))
    monkeypatch.setattr(driver, "_offers", [offer])
    with settings.threads(1):
        network(x)
    assert len(parts) >= 5
    told("Ctrl-C ends a long call", "48 images through 40 layers", f"{len(parts)} parts")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")
@pytest.mark.parametrize("backend", COMPILED)
def test_what_a_caller_gave_is_written_whole(backend: str) -> None:
    """An `out` is not left half-written by Ctrl-C: the call is finished first."""
    code = (
        LONG
        + """
    def press():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
    x = x[:2, :, :80, :80].copy()
    out = np.zeros((2, 256, 76, 76), "f4")
    long(out=out)  # everything is compiled
    out[:] = 0
    thread = threading.Thread(target=press)
    thread.start()
    try:
        for _ in range(50):
            long(out=out)
            thread.is_alive() or time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    # Untouched or whole.
    assert (out == 256 * 25).all() or (out == 0).all()
    """
    )
    run_script(code, FASTCONV_BACKEND=backend)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")
@pytest.mark.parametrize("backend", COMPILED)
def test_sigterm_ends_the_process(backend: str, told: Told) -> None:
    process = start_script(
        LONG + "    print('go', flush=True)\n    long()", FASTCONV_BACKEND=backend
    )
    assert process.stdout.readline().strip() == "go"
    time.sleep(1)
    start = time.monotonic()
    process.terminate()
    assert process.wait(SECONDS) == -signal.SIGTERM
    process.communicate()
    seconds = time.monotonic() - start
    told("SIGTERM ends the process", f"in a long convolution on {backend!r}", f"{seconds:.2f} s")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked")
@pytest.mark.parametrize("backend", [name for name in COMPILED if name == "c"])
def test_signals_are_left_to_the_program(backend: str, told: Told) -> None:
    """A server that blocks signals and waits for them gets them, though threads were started."""
    code = (
        NETWORK
        + """
    answers()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    for each in (signal.SIGTERM, signal.SIGUSR1):
        os.kill(os.getpid(), each)
        assert signal.sigtimedwait([each], 20).si_signo == each
    """
    )
    # NumPy's OpenBLAS would have threads that block nothing.
    run_script(code, FASTCONV_BACKEND=backend, OPENBLAS_NUM_THREADS="1")
    told("signals are the program's", "blocked after the first call, waited for", "both arrive")
