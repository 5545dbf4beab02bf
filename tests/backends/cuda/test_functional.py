"""The functional API on the GPU, simulated: asked for by name, and right."""

from __future__ import annotations

import numpy as np

import fastconv.functional as F
from fastconv.dispatch import choose
from fastconv.problem import ConvProblem

RNG = np.random.default_rng(9)


def test_functions_by_name() -> None:
    x = RNG.integers(-4, 5, (1, 4, 6, 5)).astype("f4")
    weight = RNG.integers(-4, 5, (6, 4, 3, 3)).astype("f4")
    lines = RNG.integers(-4, 5, (4, 1, 3, 3)).astype("f4")
    square = RNG.integers(-4, 5, (6, 5)).astype("f4")
    for call in (
        lambda backend: F.conv2d(x, weight, padding=1, activation="relu", backend=backend),
        lambda backend: F.conv2d(x, lines, padding=1, groups=4, backend=backend),
        lambda backend: F.conv_transpose2d(x, lines[:, :, :2, :2], backend=backend),
        lambda backend: F.linear(x, square, activation="relu", backend=backend),
        lambda backend: F.max_pool2d(x, 2, backend=backend),
        lambda backend: F.prelu(x, x[0, :, 0, 0], backend=backend),
        lambda backend: F.pad(x, (1, 2, 0, 3), mode="reflect", backend=backend),
        lambda backend: F.interpolate(x, scale_factor=2, backend=backend),
        lambda backend: F.interpolate(x, (4, 9), mode="bilinear", backend=backend),
        lambda backend: F.pixel_shuffle(x, 2, backend=backend),
        lambda backend: F.unfold(x, 2, backend=backend),
        lambda backend: F.fold(F.unfold(x, 2, backend=backend), (6, 5), 2, backend=backend),
        lambda backend: F.max_unpool2d(
            *F.max_pool2d(x, 2, return_indices=True, backend=backend),
            2,
            output_size=(6, 5),
            backend=backend,
        ),
        lambda backend: F.softmax(x, 1, backend=backend),
        lambda backend: F.instance_norm(x, backend=backend),
        lambda backend: F.layer_norm(x, (6, 5), backend=backend),
        lambda backend: F.batch_norm(x, x[0, :, 0, 0], x[0, :, 1, 1] ** 2, backend=backend),
        lambda backend: F.local_response_norm(x, 3, backend=backend),
        lambda backend: F.relu(x, backend=backend),
        lambda backend: F.adaptive_avg_pool2d(x, 1, backend=backend),
    ):
        np.testing.assert_allclose(call("cuda"), call("reference"), rtol=1e-6, atol=2e-6)


def test_halves_and_precisions_by_name() -> None:
    x = RNG.integers(-4, 5, (1, 4, 6, 5)).astype("f4")
    weight = RNG.integers(-4, 5, (6, 4, 3, 3)).astype("f4")
    half, half_weight = x.astype("f2"), weight.astype("f2")
    expected = F.conv2d(x, weight, padding=1, backend="reference")
    for problem, arrays in (
        (ConvProblem.of(2, x, weight, padding=1, precision="tf32"), (x, weight)),
        (ConvProblem.of(2, half, half_weight, padding=1), (half, half_weight)),
    ):
        assert choose(problem, backend="cuda").algorithm.name == "direct_tensor"
        options = {"precision": problem.precision, "padding": 1}
        found = F.conv2d(*arrays, backend="cuda", **options)
        assert found.dtype == arrays[0].dtype
        np.testing.assert_array_equal(found, expected)
    options = {"padding": 1, "padding_mode": "circular"}
    found = F.conv2d(half, half_weight, backend="cuda", **options)
    np.testing.assert_array_equal(found, F.conv2d(x, weight, backend="reference", **options))
    strict = ConvProblem.of(2, x, weight, padding=1)
    assert choose(strict, backend="cuda").algorithm.name == "direct"
