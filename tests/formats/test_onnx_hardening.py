"""ONNX models made to harm: each ends in a clear error, before anything large is allocated."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.dispatch import Parameter
from fastconv.formats.onnx import graph_of
from fastconv.network import Graph, Node, Port, control

onnx = pytest.importorskip("onnx", reason="these tests make ONNX models")
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper
MIB = 2**20


def model(
    nodes: list[Any], constants: dict[str, Any] | None = None, shape: Any = ("n", 1, 8, 8),
    functions: Any = (), outputs: tuple[str, ...] = ("y",),
) -> Any:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list("abcd")) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions)


NODE = helper.make_node
LARGE = [10**7, 10**7]
TOO_LARGE: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "filled": ([NODE("ConstantOfShape", ["s"], ["y"])], {"s": LARGE}),
    "expanded": ([NODE("Expand", ["x", "s"], ["y"])], {"s": [10**12, 1, 8, 8]}),
    "tiled": ([NODE("Tile", ["x", "s"], ["y"])], {"s": [1, 10**12, 1, 1]}),
    "ranged": (
        [NODE("Range", ["a", "b", "c"], ["y"])],
        {"a": np.float32(0), "b": np.float32(1e12), "c": np.float32(1)},
    ),
    "padded": ([NODE("Pad", ["x", "s"], ["y"])], {"s": [0, 0, 10**12, 0, 0, 0, 0, 0]}),
    "convolved": (
        [NODE("Conv", ["x", "w"], ["y"], pads=[2**40, 0, 2**40, 0])],
        {"w": np.ones((1, 1, 3, 3), "f4")},
    ),
    "spread": (
        [NODE("ConvTranspose", ["x", "w"], ["y"], strides=[2**20, 2**20])],
        {"w": np.ones((1, 1, 3, 3), "f4")},
    ),
    "pooled": ([NODE("GlobalMaxPool", ["x"], ["p"]), NODE("Expand", ["p", "s"], ["y"])],
               {"s": [2**31, 2**31]}),
    "resized": (
        [NODE("Resize", ["x", "", "s"], ["y"])], {"s": np.array([1, 1, 1e6, 1e6], "f4")}
    ),
    "crossed": (
        [NODE("Reshape", ["x", "a"], ["r"]), NODE("Reshape", ["x", "b"], ["c"]),
         NODE("Mul", ["r", "c"], ["m"]), NODE("Tile", ["m", "t"], ["y"])],
        {"a": [-1, 1], "b": [1, -1], "t": [10**5, 10**5]},
    ),
    "hot": (
        [NODE("ArgMax", ["x"], ["i"]), NODE("OneHot", ["i", "d", "v"], ["y"])],
        {"d": np.int64(10**12), "v": np.array([0, 1], "f4")},
    ),
    "drawn": ([NODE("RandomNormal", [], ["y"], shape=LARGE)], {}),
    "windowed": ([NODE("HannWindow", ["n"], ["y"])], {"n": np.int64(10**13)}),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(TOO_LARGE))
@pytest.mark.parametrize("max_memory", [64 * MIB, None])
def test_what_would_not_fit_is_refused(case: str, max_memory: int | None) -> None:
    nodes, constants = TOO_LARGE[case]
    network = fastconv.load(model(nodes, constants), max_memory=max_memory)
    with pytest.raises(ValueError, match=r"more than max_memory|too large|max_memory is"):
        network(np.ones((1, 1, 8, 8), "f4"))


def test_max_memory_holds_for_what_lives_at_one_time() -> None:
    nodes = [NODE("Det", ["x"], ["d"])] + [
        NODE("Expand", ["x", "s"], [f"e{i}"]) for i in range(3)
    ] + [NODE("Exp", [f"e{i}"], [f"f{i}"]) for i in range(3)] + [
        NODE("Sum", ["f0", "f1", "f2"], ["y"])
    ]  # fmt: skip
    made = model(nodes, {"s": [4096, 1, 8, 8]}, (1, 1, 8, 8))
    x = np.zeros((1, 1, 8, 8), "f4")
    np.testing.assert_array_equal(fastconv.load(made, max_memory=16 * MIB)(x), 3)
    with pytest.raises(ValueError, match="max_memory"):
        fastconv.load(made, max_memory=2 * MIB)(x)


@pytest.mark.parametrize("dims", [[2**40, 2**20], [-1, 4], [2**62, 2**62]])
def test_weights_that_are_not_there_are_refused(dims: list[int]) -> None:
    made = model([NODE("Add", ["x", "w"], ["y"])], {"w": np.zeros(4, "f4")})
    made.graph.initializer[0].dims[:] = dims
    with pytest.raises(ValueError, match=r"not a valid ONNX model|tensor 'w'"):
        fastconv.load(made)
    with pytest.raises(ValueError, match=r"tensor 'w'"):
        graph_of(made, checked=False)


def test_weights_larger_than_max_memory_are_refused() -> None:
    made = model([NODE("Add", ["x", "w"], ["y"])], {"w": np.zeros((8, 8), "f4")})
    with pytest.raises(ValueError, match=r"tensor 'w'.*more than max_memory, 100"):
        fastconv.load(made, max_memory=100)
    sparse = model([NODE("Identity", ["w"], ["y"])])
    values = numpy_helper.from_array(np.ones(1, "f4"), "w")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    tensor = helper.make_sparse_tensor(values, places, [10**7, 10**7])
    sparse.graph.sparse_initializer.append(tensor)
    with pytest.raises(ValueError, match=r"sparse tensor 'w'.*more than max_memory"):
        fastconv.load(sparse)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_negative_pads_are_refused(operator: str) -> None:
    """ONNX has none; its reference takes memory by them."""
    weight = {"w": np.ones((1, 1, 3, 3), "f4")}
    nodes = [NODE(operator, ["x", "w"], ["y"], pads=[1, 1, 1, -(2**31)])]
    with pytest.raises(ValueError, match="pads must not be negative"):
        fastconv.load(model(nodes, weight).SerializeToString())


@pytest.mark.parametrize("axis", [5, -5, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("operator", ["Gather", "Flatten", "Softmax"])
def test_axes_that_are_not_there_are_refused(operator: str, axis: int) -> None:
    """Before a key of as many dimensions is made; and no other axis is taken for one before 0."""
    places = ["i"] if operator == "Gather" else []
    node = NODE(operator, ["x", *places], ["y"], axis=axis)
    damaged = model([node], {"i": np.int64([0])}).SerializeToString()
    x = np.zeros((1, 1, 8, 8), "f4")
    with pytest.raises((ValueError, TypeError), match=r"(?i)range|bounds|axis"):
        fastconv.load(damaged)(x)


def test_functions_that_call_each_other_are_refused() -> None:
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function("own", a, ["u"], ["v"], [NODE(b, ["u"], ["v"], domain="own")], opsets)
        for a, b in (("Ping", "Pong"), ("Pong", "Ping"))
    ]
    made = model([NODE("Ping", ["x"], ["y"], domain="own")], functions=functions)
    with pytest.raises(ValueError, match=r"function|recurs|cycl"):
        fastconv.load(made)


def test_graphs_in_graphs_without_end_are_refused() -> None:
    """Field by field, since onnx itself can no longer make such a thing in one piece."""

    def field(number: int, payload: bytes) -> bytes:
        length, out = len(payload), b""
        while length >= 128:
            out, length = out + bytes([length % 128 + 128]), length // 128
        return bytes([number * 8 + 2]) + out + bytes([length]) + payload

    graph = b""
    for _ in range(5000):
        attribute = field(1, b"body") + field(6, graph) + bytes([20 * 8 % 256 | 0, 1, 5])
        graph = field(1, field(4, b"Loop") + field(5, attribute)) + field(2, b"g")
    with pytest.raises(ValueError, match="no ONNX model that onnx can read"):
        fastconv.load(bytes([8, 9]) + field(7, graph))


def looping(update: list[Any], count: Any) -> Any:
    """Return a model with a loop: ``update`` makes "again" and "t" of i, going and s."""
    value_info = helper.make_tensor_value_info
    body = helper.make_graph(
        update,
        "body",
        [value_info(n, t, s) for n, t, s in (("i", 7, ()), ("going", 9, ()), ("s", 1, None))],
        [value_info(n, t, s) for n, t, s in (("again", 9, ()), ("t", 1, None))],
        [
            numpy_helper.from_array(np.asarray(value, dtype), name)
            for name, value, dtype in (
                ("one", 1, "f4"), ("most", 5000, "f4"), ("passes", 10**9, "i8"), ("yes", True, "?"),
            )
        ],
    )  # fmt: skip
    constants = {} if count is None else {"count": np.array(count, np.int64)}
    name = "" if count is None else "count"
    return model([NODE("Loop", [name, "", "x"], ["y"], body=body)], constants)


STEP = NODE("Add", ["s", "one"], ["t"])
ENDLESS: dict[str, tuple[list[Any], Any]] = {
    "a constant condition": ([STEP, NODE("Identity", ["yes"], ["again"])], None),
    "its own condition": ([STEP, NODE("Identity", ["going"], ["again"])], 2**62),
    "a value that stays": (
        [NODE("Mul", ["s", "one"], ["t"]), NODE("ReduceMin", ["t"], ["least"], keepdims=0),
         NODE("Greater", ["least", "one"], ["again"])],
        None,
    ),
    "a value that comes to stay": (
        [NODE("Add", ["s", "one"], ["more"]), NODE("Min", ["more", "most"], ["t"]),
         NODE("ReduceMin", ["t"], ["least"], keepdims=0),
         NODE("GreaterOrEqual", ["most", "least"], ["again"])],
        2**63 - 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_loops_that_never_end_are_refused(name: str) -> None:
    network = fastconv.load(looping(*ENDLESS[name]))
    with pytest.raises(ValueError, match=r"a loop never ends: .*: loop"):
        network(np.full((1, 1, 8, 8), 2, "f4"))


def test_loops_end_by_their_condition_or_after_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def while_below(limit: str, number: str) -> list[Any]:
        first = NODE("ReduceMax", ["t"], ["value"], keepdims=0)
        named = NODE("Identity", ["i"], ["value"])
        return [STEP, first if number == "t" else named, NODE("Less", ["value", limit], ["again"])]

    x = np.zeros((1, 1, 8, 8), "f4")
    # How a while loop is written: as many passes as there can be, and a condition.
    ending = fastconv.load(looping(while_below("most", "t"), 2**63 - 1))
    np.testing.assert_array_equal(ending(x), 5000)
    monkeypatch.setattr(control, "MOST_PASSES", 5000)
    for made in (
        looping(while_below("passes", "i"), None),
        looping(while_below("passes", "i"), 6000),
    ):
        with pytest.raises(ValueError, match="not ended after 5,000 passes"):
            fastconv.load(made)(x)


def test_passes_of_loops_in_loops_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = Graph(
        (Port("i", (), "int64"), Port("g", (), "bool"), Port("s", (), "float32")),
        (Port("g", (), "bool"), Port("t", (), "float32")),
        (Node("add", ("s", "s"), ("t",)),),
        {},
    )
    nested = Node("loop", ("many", "", "s"), ("t",), {"body": inner, "carried": 1, "scanned": 0})
    outer = dataclasses.replace(inner, nodes=(nested,), constants={"many": Parameter(np.array(40))})
    monkeypatch.setattr(control, "MOST_PASSES", 1000)
    for count, fits in ((20, True), (30, False)):
        options = {"body": outer, "carried": 1, "scanned": 0}
        if fits:
            control.loop(np.array(count), None, np.float32(0), **options)
            continue
        with pytest.raises(ValueError, match="not ended after 1,000 passes"):
            control.loop(np.array(count), None, np.float32(0), **options)


def test_damaged_models_end_in_a_result_or_a_clear_error(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("resource", reason="what a process takes is asked there")
    from tests.onnx_mutations import failures

    count = request.config.getoption("--onnx-mutations")
    wrong, counts = failures(7, 0, count)
    assert wrong == []
    assert counts["result"] > count // 10
    assert counts["ValueError"] > count // 4
    assert sum(counts.values()) == count
