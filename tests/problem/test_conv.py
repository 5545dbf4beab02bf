"""Convolution problems: sizes, receptive fields, work, and what is refused in whose words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.problem import ConvProblem, ConvTransposeProblem
from tests.libraries import FIRST


def zeros(*shape: int, dtype: Any = "float32") -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


def test_the_first_convolution_of_resnet50() -> None:
    problem = ConvProblem.of(2, zeros(1, 3, 224, 224), zeros(64, 3, 7, 7), stride=2, padding=3)
    assert problem.output_shape == (1, 64, 112, 112)
    assert problem.macs == 64 * 112 * 112 * 147
    assert problem.flops == 2 * problem.macs
    assert problem.parameter_bytes == 9408 * 4
    assert problem.window == ((7, 7), (2, 2))
    assert problem.sum_length == 147


@pytest.mark.parametrize(("dilation", "field"), [(1, 3), (2, 5)])
def test_receptive_field_of_a_dilated_kernel(dilation: int, field: int) -> None:
    problem = ConvProblem.of(1, zeros(1, 1, 10), zeros(1, 1, 3), dilation=dilation)
    assert problem.window[0] == (field,)


def test_problems_are_hashable_and_equal_by_value() -> None:
    a = ConvProblem.of(2, zeros(4, 3, 8, 8), zeros(5, 3, 3, 3), padding="same")
    b = ConvProblem.of(2, zeros(4, 3, 8, 8), zeros(5, 3, 3, 3), padding=1)
    assert a == b
    assert hash(a) == hash(b)
    assert a.for_one_image().batch == 1
    assert a.for_one_image().for_one_image() == a.for_one_image()


def test_numpy_integers_are_ints() -> None:
    problem = ConvProblem.of(
        2, zeros(1, 3, 8, 8), zeros(5, 3, 3, 3), stride=np.int64(2), padding=np.array([1, 2])
    )
    assert problem.stride == (2, 2)
    assert problem.padding == ((1, 1), (2, 2))


def test_sizes_are_counted_in_python_integers() -> None:
    class Huge:
        shape = (1, 3, 2**33, 2**20)
        dtype = np.dtype("float32")

    problem = ConvProblem.of(2, Huge(), zeros(8, 3, 3, 3), padding=1)
    assert problem.output_shape == (1, 8, 2**33, 2**20)
    assert problem.macs == 8 * 27 * 2**53


X, W = zeros(1, 4, 8, 8), zeros(6, 4, 3, 3)

VALUE_ERRORS: list[tuple[str, dict[str, Any]]] = [
    (r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d", {"input": zeros(4, 8)}),
    (r"Expected 4-dimensional weight for conv2d", {"weight": zeros(6, 4, 3)}),
    (r"expected input\[1, 3, 8, 8\] to have 4 channels, but got 3 channels",
     {"input": zeros(1, 3, 8, 8)}),
    (r"expected weight to be divisible by 5 at dimension 0", {"groups": 5}),
    (r"to have 8 channels, but got 4 channels", {"groups": 2}),
    (r"groups should be greater than zero", {"groups": 0}),
    (r"Kernel size can't be greater than actual input size", {"input": zeros(1, 4, 2, 8)}),
    (r"Kernel size can't be greater than actual input size", {"dilation": 4}),
    (r"non-positive stride is not supported", {"stride": 0}),
    (r"non-positive stride is not supported", {"stride": (1, -1)}),
    (r"dilation should be greater than zero", {"dilation": 0}),
    (r"padding must not be negative", {"padding": -1}),
    (r"padding must hold 2 \(before, after\) pairs", {"padding": ((1, 1),)}),
    (r"padding must be an int, a tuple.*'sme'", {"padding": "sme"}),
    (r"padding='causal' is for one spatial dimension only", {"padding": "causal"}),
    (r"stride must be an int or a tuple of 2 ints", {"stride": (1, 2, 3)}),
    (r"expected bias to be 1-dimensional with 6 elements", {"bias": zeros(5)}),
    (r"padding_mode must be one of zeros, reflect", {"padding_mode": "mirror"}),
    (r"Padding size should be less than the corresponding input dimension",
     {"padding_mode": "reflect", "padding": 8}),
    (r"wrapping around more than once", {"padding_mode": "circular", "padding": 9}),
    (r"layout must be one of NCHW, NHWC", {"layout": "CHWN"}),
    (r"activation must be one of relu", {"activation": "rleu"}),
    (r"residual must have the output's shape \[1, 6, 6, 6\]", {"residual": zeros(1, 6, 6, 5)}),
    (r"rtol must not be negative", {"rtol": -1}),
    (r"rtol must not be NaN", {"rtol": float("nan")}),
    (r"precision must be one of tf32, 3xtf32, fp16, bf16, but got 'fp8'", {"precision": "fp8"}),
    (r"unknown algorithm 'magic' for conv2d; there are", {"algorithm": "magic"}),
    (r"backend 'tpu' is not there for conv2d; there are", {"backend": "tpu"}),
    (rf"{FIRST}.winograd: stride above 2", {"algorithm": "winograd", "stride": 3}),
    (r"out must have shape \[1, 6, 6, 6\]", {"out": zeros(1, 6, 6, 7)}),
    (r"weight of conv2d must not be empty", {"weight": zeros(6, 4, 0, 3)}),
]  # fmt: skip

TYPE_ERRORS: list[tuple[str, dict[str, Any]]] = [
    (r"stride must be an int or a tuple of ints, not nan", {"stride": float("nan")}),
    (r"stride must be an int or a tuple of ints, not 1.5", {"stride": 1.5}),
    (r"stride must be an int, not True", {"stride": True}),
    (r"expected input and weight to have the same dtype", {"weight": W.astype("f8")}),
    (r"expected input and bias to have the same dtype", {"bias": zeros(6, dtype="f8")}),
    (r"input must be an array of numbers, not of dtype object", {"input": X.astype(object)}),
    (r"input of conv2d has dtype bool; accepted are float16", {"input": X.astype(bool)}),
    (r"weight must be an array, not None", {"weight": None}),
    (r"out must have dtype float32", {"out": zeros(1, 6, 6, 6, dtype="f8")}),
    (r"out must be a NumPy array, not list", {"out": [1.0]}),
    (r"layout must be one of", {"layout": 3}),
    (r"precision must be one of tf32, 3xtf32, fp16, bf16, not 32", {"precision": 32}),
    (
        r"precision tf32 is not for float64; accepted is float32",
        {"input": X.astype("f8"), "weight": W.astype("f8"), "precision": "tf32"},
    ),
]


def call(changes: dict[str, Any]) -> Any:
    arguments: dict[str, Any] = {"input": X, "weight": W, **changes}
    return F.conv2d(arguments.pop("input"), arguments.pop("weight"), **arguments)


@pytest.mark.parametrize(("message", "changes"), VALUE_ERRORS)
def test_value_errors(message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        call(changes)


@pytest.mark.parametrize(("message", "changes"), TYPE_ERRORS)
def test_type_errors(message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=message):
        call(changes)


def test_out_may_not_overlap_and_is_not_touched() -> None:
    memory = np.ones((1, 6, 8, 8), "f4")
    with pytest.raises(ValueError, match="out must not overlap"):
        F.conv2d(memory[:, :4], W, out=memory[:, :, 1:7, 1:7])
    frozen = np.full((1, 6, 6, 6), np.nan, "f4")
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writeable"):
        F.conv2d(X, W, out=frozen)
    assert (memory == 1).all()
    interleaved = np.ones((2, 1, 6, 6, 6), "f4")
    F.conv2d(np.ones((1, 4, 8, 8), "f4"), W, out=interleaved[0])
    assert (interleaved[0] == 0).all()
    assert (interleaved[1] == 1).all()


def test_transposed_convolution_refuses_what_torch_refuses() -> None:
    x, w = zeros(1, 4, 5, 5), zeros(4, 3, 3, 3)
    with pytest.raises(ValueError, match="output padding must be smaller than either stride"):
        F.conv_transpose2d(x, w, output_padding=1)
    with pytest.raises(ValueError, match=r"Given transposed=1.*to have 4 channels, but got 5"):
        F.conv_transpose2d(zeros(1, 5, 5, 5), w)
    with pytest.raises(ValueError, match="Output size is too small"):
        F.conv_transpose2d(x, w, padding=4)
    problem = ConvTransposeProblem.of(2, x, w, stride=2, output_padding=1, padding=1)
    assert problem.output_shape == (1, 3, 10, 10)
    assert problem.macs == 25 * 4 * 3 * 9


def test_integers_refuse_activations_that_leave_them() -> None:
    with pytest.raises(TypeError, match="activation gelu"):
        F.conv2d(X.astype("i4"), W.astype("i4"), activation="gelu")


def test_problems_are_remembered_but_never_confused() -> None:
    first = ConvProblem.of(2, X, W, stride=1, padding=(1, 1))
    assert ConvProblem.of(2, np.ones_like(X), W, stride=1, padding=(1, 1)) is first
    assert ConvProblem.of(2, X, W, stride=1, padding=[1, 1]) == first
    for wrong in ({"stride": True}, {"stride": 1.0}, {"padding": (1, 1.0)}, {"padding": (1, True)}):
        with pytest.raises(TypeError, match="must be an int"):
            ConvProblem.of(2, X, W, **{"stride": 1, "padding": (1, 1), **wrong})
    assert ConvProblem.of(2, X.astype("f8"), W.astype("f8"), padding=(1, 1)) != first
