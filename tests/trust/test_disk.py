"""What is kept on disk: written by many at once, cut short, damaged, or another user's."""

from __future__ import annotations

import errno
import os
import pickle
import pwd
import stat
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastconv import kept, settings
from fastconv.dispatch import table, tuning
from fastconv.machine import get_machine
from tests.libraries import COMPILED
from tests.scripts import run_script

Told = Callable[[str, str, str], None]
pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners are looked at on POSIX")
by_numba = pytest.mark.skipif("numba" not in COMPILED, reason="without Numba")

# Little to compile, and its answers are known.
COMPUTE = """
    import numpy as np, os, sys, time, fastconv
    from fastconv import functional as F
    x = np.arange(-500, 500).astype("f4")
    def right():
        return (F.relu(x) == np.maximum(x, 0)).all()
"""


@by_numba
def test_many_processes_start_on_one_empty_cache(tmp_path: Path, scale: Any, told: Told) -> None:
    count = scale(8, 200)
    code = (
        COMPUTE
        + f"""
    # All is imported and nothing compiled: each child begins where a process does its first call.
    import fastconv.backends.numba.pointwise
    children = []
    gate, open_gate = os.pipe()
    for number in range({count}):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(open_gate)
                os.read(gate, 1)
                os._exit(0 if right() and right() else 3)
            finally:
                os._exit(4)
        children.append(pid)
    os.close(open_gate)
    ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert ends == [0] * {count}, ends
    """
    )
    seconds = scale(100, 600)
    run_script(code, seconds=seconds, FASTCONV_BACKEND="numba", FASTCONV_CACHE_DIR=str(tmp_path))
    folder = tmp_path / "numba"
    files = sorted(folder.iterdir())
    assert files
    assert {file.suffix for file in files} == {".nbc"}
    assert all(kept.read(file) is not None for file in files)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = [(file, file.stat().st_mtime_ns) for file in files]
    run_script(COMPUTE + "    assert right()", FASTCONV_BACKEND="numba",
               FASTCONV_CACHE_DIR=str(tmp_path))  # fmt: skip
    # They served: nothing was compiled again.
    assert [(file, file.stat().st_mtime_ns) for file in sorted(folder.iterdir())] == before
    told(
        "any number of processes may start at once",
        f"{count} processes' first calls on one empty cache",
        f"{count} right; {len(files)} files, all whole, none left over",
    )


@by_numba
@pytest.mark.parametrize(
    ("where", "variables"),
    {
        "a folder that cannot be": {"FASTCONV_CACHE_DIR": "/proc/1/fastconv"},
        "a read-only home": {"FASTCONV_CACHE_DIR": "", "HOME": "/proc/1", "XDG_CACHE_HOME": ""},
        "no home": {"FASTCONV_CACHE_DIR": "", "HOME": "", "XDG_CACHE_HOME": "/dev/null/cache"},
    }.items(),
)
@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no folders")
def test_nowhere_to_keep_anything(where: str, variables: dict[str, str], told: Told) -> None:
    run_script(COMPUTE + "    assert right()", FASTCONV_BACKEND="numba", **variables)
    told("a cache that cannot be written is not an error", where, "compiled, right, no warning")


