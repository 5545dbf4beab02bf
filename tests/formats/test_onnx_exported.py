"""Activations as PyTorch's exporter writes them out in ONNX, in the epilogue of a convolution."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="this reads ONNX models")

import torch
from torch import nn
from torch.nn import functional as F

import fastconv
from fastconv.network.program import Solve
from fastconv.problem import StridedProblem

# What a model calls, and what runs. Before opset 14 there is no HardSwish, before 18 no Mish,
# before 20 no Gelu; what a model writes out itself stays written out in every opset.
CALLS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "hardsigmoid": ("hardsigmoid", F.hardsigmoid),
    "hardswish": ("hardswish", F.hardswish),
    "relu6": ("hardsigmoid", lambda x: F.relu6(x + 3) / 6),
    "clamp": ("hardswish", lambda x: x * (x + 3).clamp(0, 6) / 6),
    "clamp_first": ("hardswish", lambda x: x * (F.relu6(x + 3) / 6)),
    "sixth": ("hardswish", lambda x: x * F.relu6(x + 3) * 0.16666667),
    "silu": ("silu", F.silu),
    "gelu": ("gelu(0)", F.gelu),
    "gelu_written": ("gelu(0)", lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
    "gelu_tanh": ("gelu(1)", lambda x: F.gelu(x, approximate="tanh")),
    "gelu_power": (
        "gelu(1)",
        lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * torch.pow(x, 3.0)))),
    ),
    "mish": ("mish", F.mish),
    "mish_written": ("mish", lambda x: x * torch.tanh(F.softplus(x))),
    "softsign": ("softsign", F.softsign),
    "sigmoid_written": ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
    "clamp_below": ("relu", lambda x: x.clamp(min=0)),
}


class Each(nn.Module):
    """A convolution for each call."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 8, 3) for _ in CALLS)

    def forward(self, x: Any) -> Any:
        pairs = zip(self.convs, CALLS.values(), strict=True)
        return tuple(call(3 * conv(x)) for conv, (_, call) in pairs)


@pytest.mark.parametrize("opset", [11, 14, 18, 20])
def test_activations_written_out_end_their_convolution(opset: int) -> None:
    torch.manual_seed(0)
    module, x = Each().eval(), torch.randn(2, 3, 9, 9)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), file, dynamo=False, opset_version=opset)
        expected = module.double()(x.double())
    network = fastconv.load(file.getvalue())
    compiled = network.compiled(tuple(x.shape))
    assert compiled is not None
    solved: list[Any] = [op.problem for op in compiled.program.ops if isinstance(op, Solve)]
    problems = [problem for problem in solved if not isinstance(problem, StridedProblem)]
    assert [str(problem.activation) for problem in problems] == [name for name, _ in CALLS.values()]
    for result, wanted in zip(network(x.numpy()), expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=0, atol=2e-6 * wanted.abs().max())
