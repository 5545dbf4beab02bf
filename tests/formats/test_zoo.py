"""Networks that nobody tuned for, from PyTorch and through ONNX, against PyTorch in float64."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

import fastconv
from fastconv.formats.onnx import graph_of
from fastconv.network import Network
from tests.zoo import classifiers, others
from tests.zoo.parts import drawn

# Name -> (maker, an image's shape, the size that stays open where not all do).
ZOO: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "densenet121": (classifiers.densenet121, (3, 64, 64), "batch"),
    "squeezenet": (classifiers.squeezenet, (3, 64, 64), "all"),
    "googlenet": (classifiers.googlenet, (3, 64, 64), "batch"),
    "inception_v3": (classifiers.inception_v3, (3, 75, 75), "batch"),
    "shufflenet_v2": (classifiers.shufflenet_v2, (3, 64, 64), "batch"),
    "efficientnet_b0": (classifiers.efficientnet_b0, (3, 64, 64), "batch"),
    "convnext_tiny": (classifiers.convnext_tiny, (3, 64, 64), "batch"),
    "regnet_y_400mf": (classifiers.regnet_y_400mf, (3, 64, 64), "batch"),
    "unet": (others.UNet, (3, 52, 72), "all"),
    "deeplab_v3": (others.deeplab_v3, (3, 64, 64), "batch"),
    "fcn": (others.fcn, (3, 64, 64), "batch"),
    "yolo": (others.Yolo, (3, 96, 64), "batch"),
    "wavenet": (others.WaveNet, (1, 500), "all"),
    "c3d": (others.c3d, (3, 16, 80, 80), "batch"),
    "r2plus1d": (others.r2plus1d, (3, 8, 32, 32), "batch"),
    "dcgan": (others.dcgan, (100, 1, 1), "batch"),
}
OTHER_SIZES = {"squeezenet": (3, 71, 50), "unet": (3, 64, 48), "wavenet": (1, 333)}
# Relative to the largest output. Each convolution may err by 1e-4 of its standard deviation: where
# there are 94 in a row, whose errors add as random ones do, that is some 1e-3 of the output's own.
TOLERANCE = {"inception_v3": 3e-4}


def compare(name: str, module: Any, network: Network, shape: tuple[int, ...], batch: int) -> None:
    torch.manual_seed(2)
    x = torch.randn(batch, *shape)
    results = network(x.numpy())
    with torch.no_grad():
        expected = pytree.tree_leaves(module.double()(x.double()))
    module.float()
    several = results if isinstance(results, tuple) else (results,)
    assert len(several) == len(expected)
    for result, wanted in zip(several, expected, strict=True):
        assert result.shape == tuple(wanted.shape)
        assert (
            0.05 < wanted.std() < 100
        )  # neither vanished nor exploded: the comparison says something
        error = np.abs(result - wanted.numpy()).max() / np.abs(wanted.numpy()).max()
        assert error <= TOLERANCE.get(name, 1e-4)


@pytest.mark.parametrize("name", ZOO)
def test_networks_are_torch_s(name: str) -> None:
    make, shape, sizes = ZOO[name]
    torch.manual_seed(1)
    module = drawn(make(), torch.randn(2, *shape))
    network = fastconv.torch.convert(module, torch.zeros(1, *shape), open_sizes=sizes)
    compare(name, module, network, shape, 2)
    if sizes == "all":
        compare(name, module, network, OTHER_SIZES[name], 1)
    compare(name, module, through_onnx(module, shape), shape, 2)


def through_onnx(module: Any, shape: tuple[int, ...]) -> Network:
    onnx = pytest.importorskip("onnx", reason="this reads ONNX models")
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that needs no package besides torch is on its way out.
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(2, *shape),), stream, dynamo=False, opset_version=17)
    return Network.from_graph(graph_of(onnx.load_from_string(stream.getvalue())))
