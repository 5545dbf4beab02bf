"""Compiled networks: the same numbers as running the layers one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv.backends.native import arena
from fastconv.network.compiled import Shapes
from tests.network.random_networks import RandomNetwork


def both(network: RandomNetwork, shape: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    """Return the outputs one layer at a time, and those of the compiled network."""
    x = np.random.default_rng(1).standard_normal(shape).astype(network.dtype)
    one_by_one = network(x)
    shapes = Shapes(network)
    arena.take(1 << 22)
    arena.poison()
    compiled = shapes.run([x])
    assert shapes.compiled([(x.shape, x.dtype)]) is not None
    several = list(one_by_one) if isinstance(one_by_one, tuple) else [one_by_one]
    return several, compiled


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), batch=st.integers(1, 3), size=st.sampled_from((7, 8, 12)),
    channels=st.sampled_from((1, 3, 8)),
)  # fmt: skip
def test_random_networks(seed: int, batch: int, size: int, channels: int) -> None:
    expected, results = both(RandomNetwork(seed), (batch, channels, size, size))
    for result, wanted in zip(results, expected, strict=True):
        assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
        # A dozen layers' roundings, of sums in another order where weights were folded.
        largest = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(result, wanted, rtol=0, atol=2e-4 * largest)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_image_has_the_same_bits_in_any_batch_on_any_threads(seed: int) -> None:
    network = Shapes(RandomNetwork(seed))
    x = np.random.default_rng(2).standard_normal((3, 4, 9, 9)).astype("f4")
    whole = network.run([x])
    with fastconv.settings.threads(3):
        for given, wanted in zip(network.run([x]), whole, strict=True):
            np.testing.assert_array_equal(given, wanted)
    for i in range(3):
        for given, wanted in zip(network.run([x[i : i + 1]]), whole, strict=True):
            np.testing.assert_array_equal(given[0], wanted[i])


def test_an_array_is_a_sequence_of_its_rows() -> None:
    x = np.random.default_rng(3).standard_normal((2, 3, 4, 5)).astype("f4")
    network = Shapes(lambda value: np.concatenate(value, axis=-1))
    (result,) = network.run([x])
    np.testing.assert_array_equal(result, np.concatenate(x, axis=-1))
    assert network.compiled([(x.shape, x.dtype)]) is not None


def test_what_cannot_be_lowered_is_said_by_running_it() -> None:
    x = np.zeros((2, 3), "f4")
    network = Shapes(lambda value: np.expand_dims(value, 2**40))
    assert network.compiled([(x.shape, x.dtype)]) is None
    with pytest.raises((ValueError, OverflowError)):
        network.run([x])
