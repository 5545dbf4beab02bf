"""The classic networks: names and shapes of weights, totals, and outputs against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fastconv import models, nn
from fastconv.nn.initial import shapes_only
from tests import torch_models

# Parameters, as published.
TOTALS = {
    "convnet1": 29_034,
    "lenet5": 61_706,
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "mobilenet_v2": 3_504_872,
}
RTOL = 1e-4  # the functional API's default error bound for one convolution


def shapes(state_dict: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes, in order."""
    return [(key, tuple(value.shape)) for key, value in state_dict.items()]


@pytest.mark.parametrize("name", TOTALS)
def test_names_and_shapes_are_torchvision_s(name: str) -> None:
    model = getattr(models, name)()
    with shapes_only():
        assert sum(p.size for p in model.parameters()) == TOTALS[name]
        mine = shapes(model.state_dict())
    assert sorted(mine) == sorted(shapes(torch_models.make(name, "meta").state_dict()))


def test_all_models_are_tested() -> None:
    assert {name for name in models.__all__ if name.islower()} == set(TOTALS)


@pytest.mark.parametrize(
    ("name", "key", "shape"),
    [
        ("alexnet", "features.10.weight", (256, 256, 3, 3)),
        ("alexnet", "classifier.6.bias", (1000,)),
        ("vgg16", "features.28.weight", (512, 512, 3, 3)),
        ("vgg16_bn", "features.41.running_var", (512,)),
        ("vgg16", "classifier.0.weight", (4096, 25088)),
        ("resnet18", "layer2.0.downsample.0.weight", (128, 64, 1, 1)),
        ("resnet50", "layer1.0.downsample.1.num_batches_tracked", ()),
        ("resnet50", "layer3.5.conv3.weight", (1024, 256, 1, 1)),
        ("resnet152", "layer3.35.bn2.running_mean", (256,)),
        ("mobilenet_v2", "features.0.0.weight", (32, 3, 3, 3)),
        ("mobilenet_v2", "features.1.conv.1.weight", (16, 32, 1, 1)),
        ("mobilenet_v2", "features.17.conv.3.running_mean", (320,)),
        ("mobilenet_v2", "features.18.0.weight", (1280, 320, 1, 1)),
        ("mobilenet_v2", "classifier.1.weight", (1000, 1280)),
    ],
)
def test_known_keys(name: str, key: str, shape: tuple[int, ...]) -> None:
    with shapes_only():
        assert getattr(models, name)().state_dict()[key].shape == shape


def layers_that_sum(model: nn.Module) -> int:
    """Convolutions and linear layers: each may err by the bound, relative to its output."""
    return sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules())


def compare(name: str, shape: tuple[int, ...], dtype: Any, *, head: bool = True) -> None:
    """Compare a model with its twin; without ``head``, its huge classifier is one small layer."""
    twin: Any = torch_models.make(name, "cpu" if head else "meta")
    model = getattr(models, name)()
    if not head:
        inputs = next(m for m in twin.classifier if isinstance(m, torch.nn.Linear)).in_features
        twin.features.to_empty(device="cpu")
        twin.classifier = torch.nn.Linear(inputs, 10)
        model.classifier = nn.Linear(inputs, 10)
        for part in twin.modules():
            if isinstance(part, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(part.weight)
                torch.nn.init.zeros_(part.bias)
    twin = twin.double()
    model.to(dtype).load_state_dict(twin.state_dict())
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    expected = twin(torch.from_numpy(x).double()).detach().numpy()
    result = model(x)
    assert result.dtype == dtype
    error = RTOL if dtype == np.float32 else 1e3 * float(np.finfo(dtype).eps)
    bound = layers_that_sum(model) * error * float(expected.std())
    np.testing.assert_allclose(result, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["convnet1", "lenet5"])
def test_small_networks_are_torch_s(name: str, dtype: Any) -> None:
    compare(name, (3, 1, 28, 28), dtype)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("resnet18", np.float32), ("resnet50", np.float64), ("mobilenet_v2", np.float32)],
)
def test_large_networks_are_torch_s(name: str, dtype: Any) -> None:
    compare(name, (2, 3, 64, 64), dtype)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 67), ("vgg11", 32)])
def test_networks_with_huge_classifiers_are_torch_s(name: str, size: int) -> None:
    compare(name, (1, 3, size, size), np.float32, head=False)


def test_options() -> None:
    assert models.resnet18(num_classes=7).fc.out_features == 7
    assert models.mobilenet_v2(width_mult=0.35).features[18][0].out_channels == 1280
    assert models.mobilenet_v2(width_mult=1.4).features[0][0].out_channels == 48
    assert models.alexnet(dropout=0.1).classifier[0].p == 0.1


def test_making_a_model_draws_no_weights() -> None:
    model = models.vgg19()
    summary = model.summary((1, 3, 224, 224))
    assert summary.total_parameters == TOTALS["vgg19"]
    assert summary.total_macs == 19_632_062_464
    held = [value for m in model.modules() for value in m._parameters.values()]
    assert not any(isinstance(value, nn.Parameter) for value in held)


@pytest.mark.parametrize(
    ("name", "macs"),
    [("resnet18", 1_814_073_344), ("resnet50", 4_089_184_256), ("mobilenet_v2", 300_774_272)],
)
def test_work_is_as_published(name: str, macs: int) -> None:
    summary = getattr(models, name)().summary((1, 3, 224, 224))
    assert summary.total_macs == macs
    assert summary.total_parameters == TOTALS[name]
