"""A second call packs nothing, whichever way a network came in."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.backends.base import Algorithm
from fastconv.backends.native import plan
from fastconv.dispatch import run

torch = pytest.importorskip("torch", reason="it is one of the ways in")

from tests.zoo import classifiers, others  # noqa: E402

Call = Callable[[], Any]


def count_packing(patch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by a name whenever a plan is made or weights are packed."""
    made: list[str] = []

    def counted(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            return function(*args, **kwargs)

        return call

    kinds: list[type[Algorithm]] = [Algorithm]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for kind in set(kinds):
        if "plan" in vars(kind):
            patch.setattr(kind, "plan", counted(vars(kind)["plan"], f"{kind.__name__}.plan"))
    patch.setattr(run, "_plan", counted(run._plan, "_plan"))
    for weights in (plan.Weights, plan.HostWeights):
        patch.setattr(weights, "packed", counted(weights.packed, weights.__name__))
    # Plans that take parameters at a run pack them there.
    patch.setattr(run, "find_packing_plan", counted(run.find_packing_plan, "find_packing_plan"))
    return made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    torch._dynamo.reset()
    before = torch.get_num_threads(), fastconv.get_num_threads()
    # Numba's OpenMP threads, once started, change torch's number, for which torch compiles again.
    torch.set_num_threads(1), fastconv.set_num_threads(1)
    with torch.no_grad():
        yield count_packing(monkeypatch)
    torch.set_num_threads(before[0]), fastconv.set_num_threads(before[1])
    torch._dynamo.reset()


def image(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape or (2, 3, 64, 64)).astype("f4")


class Mixed(torch.nn.Module):
    """Every layer that has weights, and what torch's backend has to cut apart."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        layers = torch.nn
        self.first = layers.Conv2d(3, 8, 3, padding=1)
        self.body = layers.Sequential(
            layers.BatchNorm2d(8), layers.PReLU(), layers.Conv2d(8, 8, 3, groups=8),
            layers.GroupNorm(2, 8), layers.ConvTranspose2d(8, 6, 2, 2), layers.Conv2d(6, 4, 5, 2),
        )  # fmt: skip
        self.rows = layers.Sequential(
            layers.LayerNorm(4), layers.Linear(4, 12), layers.GELU(), layers.Linear(12, 3)
        )
        self.cut = cut

    def forward(self, x: Any) -> Any:
        x = self.body(self.first(self.first(x)[:, :3])).permute(0, 2, 3, 1)
        if self.cut:
            x = x.kthvalue(2, -1, keepdim=True)[0] + x
        return self.rows(x)


def by_compile(module: Any, dynamic: bool = False) -> Call:
    x = torch.from_numpy(image())
    if dynamic:
        torch._dynamo.mark_dynamic(x, 0)
    compiled = torch.compile(module, backend="fastconv")
    return lambda: compiled(x)


def by_convert(module: Any) -> Call:
    network = fastconv.torch.convert(module, torch.from_numpy(image()))
    return lambda: network(image())


def exported(module: Any) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.from_numpy(image()),), file, dynamo=False, opset_version=17
        )
    return file.getvalue()


def by_session(module: Any) -> Call:
    session = fastconv.onnx.InferenceSession(exported(module))
    (given,) = session.get_inputs()
    return lambda: session.run(None, {given.name: image()})


def by_load(module: Any) -> Call:
    network = fastconv.load(exported(module))
    return lambda: network(image())


def by_file(module: Any) -> Call:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.fastconv"
        fastconv.load(exported(module)).save(path)
        network = fastconv.load(path)
        # What is read when a plan is made must be there.
        network(image())
    return lambda: network(image())


def assert_packed_once(call: Call, made: list[str]) -> None:
    """Call twice: the first call packs (or what came before), the second nothing."""
    call()
    assert made, "the hook counts nothing"
    made.clear()
    call()
    assert not made


MODULES: dict[str, Callable[[], Any]] = {
    "layers": Mixed,
    "cut": lambda: Mixed(cut=True),
    "unet": others.UNet,
    "shufflenet": classifiers.shufflenet_v2,
    "attention": lambda: torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 8, 8), torch.nn.Flatten(2), classifiers.Encoder(64, 2)
    ),
}
DOORS: dict[str, Callable[[Any], Call]] = {
    "torch.compile": by_compile,
    "torch.compile, dynamic": lambda module: by_compile(module, dynamic=True),
    "fastconv.torch.convert": by_convert,
    "fastconv.load, .onnx": by_load,
    "fastconv.load, .fastconv": by_file,
    "InferenceSession": by_session,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", MODULES)
def test_a_second_call_packs_nothing(name: str, door: str, made: list[str]) -> None:
    if name == "cut" and not door.startswith("torch.compile"):
        pytest.skip("the whole of it has no translation")
    if "load" in door or "Session" in door:
        pytest.importorskip("onnx", reason="these tests make ONNX models")
    assert_packed_once(DOORS[door](MODULES[name]().eval()), made)


class Own(nn.Module):
    """Layers of our own, and a matrix that no layer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), nn.ConvTranspose2d(8, 8, 2, 2),
            nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 7, groups=4),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 10),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.layers(x)


