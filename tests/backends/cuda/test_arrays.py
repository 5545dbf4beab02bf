"""Arrays on a simulated GPU: taken in any layout, returned as the caller's kind; clear errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.device_arrays import DeviceArray, Kind
from tests.backends.cuda.device_memory import OnDevice, on_host

RNG = np.random.default_rng(4)


def integers(*shape: int) -> Any:
    return RNG.integers(-4, 5, shape).astype("f4")


X, WEIGHT, BIAS = integers(2, 4, 6, 5), integers(6, 4, 3, 3), integers(6)


def test_arrays_on_the_card_choose_it_and_come_back_there() -> None:
    result = F.conv2d(OnDevice(X), WEIGHT, BIAS, padding=1, activation="relu")
    expected = F.conv2d(X, WEIGHT, BIAS, padding=1, activation="relu", backend="reference")
    assert isinstance(result, DeviceArray)
    np.testing.assert_array_equal(on_host(result), expected)


def test_results_are_inputs_again() -> None:
    again = F.max_pool2d(F.relu(OnDevice(X)), 2)
    np.testing.assert_array_equal(on_host(again), F.max_pool2d(F.relu(X), 2))


VIEWS = {
    "reversed": X[:, :, ::-1],
    "every second": X[..., ::2],
    "turned": X.transpose(0, 1, 3, 2),
    "off its alignment": X.reshape(-1)[1:121].reshape(2, 4, 3, 5),
    "channels last": np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    view = VIEWS[name]
    result = F.conv2d(OnDevice(view), WEIGHT, BIAS)
    expected = F.conv2d(view, WEIGHT, BIAS, backend="reference")
    np.testing.assert_array_equal(on_host(result), expected)
    assert result.is_channels_last == (name == "channels last")


def test_a_single_image() -> None:
    result = F.conv2d(OnDevice(X[0]), WEIGHT)
    np.testing.assert_array_equal(on_host(result), F.conv2d(X[0], WEIGHT, backend="reference"))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [None, BIAS])
def test_weights_on_the_card_are_packed_there(groups: int, bias: Any) -> None:
    weight = integers(6, 4 // groups, 3, 3)
    on_card = None if bias is None else OnDevice(bias)
    result = F.conv2d(OnDevice(X), OnDevice(weight), on_card, groups=groups)
    expected = F.conv2d(X, weight, bias, groups=groups, backend="reference")
    np.testing.assert_array_equal(on_host(result), expected)


def test_weights_on_the_card_for_filters_of_their_own() -> None:
    weight = integers(4, 1, 3, 3)
    result = F.conv2d(OnDevice(X), OnDevice(weight), padding=1, groups=4)
    expected = F.conv2d(X, weight, padding=1, groups=4, backend="reference")
    np.testing.assert_array_equal(on_host(result), expected)


def test_taps_that_see_padding_alone() -> None:
    line, weight = integers(1, 4, 1, 5), integers(6, 4, 3, 3)
    result = F.conv2d(OnDevice(line), OnDevice(weight), padding=1)
    expected = F.conv2d(line, weight, padding=1, backend="reference")
    np.testing.assert_array_equal(on_host(result), expected)


def test_out() -> None:
    out = np.full((2, 6, 4, 3), np.nan, "f4")
    given = OnDevice(out)
    assert F.conv2d(OnDevice(X), WEIGHT, out=given) is given
    np.testing.assert_array_equal(out, F.conv2d(X, WEIGHT, backend="reference"))


def test_what_is_refused() -> None:
    x = OnDevice(X)
    with pytest.raises(ValueError, match="runs on backend 'cuda', not on 'numba'"):
        F.relu(x, backend="numba")
    with pytest.raises(ValueError, match="on the same device, but found them on cuda:0 and main"):
        F.conv2d(x, WEIGHT, residual=integers(2, 6, 4, 3))
    with pytest.raises(ValueError, match="on the same device, but found them on cuda:0 and main"):
        F.conv2d(x, OnDevice(WEIGHT), BIAS)
    with pytest.raises(TypeError, match="out must be an array on GPU 0"):
        F.relu(x, out=np.empty_like(X))
    with pytest.raises(ValueError, match=r"out must have shape \[2, 6, 4, 3\], but got \[2\]"):
        F.conv2d(x, WEIGHT, out=OnDevice(np.empty(2, "f4")))
    with pytest.raises(ValueError, match="out must not overlap"):
        F.relu(x, out=x)
    with pytest.raises(ValueError, match="out on the GPU must be contiguous"):
        F.relu(x, out=OnDevice(X.copy().T.copy().T))
    with pytest.raises(TypeError, match="not copied to main memory unless asked for"):
        np.asarray(F.relu(x))


def test_a_library_that_is_known_makes_the_result(monkeypatch: Any) -> None:
    """The outputs' memory is the library's own, and its stream is the one that works."""
    streams: list[int] = []

    class Known(OnDevice):
        def transpose(self, order: Any) -> Known:
            return Known(self.array.transpose(order))

    def describe(value: Any, kind: Kind) -> DeviceArray:
        told = value.__cuda_array_interface__
        strides = value.array.strides
        return DeviceArray(kind, value, told["data"][0], value.shape, np.dtype("f4"), strides)

    kind = Kind(
        "known",
        describe,
        lambda device: streams.append(device) or 7,  # type: ignore[func-returns-value]
        lambda shape, dtype, device: Known(np.full(shape, np.nan, dtype)),
        lambda value, order: value.transpose(order),
    )
    module = "fastconv.device_arrays"
    monkeypatch.setattr(f"{module}._OTHER", kind)
    result = F.conv2d(Known(VIEWS["channels last"]), WEIGHT)
    assert isinstance(result, Known)
    assert streams == [0]
    expected = F.conv2d(X, WEIGHT, backend="reference")
    np.testing.assert_array_equal(result.array, expected)


def test_layers_take_arrays_on_the_card() -> None:
    layer = fastconv.nn.Conv2d(4, 6, 3)
    np.testing.assert_allclose(on_host(layer(OnDevice(X))), layer(X), rtol=1e-5, atol=1e-4)
