"""Kernels that are broken in one place, which their checks must see: else they check nothing."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.backends.cuda import transpose
from fastconv.backends.cuda.engine.device import SimulatedDevice
from fastconv.backends.cuda.engine.plan import OUTPUT, CudaPlan
from fastconv.backends.native.plan import INPUT
from tests.backends.cuda.mutation import assert_caught, mutated


def turned() -> None:
    x = np.arange(2 * 33 * 34, dtype="f4").reshape(2, 33, 34)
    device = SimulatedDevice()
    output = device.empty(x.nbytes)
    plan = CudaPlan([transpose.transposing(2, 33, 34, INPUT(0), OUTPUT)])
    plan.enqueue(device, [device.upload(x)], output)
    result = np.empty((2, 34, 33), "f4")
    device.download(output, result)
    np.testing.assert_array_equal(result, x.transpose(0, 2, 1))


MUTATIONS = {
    "a barrier": ("cuda.syncthreads()", "pass"),
    "an edge": ("cell = target + i64(column)", "cell = i64(column)"),
}


def test_whole_kernels_pass() -> None:
    turned()


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_kernels_are_seen(name: str) -> None:
    assert_caught(transpose.transpose, *MUTATIONS[name], turned)


def test_a_mutation_that_is_out_of_date_is_told() -> None:
    with (
        pytest.raises(ValueError, match="occurs 0 times"),
        mutated(transpose.transpose, "a barrier that is not there", "pass"),
    ):
        pass
