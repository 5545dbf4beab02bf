"""PyTorch's own samples of its modules, as layers of `fastconv.nn` with the same state."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch

from fastconv import nn
from tests.tolerance import sum_tolerance
from tests.trust.torch_samples import Array, Sample, listed_modules

# In torch's list and in `fastconv.nn`.
NAMES = """
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d
    AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d BatchNorm3d CELU
    CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Conv1d
    Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d ELU GELU GroupNorm Hardswish
    Hardtanh InstanceNorm1d InstanceNorm2d InstanceNorm3d LPPool1d LPPool2d LPPool3d LayerNorm
    LeakyReLU Linear LocalResponseNorm LogSoftmax MaxPool1d MaxPool2d MaxPool3d Mish PReLU ReLU
    ReLU6 ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d
    ReplicationPad3d SELU SiLU Sigmoid Softmax Softmax2d Softplus Softsign Tanh ZeroPad1d ZeroPad2d
    ZeroPad3d
""".split()  # noqa: SIM905 - names, not strings
EXACT = ("MaxPool", "AdaptiveMaxPool", "ReLU", "Hardtanh")


class ModuleSample(NamedTuple):
    """A module of torch's, the layer here with its state, and the inputs of a call."""

    theirs: Any
    ours: Any
    inputs: tuple[Any, ...]
    words: str


def samples(name: str) -> list[ModuleSample]:
    """Return torch's samples of a module in evaluation."""
    (info,) = (m for m in listed_modules() if m.module_cls.__name__ == name)
    torch.manual_seed(0)
    options = {"device": "cpu", "dtype": torch.float32, "requires_grad": False, "training": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = info.module_inputs_func(info, **options)
        return [made(name, info.module_cls, each) for each in drawn]


def made(name: str, module: Any, drawn: Any) -> ModuleSample:
    """Make both layers of one sample, with one state that is not all ones and zeros."""
    arguments, call = drawn.constructor_input, drawn.forward_input
    theirs = module(*arguments.args, **arguments.kwargs).eval()
    ours = getattr(nn, name)(*arguments.args, **arguments.kwargs)
    with torch.no_grad():
        for tensor in theirs.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 2)
    ours.load_state_dict(theirs.state_dict())
    inputs = (*call.args, *call.kwargs.values())
    if name.startswith("LPPool"):  # odd powers: torch keeps the sign inside the sum
        inputs = tuple(value.abs() for value in inputs)
    words = f"nn.{name}{Sample(arguments.args, arguments.kwargs)}{Sample(inputs, {})}"
    return ModuleSample(theirs, ours, inputs, words)


def allowed(name: str, sample: ModuleSample, want: Array) -> float:
    """Return the largest error of a result: that of a sum over an image, scaled to the result."""
    if name.startswith(EXACT) or "Pad" in name:
        return 0.0
    shape = sample.inputs[0].shape
    length = max(prod(shape[1:]), *shape[-1:], 1)
    return sum_tolerance("float32", length) * max(1.0, float(np.abs(want).max(initial=0)))
