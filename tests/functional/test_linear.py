"""The fully connected layer and dropout against PyTorch."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as torch_f
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv.functional as F
from tests.libraries import BACKENDS
from tests.tolerance import poisoned, small_integers, sum_tolerance


@given(
    lead=st.lists(st.sampled_from((1, 2, 3, 17)), max_size=3),
    in_features=st.sampled_from((1, 2, 7, 64, 129)),
    out_features=st.sampled_from((1, 3, 16, 67)),
    bias=st.booleans(),
    activation=st.sampled_from((None, "relu", ("leaky_relu", 0.5), ("hardtanh", -9, 20))),
    dtype=st.sampled_from(("float32", "float64")),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_exact_sums(
    lead: list[int],
    in_features: int,
    out_features: int,
    bias: bool,
    activation: Any,
    dtype: str,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    x = small_integers(rng, (*lead, in_features), dtype)
    weight = small_integers(rng, (out_features, in_features), dtype)
    b = small_integers(rng, out_features, dtype) if bias else None
    expected = torch_f.linear(*(None if a is None else torch.from_numpy(a) for a in (x, weight, b)))
    if activation is not None:
        name, *rest = (activation,) if isinstance(activation, str) else activation
        expected = getattr(torch_f, name)(expected, *rest)
    for backend in BACKENDS:
        out = poisoned((*lead, out_features), dtype)
        result = F.linear(x, weight, b, activation=activation, backend=backend, out=out)
        assert result is out
        np.testing.assert_array_equal(out, expected.numpy())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_numbers_and_a_late_activation(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(5, 300)), rng.normal(size=(40, 300))
    x, weight = x.astype(dtype), weight.astype(dtype)
    expected = torch_f.silu(
        torch_f.linear(torch.from_numpy(x).double(), torch.from_numpy(weight).double())
    ).numpy()
    result = F.linear(x, weight, activation="silu", backend=backend)
    # silu's slope is below 1.1
    np.testing.assert_allclose(result, expected, rtol=0, atol=1.1 * sum_tolerance(dtype, 300))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weight_without_out_features(backend: str) -> None:
    rng = np.random.default_rng(0)
    weight = small_integers(rng, 6, "f4")
    for shape in ((6,), (2, 6), (2, 3, 6)):
        x = small_integers(rng, shape, "f4")
        expected = torch_f.linear(torch.from_numpy(x), torch.from_numpy(weight)) + 2
        result = F.linear(x, weight, np.float32(2), backend=backend)
        assert result.shape == tuple(expected.shape)
        np.testing.assert_array_equal(result, expected.numpy())


def test_an_out_of_any_strides() -> None:
    rng = np.random.default_rng(0)
    x, weight = small_integers(rng, (2, 3, 6), "f4"), small_integers(rng, (4, 6), "f4")
    out = poisoned((4, 3, 2), "f4").T
    assert F.linear(x, weight, out=out) is out
    np.testing.assert_array_equal(out, F.linear(x, weight))
    with pytest.raises(ValueError, match=r"out must have shape \[2, 3, 4\], but got \[6, 4\]"):
        F.linear(x, weight, out=poisoned((6, 4), "f4"))
    with pytest.raises(ValueError, match="must not overlap"):
        F.linear(x[..., :4], weight[:, :4], out=x[..., 2:])


def test_no_rows_and_no_features() -> None:
    assert F.linear(np.zeros((0, 5), "f4"), np.zeros((3, 5), "f4")).shape == (0, 3)
    assert F.linear(np.zeros((2, 0, 5), "f4"), np.zeros((3, 5), "f4")).shape == (2, 0, 3)
    bias = np.array([1, -2], "f4")
    result = F.linear(np.zeros((3, 0), "f4"), np.zeros((2, 0), "f4"), bias)
    np.testing.assert_array_equal(result, np.broadcast_to(bias, (3, 2)))


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "complex64"])
def test_integers_and_complex_are_exact(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.integers(0, 100, (3, 50)).astype(dtype), rng.integers(0, 100, (4, 50))
    result = F.linear(x, weight.astype(dtype))
    np.testing.assert_array_equal(result, x.astype("c16").real.astype("i8") @ weight.T)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_sixteen_bits(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(3, 50)).astype(dtype), rng.normal(size=(4, 50)).astype(dtype)
    result = F.linear(x, weight)
    assert result.dtype == x.dtype
    expected = x.astype("f8") @ weight.astype("f8").T
    eps = float(ml_dtypes.finfo(dtype).eps)
    np.testing.assert_allclose(
        result.astype("f8"), expected, rtol=0.51 * eps, atol=sum_tolerance("f4", 50)
    )


def test_the_same_bits_in_any_batch() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(9, 131)).astype("f4"), rng.normal(size=(33, 131)).astype("f4")
    for backend in BACKENDS:
        whole = F.linear(x, weight, backend=backend)
        for i in range(9):
            np.testing.assert_array_equal(F.linear(x[i], weight, backend=backend), whole[i])


def test_dropout_is_the_identity() -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert F.dropout(x) is x
    assert F.dropout(x, 1.0, False, False) is x
    out = np.empty_like(x)
    assert F.dropout(x, out=out) is out
    np.testing.assert_array_equal(out, x)


def test_dropout_refuses_training() -> None:
    x = np.zeros(3, "f4")
    with pytest.raises(ValueError, match="training=True is random"):
        F.dropout(x, 0.5, True)
    with pytest.raises(ValueError, match=r"dropout probability has to be between 0 and 1.* 1\.5"):
        F.dropout(x, 1.5)
    with pytest.raises(ValueError, match="inplace=True is not supported"):
        F.dropout(x, inplace=True)
    with pytest.raises(ValueError, match="must not overlap"):
        F.dropout(x, out=x)


class Traced:
    """A value without data, as a network is traced with."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "float32") -> None:
        self.shape, self.dtype, self.ndim = shape, np.dtype(dtype), len(shape)

    def reshape(self, shape: tuple[int, ...]) -> Traced:
        return Traced(shape)

    def __fastconv_record__(self, problem: Any, inputs: Any, parameters: Any, *_: Any) -> Traced:
        result = Traced(problem.output_shape)
        result.problem, result.parameters = problem, parameters  # type: ignore[attr-defined]
        return result


def test_values_without_data_are_recorded() -> None:
    x: Any = Traced((2, 4, 6))
    c, w = np.ones(4, "f4"), np.ones((3, 6), "f4")
    for result, name, parameters in (
        (F.relu(x), "relu", 0),
        (F.gelu(x, "tanh"), "gelu", 0),
        (F.prelu(x, c), "prelu", 1),
        (F.softmax(x, 1), "softmax", 0),
        (F.batch_norm(x, c, c, c, c), "batch_norm", 4),
        (F.instance_norm(x), "instance_norm", 2),
        (F.group_norm(x, 2, c, c), "group_norm", 2),
        (F.layer_norm(x, 6), "layer_norm", 2),
        (F.local_response_norm(x, 3), "local_response_norm", 0),
        (F.linear(Traced((2, 6)), w), "linear", 2),  # type: ignore[arg-type]
    ):
        assert result.problem.name == name  # type: ignore[attr-defined]
        assert len(result.parameters) == parameters  # type: ignore[attr-defined]
    assert F.linear(x, w).shape == (2, 4, 3)
    assert F.dropout(x) is x
