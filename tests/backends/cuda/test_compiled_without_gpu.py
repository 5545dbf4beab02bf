"""Where the compiler is installed and there is no GPU: a clear error, and no driver before it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import fastconv.functional as F
from tests.backends.cuda.device_memory import OnDevice

X = np.ones((1, 4, 5, 5), "f4")


def no_gpu() -> bool:
    from cuda.bindings import driver

    try:
        return bool(driver.cuInit(0)[0] != driver.CUresult.CUDA_SUCCESS)
    except Exception:
        return True


@pytest.mark.skipif("not no_gpu()", reason="there is a GPU")
def test_backend_cuda_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="backend 'cuda' needs an NVIDIA GPU and its driver"):
        F.relu(X, backend="cuda")
    with pytest.raises(ValueError, match="backend 'cuda' needs an NVIDIA GPU and its driver"):
        F.conv2d(OnDevice(X), np.ones((4, 4, 3, 3), "f4"))


def test_nothing_of_cuda_is_imported_before_it_is_asked_for() -> None:
    code = """
import sys
import fastconv
text = str(fastconv.show_config())
assert "cuda" in text, text
fastconv.conv2d([[[[1.0]]]], [[[[2.0]]]])
names = ("cuda.bindings", "cuda.core", "numba.cuda", "numba_cuda.numba")
found = [name for name in names if name in sys.modules]
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
