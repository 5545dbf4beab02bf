"""Converted modules compared with torch: one check for all tests of fastconv.torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

import fastconv


class Fn(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def image(*shape: int, dtype: Any = torch.float32) -> Any:
    """Return the same normal numbers at each call."""
    torch.manual_seed(3)
    return torch.randn(*shape, dtype=dtype)


def several(value: Any) -> list[Any]:
    """Return a value, or those of a tuple or dict, in a list."""
    leaves: list[Any] = pytree.tree_leaves(value)
    return leaves


def check(
    module: Any, *inputs: Any, again: Any = None, tolerance: float = 1e-5, **options: Any
) -> Any:
    """Compare the network with torch, on the example and on inputs of other sizes."""
    network = fastconv.torch.convert(module, inputs, **options)
    for given in (inputs, *([again] if again is not None else [])):
        compare(network, module, *given, tolerance=tolerance)
    return network


def compare(network: Any, module: Any, *given: Any, tolerance: float = 1e-5) -> None:
    """Compare a network with torch: values, shapes and dtypes of all outputs."""
    with torch.no_grad():
        found = module.eval()(*given) if isinstance(module, nn.Module) else module(*given)
    expected = several(found)
    results = several(network(*(value.numpy() for value in several(given))))
    assert len(results) == len(expected)
    for result, wanted, port in zip(results, expected, network.outputs, strict=True):
        reference = wanted.numpy()
        assert (result.dtype, result.shape) == (reference.dtype, reference.shape), port.name
        if reference.dtype.kind in "fc":
            scale = max(1.0, float(np.abs(reference[np.isfinite(reference)]).max(initial=0)))
            np.testing.assert_allclose(
                result, reference, rtol=0, atol=tolerance * scale, err_msg=port.name
            )
        else:
            np.testing.assert_array_equal(result, reference, err_msg=port.name)
