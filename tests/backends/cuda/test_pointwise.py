"""Elementwise kernels in Numba's simulator, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.cuda.pointwise import plan_elementwise
from fastconv.backends.reference.activation import activate
from fastconv.problem import ElementwiseProblem
from fastconv.problem.activation import ACTIVATIONS

SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -1e-40, 100.0, -100.0, 3e38, -3e38]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([SPECIAL, rng.standard_normal(30) * 4]).astype("f4")
    problem = ElementwiseProblem.of(x, name)
    device = SimulatedDevice()
    output = device.empty(x.nbytes)
    plan_elementwise(problem).enqueue(device, [device.upload(x)], output)
    result = np.empty_like(x)
    device.download(output, result)
    with np.errstate(all="ignore"):
        expected = activate(x.astype("f8"), problem.activation).astype("f4")
    np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-7)
