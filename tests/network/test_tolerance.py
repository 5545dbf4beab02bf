"""One error bound for a whole network: who gets which share, files, layers, and what is refused."""

from __future__ import annotations

import pickle
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import nn
from fastconv.network import Graph, Network, Node, Port, compile_module

SHAPE = (2, 16, 24, 24)


class Ways(nn.Module):
    """Three convolutions and a linear layer in a row, one convolution in parallel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third, self.beside = (
            nn.Conv2d(16, 16, 3, padding=1) for _ in range(4)
        )
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        long = self.third(np.where(self.second(self.first(x)) > 0, 1.0, self.first(x)))
        return self.fc((long + self.beside(x)).mean((2, 3)))


def shares(network: Network) -> set[float]:
    compiled = network.compiled(SHAPE)
    assert compiled is not None
    problems = [getattr(op, "problem", None) for op in compiled.program.ops]
    return {problem.rtol for problem in problems if hasattr(problem, "rtol")}


def image(shape: tuple[int, ...] = SHAPE) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype("f4")


def test_shares_follow_the_longest_way() -> None:
    network = compile_module(Ways(), SHAPE)
    assert shares(network) == {1e-4}
    assert shares(network.within(1e-5)) == {1e-5 / sqrt(4)}
    # An operation's own bound is never loosened, and the latest bound counts.
    assert shares(network.within(1.0)) == {1e-4}
    assert shares(network.within(1e-7).within(1e-5)) == {1e-5 / sqrt(4)}
    assert shares(network) == {1e-4}


def test_a_tighter_bound_takes_more_exact_algorithms() -> None:
    # Deep enough for minimal filters of large tiles to pay, and for their errors to show.
    layers = [nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(6)]
    x = image((1, 64, 36, 36))
    network = compile_module(nn.Sequential(*layers), x.shape)
    wide: Any = x.astype("f8")
    for layer in layers:
        wide = F.conv2d(wide, np.asarray(layer.weight, "f8"), padding=1)
    errors = [
        np.abs(n(x) - wide).max() / wide.std()
        for n in (network, network.within(1e-4), network.within(1e-5))
    ]
    assert errors[1] < 1e-4
    assert errors[2] < 1e-5
    assert errors[2] < errors[0] / 2
    told = str(network.within(1e-5).explain())
    assert f"rtol {1e-5 / sqrt(6):.1e}" in told


def test_files_pickles_and_layers_keep_the_bound(tmp_path: Path) -> None:
    x = image()
    port = Port("x", ("n", 16, "h", "w"), "float32")
    weight = fastconv.dispatch.Parameter(np.random.default_rng(1).standard_normal((16, 16, 3, 3)))
    nodes = [
        Node("conv2d", (a, "weight"), (b,), {"padding": 1}, name=b)
        for a, b in ("xy", "yz")
    ]  # fmt: skip
    constants = {"weight": fastconv.dispatch.Parameter(np.asarray(weight, "f4"))}
    graph = Graph((port,), (Port("z", port.shape, "float32"),), tuple(nodes), constants)
    for network in (Network.from_graph(graph), compile_module(Ways(), SHAPE)):
        bounded = network.within(2e-6)
        (share,) = shares(bounded)
        assert share < 2e-6
        bounded.save(tmp_path / "bounded.fastconv")
        for other in (
            fastconv.load(tmp_path / "bounded.fastconv"),
            pickle.loads(pickle.dumps(bounded)),
        ):
            assert shares(other) == {share}
            assert other(x).tobytes() == bounded(x).tobytes()
    bounded = Network.from_graph(graph).within(2e-6)
    assert bounded.outputs_of(["z"], x)["z"].tobytes() == bounded(x).tobytes()


def test_what_cannot_be_bounded_is_refused() -> None:
    network = compile_module(Ways(), SHAPE)
    with pytest.raises(ValueError, match="rtol must not be negative"):
        network.within(-1)
    with pytest.raises(TypeError, match="rtol must be a number"):
        network.within("1e-4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="but got"):
        network.within(1e-4)(image((2, 8, 24, 24)))

    def looks(x: Any) -> Any:
        return x * 2 if np.asarray(x).max() > 0 else x

    port = Port("x", ("n", 3), "float32")
    looking = Network(looks, [port], [port])
    assert looking(image((2, 3))).shape == (2, 3)
    with pytest.raises(ValueError, match="rtol cannot be shared out"):
        looking.within(1e-4)(image((2, 3)))


def precisions(network: Network) -> set[Any]:
    compiled = network.compiled(SHAPE)
    assert compiled is not None
    problems = [getattr(op, "problem", None) for op in compiled.program.ops]
    return {problem.precision for problem in problems if hasattr(problem, "precision")}


def test_a_precision_for_the_whole_network(tmp_path: Path) -> None:
    network = compile_module(Ways(), SHAPE)
    rounded = network.with_precision("tf32")
    assert precisions(network) == {None}
    assert precisions(rounded) == {"tf32"}
    assert precisions(rounded.with_precision("bf16")) == {"bf16"}
    both = rounded.within(1e-7).within(1e-5)
    assert (precisions(both), shares(both)) == ({"tf32"}, {1e-5 / sqrt(4)})
    rounded.save(tmp_path / "rounded.fastconv")
    again = fastconv.load(tmp_path / "rounded.fastconv")
    assert precisions(again) == {"tf32"}
    assert precisions(again.with_precision("fp16")) == {"tf32"}
    assert precisions(pickle.loads(pickle.dumps(rounded))) == {"tf32"}
    # The CPU rounds nothing.
    np.testing.assert_array_equal(rounded(image()), network(image()))


def test_an_operations_own_precision_stays() -> None:
    weight = image((16, 16, 3, 3))
    own = compile_module(lambda x: F.conv2d(x, weight, precision="3xtf32"), SHAPE)
    assert precisions(own.with_precision("bf16")) == {"3xtf32"}


def test_what_is_no_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision must be"):
        compile_module(Ways(), SHAPE).with_precision("fp8")
