"""Parameters that are on the GPU, of all that only moves them, or has a kernel that uses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from tests.backends.cuda.device_memory import OnDevice, on_host

RNG = np.random.default_rng(18)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype("f4")


X = normal(2, 6, 3, 4)
CALLS: dict[str, tuple[Any, list[Any]]] = {
    "linear": (F.linear, [normal(5, 4), normal(5)]),
    "conv_transpose": (
        lambda *given, **more: F.conv_transpose2d(*given, **more),
        [normal(6, 2, 1, 3), normal(2)],
    ),
    "prelu": (F.prelu, [normal(6)]),
    "batch_norm": (F.batch_norm, [normal(6), normal(6) ** 2, normal(6), normal(6)]),
    "group_norm": (lambda x, *given, **more: F.group_norm(x, 2, *given, **more), [normal(6)]),
    "layer_norm": (lambda x, *given, **more: F.layer_norm(x, 4, *given, **more), [normal(4)] * 2),
}


@pytest.mark.parametrize("name", CALLS)
def test_parameters_on_the_card(name: str) -> None:
    function, parameters = CALLS[name]
    result = function(OnDevice(X), *map(OnDevice, parameters))
    expected = function(X, *parameters, backend="reference")
    np.testing.assert_allclose(on_host(result), expected, rtol=2e-6, atol=5e-6)


def test_those_of_halves_are_refused() -> None:
    x = X.astype("f2")
    with pytest.raises(ValueError, match="works out its parameters in main memory"):
        F.batch_norm(OnDevice(x), OnDevice(x[0, :, 0, 0]), OnDevice(abs(x[0, :, 0, 0])))
