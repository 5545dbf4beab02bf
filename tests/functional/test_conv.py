"""conv1d to conv3d and their transposes, against PyTorch and the reference, over drawn options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as torch_f
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv.backends.native import arena
from tests.functional.conv_cases import FILTERS, conv_cases
from tests.libraries import BACKENDS, COMPILED
from tests.pairs import pairs
from tests.tolerance import poisoned, small_integers, sum_tolerance

COMMON = settings(max_examples=60, deadline=None)


def run(name: str, case: dict[str, Any], arrays: Any, **more: Any) -> np.ndarray[Any, Any]:
    """Call fastconv in the case's layout, on a poisoned output, and give the result NC..."""
    x, w, b = arrays
    function = getattr(F, f"{name}{case['n']}d")
    options = {**case["options"], **more}
    if not case["last"]:
        shape = function(x, w, b, **options).shape
        out = poisoned(shape, x.dtype)
        result = function(x, w, b, out=out, **options)
        assert result is out
        return result
    result = function(np.moveaxis(x, 1, -1), w, b, layout="NHWC", **options)
    return np.moveaxis(result, -1, 1)


def operands(case: dict[str, Any], out_channels: int) -> Any:
    """Small integers in the case's dtype, whose sums are exact."""
    rng = np.random.default_rng(case["seed"])
    x = small_integers(rng, case["input"], case["dtype"])
    w = small_integers(rng, case["weight"], case["dtype"])
    b = small_integers(rng, out_channels, case["dtype"]) if case["bias"] else None
    return x, w, b


def tensors(arrays: Any) -> Any:
    """The same arrays for torch."""
    return [None if a is None else torch.from_numpy(a) for a in arrays]


@pytest.mark.parametrize("backend", BACKENDS)
@COMMON
@given(case=conv_cases())
def test_conv_is_exact_on_small_integers(backend: str, case: dict[str, Any]) -> None:
    arrays = operands(case, case["weight"][0])
    expected = getattr(torch_f, f"conv{case['n']}d")(*tensors(arrays), **case["options"]).numpy()
    # Only plain sums are chosen then: a minimal filter may be the cheapest of images this small.
    np.testing.assert_array_equal(run("conv", case, arrays, backend=backend, rtol=0), expected)
    chosen = run("conv", case, arrays, backend=backend)
    deviation = 4 * np.sqrt(np.prod(case["weight"][1:]))
    np.testing.assert_allclose(chosen, expected, rtol=0, atol=1e-4 * deviation)


ALGORITHMS = pairs(
    "direct", "im2col", "skinny", "planar", "depthwise", "depthwise_planar", "winograd"
)


@pytest.mark.parametrize(("backend", "algorithm"), [p for p in ALGORITHMS if p[0] != "numba"])
@COMMON
@given(case=conv_cases())
def test_every_algorithm_is_exact_on_small_integers(
    backend: str, algorithm: str, case: dict[str, Any]
) -> None:
    check_exact(backend, algorithm, case)


# Numba compiles a kernel for most cases: seconds each. `make fuzz` draws many.
@pytest.mark.parametrize(("backend", "algorithm"), [p for p in ALGORITHMS if p[0] == "numba"])
@settings(max_examples=15, deadline=None)
@given(case=conv_cases())
def test_every_algorithm_by_numba_is_exact_on_small_integers(
    backend: str, algorithm: str, case: dict[str, Any]
) -> None:
    check_exact(backend, algorithm, case)


def check_exact(backend: str, algorithm: str, case: dict[str, Any]) -> None:
    """Hold an algorithm to the reference's sums of small whole numbers."""
    if algorithm.startswith("depthwise"):
        groups = case["input"][1]
        assume(groups > 1)
        case["options"]["groups"] = groups
        multiplier = 1 if algorithm == "depthwise" else 1 + case["seed"] % 3
        case["weight"] = (groups * multiplier, 1, *case["weight"][2:])
    if algorithm.endswith("planar"):
        assume(case["n"] < 3)
    if algorithm.endswith(("planar", "skinny")):
        case["last"] = False
    if algorithm == "winograd":
        assume(case["n"] == 2)
        case["options"].update(stride=(1, 1), groups=1)
        case["weight"] = (case["weight"][0], case["input"][1], 3, 3)
        least = [1 + 2 * d for d in case["options"]["dilation"]]
        sizes = (max(n, low) for n, low in zip(case["input"][2:], least, strict=True))
        case["input"] = (*case["input"][:2], *sizes)
    arrays = operands(case, case["weight"][0])
    expected = run("conv", case, arrays, backend="reference")
    arena.take(1 << 20)
    arena.poison()
    result = run("conv", case, arrays, backend=backend, algorithm=algorithm)
    np.testing.assert_array_equal(result, expected)


