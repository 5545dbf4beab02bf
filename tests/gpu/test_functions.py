"""All other functions on a GPU, against the reference in main memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import fastconv.functional as F

RNG = np.random.default_rng(2)


def drawn(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype("f4")


X = drawn(2, 12, 15, 13)
CHANNELS = drawn(12), np.abs(drawn(12)) + 0.5

CASES: dict[str, Callable[..., Any]] = {
    "relu": lambda x, **o: F.relu(x, **o),
    "gelu": lambda x, **o: F.gelu(x, **o),
    "mish": lambda x, **o: F.mish(x, **o),
    "softplus": lambda x, **o: F.softplus(x, **o),
    "prelu": lambda x, **o: F.prelu(x, CHANNELS[0], **o),
    "max pool": lambda x, **o: F.max_pool2d(x, 3, 2, 1, **o),
    "avg pool": lambda x, **o: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, **o),
    "lp pool": lambda x, **o: F.lp_pool2d(x, 2, 3, 2, **o),
    "adaptive": lambda x, **o: F.adaptive_avg_pool2d(x, (4, 5), **o),
    "global": lambda x, **o: F.adaptive_max_pool2d(x, 1, **o),
    "softmax": lambda x, **o: F.softmax(x, 1, **o),
    "log softmax": lambda x, **o: F.log_softmax(x, -1, **o),
    "batch norm": lambda x, **o: F.batch_norm(x, *CHANNELS, **o),
    "group norm": lambda x, **o: F.group_norm(x, 3, **o),
    "instance norm": lambda x, **o: F.instance_norm(x, **o),
    "layer norm": lambda x, **o: F.layer_norm(x, (15, 13), **o),
    "response norm": lambda x, **o: F.local_response_norm(x, 5, **o),
    "pad": lambda x, **o: F.pad(x, (1, 2, 3, 0), "reflect", **o),
    "nearest": lambda x, **o: F.interpolate(x, scale_factor=2, **o),
    "bilinear": lambda x, **o: F.interpolate(x, size=(20, 9), mode="bilinear", **o),
    "shuffle": lambda x, **o: F.pixel_shuffle(x, 2, **o),
    "unfold": lambda x, **o: F.unfold(x, 3, padding=1, stride=2, **o),
    "linear": lambda x, **o: F.linear(x, WEIGHT, drawn_bias, **o),
    "transposed": lambda x, **o: F.conv_transpose2d(x, UP, stride=2, padding=1, **o),
}
WEIGHT, drawn_bias = drawn(7, 13), drawn(7)
UP = drawn(12, 9, 4, 4)


@pytest.mark.small
@pytest.mark.parametrize("name", CASES)
def test_against_the_reference(name: str) -> None:
    call = CASES[name]
    expected = call(X, backend="reference")
    result = call(torch.from_numpy(X).cuda())
    assert isinstance(result, torch.Tensor)
    assert result.is_cuda
    np.testing.assert_allclose(result.cpu().numpy(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.small
def test_max_pool_with_indices_and_back() -> None:
    x = torch.from_numpy(X).cuda()
    pooled, places = F.max_pool2d(x, 2, return_indices=True)
    expected, there = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
    assert torch.equal(pooled, expected)
    assert torch.equal(places, there)
    back = F.max_unpool2d(pooled, places, 2, output_size=(15, 13))
    right = torch.nn.functional.max_unpool2d(expected, there, 2, output_size=(15, 13))
    assert torch.equal(back, right)
