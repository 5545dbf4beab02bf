"""What TMA is asked to copy: the numbers the driver is given, and the pixels that come of them."""

from __future__ import annotations

import dataclasses
import itertools
import types
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver

from fastconv.backends.cuda.conv.direct import geometry_of
from fastconv.backends.cuda.conv.hopper import images_of, matrix_of
from fastconv.backends.cuda.conv.hopper_gemm import Tile
from fastconv.backends.cuda.engine import driver as on_card
from fastconv.backends.cuda.engine.encode import encoded
from fastconv.backends.cuda.engine.tensormap import Images, Matrix, copied, encoding, why_not
from fastconv.problem import ConvProblem

RNG = np.random.default_rng(7)
TILE = Tile(1, 64, 2)


def problem_of(size: Any, channels: int, kernel: Any, **options: Any) -> ConvProblem:
    n = len(size)
    x = np.zeros((2, *size, channels), "f2")
    layout = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[n]
    return ConvProblem.of(n, x, np.zeros((8, channels, *kernel), "f2"), layout=layout, **options)


def test_an_images_numbers() -> None:
    """Worked by hand: width 9, height 5, 3x2 windows, by the driver API's text on im2col maps."""
    problem = problem_of(
        (5, 9), 24, (2, 3), stride=(2, 3), padding=((1, 0), (2, 1)), dilation=(1, 2)
    )
    # Windows begin in lines -1, 1, 3 and columns -2, 1, 4: the image's last are 4 and 8.
    sizes, strides, first, last, channels, pixels, steps = encoding(images_of(problem, TILE))
    assert sizes == (24, 9, 5, 2)
    assert strides == (48, 48 * 9, 48 * 9 * 5)
    assert (first, last) == ((-2, -1), (4 - 8, 3 - 4))
    assert (channels, pixels, steps) == (64, 64, (1, 3, 2, 1))


def test_a_matrixs_numbers() -> None:
    problem = problem_of((5, 9), 72, (3, 3))
    sizes, strides, box, steps = encoding(matrix_of(problem, geometry_of(problem), TILE))
    # 72 channels are two steps of 64, for each of 9 taps.
    assert sizes == (9 * 128, 8)
    assert (strides, box, steps) == ((2 * 9 * 128,), (64, 64), (1, 1))