@st.composite
def transposed_cases(draw: Any) -> dict[str, Any]:
    """Draw a transposed convolution that is legal in torch."""
    case = draw(conv_cases())
    groups = case["options"]["groups"]
    channels = case["input"][1]
    n = case["n"]
    kernel = case["weight"][2:]
    case["weight"] = (channels, draw(st.sampled_from((1, 2, 3, 17))), *kernel)
    case["input"] = (*case["input"][:2], *(min(size, 6) for size in case["input"][2:]))
    options = case["options"]
    options["output_padding"] = tuple(
        draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(options["stride"], options["dilation"], strict=True)
    )
    sizes = [
        (case["input"][2 + i] - 1) * options["stride"][i]
        - 2 * options["padding"][i]
        + options["dilation"][i] * (kernel[i] - 1)
        + options["output_padding"][i]
        + 1
        for i in range(n)
    ]
    assume(min(sizes) >= 1)
    case["out"] = case["weight"][1] * groups
    return case


@pytest.mark.parametrize("backend", BACKENDS)
@COMMON
@given(case=transposed_cases())
def test_conv_transpose_is_exact_on_small_integers(backend: str, case: dict[str, Any]) -> None:
    arrays = operands(case, case["out"])
    function = getattr(torch_f, f"conv_transpose{case['n']}d")
    expected = function(*tensors(arrays), **case["options"])
    result = run("conv_transpose", case, arrays, backend=backend)
    np.testing.assert_array_equal(result, expected.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("backend", COMPILED)
def test_random_data_stays_inside_the_tolerance_of_its_sum(
    dtype: str, algorithm: str, backend: str
) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 37, 19, 23)).astype(dtype)
    w = rng.standard_normal((41, 37, 3, 5)).astype(dtype)
    expected = F.conv2d(x.astype("f8"), w.astype("f8"), padding=2, backend="reference")
    result = F.conv2d(x, w, padding=2, algorithm=algorithm, backend=backend)
    assert np.abs(result - expected).max() <= sum_tolerance(dtype, 37 * 15)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_modes_are_those_of_a_torch_layer(mode: str, backend: str) -> None:
    rng = np.random.default_rng(1)
    for n, kernel, padding in ((1, (4,), (3,)), (2, (3, 2), (2, 1)), (3, (2, 1, 3), (1, 0, 2))):
        layer = getattr(torch.nn, f"Conv{n}d")(4, 6, kernel, padding=padding, padding_mode=mode)
        x = small_integers(rng, (2, 4, *(5, 6, 7)[:n]), "float32")
        w = small_integers(rng, layer.weight.shape, "float32")
        b = small_integers(rng, (6,), "float32")
        layer.load_state_dict({"weight": torch.from_numpy(w), "bias": torch.from_numpy(b)})
        expected = layer(torch.from_numpy(x)).detach().numpy()
        result = getattr(F, f"conv{n}d")(
            x, w, b, padding=padding, padding_mode=mode, backend=backend
        )
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_uneven_padding_is_padding_beforehand(backend: str) -> None:
    rng = np.random.default_rng(2)
    x = small_integers(rng, (2, 3, 8, 9), "float32")
    w = small_integers(rng, (5, 3, 3, 3), "float32")
    padded = np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3)))
    result = F.conv2d(x, w, padding=((1, 2), (0, 3)), backend=backend)
    np.testing.assert_array_equal(result, F.conv2d(padded, w, backend="reference"))


