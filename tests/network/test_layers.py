"""What layers give: by name, several at once, as a run of the layers one by one gives it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import models, nn
from fastconv.network import Graph, Network, Node, Port, compile_module
from fastconv.network.layers import KEPT_SETS

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


class Block(nn.Module):
    """A shortcut around two layers, and what is named and is not a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.pool = nn.MaxPool2d(2, stride=1, return_indices=True)

    def forward(self, x: Any) -> Any:
        values, _ = self.pool(F.relu(self.conv(x)) + x)
        return values


def batch(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype("f4")


def test_layers_give_what_they_give_one_by_one() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), Block(), nn.ReLU(), nn.Flatten())
    model[1].running_mean = batch(3)
    network = compile_module(model, (1, 2, 8, 8))
    assert list(network.layers) == ["0", "1", "2", "2.conv", "2.pool", "3", "4"]
    assert len(network.layers) == 7
    assert "2.conv" in network.layers
    x = batch(2, 2, 8, 8)
    expected: dict[str, Any] = {}
    value = x
    for number, layer in enumerate(model):
        if number == 2:
            expected["2.conv"] = layer.conv(value)
        value = expected[str(number)] = layer(value)
    given = network.outputs_of(["2.conv", "4", "0", "2", "1", "3", "4"], x)
    assert list(given) == ["2.conv", "4", "0", "2", "1", "3"]
    for name, result in given.items():
        np.testing.assert_allclose(result, expected[name], rtol=0, atol=1e-5)
        np.testing.assert_allclose(network.layers[name](x), expected[name], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(network.layers["4"](x), network(x))
    np.testing.assert_array_equal(given["0"][1:], network.outputs_of("0", x[1:])["0"])
    assert network.outputs_of([], x) == {}


def test_layers_of_a_model_with_shortcuts() -> None:
    model = models.resnet18()
    network = compile_module(model, (1, 3, 40, 40))
    assert {"conv1", "layer2", "layer2.0", "layer2.0.downsample.0", "fc"} <= set(network.layers)
    x = batch(1, 3, 40, 40)
    stem = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    expected = model.layer2[0](model.layer1(stem))
    given = network.outputs_of(["layer2.0", "layer2"], x)
    np.testing.assert_allclose(given["layer2.0"], expected, rtol=0, atol=1e-4 * expected.max())
    np.testing.assert_allclose(given["layer2"], model.layer2[1](given["layer2.0"]), rtol=0,
                               atol=1e-4 * expected.max())  # fmt: skip


def test_nodes_of_a_graph_are_its_layers() -> None:
    pytest.importorskip("onnx")
    network = fastconv.load(DIGITS / "lenet5.onnx")
    x = batch(2, 1, 28, 28)
    values = network.function.graph.run({network.inputs[0].name: x}, ["/conv1/Conv_output_0"])
    np.testing.assert_allclose(network.layers["/conv1/Conv"](x), values[0], rtol=0, atol=1e-6)
    last = list(network.layers)[-1]
    np.testing.assert_array_equal(network.layers[last](x), network(x))


def test_nodes_that_look_at_data_have_outputs_too() -> None:
    port = Port("x", ("n",), "float32")
    nodes = (
        Node("relu", ("x",), ("a",), {}, "first"),
        Node("call", ("a",), ("y",), {"function": np.sort}, "second"),
    )
    graph = Graph((port,), (Port("y", ("n",), "float32"),), nodes, {})
    network = Network.from_graph(graph)
    given = network.outputs_of(["first", "second"], np.array([3, -1, 2], "f4"))
    assert {name: value.tolist() for name, value in given.items()} == {
        "first": [3, 0, 2], "second": [0, 2, 3],
    }  # fmt: skip


def test_what_is_wrong_is_said() -> None:
    network = compile_module(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), (1, 2, 8, 8))
    with pytest.raises(KeyError, match="no layer 'conv'; there are '0', '1'"):
        network.layers["conv"]
    with pytest.raises(ValueError, match=r"^the network has no layer '7'"):
        network.outputs_of(["0", "7"], batch(1, 2, 8, 8))
    with pytest.raises(ValueError, match="takes shape any x 2 x 8 x 8"):
        network.layers["0"](batch(1, 3, 8, 8))

    def looks(x: Any) -> Any:
        return F.relu(np.sort(x)) if x.shape[0] > 1 else nn.ReLU()(x)

    port = Port("x", ("n", 2), "float32")
    network = Network(lambda x: nn.Sequential(nn.ReLU())(looks(x)), [port], [port])
    assert list(network.layers) == ["0"]
    with pytest.raises(ValueError, match=r"it cannot be traced: numpy\.sort is not for traced"):
        network.layers["0"](batch(2, 2))


def test_programs_of_layers_are_kept_and_left_out_of_copies() -> None:
    network = compile_module(nn.Sequential(*(nn.ReLU() for _ in range(10))), (1, 4))
    x = batch(1, 4)
    for name in network.layers:
        network.layers[name](x)
    kept = network.layers._shapes
    assert len(kept) == KEPT_SETS
    first = kept["9",]
    network.layers["9"](x)
    assert network.layers._shapes["9",] is first
    for other in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert not other.layers._shapes
        np.testing.assert_array_equal(other.layers["3"](x), network.layers["3"](x))
