"""What a user may set: threads, environment variables, cache folder, workspace limit."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastconv import container

BACKENDS = ("numba", "c", "cuda", "reference")

_threads: int | None = None
_threads_here: contextvars.ContextVar[int | None] = contextvars.ContextVar(
    "threads_here", default=None
)
_backend_here: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "backend_here", default=None
)
_most_workspace: contextvars.ContextVar[int | None] = contextvars.ContextVar(
    "most_workspace", default=None
)


def set_num_threads(n: int) -> None:
    """Set the number of threads that one call may use, for every backend.

    Parameters
    ----------
    n : int
        At least 1. The result's bits do not depend on it.
    """
    global _threads
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"n must be an int, not {n!r}")
    if n < 1:
        raise ValueError(f"the number of threads must be positive, but got {n}")
    _threads = n


def get_num_threads() -> int:
    """Return the number of threads that one call may use.

    What was set, else FASTCONV_NUM_THREADS, else OMP_NUM_THREADS, else the cores that the process
    may use (affinity and container limits).
    """
    here = _threads_here.get()
    if here is not None:
        return here
    return _threads if _threads is not None else _default_threads()


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Run with ``n`` threads, then as before; other threads' calls are left alone."""
    token = _threads_here.set(n)
    try:
        yield
    finally:
        _threads_here.reset(token)


@functools.cache
def _default_threads() -> int:
    for name in ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text:
            if text.isdigit() and int(text) > 0:
                return int(text)
            if name.startswith("FASTCONV"):
                raise ValueError(f"{name} must be a positive number, but got {text!r}")
    return cores_allowed()


# Children of a server are often given cores of their own right after the fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_default_threads.cache_clear)


# The environment as CPython keeps it: four times as fast to look into as `os.environ`.
_environment: Any = getattr(os.environ, "_data", os.environ)
_BACKEND, _ISA, _WORKSPACE = (
    name if _environment is os.environ else os.environ.encodekey(name)
    for name in ("FASTCONV_BACKEND", "FASTCONV_ISA", "FASTCONV_WORKSPACE_MB")
)


def _read(key: Any) -> str | None:
    """Return a variable of the environment; None where it is empty or not set."""
    found = _environment.get(key)
    if not found:
        return None
    return found if _environment is os.environ else os.environ.decodevalue(found)


# Whether a choice was ever made in a context of its own; until then contexts are not looked at.
_contexts = [False]


@contextlib.contextmanager
def on_backend(name: str) -> Iterator[None]:
    """Choose among one backend's algorithms; other threads' calls are left alone."""
    _contexts[0] = True
    token = _backend_here.set(name)
    try:
        yield
    finally:
        _backend_here.reset(token)


def backend() -> str | None:
    """Return the backend in force (`on_backend`), or that FASTCONV_BACKEND forces, if any."""
    here = _backend_here.get()
    if here is not None:
        return here
    name = _read(_BACKEND)
    if name is not None and name not in BACKENDS:
        raise ValueError(f"FASTCONV_BACKEND must be one of {', '.join(BACKENDS)}, but got {name!r}")
    return name


def isa() -> str | None:
    """Return the instruction set that FASTCONV_ISA asks for, if any."""
    return _read(_ISA)


def state() -> Any:
    """Return what a choice depends on besides the call and tables, for comparison alone."""
    read = _environment.get
    backend, isa, workspace = read(_BACKEND), read(_ISA), read(_WORKSPACE)
    here, most = _backend_here.get(), _most_workspace.get()
    if backend is None and isa is None and workspace is None and here is None and most is None:
        return None
    return backend, isa, workspace, here, most


def watched() -> tuple[Any, tuple[Any, ...], list[bool]]:
    """Return what decides whether `state` is None, for who looks without calling it.

    The environment, the names of its variables that count, and whether contexts may count too.
    """
    return _environment, (_BACKEND, _ISA, _WORKSPACE), _contexts


def cuda_arch() -> str | None:
    """Return the architecture, such as "sm_90a", that FASTCONV_CUDA_ARCH asks kernels to be for."""
    return os.environ.get("FASTCONV_CUDA_ARCH") or None


def workspace_limit() -> int | None:
    """Return the most bytes of workspace that one plan may take, if there is a limit.

    That of FASTCONV_WORKSPACE_MB, or a lower one in force (`workspace_at_most`).
    """
    limits = [limit for limit in (_workspace_asked(), _most_workspace.get()) if limit is not None]
    return min(limits, default=None)


@contextlib.contextmanager
def workspace_at_most(size: int | None) -> Iterator[None]:
    """Plan with at most so many bytes of workspace a plan; None: no other limit than before."""
    _contexts[0] = _contexts[0] or size is not None
    token = _most_workspace.set(size)
    try:
        yield
    finally:
        _most_workspace.reset(token)


def _workspace_asked() -> int | None:
    text = _read(_WORKSPACE)
    if not text:
        return None
    try:
        megabytes = float(text)
    except ValueError:
        raise ValueError(f"FASTCONV_WORKSPACE_MB must be a number, but got {text!r}") from None
    return int(megabytes * 2**20)


def tuning() -> str | None:
    """Return the tuning table that FASTCONV_TUNING pins, or "off", if it is set."""
    return os.environ.get("FASTCONV_TUNING") or None


def cache_dir() -> Path:
    """Return the folder of kernels and tuning (FASTCONV_CACHE_DIR, else the user's cache)."""
    given = os.environ.get("FASTCONV_CACHE_DIR")
    if given:
        return Path(given)
    import platformdirs

    # A user without a home: later versions raise, to earlier ones "~" is a folder where we are.
    with contextlib.suppress(RuntimeError):
        folder = Path(platformdirs.user_cache_dir("fastconv", appauthor=False))
        if folder.is_absolute():
            return folder
    import tempfile

    return Path(tempfile.gettempdir()) / f"fastconv-{os.geteuid()}"


def cores_allowed() -> int:
    """Cores that this process may use: affinity and the container's CPU limit."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    limit = container.cores()
    return max(1, min(cores, limit) if limit else cores)


def existing_file(path: Any, name: str) -> Path:
    """Return a path that a caller named, where there is a file.

    Raises
    ------
    TypeError
        For what is not a path.
    ValueError
        Where there is no file.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a str or a path, not {type(path).__name__}")
    file = Path(path)
    try:
        found = file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        found = False
    if not found:
        raise ValueError(f"{name}: there is no file {str(file)[:300]}")
    return file


def memory_allowed() -> int:
    """Bytes of memory that this process may use: the machine's, the container's, its own limit."""
    return min(_memory_here(), _address_space() or 2**62)


@functools.cache
def _memory_here() -> int:
    limits = [limit for limit in (_physical_memory(), container.memory()) if limit]
    return min(limits, default=2**40)


def _address_space() -> int | None:
    """Return the most bytes that this process may map (``ulimit -v``), if that is limited."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _physical_memory() -> int | None:
    if hasattr(os, "sysconf"):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (OSError, ValueError):
            return None
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [
            ("length", ctypes.c_ulong), ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "b", "c", "d", "e", "f")),
        ]  # fmt: skip

    status = Status(length=ctypes.sizeof(Status))
    windll = getattr(ctypes, "windll", None)
    if windll is None or not windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.total)
