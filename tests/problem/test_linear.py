"""The fully connected layer as a problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.problem import LinearProblem

X = np.zeros((2, 3, 5), "f4")
W = np.zeros((7, 5), "f4")
B = np.zeros(7, "f4")


def test_fields() -> None:
    problem = LinearProblem.of(X, W, B, activation="relu")
    assert (problem.batch, problem.in_features, problem.out_features) == (6, 5, 7)
    assert problem.input_shape == (6, 5)
    assert problem.output_shape == (6, 7)
    assert problem.weight_shape == W.shape
    assert problem.macs == 6 * 5 * 7
    assert problem.sum_length == 5
    assert problem.parameter_bytes == W.nbytes + B.nbytes
    assert problem.name == "linear"
    assert str(problem.activation) == "relu"
    assert problem.for_one_image().batch == 1
    assert LinearProblem.of(X[0, 0], W).batch == 1


@pytest.mark.parametrize(
    ("dtype", "result"), [("i1", "i4"), ("i2", "i4"), ("i4", "i8"), ("u1", "i8"), ("c8", "c8")]
)
def test_sums_have_their_own_dtype(dtype: str, result: str) -> None:
    problem = LinearProblem.of(X.astype(dtype), W.astype(dtype), B.astype(result))
    assert problem.output_dtype == np.dtype(result)


WRONG: list[tuple[Any, str]] = [
    (lambda: LinearProblem.of(X, W[:, :4]), r"cannot be multiplied \(6x5 and 4x7\)"),
    (lambda: LinearProblem.of(np.float32(1), W), "need to be at least 1D"),
    (lambda: LinearProblem.of(X, X), "weight of linear must have 2 dimensions"),
    (lambda: LinearProblem.of(X, W, B[:3]), "expected bias of linear to be 1-dimensional with 7"),
    (lambda: LinearProblem.of(X, W, rtol=-1), "rtol must not be negative"),
    (lambda: LinearProblem.of(X, W, precision="fp8"), "precision must be one of tf32, 3xtf32"),
    (lambda: LinearProblem.of(X, W, activation="step"), "activation must be one of relu"),
]


@pytest.mark.parametrize(("make", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_dtypes() -> None:
    with pytest.raises(TypeError, match=r"expected input and weight .* float32 and float64"):
        LinearProblem.of(X, W.astype("f8"))
    with pytest.raises(TypeError, match="expected bias of dtype float32, but got float64"):
        LinearProblem.of(X, W, B.astype("f8"))
    with pytest.raises(TypeError, match="activation gelu"):
        LinearProblem.of(X.astype("i4"), W.astype("i4"), activation="gelu")
    with pytest.raises(TypeError, match="precision bf16 is not for float16; accepted is float32"):
        LinearProblem.of(X.astype("f2"), W.astype("f2"), precision="bf16")
    with pytest.raises(TypeError, match="input of linear has dtype bool"):
        LinearProblem.of(X > 0, W)