@pytest.mark.parametrize(("stride", "before", "after"), [(1, 1, 2), (2, 1, 1), (3, 1, 2)])
def test_same_padding_is_onnx_same_upper(stride: int, before: int, after: int) -> None:
    rng = np.random.default_rng(3)
    x = small_integers(rng, (1, 2, 10), "float32")
    w = small_integers(rng, (3, 2, 4), "float32")
    expected = F.conv1d(x, w, stride=stride, padding=((before, after),))
    np.testing.assert_array_equal(F.conv1d(x, w, stride=stride, padding="same"), expected)
    assert expected.shape[-1] == -(-10 // stride)


def test_causal_padding_sees_nothing_ahead() -> None:
    rng = np.random.default_rng(4)
    x = small_integers(rng, (1, 2, 20), "float32")
    w = small_integers(rng, (3, 2, 3), "float32")
    before = F.conv1d(x, w, padding="causal", dilation=2)
    changed = x.copy()
    changed[..., 11:] += 1
    after = F.conv1d(changed, w, padding="causal", dilation=2)
    assert before.shape == (1, 3, 20)
    np.testing.assert_array_equal(before[..., :11], after[..., :11])
    assert (before[..., 11:] != after[..., 11:]).any()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_convolve_flips_the_kernel(n: int) -> None:
    rng = np.random.default_rng(5)
    x = small_integers(rng, (2, 2, *(7, 6, 5)[:n]), "float32")
    w = small_integers(rng, (3, 2, *(3, 2, 2)[:n]), "float32")
    flipped = np.flip(w, tuple(range(2, n + 2)))
    expected = getattr(F, f"conv{n}d")(x, np.ascontiguousarray(flipped), padding=1)
    np.testing.assert_array_equal(F.convolve(x, w, padding=1), expected)


def test_convolve_in_one_dimension_is_numpy_convolve() -> None:
    rng = np.random.default_rng(6)
    signal, kernel = rng.standard_normal(50), rng.standard_normal(7)
    result = F.convolve(signal[None], kernel[None, None], padding=6)
    np.testing.assert_allclose(result[0], np.convolve(signal, kernel), atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "activation",
    [None, "relu", "relu6", ("leaky_relu", 0.25), ("hardtanh", -2, 3), "silu", "gelu", "hardswish"],
)
def test_epilogue_is_bias_then_residual_then_activation(
    backend: str, layout: str, activation: Any
) -> None:
    rng = np.random.default_rng(7)
    x = small_integers(rng, (2, 5, 7, 6), "float64")
    w = small_integers(rng, (34, 5, 3, 3), "float64")
    b = small_integers(rng, (34,), "float64")
    plain = F.conv2d(x, w, b, padding=1, backend="reference")
    residual = small_integers(rng, plain.shape, "float64", 40)
    name, *parameters = activation if isinstance(activation, tuple) else (activation,)
    expected = torch.from_numpy(plain + residual)
    if name is not None:
        expected = getattr(torch_f, name)(expected, *parameters)
    axes = (0, 2, 3, 1) if layout == "NHWC" else (0, 1, 2, 3)
    result = F.conv2d(
        x.transpose(axes), w, b, padding=1, residual=residual.transpose(axes),
        activation=activation, layout=layout, backend=backend,
    )  # fmt: skip
    # The argument is exact; an activation is a handful of operations on it.
    np.testing.assert_allclose(result, expected.numpy().transpose(axes), rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize(
    ("backend", "algorithm"),
    pairs("direct", "planar", "im2col", "depthwise", "depthwise_planar", "winograd", "fft", "dot"),
)
def test_scaled_hardswish_ends_every_algorithm(backend: str, algorithm: str) -> None:
    rng = np.random.default_rng(5)
    groups = 6 if algorithm in ("depthwise", "depthwise_planar", "fft") else 1
    channels, size, kernel = (160, (1, 1), 1) if algorithm == "dot" else (6, (9, 21), 3)
    x = rng.standard_normal((1, channels, *size)).astype("f4")
    w = rng.standard_normal((6, channels // groups, kernel, kernel)).astype("f4")
    common: dict[str, Any] = {"groups": groups}
    if algorithm == "depthwise":
        x, common["layout"] = x.transpose(0, 2, 3, 1), "NHWC"
    plain = F.conv2d(x.astype("f8"), w.astype("f8"), backend="reference", **common)
    expected = -1.5 * torch_f.hardswish(torch.from_numpy(plain)).numpy() + 0.25
    result = F.conv2d(
        x, w, activation=("hardswish", -1.5, 0.25), backend=backend, algorithm=algorithm, **common
    )
    # A slope of at most 2.25 on the sum's own error, and roundings of the result.
    tolerance = 3 * sum_tolerance("float32", 160) + 8 * np.finfo("f4").eps * np.abs(expected)
    assert (np.abs(result - expected) <= tolerance).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint32"])
def test_integers_are_exact_in_the_accumulator_type(dtype: str) -> None:
    rng = np.random.default_rng(8)
    info = np.iinfo(dtype)
    x = rng.integers(info.min // 2, info.max // 2, (2, 3, 6, 6)).astype(dtype)
    w = rng.integers(0, 100, (4, 3, 3, 3)).astype(dtype)
    result = F.conv2d(x, w)
    assert result.dtype == (np.int32 if dtype in ("int8", "int16") else np.int64)
    exact = sum(
        x[:, None, c, i : i + 4, j : j + 4].astype(object) * int(w[o, c, i, j])
        * (np.arange(4) == o)[None, :, None, None]
        for o in range(4) for c in range(3) for i in range(3) for j in range(3)
    )  # fmt: skip
    wrapped = (exact + 2**63) % 2**64 - 2**63
    np.testing.assert_array_equal(result, wrapped.astype(np.int64).astype(result.dtype))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_is_torch_complex(dtype: str) -> None:
    rng = np.random.default_rng(9)
    x, w = (
        (small_integers(rng, s, "f4") + 1j * small_integers(rng, s, "f4")).astype(dtype)
        for s in ((2, 3, 6, 7), (4, 3, 2, 3))
    )
    expected = torch_f.conv2d(torch.from_numpy(x), torch.from_numpy(w), stride=2)
    result = F.conv2d(x, w, stride=2)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected.numpy())
    transposed = F.conv_transpose2d(x, w[:3].copy().transpose(1, 0, 2, 3)[:, :2])
    assert transposed.dtype == dtype


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_sums_wide_and_rounds_once(name: str) -> None:
    import ml_dtypes

    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    rng = np.random.default_rng(10)
    x = rng.standard_normal((2, 9, 8, 8)).astype(dtype)
    w = rng.standard_normal((5, 9, 3, 3)).astype(dtype)
    exact = F.conv2d(x.astype("f8"), w.astype("f8"), backend="reference")
    result = F.conv2d(x, w)
    assert result.dtype == dtype
    unit = float(ml_dtypes.finfo(dtype).eps) / 2
    allowed = np.abs(exact) * unit + sum_tolerance("float32", 81)
    assert (np.abs(result.astype("f8") - exact) <= allowed).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_unbatched_and_empty_batches(backend: str) -> None:
    rng = np.random.default_rng(11)
    x = small_integers(rng, (3, 8, 8), "float32")
    w = small_integers(rng, (4, 3, 3, 3), "float32")
    single = F.conv2d(x, w, backend=backend)
    np.testing.assert_array_equal(single, F.conv2d(x[None], w, backend=backend)[0])
    out = poisoned(single.shape, "float32")
    assert F.conv2d(x, w, out=out, backend=backend) is out
    np.testing.assert_array_equal(out, single)
    assert F.conv2d(x[None][:0], w, backend=backend).shape == (0, 4, 6, 6)
    up = F.conv_transpose2d(x, w.transpose(1, 0, 2, 3).copy(), backend=backend)
    assert up.shape == (4, 10, 10)


def awkward(x: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The same values in every form that an array can come in."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    raw = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:]
    unaligned = raw.view(np.uint8)[: x.nbytes].view(x.dtype).reshape(x.shape)
    frozen = x.copy()
    frozen.flags.writeable = False

    class Sub(np.ndarray):  # type: ignore[type-arg]
        pass

    return {
        "strided": wide[..., ::2],
        "fortran": np.asfortranarray(x),
        "reversed": x[..., ::-1].copy()[..., ::-1],
        "swapped": x.astype(x.dtype.newbyteorder()),
        "unaligned": unaligned,
        "readonly": frozen,
        "subclass": x.view(Sub),
        "list": x.tolist(),
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", list(awkward(np.zeros((2, 2)))))
def test_awkward_arrays_are_accepted_and_left_alone(backend: str, kind: str) -> None:
    rng = np.random.default_rng(12)
    x = small_integers(rng, (2, 3, 6, 7), "float64")
    w = small_integers(rng, (4, 3, 3, 3), "float64")
    given_x, given_w = awkward(x)[kind], awkward(w)[kind]
    expected = F.conv2d(x, w, backend="reference")
    result = F.conv2d(given_x, given_w, backend=backend)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.asarray(given_x), x)


def test_out_of_any_strides_is_written() -> None:
    rng = np.random.default_rng(13)
    x, w = small_integers(rng, (1, 3, 6, 6), "f4"), small_integers(rng, (4, 3, 3, 3), "f4")
    memory = poisoned((1, 4, 8, 8), "f4")
    view = memory[:, :, 2:6, 1:5]
    assert F.conv2d(x, w, out=view) is view
    np.testing.assert_array_equal(view, F.conv2d(x, w))
    assert np.isnan(memory).sum() == memory.size - view.size


def test_nan_in_one_image_leaves_the_others() -> None:
    rng = np.random.default_rng(14)
    x = rng.standard_normal((3, 8, 12, 12)).astype("f4")
    w = rng.standard_normal((16, 8, 3, 3)).astype("f4")
    clean = F.conv2d(x, w, padding=1)
    x[1, 4, 5, 6] = np.nan
    dirty = F.conv2d(x, w, padding=1)
    np.testing.assert_array_equal(dirty[[0, 2]], clean[[0, 2]])
    assert np.isnan(dirty[1, :, 4:7, 5:8]).all()


@pytest.mark.parametrize(
    ("backend", "algorithm"), pairs("direct", "im2col", "skinny", "planar", *FILTERS)
)
def test_the_same_bits_in_any_batch_and_on_any_number_of_threads(
    backend: str, algorithm: str
) -> None:
    rng = np.random.default_rng(15)
    x = rng.standard_normal((5, 19, 30, 29)).astype("f4")
    w = rng.standard_normal((37, 19, 3, 3)).astype("f4")
    before = fastconv.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            fastconv.set_num_threads(threads)
            options: dict[str, Any] = {"padding": 1, "algorithm": algorithm, "rtol": 1}
            options["backend"] = backend
            results.append(F.conv2d(x, w, **options))
            alone = F.conv2d(x[3], w, **options)
            assert alone.tobytes() == results[-1][3].tobytes()
    finally:
        fastconv.set_num_threads(before)
    assert len({r.tobytes() for r in results}) == 1


@pytest.mark.parametrize(("backend", "algorithm"), pairs("direct", "planar", "depthwise_planar"))
def test_subnormal_weights_are_flushed(backend: str, algorithm: str) -> None:
    x = np.ones((1, 1, 4, 4), "f4")
    w = np.full((1, 1, 3, 3), 1e-40, "f4")
    np.testing.assert_array_equal(F.conv2d(x, w, backend=backend, algorithm=algorithm), 0)


@pytest.mark.parametrize(("backend", "algorithm"), pairs("planar"))
@pytest.mark.parametrize(
    ("shape", "weight", "options"),
    [
        ((1, 1, 60011), (40, 1, 10), {"stride": 5}),
        ((2, 1, 30001), (13, 1, 25), {"padding": 12}),
        ((1, 6, 20000), (8, 3, 9), {"padding": 700, "dilation": 175, "groups": 2}),
        ((1, 1, 50000), (7, 1, 1), {"stride": 3}),
        ((1, 64, 9001), (20, 64, 3), {"padding": 300, "dilation": 300}),
        ((2, 96, 5000), (14, 48, 4), {"stride": 2, "groups": 2}),
    ],
)
def test_long_lines_are_cut_into_chunks(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    options: dict[str, Any],
    backend: str,
    algorithm: str,
) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape).astype("f4"), rng.standard_normal(weight).astype("f4")
    b = rng.standard_normal(weight[0]).astype("f4")
    exact = torch.nn.functional.conv1d(
        torch.tensor(x).double(), torch.tensor(w).double(), torch.tensor(b).double(), **options
    ).numpy()
    residual = rng.standard_normal(exact.shape).astype("f4")
    out = np.full(exact.shape, np.nan, "f4")
    how = {"backend": backend, "algorithm": algorithm}
    F.conv1d(x, w, b, **options, residual=residual, **how, out=out)
    np.testing.assert_allclose(out, exact + residual, atol=2e-4)


@pytest.mark.parametrize("precision", ["tf32", "3xtf32", "fp16", "bf16"])
def test_a_precision_is_a_permission_that_processors_do_not_use(precision: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 8, 16, 16)).astype("f4")
    w = np.random.default_rng(1).standard_normal((8, 8, 3, 3)).astype("f4")
    calls: list[Callable[..., Any]] = [
        lambda **o: F.conv2d(x, w, padding=1, **o),
        lambda **o: F.conv1d(x[:, :, 0], w[:, :, 0], **o),
        lambda **o: F.conv3d(x[:, :, None], w[:, :, None], **o),
        lambda **o: F.convolve(x, w, **o),
        lambda **o: F.conv_transpose1d(x[:, :, 0], w[:, :, 0], **o),
        lambda **o: F.conv_transpose2d(x, w, **o),
        lambda **o: F.conv_transpose3d(x[:, :, None], w[:, :, None], **o),
        lambda **o: F.linear(x, w.reshape(-1, 16), **o),
    ]
    for call in calls:
        np.testing.assert_array_equal(call(precision=precision), call())
        np.testing.assert_array_equal(call(precision=precision, rtol=0), call(rtol=0))
