"""Old against new: each fastconv in a process of its own, the two taking turns."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Array
from benchmarks.rival import Time

ROOT = Path(__file__).resolve().parents[1]


class NoBaseline(ValueError):
    """There is no older fastconv where it was said to be."""


class Worker:
    """A fastconv in a process of its own."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.scratch = scratch
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def build(self, suite: str, case: str, threads: int, *, network: bool, last: bool) -> Remote:
        """Make a case of a suite ready, as a call or as a network."""
        remote = Remote(self, "network" if network else "call")
        names = {"suite": suite, "case": case, "threads": threads}
        self.ask(do="build", rival=remote.name, network=network, last=last, **names)
        return remote

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def ask(self, **request: Any) -> Any:
        """Send a request, wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the other fastconv's process has ended; see its words above")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]


@dataclasses.dataclass
class Remote:
    """A contestant in another process; a `benchmarks.rival.Timed`."""

    worker: Worker
    name: str

    def check(self, expected: Array) -> float:
        path = self.worker.scratch / "expected.npy"
        np.save(path, expected)
        return float(self.worker.ask(do="check", rival=self.name, expected=str(path)))

    def turn(self, runs: int) -> list[Time]:
        return [
            (float(s), bool(disturbed))
            for s, disturbed in self.worker.ask(do="turn", rival=self.name, runs=runs)
        ]


@contextlib.contextmanager
def workers(baseline: str) -> Iterator[dict[str, Worker]]:
    """Yield a worker for the old fastconv, a git revision or a folder, and one for this one."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        scratch = Path(folder)
        old = Path(baseline) if Path(baseline).is_dir() else _checked_out(baseline, scratch / "old")
        found = {}
        for name, place in (("new", ROOT), ("old", old)):
            found[name] = Worker(place, scratch)
            stack.callback(found[name].close)
        yield found


def _checked_out(revision: str, folder: Path) -> Path:
    """Unpack the package as it was at a revision; what is compiled ahead of time is missing."""
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", revision, "fastconv"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()
        raise NoBaseline(f"{revision!r} is neither a folder nor a git revision here: {words}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        # Python 3.10 and 3.11 know filters from late patch releases on.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **safe)  # type: ignore[arg-type]
    return folder
