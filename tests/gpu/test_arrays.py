"""Arrays of libraries on a GPU: the same kind back, on the caller's stream, and networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import fastconv
import fastconv.functional as F
from fastconv import nn

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 8, 14, 14)).astype("f4")
WEIGHT = RNG.standard_normal((8, 8, 3, 3)).astype("f4")
EXPECTED = F.conv2d(X, WEIGHT, padding=1, backend="reference")


def close(result: Any) -> None:
    np.testing.assert_allclose(result, EXPECTED, rtol=1e-4, atol=1e-4)


@pytest.mark.small
def test_torch() -> None:
    x, weight = torch.from_numpy(X).cuda(), torch.from_numpy(WEIGHT).cuda()
    for given in (weight, WEIGHT):
        result = F.conv2d(x, given, padding=1)
        assert isinstance(result, torch.Tensor)
        close(result.cpu().numpy())
    last = F.conv2d(x.contiguous(memory_format=torch.channels_last), WEIGHT, padding=1)
    assert last.is_contiguous(memory_format=torch.channels_last)
    close(last.cpu().numpy())
    out = torch.full_like(x, float("nan"))
    assert F.conv2d(x, WEIGHT, padding=1, out=out) is out
    close(out.cpu().numpy())
    close(F.conv2d(x.requires_grad_(), WEIGHT, padding=1).cpu().numpy())


def test_cupy() -> None:
    cupy = pytest.importorskip("cupy")
    result = F.conv2d(cupy.asarray(X), WEIGHT, padding=1)
    assert isinstance(result, cupy.ndarray)
    close(result.get())


def test_jax() -> None:
    jax = pytest.importorskip("jax")
    result = F.conv2d(jax.numpy.asarray(X), WEIGHT, padding=1)
    assert isinstance(result, jax.Array)
    close(np.asarray(result))


def test_numba() -> None:
    from numba import cuda

    result = F.conv2d(cuda.to_device(X), WEIGHT, padding=1)
    close(result.copy_to_host())


def test_arrays_in_main_memory() -> None:
    close(F.conv2d(X, WEIGHT, padding=1, backend="cuda"))


def test_work_goes_to_the_callers_stream() -> None:
    """What is put on a stream before a call is done before it, and nothing waits for either."""
    x = torch.zeros(2, 8, 14, 14, device="cuda")
    F.conv2d(x, WEIGHT, padding=1)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        x.copy_(torch.from_numpy(X).pin_memory(), non_blocking=True)
        result = F.conv2d(x, WEIGHT, padding=1)
        assert not stream.query(), "the call has waited"
    stream.synchronize()
    close(result.cpu().numpy())


def test_a_network_is_replayed() -> None:
    model = nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 10),
    )  # fmt: skip
    network = fastconv.compile(model, (1, 8, 14, 14))
    expected = network(X)
    x = torch.from_numpy(X).cuda()
    first = network(x)
    kept = first.clone()
    np.testing.assert_allclose(first.cpu().numpy(), expected, rtol=1e-4, atol=1e-4)
    for _ in range(5):
        assert torch.equal(network(x), kept)
    network(torch.zeros_like(x))
    assert torch.equal(first, kept)
    assert torch.equal(network(x[1:]), kept[1:])
