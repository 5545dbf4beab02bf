"""Keras's weights, against the definition of each layer, channels last, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import functional as F

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape)


def windows(x: Array, size: tuple[int, ...]) -> Array:
    """All windows of a channels-last image: (N, *places, C, *size)."""
    axes = tuple(range(1, 1 + len(size)))
    return np.lib.stride_tricks.sliding_window_view(x, size, axes)


def first(x: Array) -> Array:
    """Channels first."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


LETTERS = {1: "k", 2: "kl", 3: "klm"}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_convolutions(n: int) -> None:
    size, places = (2, 3, 2)[:n], "uvw"[:n]
    x, kernel, bias = normal(2, *(6, 5, 4)[:n], 3), normal(*size, 3, 4), normal(4)
    k = LETTERS[n]
    expected = np.einsum(f"n{places}c{k},{k}co->n{places}o", windows(x, size), kernel) + bias
    state = fastconv.keras_weights(f"Conv{n}D", [kernel, bias], prefix="conv.")
    assert list(state) == ["conv.weight", "conv.bias"]
    layer = getattr(fastconv.nn, f"Conv{n}d")(3, 4, size, dtype="float64")
    layer.load_state_dict({key.removeprefix("conv."): value for key, value in state.items()})
    np.testing.assert_allclose(layer(first(x)), first(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_transposed_convolutions(n: int) -> None:
    """Each input cell adds its kernel (size, out, in) to the output from twice its place on."""
    size, shape = (2, 3, 4)[:n], (3, 4, 2)[:n]
    x, kernel = normal(2, *shape, 3), normal(*size, 4, 3)
    target = tuple(2 * (length - 1) + k for length, k in zip(shape, size, strict=True))
    expected = np.zeros((2, *target, 4))
    for place in np.ndindex(*shape):
        cut = tuple(slice(2 * p, 2 * p + k) for p, k in zip(place, size, strict=True))
        added = np.einsum("...oc,nc->n...o", kernel, x[(slice(None), *place)])
        expected[(slice(None), *cut)] += added
    weight = fastconv.keras_weights(f"Conv{n}DTranspose", [kernel])["weight"]
    assert weight.shape == (3, 4, *size)
    result = getattr(F, f"conv_transpose{n}d")(first(x), weight, stride=2)
    np.testing.assert_allclose(result, first(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2])
def test_depthwise_and_separable_convolutions(n: int) -> None:
    size, places, k = (2, 3)[:n], "uv"[:n], LETTERS[n]
    x, kernel = normal(2, *(6, 5)[:n], 3), normal(*size, 3, 2)
    # Channel c's m-th output is at c * multiplier + m.
    middle = np.einsum(f"n{places}c{k},{k}cm->n{places}cm", windows(x, size), kernel)
    middle = middle.reshape(*middle.shape[:-2], 6)
    bias = normal(6)
    state = fastconv.keras_weights(f"DepthwiseConv{n}D", [kernel, bias])
    conv = getattr(F, f"conv{n}d")
    result = conv(first(x), state["weight"], state["bias"], groups=3)
    np.testing.assert_allclose(result, first(middle + bias), rtol=0, atol=1e-12)

    pointwise, bias = normal(*(1,) * n, 6, 4), normal(4)
    state = fastconv.keras_weights(f"SeparableConv{n}D", [kernel, pointwise, bias])
    expected = middle @ pointwise.reshape(6, 4) + bias
    result = conv(first(x), state["depthwise.weight"], groups=3)
    result = conv(result, state["pointwise.weight"], state["pointwise.bias"])
    np.testing.assert_allclose(result, first(expected), rtol=0, atol=1e-12)


def test_dense_alone_and_after_flatten() -> None:
    x, kernel, bias = normal(2, 24), normal(24, 5), normal(5)
    state = fastconv.keras_weights("Dense", [kernel, bias])
    expected = x @ kernel + bias
    np.testing.assert_allclose(F.linear(x, **state), expected, rtol=0, atol=1e-12)
    image = normal(2, 2, 3, 4)
    state = fastconv.keras_weights("Dense", [kernel, bias], flattened=(2, 3, 4))
    expected = image.reshape(2, 24) @ kernel + bias
    result = F.linear(first(image).reshape(2, 24), **state)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("scale", "center"), [(True, True), (False, True), (True, False)])
def test_batch_normalization(scale: bool, center: bool) -> None:
    x = normal(2, 5, 4, 3)
    gamma, beta, mean, variance = normal(3), normal(3), normal(3), RNG.uniform(0.5, 2, 3)
    arrays = [*([gamma] if scale else []), *([beta] if center else []), mean, variance]
    state = fastconv.keras_weights("BatchNormalization", arrays, scale=scale, center=center)
    expected = (x - mean) / np.sqrt(variance + 1e-3)
    expected = expected * (gamma if scale else 1) + (beta if center else 0)
    layer = fastconv.nn.BatchNorm2d(3, eps=1e-3, dtype="float64")
    layer.load_state_dict(state)
    np.testing.assert_allclose(layer(first(x)), first(expected), rtol=0, atol=1e-12)


def test_other_normalisations_and_prelu() -> None:
    gamma, beta = normal(3), normal(3)
    for layer in ("LayerNormalization", "GroupNormalization"):
        state = fastconv.keras_weights(layer, [gamma, beta])
        assert list(state) == ["weight", "bias"]
        np.testing.assert_array_equal(state["weight"], gamma)
    alpha = normal(1, 1, 3)
    np.testing.assert_array_equal(fastconv.keras_weights("PReLU", [alpha])["weight"], alpha.ravel())


@pytest.mark.parametrize(
    ("layer", "arrays", "options", "message"),
    [
        ("LSTM", [np.ones(3)], {}, "layer must be one of"),
        ("Conv2D", [], {}, "has 1 or 2 arrays, but got 0"),
        ("Conv2D", [np.ones((3, 3, 4))], {}, "kernels of 4 dimensions"),
        ("Conv2D", [np.ones((3, 3, 4, 5)), np.ones(4)], {}, r"bias of shape \(5,\)"),
        ("Conv2DTranspose", [np.ones((3, 3, 4, 5)), np.ones(5)], {}, r"bias of shape \(4,\)"),
        ("SeparableConv2D", [np.ones((3, 3, 4, 2)), np.ones((1, 1, 4, 9))], {}, "over 8 channels"),
        ("BatchNormalization", [np.ones(3)] * 3, {}, "has 4 arrays, but got 3"),
        ("BatchNormalization", [np.ones(3)] * 3 + [np.ones(2)], {}, "one shape"),
        ("Dense", [np.ones((6, 2))], {"flattened": (2, 2)}, "does not follow"),
        ("Conv2D", [np.ones((3, 3, 4, 5))], {"flattened": (2, 2)}, "flattened is for Dense"),
        ("PReLU", [np.ones((4, 4, 3))], {}, "shared over all axes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    layer: str, arrays: list[Array], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fastconv.keras_weights(layer, arrays, **options)
