"""Pictures: the right layers, in order, of the right values."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import models, nn
from fastconv.network import Network, Port, compile_module

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def network() -> Network:
    return compile_module(models.convnet1(), (1, 1, 28, 28))


def titles(figure: Any) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes]


def test_layers_are_rows(network: Network) -> None:
    image = np.random.default_rng(0).random((1, 28, 28), dtype="f4")
    figure = fastconv.plot.feature_maps(network, image)
    assert titles(figure) == [
        "input: 1 x 28 x 28",
        *(f"layer1.{i}: 16 x 28 x 28" for i in range(3)),
        "layer1.3: 16 x 14 x 14",
        *(f"layer2.{i}: 32 x 14 x 14" for i in range(3)),
        "layer2.3: 32 x 7 x 7",
    ]
    asked = fastconv.plot.feature_maps(network, image[None], ["layer2", "layer1.0"], channels=3)
    assert titles(asked)[1:] == ["layer2: 32 x 7 x 7", "layer1.0: 16 x 28 x 28"]
    strip = np.asarray(asked.axes[2].get_images()[0].get_array().filled(np.nan))
    assert strip.shape == (28, 3 * 28 + 2)
    values = network.layers["layer1.0"](image[None])[0]
    for channel in range(3):
        own, shown = values[channel], strip[:, channel * 29 :][:, :28]
        wanted = (own - own.min()) / (own.max() - own.min())
        np.testing.assert_allclose(shown, wanted, atol=1e-5)


def test_a_deep_network_is_shown_in_a_dozen_rows() -> None:
    layers = [layer for _ in range(20) for layer in (nn.Conv2d(2, 2, 1), nn.ReLU())]
    figure = fastconv.plot.feature_maps(
        compile_module(nn.Sequential(*layers), (1, 2, 4, 4)), np.ones((2, 4, 4), "f4")
    )
    names = [title.split(":")[0] for title in titles(figure)]
    assert len(names) == 13
    assert (names[1], names[-1]) == ("0", "39")


def test_constant_and_broken_channels_are_drawn() -> None:
    network = compile_module(nn.Sequential(nn.ReLU()), (1, 3, 4, 4))
    image = np.zeros((3, 4, 4), "f4")
    image[1] = np.nan
    image[2, 0, 0] = np.inf
    figure = fastconv.plot.feature_maps(network, image)
    figure.canvas.draw()


def test_what_is_wrong_is_said(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((1, 28, 28), "f4")
    with pytest.raises(ValueError, match="layer 'fc' gives no image, but shape"):
        fastconv.plot.feature_maps(network, image, ["fc"])
    with pytest.raises(ValueError, match="no layer 'layer9'"):
        fastconv.plot.feature_maps(network, image, ["layer9"])
    with pytest.raises(ValueError, match="image must have shape"):
        fastconv.plot.feature_maps(network, np.zeros((2, 1, 28, 28), "f4"))
    with pytest.raises(ValueError, match="channels must be at least 1"):
        fastconv.plot.feature_maps(network, image, channels=0)
    port = Port("x", (1, 1, 2, 2), "float32")
    with pytest.raises(ValueError, match="a network of one input, not 2"):
        fastconv.plot.feature_maps(Network(np.add, [port, port], [port]), image)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match=r"pip install 'fastconv\[plot\]'"):
        fastconv.plot.feature_maps(network, image)
