"""Padding, interpolation and pixel shuffling as problems: sizes, tables, words of errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.problem import InterpolateProblem, PadProblem, PixelShuffleProblem


def spec(*shape: int, dtype: Any = np.float32) -> Any:
    """An array of a shape, without memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def test_pad_begins_with_the_last_dimension() -> None:
    problem = PadProblem.of(spec(2, 3, 4, 5), (1, 2, 3, 4))
    assert problem.output_shape == (2, 3, 11, 8)
    assert problem.pads == ((0, 0), (0, 0), (3, 4), (1, 2))
    assert problem.for_one_image() == PadProblem.of(spec(1, 3, 4, 5), (1, 2, 3, 4))
    assert len({problem, PadProblem.of(spec(2, 3, 4, 5), [1, 2, 3, 4])}) == 1


def test_pad_passes_over_channels_that_stand_last() -> None:
    problem = PadProblem.of(spec(2, 4, 5, 3), (1, 2, 3, 4), layout="NHWC")
    assert problem.output_shape == (2, 11, 8, 3)
    with pytest.raises(ValueError, match="spatial dimensions alone"):
        PadProblem.of(spec(2, 4, 5, 3), (1, 1) * 4, layout="NHWC")


@pytest.mark.parametrize(
    ("mode", "pair", "sources"),
    [
        ("constant", (2, 1), [-1, -1, 0, 1, 2, 3, -1]),
        ("constant", (-1, 2), [1, 2, 3, -1, -1]),
        ("reflect", (3, 2), [3, 2, 1, 0, 1, 2, 3, 2, 1]),
        ("reflect", (-2, 3), [2, 3, 2, 1, 0]),
        ("replicate", (2, 1), [0, 0, 0, 1, 2, 3, 3]),
        ("replicate", (-5, 3), [3, 3]),
        ("circular", (2, 1), [2, 3, 0, 1, 2, 3, 0]),
        ("circular", (-1, 2), [1, 2, 3, 1, 2]),
    ],
)
def test_pad_tables(mode: str, pair: tuple[int, int], sources: list[int]) -> None:
    problem = PadProblem.of(spec(1, 4), pair, mode=mode)
    assert problem.sources(1).tolist() == sources


def test_pad_keeps_the_value_in_the_input_dtype() -> None:
    assert PadProblem.of(spec(3), (1, 1), value=np.nan).value == np.float32(np.nan).tobytes()
    assert PadProblem.of(spec(3, dtype="i2"), (1, 1), value=1.7).value == b"\1\0"
    nan = [PadProblem.of(spec(3), (1, 1), value=np.nan) for _ in range(2)]
    assert nan[0] == nan[1]


