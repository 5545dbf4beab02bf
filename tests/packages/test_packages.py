"""Packages give the same results with fastconv in onnxruntime's place: text, boxes, scores.

They are not part of the test extra: `make test-packages` installs them.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.packages.calls import CALLS

ROOT = Path(__file__).parents[2]
MISSING = [m for m, _ in CALLS.values() if importlib.util.find_spec(m) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING) or importlib.util.find_spec("onnxruntime") is None,
    reason="make test-packages installs the packages",
)
# Scores are rounded by some packages, boxes are pixels that stem from thresholds.
TOLERANCE = 1e-4


def found(name: str, engine: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.packages.calls", name, engine],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["engine"] == engine
    return result


@pytest.mark.parametrize("name", CALLS)
def test_package_gives_the_results_of_onnxruntime(name: str) -> None:
    theirs, ours = found(name, "onnxruntime"), found(name, "fastconv")
    assert ours["words"] == theirs["words"]
    assert len(ours["numbers"]) == len(theirs["numbers"])
    for own, wanted in zip(ours["numbers"], theirs["numbers"], strict=True):
        assert len(wanted) > 0
        np.testing.assert_allclose(own, wanted, rtol=TOLERANCE, atol=TOLERANCE)
