"""Normalisations as problems: what is read, what is refused, and how."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastconv.problem import (
    BatchNormProblem,
    GroupNormProblem,
    LayerNormProblem,
    LocalResponseNormProblem,
)

X = np.zeros((2, 6, 4, 5), "f4")
C = np.zeros(6, "f4")


def test_fields_of_a_batch_norm() -> None:
    problem = BatchNormProblem.of(X, C, C, C)
    assert (problem.batch, problem.channels, problem.size) == (2, 6, (4, 5))
    assert (problem.weight, problem.bias) == (True, False)
    assert problem.input_shape == problem.output_shape == X.shape
    assert problem.parameter_bytes == 3 * C.nbytes
    assert problem.for_one_image().batch == 1
    assert problem.name == "batch_norm"
    last = BatchNormProblem.of(np.zeros((2, 4, 6), "f4"), C, C, layout="NWC")
    assert (last.channels, last.size, last.input_shape) == (6, (4,), (2, 4, 6))


def test_fields_of_a_group_norm() -> None:
    problem = GroupNormProblem.of(X, 3, C, C)
    assert (problem.groups, problem.name, problem.parameter_bytes) == (3, "group_norm", 48)
    instances = GroupNormProblem.of_instances(X)
    assert (instances.groups, instances.name, instances.parameter_bytes) == (6, "instance_norm", 0)


def test_fields_of_a_layer_norm() -> None:
    problem = LayerNormProblem.of(X, (4, 5), X[0, 0])
    assert (problem.rows, problem.length, problem.normalized_shape) == (12, 20, (4, 5))
    assert problem.parameter_bytes == 80
    assert LayerNormProblem.of(X, 5) == LayerNormProblem.of(X, [5])


@pytest.mark.parametrize(("size", "before", "after"), [(1, 0, 0), (2, 1, 0), (4, 2, 1), (5, 2, 2)])
def test_window_of_a_response_norm(size: int, before: int, after: int) -> None:
    problem = LocalResponseNormProblem.of(X, size)
    assert (problem.before, problem.after) == (before, after)


def test_any_rank() -> None:
    for rank in range(2, 8):
        x = np.zeros((2, 6) + (1,) * (rank - 2), "f4")
        assert BatchNormProblem.of(x, C, C).channels == 6
        assert BatchNormProblem.of(np.moveaxis(x, 1, -1), C, C, layout="NHWC").channels == 6


WRONG: list[tuple[Any, str]] = [
    (lambda: BatchNormProblem.of(X, None, C), "running_mean must be defined in evaluation mode"),
    (lambda: BatchNormProblem.of(X, C, None), "running_var must be defined in evaluation mode"),
    (lambda: BatchNormProblem.of(X, C, C, training=True), "fastconv runs networks forward only"),
    (lambda: BatchNormProblem.of(X, C[:3], C), "running_mean should contain 6 elements.* not 3"),
    (lambda: BatchNormProblem.of(X, C, C, C[:3]), "weight should contain 6 elements.* not 3"),
    (lambda: BatchNormProblem.of(X, C, C, None, X), "bias should contain 6 elements"),
    (lambda: BatchNormProblem.of(X, C, C, eps=-1), "batch_norm eps must be non-negative"),
    (lambda: BatchNormProblem.of(C, C, C), r"Expected at least 2D input to batch_norm \(N, C\)"),
    (lambda: BatchNormProblem.of(X, C, C, layout="CN"), "layout must be one of NCHW, NHWC"),
    (lambda: GroupNormProblem.of(X, 4), "Expected number of channels in input to be divisible by"),
    (lambda: GroupNormProblem.of(X, 0), "num_groups should be greater than zero"),
    (lambda: GroupNormProblem.of(X, 2, C[:2]), "weight should contain 6 elements"),
    (lambda: GroupNormProblem.of_instances(X[:, :, :1, :1]), "Expected more than 1 spatial elem"),
    (lambda: GroupNormProblem.of_instances(X, C[:2]), "running_mean should contain 6 elements"),
    (lambda: LayerNormProblem.of(X, (4,)), r"Given normalized_shape=\[4\], expected input with"),
    (lambda: LayerNormProblem.of(X, ()), "Expected normalized_shape to be at least 1-dimensional"),
    (lambda: LayerNormProblem.of(X, (2, *X.shape)), "Given normalized_shape="),
    (lambda: LayerNormProblem.of(X, 5, C), "Expected weight to be of same shape as normalized"),
    (lambda: LayerNormProblem.of(X, 5, None, C), "Expected bias to be of same shape as normali"),
    (lambda: LocalResponseNormProblem.of(X, 0), "size should be greater than zero"),
    (lambda: LocalResponseNormProblem.of(X[0, 0], 2), "Expected at least 3D input"),
    (lambda: LocalResponseNormProblem.of(X, 2, beta=float("nan")), "beta must not be NaN"),
]


@pytest.mark.parametrize(("make", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_dtypes() -> None:
    with pytest.raises(TypeError, match=r"input of group_norm has dtype int32; accepted are float"):
        GroupNormProblem.of(X.astype("i4"), 2)
    with pytest.raises(TypeError, match=r"running_var of dtype float32 .* but got float64"):
        BatchNormProblem.of(X, C, C.astype("f8"))
    with pytest.raises(TypeError, match=r"weight of dtype float16 or float32 .* but got float64"):
        LayerNormProblem.of(X.astype("f2"), 5, np.zeros(5))
    with pytest.raises(TypeError, match="size must be an int"):
        LocalResponseNormProblem.of(X, 2.5)
    for dtype in (np.float16, ml_dtypes.bfloat16):
        x = X.astype(dtype)
        assert BatchNormProblem.of(x, C, C, C.astype(dtype), C).output_dtype == x.dtype
