"""The classic networks through ONNX: what float64 gives, and the same class."""

from __future__ import annotations

import copy
import io
import math
import warnings

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the networks come as ONNX files")

import torch

import fastconv
from tests.torch_models import make
from tests.zoo.classifiers import inception_v3
from tests.zoo.parts import drawn

SIZES = {"lenet5": (1, 28, 28), "convnet1": (1, 28, 28)}
NAMES = ("lenet5", "convnet1", "alexnet", "resnet18", "resnet50", "mobilenet_v2", "vgg16")


@pytest.mark.parametrize("name", NAMES)
def test_classic_networks_by_onnx(name: str) -> None:
    module = make(name)
    x = np.random.default_rng(1).standard_normal((1, *SIZES.get(name, (3, 224, 224))))
    x = x.astype("f4")
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.from_numpy(x),), file, dynamo=False)
        wide = copy.deepcopy(module).double()(torch.from_numpy(x).double()).numpy()
    network = fastconv.load(file.getvalue())
    largest = np.abs(wide).max()
    np.testing.assert_allclose(network.within(1e-5)(x), wide, rtol=0, atol=1e-5 * largest)
    # Each layer may err by its algorithm's bound; errors of several add up as independent ones do.
    bounds = [
        next(one.error_bound for one in told.candidates if one.algorithm is told.algorithm)
        for told in network.explain(x.shape).choices
    ]
    bound = math.hypot(*bounds, 1e-5)
    result = network(x)
    np.testing.assert_allclose(result, wide, rtol=0, atol=bound * wide.std())
    assert result.argmax() == wide.argmax()
    compiled = network.compiled(x.shape)
    assert compiled is not None
    assert compiled.calls == 1
    assert compiled.executor.code.memory.size <= 1.15 * compiled.live_bytes


def test_a_network_that_magnifies_errors_stays_within_a_bound_of_its_own() -> None:
    torch.manual_seed(1)
    module = drawn(inception_v3(), torch.randn(2, 3, 75, 75))
    x = torch.randn(2, 3, 75, 75)
    network = fastconv.torch.convert(module, x, open_sizes="none").within(1e-4)
    result = network(x.numpy())

    def disturb(layer: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output + 1e-9 * output.std() * torch.randn_like(output)

    with torch.no_grad():
        wide = module.double()(x.double())
        convolutions = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d)]
        hooks = [layer.register_forward_hook(disturb) for layer in convolutions]
        disturbed = module(x.double())
    for hook in hooks:
        hook.remove()
    # Its random weights make noise in 94 convolutions more than a hundred times as large: were it
    # handed on as it is, it would be some sqrt(94) times.
    assert (disturbed - wide).std() > 50 * 1e-9 * wide.std()
    np.testing.assert_allclose(result, wide, rtol=0, atol=1e-4 * wide.abs().max())
