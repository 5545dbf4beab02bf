"""Products in networks: on this package's kernels and threads, whatever their operator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.backends.native.bounds import sum_bound
from fastconv.network import Graph, Network, Node, Port
from fastconv.network.network import GraphFunction
from fastconv.network.products import einsum, gemm
from fastconv.network.program import Call, Solve
from fastconv.problem import AttentionProblem, MatmulProblem, StridedProblem

RNG = np.random.default_rng(5)
EQUATIONS = [
    ("bhqd,bhkd->bhqk", (2, 3, 17, 8), (2, 3, 19, 8)),
    ("bhwc,hkc->bhwk", (5, 7, 6, 4), (7, 6, 4)),
    ("ij,jk,kl->il", (10, 20), (20, 11), (11, 5)),
    ("...ij,...jk", (2, 1, 4, 5), (3, 5, 6)),
    ("ii", (6, 6)),
    ("ii->i", (6, 6)),
    ("iji->j", (6, 4, 6)),
    ("bii,bij->bj", (3, 5, 5), (3, 5, 4)),
    ("i,j->ij", (4,), (6,)),
    ("i,i", (9,), (9,)),
    ("ij,ij->ij", (4, 5), (4, 5)),
    ("ij->ji", (4, 5)),
    ("ij->", (4, 5)),
    ("abc,cd,ae->bde", (3, 4, 5), (5, 6), (3, 2)),
    ("ij,kj->ik", (4, 1), (6, 5)),
    ("b...i,b...i->b...", (2, 3, 4, 5), (2, 1, 1, 5)),
    ("abcd,bcde,ce->ab", (2, 3, 4, 5), (3, 4, 5, 2), (4, 2)),
]


def drawn(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype("f4")


def close(found: Any, expected: Any, length: int) -> None:
    eps = float(np.finfo("f4").eps)
    limit = 4 * sum_bound(max(1, length), eps / 2) * np.sqrt(max(1, length))
    np.testing.assert_allclose(found, expected, rtol=4 * eps, atol=limit)


def network(function: Any, *shapes: tuple[int, ...]) -> Network:
    """Compile a function of arrays."""

    return fastconv.compile(function, list(shapes))


def graph(op: str, *ports: tuple[int, ...], **options: Any) -> Network:
    """Return a network of one node."""
    names = tuple(f"x{i}" for i in range(len(ports)))
    inputs = tuple(Port(name, shape, "float32") for name, shape in zip(names, ports, strict=True))
    node = Node(op, names, ("y",), options, "n")
    whole = Graph(inputs, (Port("y", (), ""),), (node,), {})
    return Network(GraphFunction(whole), whole.inputs, whole.outputs)


def ops_of(net: Network, *arrays: Any) -> list[Any]:
    found = net.compiled([a.shape for a in arrays])
    assert found is not None
    return found.program.posed()


@contextlib.contextmanager
def no_blas() -> Iterator[None]:
    """Have all of NumPy's functions that call its BLAS for floats raise."""

    def refused(original: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            values = [v for v in args if isinstance(v, np.ndarray)]
            if any(v.dtype.kind in "fc" for v in values):
                raise AssertionError(f"numpy.{original.__name__} of floats was called")
            return original(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("matmul", "dot", "einsum", "tensordot", "inner", "vdot"):
            patch.setattr(np, name, refused(getattr(np, name)))
        yield


@pytest.mark.parametrize("case", EQUATIONS, ids=lambda case: case[0])
def test_einsum_of_any_equation_is_numpy_s(case: Any, monkeypatch: Any) -> None:
    equation, *shapes = case
    arrays = [drawn(*shape) for shape in shapes]
    expected = np.einsum(equation, *(a.astype("f8") for a in arrays))
    monkeypatch.setattr(np, "einsum", None)
    found = einsum(*arrays, equation=equation)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    length = int(np.prod([max(s) for s in shapes]))
    close(found, expected, length)
    whole = [RNG.integers(-9, 9, shape) for shape in shapes]
    monkeypatch.undo()
    np.testing.assert_array_equal(einsum(*whole, equation=equation), np.einsum(equation, *whole))


@pytest.mark.parametrize(
    ("equation", "shapes", "match"),
    [
        ("ij,jk->ik", [(2, 3)], "operands"),
        ("ij,jk->ik", [(2, 3), (4, 5)], "broadcast"),
        ("ij->ik", [(2, 3)], "output"),
        ("ij->ii", [(2, 3)], "output"),
        ("ijk->i", [(2, 3)], "dimensions"),
        ("ii->i", [(2, 3)], "broadcast|sizes"),
        ("i.j->i", [(2, 3)], "subscript"),
    ],
)
def test_einsum_of_a_bad_equation_is_refused(equation: str, shapes: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        einsum(*(drawn(*shape) for shape in shapes), equation=equation)


@pytest.mark.parametrize("turned", [False, True])
def test_gemm_of_two_values_is_blas_s(turned: bool) -> None:
    a, b, c = drawn(7, 5), drawn(9, 7) if turned else drawn(7, 9), drawn(9)
    with no_blas():
        found = gemm(a, b, c, 0.5, 2.0, transpose_a=True, transpose_b=turned)
    right = (b.T if turned else b).astype("f8")
    expected = 0.5 * np.sum(a.T.astype("f8")[:, :, None] * right, axis=1) + 2.0 * c
    close(found, expected, 7)


def attention(x: Any, wide: Any, heads: int, mask: Any = None) -> Any:
    """Attend as networks are exported: each operation written out."""
    batch, rows, width = x.shape
    each = width // heads
    q, k, v = (
        F.linear(x, w).reshape((batch, rows, heads, each)).transpose((0, 2, 1, 3)) for w in wide
    )
    scores = (q @ k.transpose((0, 1, 3, 2))) / np.float32(np.sqrt(each))
    if mask is not None:
        scores = scores + mask
    product = F.softmax(scores, -1) @ v
    return product.transpose((0, 2, 1, 3)).reshape((batch, rows, width))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_that_is_written_out_is_one_operation(batch: int, masked: bool) -> None:
    weights = [drawn(24, 24) / np.float32(5) for _ in range(3)]
    x, mask = drawn(batch, 17, 24), drawn(batch, 1, 1, 17)
    arrays = (x, mask) if masked else (x,)
    net = network(lambda x, *mask: attention(x, weights, 3, *mask), *(a.shape for a in arrays))
    posed = ops_of(net, *arrays)
    problems = [op.problem for op in posed if isinstance(op, Solve)]
    assert not any(isinstance(op, Call) for op in posed)
    assert [type(p) for p in problems].count(AttentionProblem) == 1
    assert not any(isinstance(p, (MatmulProblem, StridedProblem)) for p in problems)
    with no_blas():
        found = net(*arrays)
    expected = reference_attention(arrays, weights, 3)
    close(found, expected, 24 + 17)
    fewer = network(
        lambda x, *mask: attention(x, weights, 3, *mask), *((1, *a.shape[1:]) for a in arrays)
    )
    for i in range(batch):
        one = fewer(*(np.ascontiguousarray(a[i : i + 1]) for a in arrays))
        np.testing.assert_array_equal(one[0], found[i])


def reference_attention(arrays: Any, weights: Any, heads: int) -> Any:
    x, *mask = (a.astype("f8") for a in arrays)
    batch, rows, width = x.shape
    q, k, v = (
        (x @ w.T.astype("f8")).reshape(batch, rows, heads, -1).transpose(0, 2, 1, 3)
        for w in weights
    )
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(width // heads)
    scores = scores + mask[0] if mask else scores
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    product = powers / powers.sum(-1, keepdims=True) @ v
    return product.transpose(0, 2, 1, 3).reshape(batch, rows, width)


@pytest.mark.parametrize(
    "written",
    [
        lambda s, v: F.softmax(s * np.float32(2) + np.float32(1), 1) @ v,
        lambda s, v: F.softmax(s.transpose((0, 2, 1)), -1) @ v,
        lambda s, v: F.relu(F.softmax(s, -1)) @ v,
        lambda s, v: F.softmax(F.relu(s), -1) @ v,
        lambda s, v: F.softmax((s + v[:, :1, :]) * np.float32(2), -1) @ v,
        lambda s, v: np.concatenate((F.softmax(s, -1) @ v, s), 1),
        lambda s, v: F.log_softmax(s, -1) @ v,
    ],
)
def test_what_is_like_attention_keeps_its_meaning(written: Any) -> None:
    arrays = tuple(drawn(2, 12, 12) for _ in range(3))

    def function(q: Any, k: Any, v: Any) -> Any:
        return written(q @ k, v)

    found = network(function, *(a.shape for a in arrays))(*arrays)
    expected = function(*(a.astype("f8") for a in arrays))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_products_read_and_write_in_place() -> None:
    a, b = drawn(2, 5, 3, 7), drawn(2, 11, 3, 7)

    def function(a: Any, b: Any) -> Any:
        left, right = a.transpose((0, 2, 1, 3)), b.transpose((0, 2, 3, 1))
        return (left @ right).transpose((0, 2, 1, 3)).reshape((2, 5, 33))

    net = network(function, a.shape, b.shape)
    (op,) = ops_of(net, a, b)
    assert isinstance(op.problem, MatmulProblem)
    with no_blas():
        found = net(a, b)
    close(found, function(a.astype("f8"), b.astype("f8")), 7)


_NODES = [
    ("matmul", [(2, 6, 5), (2, 5, 7)], {}),
    ("matmul", [(5,), (2, 5, 7)], {}),
    ("gemm", [(6, 5), (5, 7)], {"alpha": 0.5}),
    ("einsum", [(2, 6, 5), (2, 5, 7)], {"equation": "bij,bjk->bki"}),
    ("attention", [(1, 2, 6, 4)] * 3, {}),
    (
        "grid_sample",
        [(1, 4, 6, 6), (1, 5, 5, 2)],
        {"mode": "linear", "padding": "zeros", "align_corners": False},
    ),
    (
        "deform_conv",
        [(1, 4, 6, 6), (3, 4, 3, 3), (1, 18, 4, 4)],
        {"stride": (1, 1), "padding": None, "dilation": (1, 1), "groups": 1, "offset_groups": 1},
    ),
]


@pytest.mark.parametrize(("op", "shapes", "options"), _NODES, ids=lambda v: str(v)[:20])
def test_networks_of_products_call_no_blas(op: str, shapes: Any, options: Any) -> None:
    net = graph(op, *shapes, **options)
    arrays = [drawn(*shape) for shape in shapes]
    expected = net(*arrays)
    with no_blas():
        np.testing.assert_array_equal(net(*arrays), expected)


def test_attention_of_onnx_is_onnxruntime_s() -> None:
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    if onnx.defs.onnx_opset_version() < 23:
        pytest.skip("an onnx without Attention")
    helper = onnx.helper
    value, kinds = helper.make_tensor_value_info, onnx.TensorProto
    shapes = {"q": (2, 6, 9, 8), "k": (2, 2, 13, 8), "v": (2, 2, 13, 5), "m": (9, 13)}
    for options in ({}, {"is_causal": 1}, {"softcap": 3.0}, {"scale": 0.2}):
        node = helper.make_node("Attention", list(shapes), ["y"], **options)
        inputs = [value(name, kinds.FLOAT, shape) for name, shape in shapes.items()]
        outputs = [value("y", kinds.FLOAT, (2, 6, 9, 5))]
        model = helper.make_model(
            helper.make_graph([node], "g", inputs, outputs),
            opset_imports=[helper.make_opsetid("", 23)], ir_version=10,
        )  # fmt: skip
        feeds = {name: drawn(*shape) for name, shape in shapes.items()}
        try:
            (expected,) = ort.InferenceSession(model.SerializeToString()).run(None, feeds)
        except Exception as error:
            pytest.skip(f"an onnxruntime without Attention: {error}")
        (found,) = fastconv.InferenceSession(model).run(None, feeds)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
