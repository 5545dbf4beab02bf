"""What control groups (a container's, a service's) leave this process: cores and memory.

Both versions are read, and every group from this process's own up to the root: each may be the one
that limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cores() -> int | None:
    """Return the whole cores that the groups' shares of time allow, at least 1; None: no limit."""
    return min((max(1, int(limit)) for limit in _limits("cpu", _quota, _old_quota)), default=None)


def memory() -> int | None:
    """Return the bytes that the groups allow; None: no limit."""
    new, old = (lambda folder: _number(folder / "memory.max")), _old_memory
    return min((int(limit) for limit in _limits("memory", new, old)), default=None)


def _quota(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _old_quota(folder: Path) -> float | None:
    amount, every = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return None if not amount or not every else amount / every


def _old_memory(folder: Path) -> float | None:
    return _number(folder / "memory.limit_in_bytes")


def _limits(
    controller: str, new: Callable[[Path], float | None], old: Callable[[Path], float | None]
) -> Iterator[float]:
    own = _own_groups()
    for read, roots, path in (
        (new, (ROOT, ROOT / "unified"), own.get("")),
        (old, (ROOT / controller, ROOT / "cpu,cpuacct"), own.get(controller)),
    ):
        for root in roots:
            for folder in _upwards(root, path):
                limit = read(folder)
                if limit is not None and limit > 0:
                    yield limit


def _own_groups() -> dict[str, str]:
    """Return this process's groups by controller; that of the second version by no name."""
    found = {}
    for line in _text(MEMBERSHIP).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _upwards(root: Path, path: str | None) -> Iterator[Path]:
    """Yield the folders from a group's own up to the root, as far as they may be seen here."""
    inner = PurePosixPath((path or "/").lstrip("/"))
    if ".." not in inner.parts:
        for group in (inner, *inner.parents):
            if group.parts:
                yield root / group
    yield root


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
