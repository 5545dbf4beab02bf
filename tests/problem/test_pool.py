"""Pool problems: sizes, windows, work, and what is refused in whose words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.problem import AdaptivePoolProblem, MaxUnpoolProblem, PoolProblem


def zeros(*shape: int, dtype: Any = "float32") -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


def test_the_first_pool_of_resnet50() -> None:
    problem = PoolProblem.of("max", 2, zeros(4, 64, 112, 112), 3, stride=2, padding=1)
    assert problem.name == "max_pool2d"
    assert problem.input_shape == (4, 64, 112, 112)
    assert problem.output_shape == (4, 64, 56, 56)
    assert problem.output_dtype == np.float32
    assert problem.macs == 0
    assert problem.window == ((3, 3), (2, 2))
    assert problem.bytes == 4 * (4 * 64 * 112 * 112 + 4 * 64 * 56 * 56)
    assert problem.output_shapes is None
    one = problem.for_one_image()
    assert one.batch == 1
    assert one == PoolProblem.of("max", 2, zeros(1, 64, 112, 112), (3, 3), stride=2, padding=1)
    assert hash(one) == hash(one.for_one_image())


def test_indices_are_a_second_output() -> None:
    x = zeros(2, 5, 8, dtype="float16")
    for problem in (
        PoolProblem.of("max", 1, x, 2, return_indices=True),
        AdaptivePoolProblem.of("max", 1, x, 4, return_indices=True),
    ):
        assert problem.output_shapes == [((2, 5, 4), np.float16), ((2, 5, 4), np.int64)]
        assert problem.bytes == 2 * (80 + 40) + 8 * 40


def test_channels_last_shapes() -> None:
    problem = PoolProblem.of("avg", 3, zeros(2, 5, 6, 7, 4), (1, 2, 3), layout="NDHWC")
    assert problem.output_shape == (2, 5, 3, 2, 4)
    assert problem.channels == 4
    unpool = MaxUnpoolProblem.of(
        2, zeros(2, 5, 6, 4), zeros(2, 5, 6, 4, dtype="int64"), 2, layout="NHWC",
        output_size=(2, 11, 12, 4),
    )  # fmt: skip
    assert unpool.output_shape == (2, 11, 12, 4)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "floor", "ceil"),
    [
        (5, 2, 2, 0, 2, 3),
        (6, 3, 2, 0, 2, 3),
        (4, 2, 3, 1, 2, 2),  # a third window would start in the right padding
        (1, 2, 2, 1, 1, 1),
        (2, 3, 2, 0, 0, 1),
        (7, 1, 3, 0, 3, 3),
    ],
)
def test_ceil_mode_drops_windows_in_the_right_padding(
    size: int, kernel: int, stride: int, padding: int, floor: int, ceil: int
) -> None:
    options = {"stride": stride, "padding": padding}
    if floor:
        low = PoolProblem.of("avg", 1, zeros(1, 1, size), kernel, **options)
        assert low.output_size == (floor,)
    high = PoolProblem.of("avg", 1, zeros(1, 1, size), kernel, **options, ceil_mode=True)
    assert high.output_size == (ceil,)


def test_windows_are_clipped_to_the_image() -> None:
    problem = PoolProblem.of("avg", 1, zeros(1, 1, 6), 4, stride=3, padding=2, ceil_mode=True)
    (windows,) = problem.windows()
    assert windows.start.tolist() == [0, 1, 4]
    assert windows.stop.tolist() == [2, 5, 6]
    assert windows.first_tap.tolist() == [2, 0, 0]
    assert windows.counted.tolist() == [4, 4, 4]
    longer = PoolProblem.of("avg", 1, zeros(1, 1, 9), 4, stride=4, padding=1, ceil_mode=True)
    (windows,) = longer.windows()
    assert windows.start.tolist() == [0, 3, 7]
    assert windows.stop.tolist() == [3, 7, 9]
    assert windows.counted.tolist() == [4, 4, 3]  # what ceil_mode adds is not counted
    inside = PoolProblem.of(
        "avg", 1, zeros(1, 1, 9), 4, stride=4, padding=1, ceil_mode=True, count_include_pad=False
    )
    assert inside.windows()[0].counted.tolist() == [3, 4, 2]


def test_dilated_windows_step_over_padding() -> None:
    problem = PoolProblem.of("max", 1, zeros(1, 1, 5), 3, stride=1, padding=2, dilation=2)
    (windows,) = problem.windows()
    assert windows.start.tolist() == [0, 1, 0, 1, 2]
    assert windows.stop.tolist() == [3, 4, 5, 4, 5]
    assert windows.step == 2
    alone = PoolProblem.of("max", 1, zeros(1, 1, 1), 2, stride=1, padding=2, dilation=3)
    (windows,) = alone.windows()
    assert (windows.stop - windows.start).tolist() == [0, 0]


def test_adaptive_windows_share_out_the_input() -> None:
    problem = AdaptivePoolProblem.of("avg", 2, zeros(1, 1, 7, 6), (3, None))
    rows, columns = problem.windows()
    assert rows.start.tolist() == [0, 2, 4]
    assert rows.stop.tolist() == [3, 5, 7]
    assert columns.counted.tolist() == [1] * 6
    assert problem.output_shape == (1, 1, 3, 6)
    assert problem.window is None
    even = AdaptivePoolProblem.of("avg", 2, zeros(1, 1, 8, 6), (4, 3))
    assert even.window == ((2, 2), (2, 2))


def test_names() -> None:
    x = zeros(1, 2, 6, 6)
    assert PoolProblem.of("lp", 2, x, 2, norm_type=2).name == "lp_pool2d"
    assert PoolProblem.of("weighted", 2, x, 2, weights="gaussian").name == "weighted_pool2d"
    assert AdaptivePoolProblem.of("max", 2, x, 2).name == "adaptive_max_pool2d"
    assert AdaptivePoolProblem.of_global("avg", x).name == "global_avg_pool"
    indices = zeros(1, 2, 6, 6, dtype="int64")
    assert MaxUnpoolProblem.of(2, x, indices, 2).name == "max_unpool2d"


VALUE_ERRORS = {
    "Output size is too small": lambda: F.max_pool2d(zeros(1, 1, 2, 5), 3),
    "pad should be at most half of effective kernel size": lambda: F.max_pool2d(
        zeros(1, 1, 9, 9), 3, 2, 2
    ),
    "pad should be at most half .* dilation": lambda: F.max_pool1d(zeros(1, 1, 9), 2, 1, 3, 4),
    "pad should be smaller than the effective kernel": lambda: F.avg_pool1d(
        zeros(1, 1, 9), 3, 1, ((3, 0),)
    ),
    "kernel_size should be greater than zero": lambda: F.avg_pool2d(zeros(1, 1, 9, 9), 0),
    "stride should be greater than zero": lambda: F.max_pool2d(zeros(1, 1, 9, 9), 2, 0),
    "dilation should be greater than zero": lambda: F.max_pool2d(zeros(1, 1, 9, 9), 2, 1, 0, 0),
    "kernel_size must be an int or a tuple of 2": lambda: F.max_pool2d(
        zeros(1, 1, 9, 9), (1, 2, 3)
    ),
    "divisor must be not zero": lambda: F.avg_pool2d(zeros(1, 1, 9, 9), 2, divisor_override=0),
    "Expected 3D .* or 4D .* max_pool2d": lambda: F.max_pool2d(zeros(9, 9), 2),
    "optional 0 dim batch size": lambda: F.max_pool2d(zeros(1, 0, 9, 9), 2),
    "every other dimension must be at least 1": lambda: F.avg_pool2d(zeros(1, 1, 0, 9), 1),
    "norm_type should be greater than zero": lambda: F.lp_pool2d(zeros(1, 1, 9, 9), 0, 2),
    "norm_type must not be NaN": lambda: F.global_lp_pool(zeros(1, 1, 9, 9), float("nan")),
    "weights must be one of gaussian": lambda: F.weighted_pool1d(zeros(1, 1, 9), 2, weights="box"),
    "array of the kernel's shape": lambda: F.weighted_pool1d(zeros(1, 1, 9), 2, weights=[1, 2, 1]),
    "weights must be finite": lambda: F.weighted_pool1d(zeros(1, 1, 9), 2, weights=[1, -1]),
    "weights must be finite, not negative and not all zero": lambda: F.weighted_pool1d(
        zeros(1, 1, 9), 2, weights=[0, 0]
    ),
    "output_size should be greater than zero": lambda: F.adaptive_avg_pool2d(
        zeros(1, 1, 9, 9), (0, 2)
    ),
    "output_size must be 2 ints or None": lambda: F.adaptive_max_pool2d(
        zeros(1, 1, 9, 9), (1, 2, 3)
    ),
    "at least one spatial dimension": lambda: F.global_avg_pool(zeros(2, 3)),
    "layout must be one of": lambda: F.max_pool2d(zeros(1, 1, 9, 9), 2, layout="CHWN"),
    "shape of indices to be same": lambda: F.max_unpool1d(
        zeros(1, 1, 4), zeros(1, 1, 5, dtype="i8"), 2
    ),
    "invalid output_size": lambda: F.max_unpool1d(
        zeros(1, 1, 4), zeros(1, 1, 4, dtype="i8"), 2, output_size=(10,)
    ),
    "output_size should be a sequence containing 1 or 3": lambda: F.max_unpool1d(
        zeros(1, 1, 4), zeros(1, 1, 4, dtype="i8"), 2, output_size=(8, 8)
    ),
    "padding of max_unpool1d must be": lambda: F.max_unpool1d(
        zeros(1, 1, 4), zeros(1, 1, 4, dtype="i8"), 2, padding="same"
    ),
    "cannot run as asked": lambda: F.avg_pool1d(zeros(1, 1, 4), 2, algorithm="weighted"),
}


@pytest.mark.parametrize("words", list(VALUE_ERRORS))
def test_what_does_not_fit_is_a_value_error(words: str) -> None:
    with pytest.raises(ValueError, match=words):
        VALUE_ERRORS[words]()


TYPE_ERRORS = {
    "avg_pool2d has dtype int32; accepted are float16": lambda: F.avg_pool2d(
        zeros(1, 1, 4, 4, dtype="i4"), 2
    ),
    "lp_pool1d has dtype int8": lambda: F.lp_pool1d(zeros(1, 1, 4, dtype="i1"), 2, 2),
    "weighted_pool1d has dtype int64": lambda: F.weighted_pool1d(zeros(1, 1, 4, dtype="i8"), 2),
    "max_pool1d has dtype complex64": lambda: F.max_pool1d(zeros(1, 1, 4, dtype="c8"), 2),
    "max_pool1d has dtype bool": lambda: F.max_pool1d(zeros(1, 1, 4, dtype="?"), 2),
    "global_avg_pool has dtype uint8": lambda: F.global_avg_pool(zeros(1, 1, 4, dtype="u1")),
    "ceil_mode must be True or False": lambda: F.max_pool1d(zeros(1, 1, 4), 2, ceil_mode="yes"),
    "kernel_size must be an int": lambda: F.max_pool1d(zeros(1, 1, 4), 2.0),
    "indices should be type int64": lambda: F.max_unpool1d(
        zeros(1, 1, 4), zeros(1, 1, 4, dtype="i4"), 2
    ),
    "weights must be real": lambda: F.weighted_pool1d(zeros(1, 1, 4), 2, weights=[1j, 1]),
}


@pytest.mark.parametrize("words", list(TYPE_ERRORS))
def test_what_is_of_another_type_is_a_type_error(words: str) -> None:
    with pytest.raises(TypeError, match=words):
        TYPE_ERRORS[words]()


def test_arrays_given_as_options_are_told_apart_by_value() -> None:
    x = np.zeros((1, 1, 8, 8), "f4")
    sizes = [PoolProblem.of("max", 2, x, np.array([k, k])).kernel_size for k in (2, 3)]
    assert sizes == [(2, 2), (3, 3)]
    assert PoolProblem.of("max", 2, x, np.int64(2)).kernel_size == (2, 2)
    assert PoolProblem.of("max", 2, x, np.int64(4)).kernel_size == (4, 4)