def by_hand(layer: Own) -> Call:
    def run() -> Any:
        x = image()
        for each in layer.layers:
            x = each(x)
        return x

    return run


def by_network(layer: Own) -> Call:
    network = fastconv.compile(layer, (2, 3, 64, 64))
    return lambda: network(image())


def within(layer: Own) -> Call:
    network = fastconv.compile(layer, (2, 3, 64, 64)).within(1e-3)
    return lambda: network(image())


@pytest.mark.parametrize(
    "door", [by_hand, by_network, within, lambda layer: lambda: layer(image())]
)
def test_a_second_call_of_own_layers_packs_nothing(
    door: Callable[[Own], Call], made: list[str]
) -> None:
    assert_packed_once(door(Own()), made)


def of_data() -> bytes:
    """Return a model with an output whose shape depends on data: it runs as it is written."""
    onnx = pytest.importorskip("onnx", reason="these tests make ONNX models")
    node, proto = onnx.helper.make_node, onnx.TensorProto.FLOAT
    nodes = [
        node("Conv", ["x", "conv", "bias"], ["a"]),
        node("ConvTranspose", ["a", "up"], ["b"], strides=[2, 2]),
        node("BatchNormalization", ["b", *["bias"] * 4], ["c"]),
        node("PRelu", ["c", "slope"], ["d"]),
        node("GlobalAveragePool", ["d"], ["e"]),
        node("Flatten", ["e"], ["f"]),
        node("MatMul", ["f", "matrix"], ["g"]),
        node("Gemm", ["g", "matrix", "bias"], ["h"]),
        node("Gemm", ["h", "matrix", "bias"], ["y"], transB=1),
        node("NonZero", ["y"], ["places"]),
    ]
    shapes = {"conv": (8, 3, 3, 3), "up": (8, 8, 2, 2), "slope": (8, 1, 1), "matrix": (8, 8)}
    arrays = {name: image(*shape) for name, shape in shapes.items()}
    arrays["bias"] = np.abs(image(8))
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "of data",
        [info("x", proto, [2, 3, 64, 64])],
        [info("y", proto, [2, 8]), info("places", onnx.TensorProto.INT64, [2, None])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("door", ["load", "session"])
def test_a_network_that_looks_at_data_packs_once(door: str, made: list[str]) -> None:
    if door == "load":
        network = fastconv.load(of_data())
        assert_packed_once(lambda: network(image()), made)
    else:
        session = fastconv.onnx.InferenceSession(of_data())
        assert_packed_once(lambda: session.run(None, {"x": image()}), made)
