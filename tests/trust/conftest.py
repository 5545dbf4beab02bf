"""The two forms of these checks, and the rows of the table that they fill."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Return the count for the form that runs: ``scale(short, full)``."""
    full = request.config.getoption("--trust") == "full"
    return lambda short, long: long if full else short


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """Record a row: the promise, what was done to it, and the figure that came of it."""
    return lambda promise, what, figure: record(
        request.config, request.node.nodeid, promise, what, figure
    )


def record(config: pytest.Config, test: str, promise: str, what: str, figure: str) -> None:
    """Append a row to the table, where one is asked for."""
    path = config.getoption("--trust-table")
    if path is None:
        return
    row = json.dumps({"test": test, "promise": promise, "what": what, "figure": figure})
    # One write of one line at the end: the rows of several processes do not mix.
    file = os.open(Path(config.rootpath, path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{row}\n".encode())
    finally:
        os.close(file)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """Record a failing test in its row as well."""
    report = yield
    if report.failed:
        record(item.config, item.nodeid, item.name, f"{report.when}", "FAILED")
    return report
