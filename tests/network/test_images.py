"""Batches done for some images at a time: the same bits, less memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as drawn
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv import settings
from fastconv.backends.native import arena
from fastconv.network.code import piece_count
from fastconv.network.compiled import Shapes
from fastconv.network.passes import images
from fastconv.network.program import Images
from tests.network.random_networks import RandomNetwork

RNG = np.random.default_rng(7)
# Each with what it has of weights; two are enough for a branch that crosses the place.
KERNELS = [RNG.standard_normal((c, k, 3, 3)).astype("f4") / 9 for c, k in ((8, 3), (8, 8), (4, 8))]


def program_of(network: Shapes, x: Any) -> Any:
    found = network.compiled([(x.shape, x.dtype)])
    assert found is not None
    return found.program


def few_at_a_time(patch: pytest.MonkeyPatch, each: int, weigh: bool = False) -> None:
    """Have ``each`` images at a time, through all layers that allow it unless weights count."""
    patch.setattr(images, "_at_a_time", lambda *args: each)
    if not weigh:
        patch.setattr(images, "_weights", lambda op: 0)


@drawn(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), batch=st.integers(2, 7), each=st.integers(1, 3))
def test_random_networks_keep_their_bits(seed: int, batch: int, each: int) -> None:
    function = RandomNetwork(seed)
    x = np.random.default_rng(3).standard_normal((batch, 4, 9, 9)).astype("f4")
    with pytest.MonkeyPatch.context() as patch:
        few_at_a_time(patch, each)
        network = Shapes(function)
        for threads in (1, 2, 3, 5):
            arena.take(1 << 22)
            arena.poison()
            with settings.threads(threads):
                results = network.run([x])
            for i in range(batch):
                for result, wanted in zip(network.run([x[i : i + 1]]), results, strict=True):
                    np.testing.assert_array_equal(result[0], wanted[i])


def layers(x: Any) -> Any:
    first = F.relu(F.conv2d(x, KERNELS[0], padding=1))
    second = F.conv2d(first, KERNELS[1], padding=1) + first
    third = F.conv2d(F.max_pool2d(second, 2), KERNELS[2], padding=1)
    return third.reshape(len(x), -1), second.mean((2, 3))


@pytest.mark.parametrize("batch", [2, 5, 8])
@pytest.mark.parametrize("each", [1, 2, 3])
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 16])
def test_pieces_on_threads(batch: int, each: int, threads: int) -> None:
    x = RNG.standard_normal((batch, 3, 32, 32)).astype("f4")
    with pytest.MonkeyPatch.context() as patch:
        few_at_a_time(patch, each)
        network = Shapes(layers)
        program = program_of(network, x)
        assert piece_count(program) == (0 if each >= batch else -(-batch // each))
        patch.setattr("fastconv.network.executor.SERIAL_SECONDS", 0.0)
        network = Shapes(layers)
        with settings.threads(threads):
            results = network.run([x])
    for result, wanted in zip(results, Shapes(layers).run([x]), strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_one_operation_stands_for_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    few_at_a_time(monkeypatch, 2)
    program = program_of(Shapes(layers), RNG.standard_normal((5, 3, 32, 32)).astype("f4"))
    first = program.ops[0]
    assert isinstance(first, Images)
    assert [(p.first, p.each, p.count) for p in first.portions] == [(0, 2, 2), (4, 1, 1)]
    # The convolutions, the pool and the mean; the sum and the activation are parts of the first.
    assert [op.kind for op in program.posed()][:2] == ["conv2d", "conv2d"]
    assert len(first.replaced) >= 5


def test_a_batch_that_fits_the_caches_is_done_whole() -> None:
    program = program_of(Shapes(layers), RNG.standard_normal((2, 3, 8, 8)).astype("f4"))
    assert piece_count(program) == 0


def test_weights_decide_where_the_whole_batch_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images of many channels cost more weights than cells."""
    few_at_a_time(monkeypatch, 1, weigh=True)
    many = RNG.standard_normal((64, 8, 3, 3)).astype("f4")
    more = RNG.standard_normal((64, 64, 3, 3)).astype("f4")

    def narrowing(x: Any) -> Any:
        x = F.relu(F.conv2d(F.conv2d(x, KERNELS[0], padding=1), KERNELS[1], padding=1))
        x = F.conv2d(F.max_pool2d(x, 8), many, padding=1)
        return F.conv2d(F.conv2d(x, more, padding=1), more, padding=1)

    program = program_of(Shapes(narrowing), RNG.standard_normal((4, 3, 16, 16)).astype("f4"))
    first = program.ops[0]
    assert isinstance(first, Images)
    assert sum(op.kind == "conv2d" for op in first.replaced) == 2
    assert sum(op.kind == "conv2d" for op in program.ops) == 3