def test_without_a_home_nothing_is_looked_for_in_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nobody(_: Any) -> Any:
        raise KeyError("no such user")

    for name in ("HOME", "XDG_CACHE_HOME", "FASTCONV_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.chdir(tmp_path)
    folder = settings.cache_dir()
    assert folder.is_absolute()
    assert tmp_path not in folder.parents
    assert folder.name == f"fastconv-{os.geteuid()}"


@by_numba
@pytest.mark.parametrize("room", [0, 100, 5000])
def test_a_full_disk(room: int, tmp_path: Path, told: Told) -> None:
    """Every file ends after so many bytes."""
    code = (
        COMPUTE
        + f"""
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
    assert right()
    """
    )
    run_script(code, FASTCONV_BACKEND="numba", FASTCONV_CACHE_DIR=str(tmp_path))
    assert list((tmp_path / "numba").iterdir()) == []
    told("a full disk is not an error", f"room for {room} bytes a file", "right, nothing left over")


@pytest.mark.parametrize("site", ["mkdir", "mkstemp", "fdopen", "write", "replace", "unlink"])
def test_each_step_of_a_write_may_fail(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full:
        def __init__(self, handle: int, mode: str) -> None:
            self.handle = handle

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: Any) -> None:
            os.close(self.handle)

        write = full

    path = tmp_path / "deep" / "numba" / "a.nbc"
    if site != "mkdir":
        path.parent.mkdir(parents=True, mode=0o700)
        kept.write(path, b"before")
    with monkeypatch.context() as patch:
        if site == "mkdir":
            patch.setattr(Path, "mkdir", full)
        elif site == "mkstemp":
            patch.setattr(kept.tempfile, "mkstemp", full)
        elif site == "write":
            patch.setattr(kept.os, "fdopen", Full)
        else:
            patch.setattr(kept.os, site, full)
            # What cannot be removed stays, and is not an error either.
            if site == "unlink":
                patch.setattr(kept.os, "replace", full)
        kept.write(path, b"after")
    left = sorted(p.name for p in path.parent.iterdir()) if path.parent.exists() else []
    if site == "mkdir":
        assert left == []
    else:
        assert kept.read(path) == b"before"
        assert (left == ["a.nbc"]) == (site != "unlink")


def test_damage_is_noticed(tmp_path: Path, scale: Any, told: Told) -> None:
    path, content = tmp_path / "a.nbc", bytes(range(256)) * 8
    kept.write(path, content)
    whole = path.read_bytes()
    assert kept.read(path) == content

    def replaced(data: bytes) -> bytes | None:
        path.write_bytes(data)
        return kept.read(path)

    step = scale(37, 1)
    cut = [replaced(whole[:end]) for end in range(0, len(whole), step)]
    assert set(cut) == {None}
    flipped = []
    for place in range(0, len(whole), step):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        flipped.append(replaced(bytes(data)))
    assert set(flipped) == {None}
    assert replaced(whole + b"\0") is None
    assert replaced(b"fastconv kept 0" + whole[15:]) is None
    assert replaced(b"") is None
    # A whole file under another's name is another kernel.
    path.write_bytes(whole)
    path.rename(tmp_path / "b.nbc")
    assert kept.read(tmp_path / "b.nbc") is None
    # Replaced by what was meant to be there.
    kept.write(path, content)
    assert kept.read(path) == content
    told(
        "a damaged cache is never run",
        "a kept file cut at every length, each byte changed, longer, renamed, of another format",
        f"{len(cut) + len(flipped) + 4} of them, none taken",
    )


def others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file or folder another user's."""
    if os.geteuid() == 0:
        os.chown(path, 54321, -1)
    else:
        monkeypatch.setattr(kept.os, "geteuid", lambda: 54321)


def as_link(path: Path, _: Any) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def as_pipe(path: Path, _: Any) -> None:
    path.unlink()
    os.mkfifo(path)


HOSTILE_FILES: dict[str, Callable[[Path, Any], None]] = {
    "others may write to it": lambda path, _: path.chmod(0o666),
    "its group may": lambda path, _: path.chmod(0o660),
    "another user's": others,
    "a link": as_link,
    "a pipe": as_pipe,
}
HOSTILE_FOLDERS: dict[str, Callable[[Path, Any], None]] = {
    "others may write to it": lambda path, _: path.chmod(0o777),
    "sticky": lambda path, _: path.chmod(0o1777),
    "its group may": lambda path, _: path.chmod(0o770),
    "another user's": others,
}


@pytest.mark.parametrize("how", HOSTILE_FILES)
def test_a_file_that_another_may_have_written(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "a.nbc"
    kept.write(path, b"code")
    assert kept.read(path) == b"code"
    HOSTILE_FILES[how](path, monkeypatch)
    with warnings.catch_warnings(record=True):
        assert kept.read(path) is None


@pytest.mark.parametrize("how", HOSTILE_FOLDERS)
def test_a_folder_that_another_may_have_written_to(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    folder = tmp_path / how
    path = folder / "a.nbc"
    kept.write(path, b"code")
    HOSTILE_FOLDERS[how](folder, monkeypatch)
    with pytest.warns(RuntimeWarning, match="nothing is kept in .* FASTCONV_CACHE_D"):
        assert kept.read(path) is None
    # Told once, and nothing is written there.
    kept.write(folder / "b.nbc", b"code")
    assert not (folder / "b.nbc").exists()
    if how == "sticky":
        count = len(HOSTILE_FILES) + len(HOSTILE_FOLDERS)
        told(
            "nothing is taken from where another user can write",
            "files and folders: modes, owners, links, pipes",
            f"{count} ways, none taken",
        )


class Hostile:
    """What runs as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.marker,)


@by_numba
@pytest.mark.parametrize("trusted", [False, True])
def test_a_hostile_pickle_is_not_opened(trusted: bool, tmp_path: Path, told: Told) -> None:
    """Under the right names, with right digests; that it would run shows where it is trusted."""
    cache, marker = tmp_path / "cache", tmp_path / "marker"
    run_script(COMPUTE + "    assert right()", FASTCONV_BACKEND="numba",
               FASTCONV_CACHE_DIR=str(cache))  # fmt: skip
    files = list((cache / "numba").iterdir())
    assert files
    for file in files:
        kept.write(file, pickle.dumps(Hostile(marker)))
    if not trusted:
        (cache / "numba").chmod(0o777)
    run_script(COMPUTE + "    assert right()", options=(), FASTCONV_BACKEND="numba",
               FASTCONV_CACHE_DIR=str(cache))  # fmt: skip
    assert marker.exists() == trusted
    if not trusted:
        told(
            "nothing is taken from where another user can write",
            f"{len(files)} hostile pickles with right names and digests, folder open to others",
            "none opened; compiled again, right",
        )


def test_a_tuning_table_that_another_may_have_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("FASTCONV_TUNING", raising=False)
    isa = get_machine().isa
    path = tuning.default_path(isa)
    row = table.Row("conv2d of one", "c.direct", {"c.direct": 1e-3})
    made = table.Table.of(table.Fingerprint.here(isa), [row])
    table.merge(path, made, replace_others=True)
    try:
        tuning.forget()
        assert tuning.current().table is not None
        path.parent.chmod(0o777)
        tuning.forget()
        with pytest.warns(RuntimeWarning, match="others may write to it"):
            assert tuning.current().table is None
    finally:
        monkeypatch.undo()
        tuning.forget()
    told("a tuning table is read with distrust", "its folder open to others", "ignored, and said")


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    old, new = tmp_path / "old.tmp", tmp_path / "new.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    before = time.time() - 2 * kept.STALE_SECONDS
    os.utime(old, (before, before))
    tmp_path.chmod(0o700)
    kept.write(tmp_path / "a.nbc", b"code")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nbc", "new.tmp"]
