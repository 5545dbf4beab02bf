"""Operators with many options, drawn: against onnx's reference, PyTorch, or onnxruntime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fastconv

onnx = pytest.importorskip("onnx", reason="these tests make ONNX models")
helper = onnx.helper


def model_of(node: Any, arrays: dict[str, Any], opset: int = 22) -> Any:
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in arrays.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "one", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def ours(node: Any, arrays: dict[str, Any], opset: int = 22) -> Any:
    from fastconv.formats.onnx import graph_of
    from fastconv.network import Network

    network = Network.from_graph(graph_of(model_of(node, arrays, opset), checked=False))
    assert network.fallbacks == ()
    return network(*arrays.values())


def reference(node: Any, arrays: dict[str, Any], opset: int = 22) -> Any:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model_of(node, arrays, opset)).run(None, arrays)[0]


def resize_case(rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    mode = rng.choice(["nearest", "linear", "cubic"])
    kinds = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
             "asymmetric", "tf_crop_and_resize"]  # fmt: skip
    coordinates = str(rng.choice(kinds))
    x = rng.standard_normal((1, 2, *rng.integers(4, 9, 2))).astype("f4")
    options: dict[str, Any] = {"mode": str(mode), "coordinate_transformation_mode": coordinates}
    arrays: dict[str, Any] = {"x": x}
    names = ["x", "", "scales", ""]
    if coordinates == "tf_crop_and_resize":
        low, high = rng.uniform(-0.2, 0.4, 4), rng.uniform(0.6, 1.3, 4)
        arrays["roi"] = np.r_[low, high].astype("f4")
        arrays["roi"][[0, 1]], arrays["roi"][[4, 5]] = 0, 1
        names[1] = "roi"
        options["extrapolation_value"] = 7.0
    if mode == "nearest":
        roundings = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
        options["nearest_mode"] = str(rng.choice(roundings))
    else:
        options["exclude_outside"] = int(rng.integers(2))
        if coordinates == "half_pixel":
            options["antialias"] = int(rng.integers(2))
    if mode == "cubic":
        options["cubic_coeff_a"] = float(rng.choice([-0.75, -0.5]))
    # Eighths: exact in float32, so that no rounding moves a place over a border. The
    # reference's corners are those of lengths that are not whole: by sizes they are ours.
    corners = coordinates in ("align_corners", "tf_crop_and_resize")
    if rng.random() < 0.5 and not corners:
        arrays["scales"] = np.r_[1, 1, rng.choice([4, 6, 8, 12, 20], 2) / 8].astype("f4")
    else:
        arrays["sizes"] = np.r_[x.shape[:2], rng.integers(2, 14, 2)].astype("i8")
        names[2:] = ["", "sizes"]
    return helper.make_node("Resize", names, ["y"], **options), arrays


@pytest.mark.parametrize("seed", range(120))
def test_resize(seed: int) -> None:
    node, arrays = resize_case(np.random.default_rng(seed))
    expected = reference(node, arrays)
    result = ours(node, arrays)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("operator", ["AveragePool", "LpPool"])
def test_pools_with_dilation(operator: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    options: dict[str, Any] = {
        "kernel_shape": rng.integers(1, 4, n).tolist(),
        "strides": rng.integers(1, 4, n).tolist(),
        "dilations": rng.integers(1, 4, n).tolist(),
        "ceil_mode": int(rng.integers(2)),
    }
    spans = [(k - 1) * d + 1 for k, d in zip(options["kernel_shape"], options["dilations"],
                                             strict=True)]  # fmt: skip
    options["pads"] = [int(rng.integers(0, (s + 1) // 2)) for s in spans] * 2
    if operator == "AveragePool":
        options["count_include_pad"] = int(rng.integers(2))
    x = rng.standard_normal((1, 2, *rng.integers(8, 12, n))).astype("f4")
    node = helper.make_node(operator, ["x"], ["y"], **options)
    result = ours(node, {"x": x})
    expected = pooled(operator, x.astype("f8"), options)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def pooled(operator: str, x: Any, options: dict[str, Any]) -> Any:
    """Pool window by window, cell by cell. (onnx's reference errs where ceil_mode adds windows.)"""
    n = x.ndim - 2
    columns = []
    for axis in range(n):
        names = ("kernel_shape", "strides", "dilations", "pads")
        k, s, d, p = (options[name][axis] for name in names)
        length, out = x.shape[2 + axis], 0
        span = (k - 1) * d + 1
        # Every window that starts inside the input or its left padding, whole unless ceil_mode.
        while out * s < length + p if options["ceil_mode"] else out * s + span <= length + 2 * p:
            if options["ceil_mode"] and (out * s + span) - (length + 2 * p) >= s:
                break
            out += 1
        columns.append([[o * s + t * d - p for t in range(k)] for o in range(out)])
    result = np.zeros((*x.shape[:2], *map(len, columns)))
    for place in np.ndindex(*result.shape[2:]):
        cells, counted = [], 0
        for cell in itertools.product(*(c[i] for c, i in zip(columns, place, strict=True))):
            inside = all(0 <= i < size for i, size in zip(cell, x.shape[2:], strict=True))
            bounds = zip(cell, x.shape[2:], options["pads"], strict=False)
            padded = all(-p <= i < size + p for i, size, p in bounds)
            counted += padded if options.get("count_include_pad") else inside
            if inside:
                cells.append(x[(slice(None), slice(None), *cell)])
        stack = np.stack(cells) if cells else np.zeros((1, *x.shape[:2]))
        lp = np.sqrt((stack**2).sum(0))
        value = stack.sum(0) / counted if operator == "AveragePool" else lp
        result[(slice(None), slice(None), *place)] = value
    return result


@pytest.mark.parametrize("seed", range(20))
def test_quantised_convolutions_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_type, w_type, y_type = (rng.choice(["i1", "u1"]) for _ in range(3))
    groups = int(rng.choice([1, 2]))
    x = rng.integers(*_limits(x_type), (2, 4, 7, 6)).astype(x_type)
    w = rng.integers(*_limits(w_type), (6, 4 // groups, 3, 3)).astype(w_type)
    scales = 2.0 ** -rng.integers(4, 9, 6)  # exact products: no rounding comes in
    arrays = {
        "x": x, "xs": np.array(2**-5, "f4"), "xz": x.reshape(-1)[0], "w": w,
        "ws": scales.astype("f4"), "wz": np.zeros(6, w_type), "ys": np.array(0.5, "f4"),
        "yz": np.array(3, y_type), "b": rng.integers(-500, 500, 6).astype("i4"),
    }  # fmt: skip
    arrays["xz"] = np.asarray(arrays["xz"])
    pads = rng.integers(0, 2, 4).tolist()
    node = helper.make_node("QLinearConv", [*arrays], ["y"], group=groups, pads=pads)
    result = ours(node, arrays)
    wide = x.astype("f8") - np.float64(arrays["xz"])
    padded = np.pad(wide, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    total = fastconv.conv2d(padded, w.astype("f8"), groups=groups, backend="reference")
    total = total + arrays["b"][:, None, None]
    low, high = _limits(y_type)
    expected = np.rint(total * (2**-5 * scales / 0.5)[:, None, None]) + 3
    assert result.dtype == y_type
    np.testing.assert_array_equal(result, expected.clip(low, high - 1).astype(y_type))
    integers = {"x": x, "w": w, "xz": arrays["xz"]}
    node = helper.make_node("ConvInteger", [*integers], ["y"], group=groups, pads=pads)
    plain = fastconv.conv2d(padded, w.astype("f8"), groups=groups, backend="reference")
    np.testing.assert_array_equal(ours(node, integers), plain.astype("i4"))


def _limits(dtype: str) -> tuple[int, int]:
    return np.iinfo(dtype).min, np.iinfo(dtype).max + 1


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_grid_sample_is_pytorchs(mode: str, padding: str, corners: int) -> None:
    torch = pytest.importorskip("torch", reason="it is the oracle")
    rng = np.random.default_rng(4)
    arrays = {
        "x": rng.standard_normal((2, 3, 5, 7)).astype("f4"),
        "g": rng.uniform(-1.7, 1.7, (2, 4, 6, 2)).astype("f4"),
    }
    options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    result = ours(helper.make_node("GridSample", ["x", "g"], ["y"], **options), arrays)
    names = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}
    tensors = [torch.from_numpy(v) for v in arrays.values()]
    expected = torch.nn.functional.grid_sample(
        *tensors, mode=names[mode], padding_mode=padding, align_corners=bool(corners)
    )
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-4, atol=2e-5)


def test_boxes_are_chosen_as_the_reference_chooses() -> None:
    rng = np.random.default_rng(8)
    low = rng.random((2, 60, 2))
    arrays = {
        "boxes": np.concatenate([low, low + rng.random((2, 60, 2)) * 0.4], 2).astype("f4"),
        "scores": rng.random((2, 3, 60)).astype("f4"),
        "most": np.array([7]), "overlap": np.array([0.3], "f4"), "least": np.array([0.2], "f4"),
    }  # fmt: skip
    for centers in (0, 1):
        node = helper.make_node("NonMaxSuppression", [*arrays], ["y"], center_point_box=centers)
        np.testing.assert_array_equal(ours(node, arrays), reference(node, arrays))


def test_regions_are_pooled_as_onnxruntime_pools_them() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it is the only oracle")
    rng = np.random.default_rng(9)
    corner = rng.integers(0, 12, (5, 2))
    boxes = np.c_[rng.integers(0, 2, 5), corner, corner + rng.integers(0, 14, (5, 2))]
    arrays = {
        "x": rng.standard_normal((2, 3, 11, 13)).astype("f4"),
        "r": boxes.astype("f4"),
    }
    node = helper.make_node("MaxRoiPool", [*arrays], ["y"], pooled_shape=[3, 2], spatial_scale=0.6)
    made = model_of(node, arrays, 21)
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [5, 3, 3, 2]))
    session = onnxruntime.InferenceSession(made.SerializeToString())
    np.testing.assert_array_equal(ours(node, arrays), session.run(None, arrays)[0])