WINDOWS: dict[str, tuple[Any, int, Any, dict[str, Any]]] = {
    "padded": ((5, 7), 72, (3, 3), {"padding": 1}),
    "uneven": ((6, 5), 8, (2, 3), {"padding": ((0, 2), (3, 0)), "stride": (2, 1)}),
    "strided, with a rest": ((8, 10), 16, (2, 2), {"stride": 3}),
    "dilated": ((9, 9), 8, (3, 2), {"dilation": (3, 2), "padding": (4, 1)}),
    "larger than the image": ((2, 3), 8, (5, 4), {"padding": 3}),
    "signal": ((23,), 64, (4,), {"stride": 2, "dilation": 5, "padding": 6}),
    "volume": ((3, 4, 5), 8, (2, 3, 2), {"padding": (1, 1, 0), "stride": (2, 1, 2)}),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_windows_are_those_of_the_convolution(case: str) -> None:
    size, channels, kernel, options = WINDOWS[case]
    problem = problem_of(size, channels, kernel, **options)
    images = images_of(problem, TILE)
    assert why_not(images) is None
    assert images.box == problem.output_size[::-1]
    x = RNG.integers(1, 1 << 16, problem.input_shape).astype(np.uint16)
    padded = np.pad(x, ((0, 0), *problem.padding, (0, 0)))
    outputs = list(itertools.product(range(2), *map(range, problem.output_size)))
    for tap in itertools.product(*map(range, kernel)):
        offsets = [t * d for t, d in zip(tap, problem.dilation, strict=True)]
        for begin, channel in ((0, 0), (5, 64 if channels > 64 else 0)):
            image, *place = outputs[begin]
            start = [
                p * s - before
                for p, s, (before, _) in zip(place, problem.stride, problem.padding, strict=True)
            ]
            found = copied(
                images, x.reshape(-1).view(np.uint8), (channel, *start[::-1], image), offsets[::-1]
            )
            expected = np.zeros_like(found)
            for row, (own, *cell) in enumerate(outputs[begin : begin + images.pixels]):
                at = [c * s + o for c, s, o in zip(cell, problem.stride, offsets, strict=True)]
                pixel = padded[(own, *at)][channel : channel + 64]
                expected[row, : len(pixel)] = pixel
            np.testing.assert_array_equal(found, expected)


def test_tiles_of_a_matrix_end_in_zeros() -> None:
    words = np.arange(1, 6 * 10 + 1, dtype=np.uint16)
    found = copied(Matrix("float16", 6, 10, 4, 8), words.view(np.uint8), (8, 4))
    expected = np.zeros((4, 8), np.uint16)
    expected[:2, :2] = words.reshape(6, 10)[4:, 8:]
    np.testing.assert_array_equal(found, expected)


def test_windows_begin_in_the_box() -> None:
    images = Images("float16", 8, (5, 5), 1, (0, 0), (-2, -2), (1, 1), 64, 4)
    words = np.zeros(400, np.uint8)
    with pytest.raises(ValueError, match="outside the box"):
        copied(images, words, (0, 3, 0, 0), (0, 0))
    with pytest.raises(ValueError, match="0 to 255"):
        copied(images, words, (0, 0, 0, 0), (256, 0))


PLAIN = Images("float16", 8, (5, 5), 1, (0, 0), (-2, -2), (1, 1), 64, 4)
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "channels": ({"depth": 12}, "12 channels"),
    "stride": ({"stride": (1, 9)}, "stride 9"),
    "corner": ({"first": (-129, 0)}, "-128 to 127"),
    "corner of a volume": (
        {"size": (5, 5, 40), "first": (0, 0, -17), "last": (0, 0, 0), "stride": (1, 1, 1)},
        "-16 to 15",
    ),
    "no window": ({"last": (-6, -2)}, "without windows"),
    "pixels": ({"pixels": 1025}, "1025 pixels"),
    "swizzle": ({"channels": 72}, "72 channels"),
    "large": ({"batch": 1 << 34}, "larger than TMA takes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_drivers_limits(case: str) -> None:
    changes, reason = BROKEN[case]
    assert why_not(PLAIN) is None
    assert reason in str(why_not(dataclasses.replace(PLAIN, **changes)))
    assert why_not(Matrix("float16", 64, 64, 257, 64)) is not None


def test_the_driver_is_given_these_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def encode(*given: Any) -> Any:
        calls.append([[*map(int, g)] if isinstance(g, list) else g for g in given])
        words = [driver.cuuint64_t(i) for i in range(16)]
        return driver.CUresult.CUDA_SUCCESS, types.SimpleNamespace(opaque=words)

    monkeypatch.setattr(driver, "cuTensorMapEncodeIm2col", encode)
    monkeypatch.setattr(driver, "cuTensorMapEncodeTiled", encode)
    images = Images("bfloat16", 8, (7, 5), 2, (-1, -2), (-3, 0), (2, 1), 32, 64)
    np.testing.assert_array_equal(encoded(images, 0x1000), np.arange(16))
    encoded(Matrix("float32", 6, 12, 4, 32), 0x2000)
    kinds, swizzles = driver.CUtensorMapDataType, driver.CUtensorMapSwizzle
    kind, rank, address, *numbers = calls[0][:10]
    assert (kind, rank, address) == (kinds.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, 0x1000)
    sizes, strides, first, last, channels, pixels, steps = numbers
    assert (sizes, strides) == ([8, 7, 5, 2], [16, 112, 560])
    assert (first, last, channels, pixels, steps) == ([-1, -2], [-3, 0], 32, 64, [1, 2, 1, 1])
    assert calls[0][11] == swizzles.CU_TENSOR_MAP_SWIZZLE_64B
    kind, rank, address, sizes, strides, box, steps = calls[1][:7]
    assert (kind, rank, address) == (kinds.CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 2, 0x2000)
    assert (sizes, strides, box, steps) == ([12, 6], [48], [32, 4], [1, 1])
    assert calls[1][8] == swizzles.CU_TENSOR_MAP_SWIZZLE_128B
    with pytest.raises(ValueError, match="misaligned"):
        encoded(images, 0x1008)


def test_a_card_keeps_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_card, "encoded", lambda spec, address: (spec, address))
    monkeypatch.setattr(on_card, "_MOST_MAPS", 2)
    waits: list[int] = []
    handle = types.SimpleNamespace(compute_capability=(9, 0), sync=lambda: waits.append(1))
    card, uploads = on_card._Card(0, handle), []

    def upload(words: Any) -> Any:
        uploads.append(words)
        return len(uploads)

    uploader = types.SimpleNamespace(upload=upload)
    monkeypatch.setattr(card, "_uploader", lambda: uploader)
    assert [card.tensor_map(PLAIN, at) for at in (0, 16, 0, 16)] == [1, 2, 1, 2]
    assert not waits
    # A third is one too many: what runs is waited for, and all are made again as they come.
    assert [card.tensor_map(PLAIN, at) for at in (32, 0, 32)] == [3, 4, 3]
    assert len(waits) == 1