@pytest.mark.parametrize(
    ("pad", "options", "error", "words"),
    [
        ((1,), {}, ValueError, "divisible by 2"),
        ((1, 1) * 5, {}, ValueError, "less than or equal to two times the input dimension"),
        ((1.5, 1), {}, TypeError, "pad must be an int"),
        (1, {}, TypeError, "sequence of ints"),
        ((-3, -2), {}, ValueError, "negative or zero output size"),
        ((-5, 6), {}, ValueError, "negative or zero output size"),
        ((1, 1), {"mode": "mirror"}, ValueError, "mode must be one of"),
        ((1, 1), {"mode": "reflect"}, ValueError, "is not supported for 4D input"),
        ((4, 0, 0, 0), {"mode": "reflect"}, ValueError, "Padding size should be less than"),
        ((5, 0, 0, 0), {"mode": "circular"}, ValueError, "wrapping around more than once"),
        ((0, 0, 1, 1), {"mode": "replicate", "value": 2}, ValueError, "doesn't take in value"),
        ((-4, 0, 0, 0), {"mode": "replicate"}, ValueError, "negative or zero output size"),
        ((1, 1), {"value": "x"}, ValueError, "cannot be converted to float32"),
        ((1, 1), {"value": 1j}, TypeError, "must be a number of dtype float32"),
        ((1, 1), {"layout": "CHWN"}, ValueError, "layout must be one of"),
    ],
)
def test_pad_refuses(pad: Any, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        PadProblem.of(spec(1, 2, 3, 4), pad, **options)


@pytest.mark.parametrize("value", [300, -1, np.inf])
def test_pad_refuses_values_that_overflow(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be converted to uint8"):
        PadProblem.of(spec(3, dtype=np.uint8), (1, 1), value=value)


def test_interpolate_sizes() -> None:
    by_size = InterpolateProblem.of(spec(2, 3, 4, 5), (8, 7), mode="bilinear")
    assert by_size.output_shape == (2, 3, 8, 7)
    by_factor = InterpolateProblem.of(spec(2, 4, 5, 3), None, 1.5, layout="NHWC")
    assert by_factor.output_shape == (2, 6, 7, 3)
    assert by_factor.for_one_image().output_shape == (1, 6, 7, 3)
    assert InterpolateProblem.of(spec(1, 1, 9), scale_factor=0.33, mode="linear").output_size == (
        2,
    )


def test_interpolate_tables() -> None:
    nearest = InterpolateProblem.of(spec(1, 1, 3), 7)
    assert nearest.sources(0).tolist() == [0, 0, 0, 1, 1, 2, 2]
    exact = InterpolateProblem.of(spec(1, 1, 3), 7, mode="nearest-exact")
    assert exact.sources(0).tolist() == [0, 0, 1, 1, 1, 2, 2]
    linear = InterpolateProblem.of(spec(1, 1, 2), 4, mode="linear").taps(0)
    assert linear.index.tolist() == [0, 1, 0, 1, 0, 1, 1, 1]
    assert linear.weight.tolist() == [1, 0, 0.75, 0.25, 0.25, 0.75, 0.75, 0.25]
    area = InterpolateProblem.of(spec(1, 1, 5), 3, mode="area").taps(0)
    assert area.first.tolist() == [0, 2, 5, 7]
    assert area.index.tolist() == [0, 1, 1, 2, 3, 3, 4]
    assert not area.uniform
    assert area.most == 3


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("size", "length"), [(7, 3), (3, 7), (16, 1), (1, 5), (5, 5)])
def test_weights_sum_to_one(mode: str, size: int, length: int) -> None:
    for antialias in (True,) if mode == "lanczos" else (False, True):
        image = spec(1, 1, size, size, dtype=np.float64)
        problem = InterpolateProblem.of(image, length, mode=mode, antialias=antialias)
        taps = problem.taps(0)
        assert np.add.reduceat(taps.weight, taps.first[:-1]) == pytest.approx(1, abs=1e-14)
        assert taps.index.min() >= 0
        assert taps.index.max() < size


@pytest.mark.parametrize(
    ("shape", "options", "error", "words"),
    [
        ((1, 1, 4, 4), {}, ValueError, "either size or scale_factor should be defined"),
        ((1, 1, 4, 4), {"size": 2, "scale_factor": 2}, ValueError, "only one of size or"),
        ((1, 1, 4, 4), {"size": (2, 2, 2)}, ValueError, "same number of spatial dimensions"),
        ((1, 1, 4, 4), {"scale_factor": (2.0,)}, ValueError, "same number of spatial dimensions"),
        ((1, 1, 4, 4), {"size": 0}, ValueError, "size should be greater than zero"),
        ((1, 1, 4, 4), {"size": 2.5}, TypeError, "size must be an int"),
        ((1, 1, 4, 4), {"scale_factor": 0.1}, ValueError, "sizes should be greater than 0"),
        ((1, 1, 4, 4), {"scale_factor": -1}, ValueError, "scale_factor should be greater than"),
        ((1, 1, 4, 4), {"scale_factor": np.nan}, ValueError, "must not be NaN"),
        ((1, 1, 4), {"size": 2, "mode": "bilinear"}, ValueError, "Got 3D input, but bilinear"),
        ((1, 1), {"size": 2}, ValueError, "Got 2D input"),
        ((1, 1, 4, 4), {"size": 2, "mode": "cubic"}, ValueError, "mode must be one of"),
        ((1, 1, 4, 4), {"size": 2, "align_corners": True}, ValueError, "align_corners option"),
        ((1, 1, 4, 4), {"size": 2, "antialias": True}, ValueError, "Anti-alias option"),
        ((1, 1, 4, 4), {"size": 2, "mode": "lanczos"}, ValueError, "requires antialias=True"),
        (
            (1, 1, 4, 4),
            {"size": 2, "recompute_scale_factor": True},
            ValueError,
            "not meaningful with an explicit size",
        ),
    ],
)
def test_interpolate_refuses(
    shape: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        InterpolateProblem.of(spec(*shape), **options)


def test_modes_that_sum_take_floats_only() -> None:
    with pytest.raises(TypeError, match="dtype uint8; accepted are float16"):
        InterpolateProblem.of(spec(1, 1, 4, 4, dtype=np.uint8), 2, mode="bilinear")
    assert InterpolateProblem.of(spec(1, 1, 4, 4, dtype=np.uint8), 2).copies


def test_pixel_shuffle_shapes() -> None:
    shuffle = PixelShuffleProblem.of(spec(5, 2, 18, 4, 6), 3)
    assert shuffle.output_shape == (5, 2, 2, 12, 18)
    assert PixelShuffleProblem.of(spec(2, 12, 18), 3, inverse=True).output_shape == (18, 4, 6)
    last = PixelShuffleProblem.of(spec(4, 6, 18), 3, layout="NHWC")
    assert last.output_shape == (12, 18, 2)
    assert shuffle.for_one_image().input_shape == (18, 4, 6)


@pytest.mark.parametrize(
    ("shape", "factor", "inverse", "words"),
    [
        ((4, 4), 2, False, "at least 3 dimensions"),
        ((6, 4, 4), 2, False, "divisible by the square of upscale_factor"),
        ((1, 4, 5), 2, True, "height and width to be divisible by downscale_factor"),
        ((4, 4, 4), 0, False, "upscale_factor should be greater than zero"),
    ],
)
def test_pixel_shuffle_refuses(shape: Any, factor: int, inverse: bool, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PixelShuffleProblem.of(spec(*shape), factor, inverse=inverse)
