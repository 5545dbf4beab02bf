"""Nothing detected: operators on empty arrays return empty results; and integers to powers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import fastconv


def z(*shape: int, dtype: str = "f4") -> Any:
    return np.zeros(shape, dtype)


def ints(*values: int) -> Any:
    return np.array(values, "i8")


LIMITS = (np.array([5]), np.float32([0.5]), np.float32([0.1]))
# Operator, inputs, attributes, the shape of the result.
EMPTY: list[tuple[str, list[Any], dict[str, Any], tuple[int, ...]]] = [
    ("GridSample", [z(0, 3, 4, 4), z(0, 2, 2, 2)], {}, (0, 3, 2, 2)),
    ("GridSample", [z(1, 3, 4, 4), z(1, 0, 2, 2)], {}, (1, 3, 0, 2)),
    ("GridSample", [z(1, 0, 4, 4), z(1, 2, 2, 2)], {}, (1, 0, 2, 2)),
    ("NonMaxSuppression", [z(1, 0, 4), z(1, 2, 0), *LIMITS], {}, (0, 3)),
    ("NonMaxSuppression", [z(0, 3, 4), z(0, 2, 3), *LIMITS], {}, (0, 3)),
    ("RoiAlign", [z(1, 2, 8, 8), z(0, 4), z(0, dtype="i8")],
     {"output_height": 2, "output_width": 2}, (0, 2, 2, 2)),
    ("MaxRoiPool", [z(1, 2, 8, 8), z(0, 5)], {"pooled_shape": [2, 2]}, (0, 2, 2, 2)),
    ("AffineGrid", [z(0, 2, 3), ints(0, 3, 4, 4)], {}, (0, 4, 4, 2)),
    ("Hardmax", [z(4, 0)], {}, (4, 0)),
    ("Softmax", [z(4, 0)], {}, (4, 0)),
    ("Gather", [z(5, 4), z(0, dtype="i8")], {}, (0, 4)),
    ("Resize", [z(0, 3, 4, 4), z(0), np.float32([1, 1, 2, 2])], {}, (0, 3, 8, 8)),
    ("Conv", [z(0, 3, 8, 8), z(4, 3, 3, 3)], {}, (0, 4, 6, 6)),
    ("ConvTranspose", [z(0, 3, 8, 8), z(3, 4, 3, 3)], {}, (0, 4, 10, 10)),
    ("MaxPool", [z(0, 3, 8, 8)], {"kernel_shape": [2, 2]}, (0, 3, 7, 7)),
    ("GlobalAveragePool", [z(0, 3, 8, 8)], {}, (0, 3, 1, 1)),
    ("MatMul", [z(2, 0), z(0, 3)], {}, (2, 3)),
    ("Einsum", [z(0, 3), z(3, 4)], {"equation": "ij,jk->ik"}, (0, 4)),
    ("LayerNormalization", [z(0, 4), z(4)], {}, (0, 4)),
    ("Pad", [z(0, 4), ints(0, 1, 0, 1)], {"mode": "edge"}, (0, 6)),
    ("DeformConv", [z(0, 1, 3, 3), z(1, 1, 2, 2), z(0, 8, 2, 2)], {}, (0, 1, 2, 2)),
    ("Col2Im", [z(0, 12, 4), ints(3, 3), ints(2, 2)], {}, (0, 3, 3, 3)),
]  # fmt: skip


def run(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    names = [f"i{place}" for place in range(len(inputs))]
    node = helper.make_node(operator, names, ["y"], **attributes)
    ports = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim
        )
        for name, value in zip(names, inputs, strict=True)
    ]
    graph = helper.make_graph([node], "g", ports, [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return fastconv.load(model)(*inputs)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "shape"), EMPTY, ids=[case[0] for case in EMPTY]
)
def test_operators_on_nothing_return_nothing(
    operator: str, inputs: list[Any], attributes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    result = run(operator, inputs, attributes)
    assert result.shape == shape
    assert not result.any()


def test_integers_to_negative_powers_are_cut_towards_zero() -> None:
    base = np.array([1, 2, 3, -1, -1, -2, 7, 0], "i8")
    exponent = np.array([-1, -1, 0, -1, -2, 3, -9, 5], "i8")
    given = run("Pow", [base, exponent], {})
    np.testing.assert_array_equal(given, [1, 0, 1, -1, 1, -8, 0, 0])
    small = run("Pow", [base.astype("i4"), exponent], {})
    assert small.dtype == np.int32
    np.testing.assert_array_equal(small, given)
    large = run("Pow", [np.array([3], "i8"), np.array([39], "i8")], {})
    assert int(large[0]) == 3**39


@pytest.mark.parametrize("dtype", ["u1", "i1", "i4", "f4"])
def test_shrink_of_integers_compares_with_fractions(dtype: str) -> None:
    x = np.arange(6).astype(dtype)
    given = run("Shrink", [x], {"lambd": 1.5, "bias": 1.0})
    np.testing.assert_array_equal(given, [0, 0, 1, 2, 3, 4])
    assert given.dtype == x.dtype


def test_masked_cells_in_a_network_s_input_are_refused() -> None:
    network = fastconv.load(
        helper.make_model(
            helper.make_graph(
                [helper.make_node("Relu", ["x"], ["y"])],
                "g",
                [helper.make_tensor_value_info("x", 1, [3])],
                [helper.make_tensor_value_info("y", 1, [3])],
            )
        )
    )
    x = np.ma.masked_array(np.float32([1, 2, 3]), [0, 1, 0])
    with pytest.raises(ValueError, match=r"input 'x' has masked cells.*filled\(0\)"):
        network(x)
    with pytest.raises(ValueError, match="has masked cells"):
        network.run(None, {"x": x})
    np.testing.assert_array_equal(network(x.filled(0)), [1, 0, 3])
    np.testing.assert_array_equal(network(np.ma.masked_array(np.float32([1, 2, 3]))), [1, 2, 3])


def test_an_attribute_left_out_takes_its_default_where_onnx_s_rule_errs() -> None:
    """STFT's rule of shapes takes ``onesided``, whose default is 1, for 0 where it is left out."""
    signal = np.random.default_rng(0).standard_normal((1, 64, 1)).astype("f4")
    length = np.array(16)
    result = run("STFT", [signal, np.array(8), np.hanning(16).astype("f4"), length], {})
    frames = [signal[0, i : i + 16, 0] * np.hanning(16) for i in range(0, 49, 8)]
    wanted = np.fft.rfft(np.stack(frames))
    assert result.shape == (1, 7, 9, 2)
    np.testing.assert_allclose(result[0, ..., 0] + 1j * result[0, ..., 1], wanted, atol=1e-4)
