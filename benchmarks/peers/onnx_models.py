"""ONNX Runtime, OpenVINO and MNN: peers that take an ONNX model."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case
from benchmarks.peers.base import FLOAT32, Peer, other_adaptive, output_shape, whole_window
from benchmarks.rival import Rival


def onnx_model(case: Case) -> bytes:
    """Write a case as an ONNX model of one node, from "x" to "y"."""
    import onnx
    from onnx import helper, numpy_helper

    x, weight = case.operands()
    kinds = {
        "conv": "Conv", "conv_transpose": "ConvTranspose", "max_pool": "MaxPool",
        "avg_pool": "AveragePool", "lp_pool": "LpPool",
        "adaptive_avg_pool": "GlobalAveragePool", "adaptive_max_pool": "GlobalMaxPool",
    }  # fmt: skip
    fields: dict[str, Any] = {}
    if not whole_window(case):
        before, after = zip(*case.pads, strict=True)
        fields = {"kernel_shape": case.kernel, "strides": case.each("stride")}
        fields["pads"] = [*before, *after]
        if weight is not None:
            fields |= {"dilations": case.each("dilation"), "group": case.groups}
        elif case.kind == "max_pool":
            fields["dilations"] = case.each("dilation")
        elif case.kind == "avg_pool":
            fields["count_include_pad"] = int(case.options.get("count_include_pad", True))
        else:
            fields["p"] = int(case.options["norm_type"])
        if case.options.get("ceil_mode"):
            fields["ceil_mode"] = 1
        if "output_padding" in case.options:
            fields["output_padding"] = case.each("output_padding")
    names = ["x"] if weight is None else ["x", "w"]
    node = helper.make_node(kinds[case.kind], names, ["y"], **fields)
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [node],
        "case",
        [helper.make_tensor_value_info("x", element, case.shape)],
        [helper.make_tensor_value_info("y", element, None)],
        [] if weight is None else [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


# How long ONNX Runtime's idle threads spin on; its setting to stop them makes it slower itself.
_SPIN_SECONDS = 0.05


class OnnxRuntime(Peer):
    """ONNX Runtime's CPU provider, input and output bound beforehand."""

    name = "onnxruntime"
    needs = {"onnxruntime": "onnxruntime", "onnx": "onnx"}  # noqa: RUF012

    def can(self, case: Case) -> str | None:
        if case.dtype != "float32" and (case.kind, case.dtype) != ("max_pool", "float64"):
            return f"no CPU kernel for {case.dtype}"
        return "no such operator" if other_adaptive(case) else None

    def make(self, case: Case, threads: int) -> Rival:
        return by_onnxruntime(onnx_model(case), case.operands()[0], threads)


def by_onnxruntime(model: bytes, x: Array, threads: int) -> Rival:
    """Return a model of "x" and "y" in ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, ["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
    session.run_with_iobinding(_bound_to_any(binding))
    result = binding.get_outputs()[0]
    binding.bind_ortvalue_output("y", result)
    run = functools.partial(session.run_with_iobinding, binding)

    def output() -> Array:
        run()
        return np.array(result.numpy())

    return Rival(run, output, rest=_SPIN_SECONDS if threads > 1 else 0.0)


def _bound_to_any(binding: Any) -> Any:
    binding.bind_output("y", "cpu")
    return binding


class OpenVino(Peer):
    """OpenVINO's CPU plug-in for latency in float32, its tensors shared with NumPy's arrays."""

    name = "openvino"
    needs = {"openvino": "openvino", "onnx": "onnx"}  # noqa: RUF012

    def can(self, case: Case) -> str | None:
        if case.dtype != "float32":
            return FLOAT32
        return "no such operator in ONNX" if other_adaptive(case) else None

    def make(self, case: Case, threads: int) -> Rival:
        return by_openvino(onnx_model(case), case.operands()[0], threads)


def by_openvino(model: bytes, x: Array, threads: int) -> Rival:
    """Return a model of "x" and "y" in OpenVINO, for inputs of this shape."""
    import openvino as ov

    core = ov.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    read = core.read_model(model, b"")
    read.reshape({"x": list(x.shape)})
    request = core.compile_model(read, "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))
    run = functools.partial(request.infer, share_outputs=True)

    def output() -> Array:
        run()
        return np.array(request.get_output_tensor().data)

    # The tensor does not own its memory: the array must live as long as the request.
    run.keep = x  # type: ignore[attr-defined]
    return Rival(run, output)


class Mnn(Peer):
    """MNN with high precision; its model comes from its own converter."""

    name = "MNN"
    needs = {"MNN": "MNN", "onnx": "onnx"}  # noqa: RUF012

    def can(self, case: Case) -> str | None:
        if case.dtype != "float32":
            return FLOAT32
        if case.n == 3:
            return "no third dimension"
        if case.kind == "lp_pool" or other_adaptive(case):
            return "no such operator"
        if case.kind == "max_pool" and set(case.each("dilation")) != {1}:
            return "no dilated pool"
        return None

    def make(self, case: Case, threads: int) -> Rival:
        return by_mnn(onnx_model(case), case.operands()[0], threads, output_shape(case))


def by_mnn(model: bytes, x: Array, threads: int, shape: tuple[int, ...]) -> Rival:
    """Return a model of "x" and "y" in MNN, whose output has that shape."""
    import _tools
    import MNN.expr as expr
    import MNN.nn as nn

    with tempfile.TemporaryDirectory() as folder:
        source, target = (str(Path(folder) / name) for name in ("case.onnx", "case.mnn"))
        Path(source).write_bytes(model)
        words = ["-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "-"]
        _tools.mnnconvert(["mnnconvert", *words])
        settings = {"backend": "CPU", "precision": "high", "numThread": threads}
        runtime = nn.create_runtime_manager((settings,))
        network = nn.load_module_from_file(
            target, ["x"], ["y"], runtime_manager=runtime, dynamic=False, shape_mutable=False
        )
    given = expr.const(x, list(x.shape), expr.NCHW)

    def output() -> Array:
        return np.array(expr.convert(network.forward(given), expr.NCHW).read()).reshape(shape)

    # Asking for the address makes a lazy result be there.
    return Rival(lambda: network.forward(given).ptr, output)