@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: x[::-1],
        lambda x: x - x.mean(0, keepdims=True),
        lambda x: F.softmax(x, 0),
        lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0)),
        lambda x: np.concatenate([x, x[1:]], 0),
        lambda x: x.transpose(1, 0, 2, 3),
        lambda x: x.reshape(3, 4, 8, 8).transpose(1, 0, 2, 3),
        lambda x: x.reshape(2, -1, 8, 8)[:, :4],
        lambda x: x + np.arange(4, dtype="f4").reshape(4, 1, 1, 1),
        lambda x: F.layer_norm(x, x.shape),
        lambda x: x[:, :, 0, 0][:, None, :, None] + x[:, :, 0, 0][:, :, None, None][:, :1],
        lambda x: x[:, 0, :4, 0] + x[:, :4, :4, 1],
    ],
)
def test_what_mixes_images_is_done_for_all(mixing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four images, so that channels and batch are easily taken for each other."""
    x = RNG.standard_normal((4, 3, 8, 8)).astype("f4")
    wide = RNG.standard_normal((4, 3, 1, 1)).astype("f4")

    def network(value: Any) -> Any:
        try:
            return F.relu(mixing(F.relu(F.conv2d(value, KERNELS[0][:3], padding=1))))
        except ValueError:
            return F.relu(mixing(F.relu(F.conv2d(value, wide))))

    expected = Shapes(network).run([x])
    few_at_a_time(monkeypatch, 1)
    for result, wanted in zip(Shapes(network).run([x]), expected, strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_a_batch_takes_the_memory_of_an_image() -> None:
    net = fastconv.nn.Sequential(
        fastconv.nn.Conv2d(3, 64, 3, padding=1), fastconv.nn.ReLU(),
        fastconv.nn.Conv2d(64, 64, 3, padding=1), fastconv.nn.ReLU(),
        fastconv.nn.AdaptiveAvgPool2d(1), fastconv.nn.Flatten(),
    )  # fmt: skip
    network = fastconv.compile(net, (1, 3, 96, 96))
    one, many = (network.compiled((n, 3, 96, 96)) for n in (1, 16))
    assert one is not None
    assert many is not None
    assert many.memory_bytes < 1.5 * one.memory_bytes
    x = RNG.standard_normal((16, 3, 96, 96)).astype("f4")
    np.testing.assert_array_equal(network(x)[3:4], network(x[3:4]))


def test_profiles_and_explanations_name_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    few_at_a_time(monkeypatch, 1)
    net = fastconv.nn.Sequential(
        fastconv.nn.Conv2d(3, 8, 3), fastconv.nn.ReLU(), fastconv.nn.MaxPool2d(2)
    )
    network = fastconv.compile(net, (4, 3, 32, 32))
    told = network.profile(RNG.standard_normal((4, 3, 32, 32)).astype("f4"), runs=2)
    explained = network.explain((4, 3, 32, 32), passes=True, measure=True)
    assert [row.kind for row in told.rows] == [r.kind for r in explained.reports]
    assert [row.kind for row in told.rows] == ["Conv2d", "MaxPool2d"]
    assert told.rows[0].flops == 4 * 2 * 30 * 30 * 8 * 27
    assert "by_images" in str(explained)
