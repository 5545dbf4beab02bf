"""Images turned between the layouts, alone and around a convolution."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.backends.cuda.conv.direct import plan_direct
from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan
from fastconv.backends.cuda.tile import TILES
from fastconv.backends.cuda.transpose import channels_last, transposing
from fastconv.backends.native.plan import INPUT
from fastconv.backends.reference.conv import Conv
from fastconv.problem import ConvProblem

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(("rows", "columns"), [(3, 70), (33, 32), (64, 31), (1, 5)])
def test_matrices_are_turned(rows: int, columns: int) -> None:
    x = RNG.standard_normal((2, rows, columns)).astype("f4")
    device = SimulatedDevice()
    output = device.empty(x.nbytes)
    plan = CudaPlan([transposing(2, rows, columns, INPUT(0), OUTPUT)])
    plan.enqueue(device, [device.upload(x)], output)
    result = np.empty((2, columns, rows), "f4")
    device.download(output, result)
    np.testing.assert_array_equal(result, x.transpose(0, 2, 1))


def test_a_convolution_of_channels_first() -> None:
    x = RNG.integers(-4, 5, (2, 8, 5, 7)).astype("f4")
    weight = RNG.integers(-4, 5, (12, 8, 3, 3)).astype("f4")
    residual = RNG.integers(-4, 5, (2, 12, 5, 7)).astype("f4")
    problem = ConvProblem.of(2, x, weight, padding=1, residual=residual)
    expected = Conv().plan(problem, weight, None).run(x, residual)
    device = SimulatedDevice()
    output = device.empty(expected.nbytes)
    plan = channels_last(problem, lambda turned: plan_direct(turned, weight, None, TILES[-1]))
    plan.enqueue(device, [device.upload(x), device.upload(residual)], output)
    result = np.empty_like(expected)
    device.download(output, result)
    np.testing.assert_array_equal(result, expected)
