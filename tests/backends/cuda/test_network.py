"""Whole networks on the GPU, simulated: one graph, on GPU arrays and on arrays in main memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import nn
from fastconv.device_arrays import DeviceArray
from tests.backends.cuda.device_memory import OnDevice, on_host

RNG = np.random.default_rng(6)


def drawn(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype("f4")


def small() -> Any:
    """Return a network with a residual, a join of channels, a pool and a classifier."""
    w1, w2, w3 = drawn(8, 3, 3, 3), drawn(8, 8, 3, 3), drawn(5, 16)
    bias = drawn(8)

    def forward(x: Any) -> Any:
        x = F.relu(F.conv2d(x, w1, bias, padding=1))
        y = F.relu(F.conv2d(x, w2, padding=1) + x)
        z = np.concatenate([F.max_pool2d(x, 2), F.max_pool2d(y, 2)], 1)
        return F.linear(F.adaptive_avg_pool2d(z, 1).reshape(-1, 16), w3)

    return forward


@pytest.fixture(scope="module")
def network() -> Any:
    return fastconv.compile(small(), (1, 3, 6, 6))


def test_a_network_on_gpu_arrays(network: Any) -> None:
    for batch in (1, 2, 1):
        x = drawn(batch, 3, 6, 6)
        result = network(OnDevice(x))
        assert isinstance(result, DeviceArray)
        np.testing.assert_allclose(on_host(result), network(x), rtol=1e-4, atol=1e-4)


def test_results_are_not_overwritten_by_the_next_run(network: Any) -> None:
    x, other = drawn(1, 3, 6, 6), drawn(1, 3, 6, 6)
    first = network(OnDevice(x))
    before = on_host(first).copy()
    network(OnDevice(other))
    np.testing.assert_array_equal(on_host(first), before)


def test_an_image_has_the_same_bits_in_any_batch(network: Any) -> None:
    x = drawn(2, 3, 6, 6)
    whole = on_host(network(OnDevice(x)))
    alone = on_host(network(OnDevice(x[1:])))
    np.testing.assert_array_equal(whole[1:], alone)


def test_arrays_in_main_memory_are_copied(network: Any, monkeypatch: Any) -> None:
    x = drawn(2, 3, 6, 6)
    expected = on_host(network(OnDevice(x)))
    monkeypatch.setenv("FASTCONV_BACKEND", "cuda")
    again = fastconv.compile(network.function, (1, 3, 6, 6))
    np.testing.assert_array_equal(again(x), expected)


def test_what_only_numpy_does_is_refused() -> None:
    network = fastconv.compile(lambda x: F.relu(np.prod(x, axis=1)), (1, 3, 4, 4))
    with pytest.raises(ValueError, match="cannot run on the GPU"):
        network(OnDevice(drawn(1, 3, 4, 4)))


def test_layers_in_a_network() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    network = fastconv.compile(model, (1, 3, 5, 5))
    x = drawn(1, 3, 5, 5)
    np.testing.assert_allclose(on_host(network(OnDevice(x))), network(x), rtol=1e-4, atol=1e-5)
