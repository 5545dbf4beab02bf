"""Graphs, tracing, summaries, explanations: figures known beforehand, and no data touched."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv import models, nn
from fastconv.dispatch import Parameter, measure
from fastconv.machine import get_machine
from fastconv.network import Graph, Network, Node, Port, compile_module, explain, summarise
from fastconv.network.operations import OPERATIONS, operation
from fastconv.network.trace import trace
from tests.libraries import FIRST


def test_resnet50_reads_as_it_should() -> None:
    summary = models.resnet50().summary((1, 3, 224, 224))
    first = summary.rows[0]
    assert (first.layer, first.kind) == ("conv1", "Conv2d")
    assert first.output_shape == (64, 112, 112)
    assert first.parameters == 9408
    assert first.receptive_field == (7, 7)
    assert summary.total_parameters == 25_557_032
    assert summary.total_macs == 4_089_184_256
    assert "total: 25,557,032 parameters" in str(summary)


def test_a_bias_counts() -> None:
    layer = nn.Conv2d(3, 64, 7, stride=2, padding=3)
    assert layer.summary((1, 3, 224, 224)).total_parameters == 9472


@pytest.mark.parametrize(("dilation", "field"), [(1, 3), (2, 5)])
def test_receptive_field_of_a_1d_kernel_of_three(dilation: int, field: int) -> None:
    layer = nn.Conv1d(1, 1, 3, dilation=dilation)
    assert layer.summary((1, 1, 32)).receptive_field == (field,)


def test_receptive_fields_grow_with_strides_and_joins_take_the_largest() -> None:
    def branches(x: Any) -> Any:
        weight = np.ones((1, 1, 3, 3), "f4")
        pooled = F.max_pool2d(x, 2)
        return F.conv2d(pooled, weight, padding=1) + pooled

    summary = summarise(branches, (1, 1, 16, 16))
    assert [row.receptive_field for row in summary.rows] == [(2, 2), (6, 6), (6, 6)]
    whole = summarise(lambda x: F.global_avg_pool(x), (1, 1, 16, 16))
    assert whole.receptive_field is None


def test_a_layer_that_runs_twice_counts_its_parameters_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return self.conv(self.conv(x))

    summary = Twice().summary((1, 4, 8, 8))
    assert summary.total_parameters == 4 * 4 * 9 + 4
    assert summary.total_macs == 2 * 4 * 4 * 9 * 64


def test_tracing_takes_no_memory_for_data() -> None:
    summary = summarise(lambda x: F.relu(F.max_pool2d(x, 2)), (1, 8, 2**20, 2**20))
    assert summary.rows[-1].output_shape == (8, 2**19, 2**19)


NUMPY_FORWARDS: dict[str, Any] = {
    "arithmetic": lambda x: 2 * x + x[:, :1] / 3 - 1,
    "reshape": lambda x: x.reshape(x.shape[0], -1),
    "reshape tuple": lambda x: x.reshape((-1, 7)),
    "transpose": lambda x: x.transpose(0, 2, 3, 1),
    "T": lambda x: x.T,
    "concatenate": lambda x: np.concatenate([x, x[:, 1:]], axis=1),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "mean": lambda x: x.mean(axis=(2, 3), keepdims=True),
    "max": lambda x: np.max(x, axis=1),
    "slice": lambda x: x[:, ::2, None, 1:-1],
    "ellipsis": lambda x: x[..., -1],
    "exp": lambda x: np.exp(x).astype("f8"),
    "maximum": lambda x: np.maximum(x, 0),
    "compare": lambda x: x > 0,
    "squeeze": lambda x: np.squeeze(x[:, :1], axis=1),
    "expand": lambda x: np.expand_dims(x, (0, -1)),
    "split": lambda x: np.split(x, [1, 3], axis=1)[1],
    "matmul": lambda x: np.matmul(x, np.ones((7, 5), "f4")),
    "where": lambda x: np.where(x > 0, x, 0),
    "broadcast": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "clip": lambda x: np.clip(x, -1, 1),
    "flatten": lambda x: x.flatten(),
}


@pytest.mark.parametrize("name", list(NUMPY_FORWARDS))
def test_traced_shapes_and_dtypes_are_those_of_numpy(name: str) -> None:
    function = NUMPY_FORWARDS[name]
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 7)).astype("f4")
    real = function(x)
    seen = []
    trace(lambda v: seen.append(function(v)) or seen[0], [(x.shape, x.dtype)])
    assert (seen[0].shape, seen[0].dtype) == (real.shape, real.dtype)


def test_traced_values_refuse_what_needs_data() -> None:
    with pytest.raises(TypeError, match="cannot branch"):
        trace(lambda x: F.relu(x) if x else x, [((1,), "f4")])
    with pytest.raises(TypeError, match="has no data"):
        trace(lambda x: np.asarray(x), [((1,), "f4")])
    with pytest.raises(TypeError, match=r"numpy\.sort is not for traced networks"):
        trace(lambda x: np.sort(x), [((1,), "f4")])


def small_graph() -> Graph:
    rng = np.random.default_rng(3)
    weight = Parameter(rng.standard_normal((4, 1, 3, 3)).astype("f4"))
    return Graph(
        inputs=(Port("x", ("n", 1, "h", "w"), "float32"),),
        outputs=(Port("y", ("n", 4), "float32"),),
        nodes=(
            Node("conv2d", ("x", "weight", ""), ("a",), {"padding": 1}, "first"),
            Node("relu", ("a",), ("b",), {}, "second"),
            Node("global_avg_pool", ("b",), ("c",), {}, "third"),
            Node("flatten", ("c",), ("y",), {}, "fourth"),
        ),
        constants={"weight": weight},
        name="small",
    )


def test_a_graph_runs_on_any_batch_and_size() -> None:
    graph = small_graph()
    network = Network.from_graph(graph)
    weight = graph.constants["weight"]
    rng = np.random.default_rng(4)
    for shape in ((1, 1, 5, 5), (3, 1, 8, 6)):
        x = rng.standard_normal(shape).astype("f4")
        expected = np.maximum(F.conv2d(x, np.asarray(weight), padding=1), 0).mean((2, 3))
        np.testing.assert_allclose(network(x), expected, rtol=1e-5, atol=1e-6)
        (result,) = network.run(None, {"x": x})
        np.testing.assert_array_equal(result, network(x))
        assert result.shape == (shape[0], 4)


def test_a_network_refuses_what_it_does_not_take() -> None:
    network = Network.from_graph(small_graph())
    x = np.zeros((1, 1, 5, 5), "f4")
    with pytest.raises(TypeError, match="input 'x' takes float32, but got float64"):
        network(x.astype("f8"))
    with pytest.raises(ValueError, match="input 'x' takes shape any x 1 x any x any"):
        network(np.zeros((1, 2, 5, 5), "f4"))
    with pytest.raises(ValueError, match="takes 1 inputs"):
        network(x, x)
    with pytest.raises(ValueError, match="takes inputs x, but got z"):
        network.run(None, {"z": x})
    with pytest.raises(ValueError, match="no output 'q'"):
        network.run(["q"], {"x": x})


def test_graph_errors_name_the_node() -> None:
    graph = small_graph()
    with pytest.raises(ValueError, match=r"in node 'first': conv2d"):
        graph.run({"x": np.zeros((1, 3, 5, 5), "f4")})
    with pytest.raises(ValueError, match=r"node 'bad' .* reads 'nothing'"):
        Graph(graph.inputs, (), (Node("relu", ("nothing",), ("y",), {}, "bad"),), {})
    with pytest.raises(ValueError, match="outputs 'y' are given by no node"):
        Graph(graph.inputs, graph.outputs, (), {})
    pool = Node("max_pool2d", ("x",), ("y", "places"), {"kernel_size": 2}, "pool")
    with pytest.raises(ValueError, match=r"2 outputs are named, but it gives 1 \(in node 'pool'"):
        Graph(graph.inputs, graph.outputs, (pool,), {}).run({"x": np.zeros((1, 1, 4, 4), "f4")})
    with pytest.raises(ValueError, match="no operation named 'magic'"):
        operation("magic")


def test_values_are_let_go_after_their_last_reader() -> None:
    import gc
    import weakref

    held: list[Any] = []

    def watch(value: Any) -> Any:
        result = value + 1
        # A node is tried on shapes before it runs on arrays.
        if isinstance(result, np.ndarray):
            held.append(weakref.ref(result))
        return result

    OPERATIONS["watch"] = watch
    try:
        port = Port("x", (1,), "float32")
        nodes = tuple(
            Node("watch", ("x" if i == 0 else f"v{i - 1}",), (f"v{i}",)) for i in range(4)
        )
        graph = Graph((port,), (Port("v3", (1,), "float32"),), nodes, {})
        (result,) = graph.run({"x": np.zeros(1, "f4")})
        gc.collect()
        assert [ref() is not None for ref in held] == [False, False, False, True]
        assert result[0] == 4
    finally:
        del OPERATIONS["watch"]


def test_explain_tells_what_would_run_and_why_not_the_others() -> None:
    told = explain("conv2d", (1, 64, 56, 56), (64, 64, 3, 3), padding=1, rtol=0)
    assert (told.backend, told.algorithm) == (FIRST, "direct")
    text = str(told)
    assert f"{FIRST}.winograd4: no, error bound " in text
    assert "is above rtol 0" in text
    header = next(line for line in text.splitlines() if "workspace" in line)
    assert header.split() == ["algorithm", "predicted", "measured", "roof", "error", "workspace"]
    assert "an image, bound by compute" in text
    assert max(map(len, text.splitlines())) <= 80
    with pytest.raises(ValueError, match="no function named 'conv9d'"):
        explain("conv9d", (1, 1, 1))
    arrays = fastconv.explain("relu", np.zeros((2, 3), "f4"))
    assert arrays.backend in ("c", "numba")


def test_explanations_hold_figures_for_programs() -> None:
    told = explain("conv2d", (4, 64, 56, 56), (64, 64, 3, 3), padding=1, rtol=0)
    (report,) = told.reports
    assert report.flops == 2 * 64 * 64 * 9 * 56 * 56
    peak = get_machine().peak_flops(np.dtype("f4"))
    assert report.roof_seconds == pytest.approx(report.flops / peak)
    assert (report.bound_by, report.chosen) == ("compute", report.contenders[0])
    for contender in report.contenders:
        assert contender.measured_seconds is None
        # Minimal filters execute less, and matrix tiles have a limit of their own.
        own = contender.algorithm.split(".")[1].rstrip("3456") in ("winograd", "tiles")
        if contender.predicted_seconds is not None and not own:
            assert contender.roof == report.roof_seconds / contender.predicted_seconds
    assert report.limits == "by the fixed figures"
    refused = {c.algorithm: c for c in report.contenders if c.why_not}
    assert (refused[f"{FIRST}.winograd4"].error_bound or 0) > 0
    plain = json.loads(json.dumps(told.as_dict()))
    assert plain["steps"][0]["contenders"][0]["algorithm"] == f"{FIRST}.direct"
    assert plain["seconds"] == told.seconds == report.contenders[0].predicted_seconds
    (relu,) = explain("relu", (1, 3, 100)).reports
    assert (relu.bound_by, relu.flops, relu.bytes) == ("memory", 0, 2400)


def test_explain_measures_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "sample", lambda name, run: (run(), 0.5)[1])
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2, return_indices=False),
        nn.Upsample(scale_factor=2), nn.Softmax(1), nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip
    told = compile_module(module, (2, 2, 6, 6)).explain((2, 2, 6, 6), measure=True)
    for report in told.reports:
        if report.algorithm == "numpy":
            assert report.roof_seconds is None
            continue
        assert not report.failed
        assert report.chosen is not None
        # A convolution is measured on one image; what has no batch, for all that it is given.
        whole = report.kind in ("Conv2d", "Softmax")
        assert report.chosen.measured_seconds == (0.5 if whole else 0.25)
        assert report.chosen.roof == pytest.approx(
            (report.roof_seconds or 0) / report.chosen.measured_seconds
        )
        for contender in report.contenders:
            if contender.algorithm.startswith("reference"):
                assert contender.measured_seconds is None
    assert "all steps: " in str(told)


def test_compile_gives_a_network_with_an_open_batch() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    network = compile_module(module, (1, 1, 8, 8))
    assert network.inputs[0].shape == ("batch", 1, 8, 8)
    assert network.outputs[0].shape == ("batch", 3)
    x = np.random.default_rng(5).standard_normal((4, 1, 8, 8)).astype("f4")
    np.testing.assert_array_equal(network(x), module(x))
    np.testing.assert_array_equal(network(x[2:3]), network(x)[2:3])
    assert FIRST in str(network.explain())
    with pytest.raises(ValueError, match="to have 1 channels, but got 2"):
        compile_module(module, (1, 2, 8, 8))


def test_show_config_tells_the_facts() -> None:
    shown = fastconv.show_config()
    assert shown["fastconv"] == fastconv.__version__
    assert FIRST in shown["backends"]
    assert str(shown["threads"]) in str(shown)


def test_warmup_runs_every_family_or_one_network() -> None:
    seen: list[tuple[int, int, str]] = []
    count = fastconv.warmup(dtypes=("float32",), progress=lambda *call: seen.append(call))
    assert seen[-1] == (count, count, "")
    names = " ".join(name for _, _, name in seen)
    for family in ("conv2d direct", "conv2d winograd", "softmax", "fold", "interpolate bicubic"):
        assert family in names
    module = nn.Conv2d(2, 3, 3)
    assert fastconv.warmup(module, (1, 2, 8, 8)) == 1
    assert fastconv.warmup(Network.from_graph(small_graph()), (1, 1, 4, 4)) == 1
    with pytest.raises(ValueError, match="needs an input_shape"):
        fastconv.warmup(module)
