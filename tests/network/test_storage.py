"""Networks in files of our own and in pickles: the same bits, damage refused, nothing executed."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv import models, nn
from fastconv.dispatch import Parameter, stored
from fastconv.network import Graph, Network, Node, Port, compile_module
from fastconv.network.resizing import Way
from fastconv.network.storage import read_graph, record, write_graph
from tests.network.random_networks import RandomNetwork

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


def drawn(shape: tuple[int, ...], dtype: Any = "f4", seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def saved(network: Network, folder: Path) -> Network:
    network.save(folder / "network.fastconv")
    return fastconv.load(folder / "network.fastconv")


def several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def same_bits(network: Network, other: Network, shape: tuple[int, ...]) -> None:
    for batch in (1, 3):
        x = drawn((batch, *shape[1:]), network.inputs[0].dtype)
        for own, theirs in zip(several(other(x)), several(network(x)), strict=True):
            assert (own.shape, own.dtype) == (theirs.shape, theirs.dtype)
            assert own.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lenet5", (1, 1, 28, 28)), ("resnet18", (1, 3, 40, 40)), ("mobilenet_v2", (1, 3, 40, 40))],
)
def test_models_give_the_same_bits(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    network = compile_module(getattr(models, name)(), shape)
    other = saved(network, tmp_path)
    same_bits(network, other, shape)
    assert (other.inputs, other.outputs, other.name) == (
        network.inputs, network.outputs, network.name,
    )  # fmt: skip
    ours, theirs = other.summary(shape), network.summary(shape)
    assert [(r.layer, r.kind, r.algorithm) for r in ours.rows] == [
        (r.layer, r.kind, r.algorithm) for r in theirs.rows
    ]
    assert str(ours) == str(theirs)


W, V, S = Parameter(drawn((4, 4, 3, 3))), Parameter(drawn((4,))), Parameter(drawn((3, 3)) ** 2)
POSITIVE = Parameter(np.asarray(V) ** 2 + 0.5)
D = Parameter(drawn((4, 1, 3, 3)))
FORWARDS: dict[str, Callable[[Any], Any]] = {
    "conv": lambda x: F.conv2d(
        x, W, V, 2, ((1, 0), (2, 1)), padding_mode="replicate", activation=("gelu", 1),
        rtol=1e-3, algorithm="direct",
    ),
    "precision": lambda x: F.conv2d(x, W, precision="tf32"),
    "transposed precision": lambda x: F.conv_transpose2d(x, W, precision="3xtf32"),
    "residual": lambda x: F.conv2d(x, W, None, 1, 1, residual=x, activation=("hardtanh", -1, 2)),
    "separable": lambda x: F.conv2d(x, D, padding=1, groups=4),
    "conv last": lambda x: F.conv2d(x.transpose(0, 2, 3, 1), W, layout="NHWC"),
    "unbatched": lambda x: F.conv2d(x[0], W, V)[None],
    "transposed": lambda x: F.conv_transpose2d(x, W, V, 2, 1, 1, 1, 2),
    "linear": lambda x: F.linear(x, Parameter(drawn((5, 8))), None, activation="relu"),
    "linear precision": lambda x: F.linear(x, Parameter(drawn((5, 8))), precision="fp16"),
    "convolve": lambda x: F.convolve(x, W),
    "max pool": lambda x: F.max_pool2d(x, 3, 2, 1, 2, ceil_mode=True),
    "max pool indices": lambda x: F.max_pool2d(x, 2, return_indices=True),
    "unpool": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "avg pool": lambda x: F.avg_pool2d(x, 3, 2, 1, True, False, 7),
    "lp pool": lambda x: F.lp_pool2d(x, float("inf"), 2),
    "weighted": lambda x: F.weighted_pool2d(x, 3, weights=S),
    "weighted by name": lambda x: F.weighted_pool2d(x, 3, weights="inverse_distance"),
    "adaptive": lambda x: F.adaptive_max_pool2d(x, (3, None), True)[1],
    "adaptive avg": lambda x: F.adaptive_avg_pool2d(x, 3),
    "global": lambda x: F.global_lp_pool(x, 3),
    "batch norm": lambda x: F.batch_norm(x, V, POSITIVE, None, V, eps=1e-3),
    "instance norm": lambda x: F.instance_norm(x, None, None, V, V),
    "group norm": lambda x: F.group_norm(x, 2, V, V),
    "layer norm": lambda x: F.layer_norm(x, (8, 8)),
    "response norm": lambda x: F.local_response_norm(x, 3, k=2.0),
    "gelu": lambda x: F.gelu(x) + F.gelu(x, "tanh"),
    "softplus": lambda x: F.softplus(F.hardtanh(x, -0.5, 1.5), 2.0, 3.0),
    "prelu": lambda x: F.prelu(x, V),
    "softmax": lambda x: F.log_softmax(x, -1, dtype=np.dtype("f8")),
    "pad": lambda x: F.pad(x, (1, 2, 0, 0, 1, 1), value=0.5),
    "pad reflect": lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    "pad last": lambda x: F.pad(x, (1, 2, 0, 1), mode="circular", layout="NHWC"),
    "interpolate": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "interpolate to": lambda x: F.interpolate(x, (5, 19), mode="bicubic", align_corners=True),
    "area": lambda x: F.interpolate(x, (5, 3), mode="area"),
    "shuffle": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 4),
    "unfold": lambda x: F.fold(F.unfold(x, 3, 1, 1, 2), (8, 8), 3, 1, 1, 2),
    "reshape": lambda x: x.reshape(x.shape[0] * 2, -1, 4, 8)[::2, :, None, ..., 1:],
    "numbers": lambda x: np.maximum(2 - x / np.float32(3), np.asarray(V)[:, None, None]) ** 2,
    "joins": lambda x: np.concatenate(
        [np.stack([x, x], 1)[:, 0], *np.split(x, [1], axis=2)], axis=-2
    ),
    "cast": lambda x: (x.astype("f8") > 0.1).astype(np.float32).mean((2, 3), keepdims=True),
    "where": lambda x: np.where(x > 0, x, np.float32("inf")) * x.mean(axis=1, keepdims=True),
    "batch last": lambda x: np.concatenate([x.T.reshape(-1, n := x.shape[0]), x.reshape(-1, n)]),
    "same twice": lambda x: (x, F.relu(x), x),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FORWARDS))
def test_every_kind_of_call_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    network = compile_module(FORWARDS[name], (1, 4, 8, 8))
    other = saved(network, tmp_path)
    assert other.inputs[0].shape == ("batch", 4, 8, 8)
    same_bits(network, other, (1, 4, 8, 8))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_networks_give_the_same_bits(seed: int) -> None:
    network = compile_module(RandomNetwork(seed), (1, 4, 9, 9))
    graph = record(network.function, network.inputs, network.outputs, "")
    same_bits(network, Network.from_graph(graph), (1, 4, 9, 9))


@pytest.mark.parametrize("in_file", [False, True])
def test_weights_tied_by_a_transpose_are_stored_once(
    in_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_file:
        monkeypatch.setattr(stored, "LEAST_FILE_BYTES", 1)
        monkeypatch.setattr(stored, "LEAST_BYTES", 1)
    weight = drawn((40, 60))
    nodes = (
        Node("linear", ("x", "encode"), ("h",), {}, "encoder"),
        Node("linear", ("h", "decode"), ("y",), {}, "decoder"),
        Node("add", ("y", "x"), ("z",), {}, "sum"),
    )
    port = Port("x", ("n", 60), "float32")
    constants = {"encode": Parameter(weight), "decode": Parameter(weight.T)}
    graph = Graph((port,), (dataclasses.replace(port, name="z"),), nodes, constants)
    network = Network.from_graph(graph)
    other = saved(network, tmp_path)
    same_bits(network, other, (1, 60))
    assert (tmp_path / "network.fastconv").stat().st_size < 1.5 * weight.nbytes
    # What was read is stored once again.
    saved(other, tmp_path)
    assert (tmp_path / "network.fastconv").stat().st_size < 1.5 * weight.nbytes


def test_a_batch_that_is_built_in_is_kept(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        return x + np.arange(x.shape[0], dtype="f4")[:, None] if x.shape[0] > 1 else x

    network = compile_module(forward, (2, 5))
    other = saved(network, tmp_path)
    assert other.inputs[0].shape == (1, 5)
    np.testing.assert_array_equal(other(np.ones((1, 5), "f4")), np.ones((1, 5)))
    with pytest.raises(ValueError, match="takes shape 1 x 5, but got 2 x 5"):
        other(np.ones((2, 5), "f4"))


@pytest.mark.parametrize("name", ["lenet5", "convnet1"])
def test_onnx_graphs_give_the_same_bits(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    network = fastconv.load(DIGITS / f"{name}.onnx")
    same_bits(network, saved(network, tmp_path), (1, 1, 28, 28))


def test_nodes_of_every_kind_give_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from tests import onnx_suite

    count = 0
    for case in list(onnx_suite.models().values())[::12]:
        network, feeds = fastconv.load(case.model), case.data_sets[0][0]
        if network.fallbacks or not all(isinstance(v, np.ndarray) for v in feeds):
            continue
        results = several(network(*feeds))
        for own, theirs in zip(several(saved(network, tmp_path)(*feeds)), results, strict=True):
            assert type(own) is type(theirs)
            if isinstance(theirs, np.ndarray):
                assert own.dtype == theirs.dtype
                # Every digit, and NaN and words as they are.
                assert repr(own.tolist()) == repr(theirs.tolist())
        count += 1
    assert count > 60


def every_value() -> Graph:
    """A graph with every kind of attribute and constant, and a graph inside a node."""
    import ml_dtypes

    port = Port("x", ("n", 4), "float32")
    inner = Graph((), (Port("y", (), "float32"),), (Node("identity", ("c",), ("y",)),),
                  {"c": Parameter(np.float32(3))})  # fmt: skip
    attributes = {
        "none": None, "int": -(2**70), "float": 0.1, "nan": float("nan"), "inf": float("-inf"),
        "tuple": (1, (2, "three"), ()), "list": [1, (2,)], "dict": {"a": {"b": 1j}},
        "dtype": np.dtype(ml_dtypes.bfloat16), "type": np.float16, "slice": slice(None, 2, -1),
        "dots": (..., None), "array": np.arange(6, dtype=">i2").reshape(2, 3), "flag": True,
        "scalar": np.float64(np.pi), "graph": inner, "text": "\ud800ü",
        "way": Way("cubic", cubic_a=-0.5, exclude_outside=True),
    }  # fmt: skip
    constants = {
        "f2": Parameter(drawn((2, 3), "f2")),
        "bf": Parameter(drawn((2, 3), ml_dtypes.bfloat16)),
        "f8": Parameter(drawn((3,), ml_dtypes.float8_e4m3fn)),
        "c16": Parameter(drawn((3,), "c16")), "bool": Parameter([True, False]),
        "empty": Parameter(np.zeros((0, 3), "i8")), "words": np.array([["a", "ü"]], object),
    }  # fmt: skip
    nodes = (Node("identity", ("x",), ("y",), attributes, "node", "Kind"),)
    return Graph((port,), (Port("y", ("n", None), "float32", True, "kind"),), nodes, constants, "g")


def test_every_value_comes_back(tmp_path: Path) -> None:
    graph = every_value()
    write_graph(graph, tmp_path / "g.fastconv")
    other = read_graph(tmp_path / "g.fastconv")
    assert (other.inputs, other.outputs, other.name) == (graph.inputs, graph.outputs, graph.name)
    for name, value in graph.constants.items():
        own, theirs = np.asarray(other.constants[name]), np.asarray(value)
        assert (own.dtype, own.shape, own.tolist()) == (theirs.dtype, theirs.shape, theirs.tolist())
    (node,), (wanted,) = other.nodes, graph.nodes
    own, theirs = dict(node.attributes), dict(wanted.attributes)
    for name in ("array", "graph", "nan", "type"):
        own.pop(name), theirs.pop(name)
    assert own == theirs
    assert [type(v) for v in own.values()] == [type(v) for v in theirs.values()]
    assert node.attributes["type"] == np.dtype("f2")
    np.testing.assert_array_equal(node.attributes["array"], wanted.attributes["array"])
    assert np.isnan(node.attributes["nan"])
    assert (node.op, node.inputs, node.name, node.kind) == ("identity", ("x",), "node", "Kind")
    assert node.attributes["graph"].run({}) == [3]
    with np.load(tmp_path / "g.fastconv", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["0"], graph.constants["f2"])


def test_a_fresh_process_needs_neither_onnx_nor_torch(tmp_path: Path) -> None:
    path, x = tmp_path / "lenet.fastconv", drawn((3, 1, 28, 28))
    network = compile_module(models.lenet5(), (1, 1, 28, 28))
    network.save(path)
    np.save(tmp_path / "x.npy", x)
    source = f"""
