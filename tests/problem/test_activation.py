"""Activations, PReLU and softmax as problems: what is read, what is refused, and how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.problem import (
    ACTIVATIONS,
    Activation,
    ElementwiseProblem,
    PreluProblem,
    SoftmaxProblem,
)

X = np.zeros((2, 3, 4), "f4")


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_a_name_takes_its_defaults(name: str) -> None:
    problem = ElementwiseProblem.of(X, name)
    assert problem.name == name
    assert problem.activation == Activation(name, ACTIVATIONS[name].defaults)
    assert problem.input_shape == problem.output_shape == X.shape
    assert problem.output_dtype == X.dtype
    assert problem.macs == problem.parameter_bytes == 0
    assert problem.bytes == 2 * X.nbytes
    assert hash(problem) == hash(ElementwiseProblem.of(X, name))


def test_parameters_are_read_in_order() -> None:
    assert Activation.of(("softplus", 2)) == Activation("softplus", (2.0, 20.0))
    assert Activation.of(("gelu", "tanh")) == Activation.of(("gelu", 1)) != Activation.of("gelu")
    assert str(Activation.of(("hardtanh", -2, 0.5))) == "hardtanh(-2, 0.5)"
    assert Activation.of(None) is None


@pytest.mark.parametrize(
    ("activation", "words"),
    [
        ("swish", "activation must be one of relu"),
        (("relu", 1), "takes 0 parameters"),
        (("hardtanh", 2, 1), "min_val cannot be greater than max_val"),
        (("celu", 0), "alpha cannot be 0 for CELU"),
        (("gelu", "exact"), "approximate argument must be either none or tanh"),
        (("gelu", 2), "approximate argument must be either none or tanh"),
        (("elu", float("nan")), "alpha must not be NaN"),
        (None, "must be a name"),
    ],
)
def test_activations_that_are_refused(activation: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ElementwiseProblem.of(X, activation)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint32"])
def test_only_clamps_take_integers(dtype: str) -> None:
    x = X.astype(dtype)
    assert ElementwiseProblem.of(x, "relu6").output_dtype == x.dtype
    with pytest.raises(TypeError, match=r"input of gelu has dtype .*; accepted are float16"):
        ElementwiseProblem.of(x, "gelu")


def test_integer_limits() -> None:
    x = X.astype("i1")
    problem = ElementwiseProblem.of(x, ("hardtanh", -1.9, 1.9))
    assert problem.activation.parameters == (-1.0, 1.0)
    with pytest.raises(ValueError, match="cannot be converted to type int8 without overflow"):
        ElementwiseProblem.of(x, ("hardtanh", 0, 128))
    with pytest.raises(ValueError, match="unsigned type with negative limits"):
        ElementwiseProblem.of(X.astype("u1"), "hardtanh")
    with pytest.raises(ValueError, match="without overflow"):
        ElementwiseProblem.of(X.astype("i8"), ("hardtanh", 0, 2.0**63))


@pytest.mark.parametrize("dtype", ["c8", "?"])
def test_complex_and_bool_are_refused(dtype: str) -> None:
    with pytest.raises(TypeError, match="accepted are float16"):
        ElementwiseProblem.of(X.astype(dtype), "relu")


def test_prelu_knows_its_channels() -> None:
    assert PreluProblem.of(X, np.zeros(3, "f4")).channels == 3
    assert PreluProblem.of(X, np.zeros(4, "f4"), layout="NHWC").slopes == 4
    assert PreluProblem.of(X, np.zeros((), "f4")).slopes == 1
    assert PreluProblem.of(X[0, 0], np.zeros(1, "f4")).channels == 1
    assert PreluProblem.of(X, np.zeros(3, "f4")).parameter_bytes == 12


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1), (0,)])
def test_prelu_refuses_other_weights(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Mismatch of parameter numbers and input channel size"):
        PreluProblem.of(X, np.zeros(shape, "f4"))


def test_prelu_refuses_other_dtypes() -> None:
    with pytest.raises(TypeError, match="expected input and weight to have the same dtype"):
        PreluProblem.of(X, np.zeros(3))
    with pytest.raises(ValueError, match="layout must be one of"):
        PreluProblem.of(X, np.zeros(3, "f4"), layout="CHWN")


def test_softmax_extents() -> None:
    assert SoftmaxProblem.of(X, 1).extents == (2, 3, 4)
    assert SoftmaxProblem.of(X, -1).extents == (6, 4, 1)
    assert SoftmaxProblem.of(np.float32(1), 0).extents == (1, 1, 1)
    assert SoftmaxProblem.of(X.astype("i4"), 0, dtype="f8").output_dtype == np.float64
    assert SoftmaxProblem.of(X, 0, log=True).name == "log_softmax"


@pytest.mark.parametrize("dim", [3, -4])
def test_softmax_refuses_other_axes(dim: int) -> None:
    with pytest.raises(ValueError, match=r"Dimension out of range .* \[-3, 2\], but got"):
        SoftmaxProblem.of(X, dim)


def test_softmax_refuses() -> None:
    with pytest.raises(ValueError, match="softmax needs dim"):
        SoftmaxProblem.of(X, None)
    with pytest.raises(TypeError, match="input of softmax has dtype int32"):
        SoftmaxProblem.of(X.astype("i4"), 0)
    with pytest.raises(TypeError, match="dtype of log_softmax must be one of float16"):
        SoftmaxProblem.of(X, 0, log=True, dtype="i4")
    with pytest.raises(TypeError, match="dim must be an int"):
        SoftmaxProblem.of(X, 1.0)
