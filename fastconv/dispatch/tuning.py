"""Which tuning table is in force: the one that is pinned, else this machine's own, else none."""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastconv import kept, settings
from fastconv.machine import forced_isa
from fastconv.problem import Problem
from fastconv.problem.record import record

# What reads tables is imported where there is one: a process that has none starts sooner.
if TYPE_CHECKING:
    from fastconv.dispatch.table import Row, Table

OFF = "off"
_set: str | None = None
_generation = 0


@record(frozen=True, eq=False)
class Tuning:
    """The table in force, if any, where it is, and any remark on it."""

    path: Path | None = None
    table: Table | None = None
    note: str = "none"

    def row(self, problem: Problem) -> Row | None:
        """Return what was measured for a problem of one image."""
        return None if self.table is None else self.table.row(problem)

    def __str__(self) -> str:
        return self.note


UNTUNED = Tuning()


def set_tuning(path: str | os.PathLike[str] | None) -> None:
    """Pin the tuning table that choices follow, or go back to the default.

    Parameters
    ----------
    path : path or None
        A table that `tune` wrote, on this machine or another; ``"off"`` for none; None for the
        default: FASTCONV_TUNING, else the table that `tune` keeps for this machine.

    Raises
    ------
    ValueError
        For a file that is not a tuning table; nothing is changed then.
    OSError
        For a file that cannot be read.

    Notes
    -----
    A table decides only between algorithms that can serve and whose error bound is inside
    ``rtol``. Results stay inside their bounds, but their last bits may change with the table.
    """
    from fastconv.dispatch.table import read

    global _set
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a str, a path or None, not {type(path).__name__}")
    name = None if path is None else os.fspath(path)
    if name not in (None, OFF):
        name = os.path.abspath(name)
        try:
            read(Path(name))
        except ValueError as error:  # a damaged table, or a name that no file can have
            raise ValueError(f"path {name!r} cannot be pinned: {error}") from None
    _set = name
    forget()


def current(isa: str | None = None) -> Tuning:
    """Return the table in force; files are looked at once a process, until `forget`."""
    return _current(isa or forced_isa())


def forget() -> None:
    """Look at the files again when next asked."""
    global _generation
    _generation += 1
    _current.cache_clear()
    for forgets in _forgetting:
        forgets()


# What else follows tables, and is to be looked at again.
_forgetting: list[Callable[[], None]] = []


def when_forgotten(forgets: Callable[[], None]) -> None:
    """Have a function called when choices may be others than before."""
    _forgetting.append(forgets)


def generation() -> int:
    """Count the changes of tables: what was planned before the last one may be out of date."""
    return _generation


def default_path(isa: str) -> Path:
    """Return where this machine's own table is kept."""
    from fastconv.dispatch.table import Fingerprint

    machine = Fingerprint.here(isa)
    name = re.sub(r"[^a-z0-9]+", "-", f"{machine.cpu} {machine.isa}".lower()).strip("-")
    return _folder() / f"{name[:120]}.json"


def _folder() -> Path:
    return settings.cache_dir() / "tuning"


@functools.cache
def _current(isa: str) -> Tuning:
    pinned = _set or settings.tuning()
    if pinned == OFF:
        return Tuning(note="off")
    if pinned is not None:
        return _pinned(Path(pinned))
    # The CPU's name takes a while to find out on a machine of many cores.
    return _own(isa) if _folder().is_dir() else UNTUNED


def _pinned(path: Path) -> Tuning:
    from fastconv.dispatch.table import read

    try:
        table = read(path)
    except (OSError, ValueError) as error:
        return _ignored(path, error)
    return Tuning(path, table, f"{path}, pinned, of {table.machine}")


def _own(isa: str) -> Tuning:
    from fastconv.dispatch.table import Fingerprint, TableError, read

    path, here = default_path(isa), Fingerprint.here(isa)
    try:
        for place in (path.parent, path):
            if (why_not := kept.objection(place)) is not None:
                raise TableError(f"of {place}: {why_not}")
        table = read(path)
    except FileNotFoundError:
        return UNTUNED
    except (TableError, OSError) as error:
        return _ignored(path, error)
    if table.machine != here:
        why = f"it is of {table.machine}, and this is {here}; tune again, or pin it"
        return Tuning(path, None, f"{path} is ignored: {why}")
    return Tuning(path, table, str(path))


def _ignored(path: Path, error: Exception) -> Tuning:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    note = f"{path} is ignored: {reason}"
    warnings.warn(f"the tuning table {note}", RuntimeWarning, stacklevel=2)
    return Tuning(path, None, note)