import sys
for name in ("onnx", "torch", "ml_dtypes"):
    sys.modules[name] = None
import numpy as np, fastconv
x = np.load({str(tmp_path / "x.npy")!r})
network = fastconv.load({str(path)!r})
np.save({str(tmp_path / "y.npy")!r}, network(x))
np.save({str(tmp_path / "z.npy")!r}, network(x[1:2]))
"""
    subprocess.run([sys.executable, "-c", source], check=True, timeout=120)
    expected = network(x)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), expected[1:2])


# What cannot be saved


def test_what_cannot_be_saved_says_why(tmp_path: Path) -> None:
    path = tmp_path / "n.fastconv"
    network = compile_module(nn.Conv2d(2, 3, 3), (1, 2, 8, 8))
    with pytest.raises(ValueError, match=r"saved to a file named \*\.fastconv"):
        network.save(tmp_path / "n.onnx")
    port, out = Port("x", ("n", 2, "h", "w"), "float32"), Port("y", ("n", 3, "h", "w"), "float32")
    with pytest.raises(ValueError, match=r"'x' of shape .* has open sizes besides its batch"):
        Network(nn.Conv2d(2, 3, 3), [port], [out]).save(path)

    def looks(x: Any) -> Any:
        return np.sort(x)

    fixed = Port("x", ("n", 2), "float32")
    with pytest.raises(ValueError, match=r"cannot be saved: numpy\.sort is not for traced"):
        Network(looks, [fixed], [fixed], "looking").save(path)
    ufunc = pytest.importorskip("scipy.special").erf
    with pytest.raises(ValueError, match=r"'erf'.* cannot be saved"):
        compile_module(lambda x: ufunc(x), (1, 2)).save(path)
    call = Node("call", ("x",), ("y",), {"function": np.sort}, "sorting")
    graph = Graph((fixed,), (Port("y", (), "float32"),), (call,), {})
    with pytest.raises(ValueError, match="node 'sorting' cannot be saved: it is run by another"):
        Network.from_graph(graph).save(path)
    odd = Node("relu", ("x",), ("y",), {"function": object()}, "odd")
    graph = Graph((fixed,), (Port("y", (), "float32"),), (odd,), {})
    with pytest.raises(ValueError, match=r"node 'odd' \(relu\): object .* cannot be saved"):
        Network.from_graph(graph).save(path)
    assert not list(tmp_path.iterdir())


# Damage


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    module[0].weight = drawn((2, 1, 3, 3))
    network = compile_module(lambda x: module(x).reshape(x.shape[0] * 2), (1, 1, 4, 4))
    path = tmp_path_factory.mktemp("small") / "n.fastconv"
    network.save(path)
    return path.read_bytes()


def tried(data: bytes, path: Path) -> None:
    """Load and run: what goes wrong is a ValueError or a TypeError."""
    path.write_bytes(data)
    network = None
    with contextlib.suppress(ValueError):
        network = fastconv.load(path)
    if network is not None:
        with contextlib.suppress(TypeError, ValueError):
            network(drawn((1, 1, 4, 4)))


def test_a_file_that_is_cut_anywhere_is_refused(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "n.fastconv"
    for end in range(0, len(small), 41):
        path.write_bytes(small[:end])
        with pytest.raises(ValueError, match="is not a readable network"):
            fastconv.load(path)
    with pytest.raises(ValueError, match="there is no file"):
        fastconv.load(tmp_path / "other.fastconv")


def test_changed_bytes_never_change_the_answer(small: bytes, tmp_path: Path) -> None:
    path, x = tmp_path / "n.fastconv", drawn((2, 1, 4, 4))
    path.write_bytes(small)
    expected = fastconv.load(path)(x)
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(small)
        data[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            result = fastconv.load(path)(x)
        except ValueError:
            continue
        np.testing.assert_array_equal(result, expected)


JUNK = (
    None, True, -1, 0, 3, 2**80, 1.5, "", "x", "conv2d", "__import__", "sort", [], [1, 2], {},
    {"array": 0}, {"array": 99}, {"dtype": "object"}, {"graph": {}}, {"place": 7}, {"batch": [1]},
    {"slice": [1, 2, 3]}, {"float": "x"}, {"dict": 3}, [[[[]]]], {"scalar": 1},
    {"way": {"mode": 3}}, {"way": {"width": 3}},
)  # fmt: skip


def changed(tree: Any, rng: np.random.Generator) -> Any:
    """Put junk at one place of a tree."""
    if not isinstance(tree, (list, dict)) or not tree or rng.random() < 0.15:
        return JUNK[int(rng.integers(len(JUNK)))]
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    keys = list(copy) if isinstance(copy, dict) else range(len(copy))
    key = list(keys)[int(rng.integers(len(keys)))]
    copy[key] = changed(copy[key], rng)
    return copy


def test_junk_in_the_graph_never_crashes(small: bytes, tmp_path: Path) -> None:
    members = {}
    with zipfile.ZipFile(io.BytesIO(small)) as archive:
        for name in archive.namelist():
            members[name] = archive.read(name)
    told = json.loads(members["network.json"])
    rng = np.random.default_rng(1)
    for _ in range(400):
        members["network.json"] = json.dumps(changed(told, rng)).encode()
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        tried(stream.getvalue(), tmp_path / "n.fastconv")


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def test_sizes_are_checked_before_memory_is_taken(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "n.fastconv"
    with zipfile.ZipFile(io.BytesIO(small)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def refused(match: str, **options: Any) -> None:
        with pytest.raises(ValueError, match=match):
            fastconv.load(path, **options)

    path.write_bytes(packed(members, zipfile.ZIP_DEFLATED))
    refused("compressed, or larger than the file")
    large = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 1024)}
    np.lib.format.write_array_header_1_0(large, header)
    path.write_bytes(packed({**members, "0.npy": large.getvalue()}))
    refused("an array of shape .* has 0 bytes")
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object), allow_pickle=True)
    path.write_bytes(packed({**members, "0.npy": objects.getvalue()}))
    refused("an array of object was found where one of float32 is told")
    path.write_bytes(packed({**members, "network.json": b"[" * 100_000}))
    refused("is not a readable network")
    path.write_bytes(packed({"other": b""}))
    refused("is not a readable network")
    path.write_bytes(small)
    refused("more than max_memory, 16", max_memory=16)
    told = json.loads(members["network.json"])
    told["fastconv"] = 99
    path.write_bytes(packed({**members, "network.json": json.dumps(told).encode()}))
    refused("it is of format 99, this reads 1")
    told = json.loads(members["network.json"])
    told["graph"]["nodes"][-1][0] = "call"
    path.write_bytes(packed({**members, "network.json": json.dumps(told).encode()}))
    refused("there is no operation named 'call' for files")


# Pickles


def test_pickles_give_the_same_bits() -> None:
    network = compile_module(models.lenet5(), (1, 1, 28, 28), max_memory=10**9)
    x = drawn((2, 1, 28, 28))
    expected = network(x)
    other = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(other(x), expected)
    assert (other.inputs, other.name, other.max_memory) == (network.inputs, "LeNet5", 10**9)


def test_pickles_of_graphs_give_the_same_bits() -> None:
    pytest.importorskip("onnx")
    network = fastconv.load(DIGITS / "lenet5.onnx")
    x = drawn((2, 1, 28, 28))
    network.function(x)  # one node after the other, which is remembered and not pickled
    other = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(other(x), network(x))


def test_pickles_of_nodes_that_onnx_runs() -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("Det", ["x"], ["y"], "det1")
    ports = [helper.make_tensor_value_info(name, kind, shape) for name, shape in (
        ("x", [2, 2]), ("y", []))]  # fmt: skip
    model = helper.make_model(helper.make_graph([node], "g", ports[:1], ports[1:]))
    network = fastconv.load(model)
    x = drawn((2, 2))
    expected = network(x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(network))(x), expected)
    with pytest.raises(ValueError, match="node 'det1' cannot be saved"):
        network.save("det.fastconv")
