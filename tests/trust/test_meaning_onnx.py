"""What README says of onnx's backend tests is what comes of them.

tests/test_onnx_suite.py has each of them as a test of its own; here they are counted.
"""

from __future__ import annotations

import re
import unittest
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/onnx.md"


def figures(path: str, pattern: str) -> list[int]:
    """Read figures from a page."""
    found = re.search(pattern, (ROOT / path).read_text("utf-8"))
    assert found is not None, f"{path} has no figure"
    return [int(figure.replace(",", "")) for figure in found.groups()]


def passes(test: Callable[[], object]) -> bool:
    """Run one of the suite's tests."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            test()
    except (ValueError, TypeError, AssertionError, unittest.SkipTest):
        return False
    return True


def test_backend_suite(
    scale: Callable[[int, int], int],
    told: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passing, of = figures("README.md", r"passes ([\d,]+) of onnx's ([\d,]+) backend tests")
    assert figures(PAGE, r"\| all \| (\d+) \| (\d+) \|") == [of, passing]
    if not scale(0, 1):
        told("onnx's meaning", "README agrees with docs/onnx.md", f"{passing:,} of {of:,}")
        return

    onnx = pytest.importorskip("onnx", reason="these are onnx's tests")
    if f"(onnx {onnx.__version__})" not in (ROOT / PAGE).read_text("utf-8"):
        pytest.skip(f"the figures were not taken with onnx {onnx.__version__}")
    from tests import onnx_suite
    from tests.onnx_gaps import gap, is_random

    monkeypatch.setenv("ONNX_HOME", str(tmp_path))
    monkeypatch.delenv("ONNX_MODELS", raising=False)
    groups = onnx_suite.groups()
    names = {name: test for tests in groups.values() for name, test in tests.items()}
    fail = {name for name in names if gap(name) is not None or is_random(name)}
    assert (len(names) - len(fail), len(names)) == (passing, of)
    quick = [n for n in names if n not in groups["Real"] or n in onnx_suite.QUICK_NETWORKS]
    wrong = [name for name in quick if passes(names[name]) == (name in fail)]
    # A draw of random numbers may be the suite's own by chance.
    assert not [name for name in wrong if not is_random(name)]
    ran = sum(name not in fail for name in quick)
    figure = f"{ran:,} of {len(quick):,} pass; {passing:,} of {of:,} with the largest networks"
    told("onnx's meaning", "onnx's backend tests", figure)
