"""Files that fastconv keeps for later processes, and runs: read only as they were written, by us.

Compiled kernels are code, and Python's pickles are too. So a file counts only where no other user
can have put or changed it: it and its folder belong to this user or to root, and others may not
write to either. A digest in front tells damage from what was written. What does not count is made
again; a folder that cannot be written is not an error.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

# More than any kernel's code needs.
LIMIT_BYTES = 64 << 20
# What a process that was killed left half-written goes after so long.
STALE_SECONDS = 3600.0
_WHAT = b"fastconv kept 1\n"
_SUFFIX = ".tmp"


def read(path: Path) -> bytes | None:
    """Return what `write` was given for this path; None: it is missing, or does not count."""
    with _opened(path.parent) as folder:
        if folder is None:
            return None
        data = _read_in(folder, path)
    if data is None or not data.startswith(_WHAT):
        return None
    digest, _, content = data[len(_WHAT) :].partition(b"\n")
    return content if digest == _digest(path, content) else None


def write(path: Path, content: bytes) -> None:
    """Keep bytes at a path, in one step: a reader finds all of them or none."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _opened(path.parent) as folder:
        if folder is None:
            return
    _sweep(path.parent)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=_SUFFIX)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_WHAT + _digest(path, content) + b"\n" + content)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if not isinstance(error, OSError):
            raise


def objection(path: Path) -> str | None:
    """Return why a file or folder may be another user's work; None: it is this one's.

    Raises
    ------
    OSError
        Where there is none.
    """
    return _objection(os.stat(path))


def _digest(path: Path, content: bytes) -> bytes:
    """Return a digest of this content under this name."""
    return hashlib.sha256(path.name.encode() + b"\n" + content).hexdigest().encode()


def _objection(status: os.stat_result) -> str | None:
    # Elsewhere folders of a user's own are so by their access lists.
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid not in (os.geteuid(), 0):
        return f"it belongs to another user ({status.st_uid})"
    # A sticky folder, such as /tmp, keeps others from what is not theirs, not from what is not yet.
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to it (mode {stat.S_IMODE(status.st_mode):o})"
    return None


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """Hold a folder while its files are opened: what was looked at is what is used.

    None: there is none, or it does not count.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | _flag("O_DIRECTORY") | _flag("O_CLOEXEC"))
    except OSError:
        # Windows opens no folders.
        yield None if hasattr(os, "geteuid") or not folder.is_dir() else -1
        return
    try:
        why_not = _objection(os.fstat(handle))
        if why_not is not None:
            _warn(str(folder), why_not)
        yield handle if why_not is None else None
    finally:
        os.close(handle)


@functools.cache
def _warn(folder: str, why_not: str) -> None:
    """Warn once that a folder does not count: each process compiles and measures for itself."""
    warnings.warn(
        f"nothing is kept in {folder}: {why_not}; see FASTCONV_CACHE_DIR",
        RuntimeWarning,
        stacklevel=2,
    )


def _read_in(folder: int, path: Path) -> bytes | None:
    flags = os.O_RDONLY | _flag("O_NOFOLLOW") | _flag("O_NONBLOCK") | _flag("O_BINARY")
    try:
        if folder < 0:
            handle = os.open(path, flags)
        else:
            handle = os.open(path.name, flags | _flag("O_CLOEXEC"), dir_fd=folder)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or _objection(status) is not None:
                return None
            data = file.read(LIMIT_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= LIMIT_BYTES else None


def _flag(name: str) -> int:
    return int(getattr(os, name, 0))


@functools.cache
def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind, once a process."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                if entry.name.endswith(_SUFFIX):
                    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                    if age > STALE_SECONDS:
                        os.unlink(entry.path)
