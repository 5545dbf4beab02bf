"""Apply mutations to copies of the tree, and tell which no test catches.

``python -m tests.mutations [topic ...]``: a topic is a file of tables next to this one.
"""

from __future__ import annotations

import argparse
import importlib
import os
import queue
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutations.mutation import Mutation

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
# What a test run needs of the tree. The extension that was built is in `fastconv` too.
NEEDED = ("fastconv", "csrc", "tests", "benchmarks", "examples", "docs", ".ci", ".github")
FILES = ("pyproject.toml", "setup.py", "Makefile", "README.md", "SECURITY.md", "CHANGELOG.md")
# These run where there is no C extension alone: its own driver runs the kernels of both.
WITHOUT_C = tuple(f"fastconv/backends/numba/engine/{n}.py" for n in ("driver", "float_mode"))
# A change that makes a run endless is seen, too.
SECONDS = 300


def topics() -> list[str]:
    """Name the tables."""
    return sorted(p.stem for p in HERE.glob("*.py") if p.stem != "mutation" and p.stem[0] != "_")


def mutations(names: list[str]) -> list[tuple[str, Mutation]]:
    """Return the rows of some tables, each with its topic."""
    tables = {name: importlib.import_module(f"tests.mutations.{name}") for name in names}
    return [(name, Mutation(*row)) for name, table in tables.items() for row in table.MUTATIONS]


def copied(folder: Path) -> Path:
    """Copy what a test run needs."""
    skip = shutil.ignore_patterns("__pycache__", "report", ".*_cache")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in FILES:
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run(tree: Path, row: Mutation) -> tuple[str, str]:
    """Run a row's tests in a tree; give "green", "red", "endless" or "no run", and the output."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    found = [tree, *([tree / "tests/without/c"] if row.file in WITHOUT_C else [])]
    path = os.pathsep.join(map(str, found))
    variables = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **row.variables}
    try:
        done = subprocess.run(
            [*command, *shlex.split(row.tests)],
            cwd=tree,
            env=os.environ | variables,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "endless", ""
    word = {0: "green", 1: "red"}.get(done.returncode, "no run")
    if done.returncode < 0:
        word = "red"
    return word, done.stdout[-3000:] + done.stderr[-1000:]


def tried(tree: Path, row: Mutation) -> tuple[str, str]:
    """Apply a row, run its tests, and put the tree back."""
    path = tree / row.file
    source = path.read_text("utf-8")
    if source.count(row.old) != 1:
        return "stale", f"{row.file} has the old text {source.count(row.old)} times, not once"
    try:
        path.write_text(source.replace(row.old, row.new), "utf-8")
        return run(tree, row)
    finally:
        path.write_text(source, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topics", nargs="*", help=f"of {', '.join(topics())}; all by default")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="rows whose promise has these words")
    given = parser.parse_args()
    if unknown := set(given.topics) - set(topics()):
        parser.error(f"there is no table {', '.join(sorted(unknown))}")
    rows = [
        (topic, row)
        for topic, row in mutations(given.topics or topics())
        if given.only.lower() in row.promise.lower()
    ]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="fastconv-mutations-") as folder:
        trees: queue.Queue[Path] = queue.Queue()
        for number in range(given.jobs):
            trees.put(copied(Path(folder, str(number))))

        def one(topic: str, row: Mutation) -> tuple[str, Mutation, str, str, float]:
            tree = trees.get()
            start = time.monotonic()
            try:
                # Tests that are red anyway catch nothing.
                word, output = run(tree, row)
                if word == "green":
                    word, output = tried(tree, row)
                else:
                    word = f"{word} before the change"
            finally:
                trees.put(tree)
            return topic, row, word, output, time.monotonic() - start

        with ThreadPoolExecutor(given.jobs) as pool:
            for topic, row, word, output, seconds in pool.map(lambda pair: one(*pair), rows):
                caught = word in ("red", "endless")
                survived += not caught
                mark = "caught" if caught else f"SURVIVED ({word})"
                print(
                    f"{mark:10} {seconds:5.0f} s  {topic}: {row.promise} [{row.file}]", flush=True
                )
                if not caught:
                    print(f"  - {row.old}\n  + {row.new}\n  {row.tests}\n{output}", flush=True)
    print(f"{len(rows) - survived} of {len(rows)} mutations caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
