"""Calls with arguments that are wrong, in child processes: only clear errors may come of them.

``python -m tests.trust.abuse --count 500 conv2d`` abuses one name, without a count limit on time.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Measuring compiles first: some ten seconds where another has the processor too.
SECONDS = 60
# More memory than the process had before the first example.
MOST_MEMORY = 2 * 2**30
# More than an example may have the process grow by.
MOST_GROWTH = 512 * 2**20
# What an argument is called where it is handed on.
ALSO = {"args": ("module",), "inputs": ("input",), "input_feed": ("feeds", "input"),
        "output_names": ("outputs",), "modules": ("module",), "num_classes": ("out_features",),
        "path_or_bytes": ("path", "model")}  # fmt: skip


class Endless(BaseException):
    """An example did not end in time."""


@contextlib.contextmanager
def limited(seconds: int = SECONDS) -> Iterator[None]:
    """Raise `Endless` where Python hangs, and end the process where compiled code does."""

    def stop(*_: Any) -> None:
        raise Endless

    signal.signal(signal.SIGALRM, stop)
    faulthandler.dump_traceback_later(seconds + 10, exit=True)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def bounded(more: int = MOST_MEMORY) -> None:
    """Let this process have so many bytes of address space beyond what it has."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def told(error: BaseException) -> str:
    """Name the place in fastconv that an error came from, and what it said."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/fastconv/" in f.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {place}: {str(error)[:300]}"


def names_argument(error: BaseException, name: str) -> bool:
    """Return whether a message has an argument's name, in code or in words."""
    message = str(error).lower()
    words = (name.lower(), name.lower().replace("_", " "), *ALSO.get(name, ()))
    return any(word in message for word in words)


def is_ours(error: BaseException) -> bool:
    """Return whether a ``raise`` of fastconv's own made an error: others do not know the call."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return "/fastconv/" in frame.filename and (frame.line or "").startswith("raise")


def restore() -> None:
    """Undo what a call may have set for the whole process."""
    import fastconv

    fastconv.set_num_threads(2)
    fastconv.set_tuning("off")


def fingerprints(arguments: dict[str, Any]) -> dict[str, bytes]:
    """Return the bytes of all arrays, to see whether they are written to."""
    import numpy as np

    return {k: v.tobytes() for k, v in arguments.items() if type(v) is np.ndarray}


def wrong(call: Any, changes: dict[str, Any], with_out: bool = False) -> tuple[str, str]:
    """Run an example; give its outcome, and what is wrong with it, "" where nothing is.

    ``with_out`` gives it an array to write to as well, which an error must leave as it was.
    """
    import numpy as np

    names, out = list(changes), None
    if with_out and call.result is not None and "out" not in changes:
        out = np.full_like(call.result, 113)
        changes = {**changes, "out": out}
    before = fingerprints(call.arguments)
    grown = peak()
    problem = ""
    try:
        with warnings.catch_warnings(), limited():
            warnings.simplefilter("error")
            try:
                result = call.run(changes)
            finally:
                restore()
            del result
        outcome = "result"
    except Endless:
        return "Endless", "it did not end"
    except (ValueError, TypeError) as error:
        outcome = type(error).__name__
        if not is_ours(error):
            problem = f"it leaked: {told(error)}"
        elif isinstance(error, TypeError) and len(names) == 1:
            named = names_argument(error, names[0]) or (out is not None and "out" in str(error))
            problem = "" if named else f"the argument is not named: {told(error)}"
    except Exception as error:
        outcome = type(error).__name__
        if not {kind.__name__ for kind in type(error).__mro__} & set(call.errors):
            problem = told(error)
    if out is not None and outcome != "result" and (out != 113).any():
        problem = f"out was written to, {outcome}"
    if fingerprints(call.arguments) != before:
        problem = f"an argument was written to, {outcome}"
    if peak() - grown > MOST_GROWTH:
        problem = f"the process grew by {(peak() - grown) >> 20} MiB, {outcome}"
    return outcome, problem


def abused(call: Any, seed: int, count: int) -> tuple[dict[str, int], list[str]]:
    """Draw examples of one call; give how they ended, and what was wrong."""
    import hypothesis
    from hypothesis import strategies as st

    from tests.trust.hostile import ANYTHING

    counts: collections.Counter[str] = collections.Counter()
    seen: dict[str, str] = {}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.data())
    def example(data: Any) -> None:
        size = min(data.draw(st.sampled_from((1, 1, 1, 2, 3))), len(call.parameters))
        key = st.sampled_from(call.parameters)
        keys = data.draw(st.lists(key, min_size=size, max_size=size, unique=True))
        drawn = {key: data.draw(ANYTHING) for key in keys}
        label = ", ".join(f"{key}={value[0]}" for key, value in drawn.items())
        print(json.dumps({"call": call.name, "with": label}), flush=True)
        changes = {key: value[1] for key, value in drawn.items()}
        outcome, problem = wrong(call, changes, data.draw(st.booleans()))
        counts[outcome] += 1
        if problem:
            # One example a place.
            place = re.search(r"at \S+:\d+", problem)
            seen.setdefault(place[0] if place else problem, f"{label}: {problem}")

    if call.parameters:
        example()
    return dict(counts), list(seen.values())


def work(targets: Callable[[], Iterator[Any]], seed: int, count: int, names: list[str]) -> None:
    """Run in a child: a line before each example, and one after each call's."""
    faulthandler.enable()
    calls = {call.name: call for call in targets() if call.name in names}
    for call in calls.values():
        result = call.run({})
        if "out" in call.parameters:
            call.result = result
    bounded()
    # What writes to a name that was drawn writes here.
    os.chdir(tempfile.mkdtemp(prefix="fastconv-trust-"))
    for name in names:
        counts, seen = abused(calls[name], seed, count)
        print(json.dumps({"done": name, "counts": counts, "wrong": seen}), flush=True)


def failures(
    group: str, seed: int, count: int, names: list[str]
) -> tuple[list[str], collections.Counter[str]]:
    """Abuse names in a child process, in a new one after each crash."""
    wrongs: list[str] = []
    counts: collections.Counter[str] = collections.Counter()
    left = list(names)
    while left:
        command = [sys.executable, "-X", "utf8", "-m", "tests.trust.abuse", "--worker", group]
        command += ["--seed", str(seed), "--count", str(count), *left]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        last = ""
        for line in done.stdout.splitlines():
            told = json.loads(line)
            if "done" not in told:
                last = f"{told['call']}({told['with']})"
                continue
            left.remove(told["done"])
            counts.update(told["counts"])
            wrongs += [f"{told['done']}({text}" for text in told["wrong"]]
        if done.returncode == 0:
            break
        wrongs.append(f"{last} ended the process with {done.returncode}: {done.stderr[-1500:]}")
        if not last or not left:
            break
        del left[0]
    return wrongs, counts


def groups() -> dict[str, Callable[[], Iterator[Any]]]:
    """Name the sets of calls."""
    from tests.trust import public_calls

    return {
        "functional": public_calls.functional,
        "layers": public_calls.layers,
        "tools": public_calls.tools,
        "models": public_calls.models,
        "doors": public_calls.doors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", choices=sorted(groups()))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    if given.worker:
        work(groups()[given.worker], given.seed, given.count, given.names)
        return
    start = time.monotonic()
    for group, calls in groups().items():
        names = [call.name for call in calls() if not given.names or call.name in given.names]
        if names:
            wrongs, counts = failures(group, given.seed, given.count, names)
            print(*wrongs, sep="\n")
            print(group, dict(counts), f"{len(wrongs)} wrong, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
