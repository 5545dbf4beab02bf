"""Unfolding and folding as problems: sizes and words of errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.problem import FoldProblem, UnfoldProblem


def spec(*shape: int, dtype: Any = np.float32) -> Any:
    """An array of a shape, without memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def test_unfold_shapes() -> None:
    problem = UnfoldProblem.of(spec(2, 3, 8, 9), (2, 3), dilation=2, padding=(1, 0), stride=(2, 1))
    assert problem.blocks == (4, 5)
    assert problem.output_shape == (2, 18, 20)
    last = UnfoldProblem.of(spec(2, 8, 9, 3), 3, layout="NHWC")
    assert last.output_shape == (2, 27, 42)
    assert last.for_one_image().input_shape == (1, 8, 9, 3)


def test_fold_undoes_the_shape() -> None:
    problem = FoldProblem.of(
        spec(2, 18, 20), (8, 9), (2, 3), dilation=2, padding=(1, 0), stride=(2, 1)
    )
    assert problem.output_shape == (2, 3, 8, 9)
    assert problem.flops == 2 * 18 * 20
    last = FoldProblem.of(spec(2, 18, 42, dtype=np.int8), (8, 9), 3, layout="NHWC")
    assert last.output_shape == (2, 8, 9, 2)
    assert last.output_dtype == np.int32


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((1, 1, 2, 2), {"kernel_size": 3}, "calculated shape of the array of sliding blocks"),
        ((1, 0, 4, 4), {"kernel_size": 3}, "non-zero dimensions"),
        ((1, 1, 4, 4), {"kernel_size": 0}, "kernel_size should be greater than zero"),
        ((1, 1, 4, 4), {"kernel_size": 2, "stride": 0}, "stride should be greater than zero"),
        ((1, 1, 4, 4), {"kernel_size": 2, "padding": -1}, "padding must not be negative"),
        ((1, 1, 4, 4), {"kernel_size": (2, 2, 2)}, "kernel_size must be an int or a tuple of 2"),
    ],
)
def test_unfold_refuses(shape: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        UnfoldProblem.of(spec(*shape), **options)


@pytest.mark.parametrize(
    ("shape", "size", "kernel", "words"),
    [
        ((1, 5, 9), 4, 2, "divisible by the product of kernel_size"),
        ((1, 4, 8), 4, 2, r"sliding blocks 3 \* 3 = 9, but got input.size\(2\)=8"),
        ((1, 4, 8), 1, 2, "components must be at least one"),
        ((1, 4, 9), 0, 2, "output_size should be greater than zero"),
    ],
)
def test_fold_refuses(shape: Any, size: int, kernel: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FoldProblem.of(spec(*shape), size, kernel)


def test_fold_lists_its_dtypes() -> None:
    with pytest.raises(TypeError, match="dtype bool; accepted are float16"):
        FoldProblem.of(spec(1, 4, 9, dtype=bool), 4, 2)
