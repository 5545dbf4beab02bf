"""Fourier transforms, windows and mel filters of ONNX: every attribute against onnx's reference."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import fastconv.onnx

onnx: Any = pytest.importorskip("onnx", reason="ONNX models are read with it")
# A transform of a dozen numbers of size one rounds each about as often as their logarithm.
BOUNDS = {"float16": 64 * 2.0**-11, "float32": 64 * 2.0**-24, "float64": 64 * 2.0**-53}


def check(
    op: str, inputs: dict[str, Any], attributes: dict[str, Any], opset: int, bound: float,
    fed: Sequence[str] = ("x",),
) -> None:  # fmt: skip
    """Run a node by both, all inputs but those fed being constants."""
    from onnx.reference import ReferenceEvaluator

    helper = onnx.helper
    given = {k: np.asarray(v) for k, v in inputs.items() if v is not None}
    names = [k if v is not None else "" for k, v in inputs.items()]
    kinds = {k: helper.np_dtype_to_tensor_dtype(v.dtype) for k, v in given.items()}
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info(k, kinds[k], given[k].shape) for k in fed],
        [helper.make_empty_tensor_value_info("y")],
        [onnx.numpy_helper.from_array(v, k) for k, v in given.items() if k not in fed],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    feeds = {k: given[k] for k in fed}
    (wanted,) = ReferenceEvaluator(model).run(None, feeds)
    session = fastconv.onnx.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, feeds)
    assert found.dtype == wanted.dtype
    wide = wanted.astype(np.float64)
    scale = max(1.0, float(np.abs(wide).max(initial=0)))
    np.testing.assert_allclose(
        found, wide, rtol=0, atol=bound * scale, err_msg=f"{op} {attributes} {inputs.keys()}"
    )


@pytest.mark.parametrize("dtype", BOUNDS)
def test_transforms_with_every_attribute_are_the_reference_s(dtype: str) -> None:
    rng = np.random.default_rng(0)
    bound = BOUNDS[dtype]
    for parts, inverse, onesided, length in itertools.product(
        (1, 2), (0, 1), (0, 1), (None, 7, 15)
    ):
        x = rng.standard_normal((2, 12, 5, parts)).astype(dtype)
        options = {"inverse": inverse, "onesided": onesided}
        old = {"x": x} if length is None else {"x": x, "n": length}
        for axis in (1, 2):
            check("DFT", old, {**options, "axis": axis}, 17, bound)
            check("DFT", {"x": x, "n": length, "a": axis - 4}, options, 20, bound)
    for parts, onesided, window in itertools.product((1, 2), (0, 1), (False, True)):
        signal = rng.standard_normal((2, 50, parts)).astype(dtype)
        weights = np.hanning(9).astype(dtype) if window else None
        inputs = {"x": signal, "step": 4, "w": weights, "n": 9}
        check("STFT", inputs, {"onesided": onesided}, 17, bound)


def test_windows_and_filters_are_the_reference_s() -> None:
    for op, periodic, dtype in itertools.product(
        ("HannWindow", "HammingWindow", "BlackmanWindow"), (0, 1), (1, 10, 11)
    ):
        options = {"periodic": periodic, "output_datatype": dtype}
        # The reference computes angles in the window's own dtype.
        bound = {1: 2e-5, 10: 2e-2, 11: 1e-12}[dtype]
        for fed in ((), ("n",)):
            check(op, {"n": np.asarray(401)}, options, 17, bound, fed)
    mel = {"bins": 40, "n": 512, "rate": 16000, "low": np.float32(20), "high": np.float32(8000)}
    check("MelWeightMatrix", mel, {}, 17, 1e-6, ())


def test_a_window_of_another_length_than_the_frame_is_refused() -> None:
    from fastconv.network.operations import operation

    signal = np.zeros((1, 20, 1), "f4")
    with pytest.raises(ValueError, match="window must have the frame's length of 8"):
        operation("stft")(signal, 4, np.ones(5, "f4"), 8, onesided=True)
    with pytest.raises(ValueError, match="frames of 1 to 20"):
        operation("stft")(signal, 4, None, 21, onesided=True)
    with pytest.raises(ValueError, match="Invalid number of data points"):
        operation("dft")(signal, 0, default_axis=1, inverse=False, onesided=False)
