"""Drawn ONNX nodes against onnx's reference in float64, in their own dtype, and onnxruntime.

``python -m tests.trust.test_meaning_onnx_draws [operator] [count]`` draws more of them.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.trust.onnx_draws import MAKERS, Drawn, drawn

onnx: Any = pytest.importorskip("onnx", reason="ONNX models are read with it")
Array = np.ndarray[Any, Any]
# Of an operator, in the short form and in the full one.
SHORT, FULL = 8, 200
# What a function's own error may be, and a sum's of some hundred terms, in units of the dtype.
UNITS = 256
# Operators whose answer for NaN onnx leaves open, or that DESIGN settles in another way.
OPEN_NAN = ("MaxPool", "GlobalMaxPool", "Hardmax", "Sign", "Max", "Min", "Relu", "QuantizeLinear")

# Resize's lengths and nearest cells are onnxruntime's, where the reference computes in float64. The
# reference forgets signs in LpNormalization of odd norms, loses NaN in LpPool, and wraps what
# QuantizeLinear is given far beyond the integers. Its GridSample, which its DeformConv uses, keeps
# places in float32 and moves those outside a border into it before cubic filters are placed;
# tests/backends/test_sampling.py has float64, tests/formats/test_torch_operators.py torch.
BY_ONNXRUNTIME = (
    "Resize", "LpNormalization", "LpPool", "QuantizeLinear", "GridSample", "DeformConv",
)  # fmt: skip

# Operators whose errors are those of sums: relative to the largest result.
SUMS = (
    "Reduce", "Mat", "Gemm", "Einsum", "Conv", "CumSum", "Mean", "Layer", "Group", "Instance",
    "Batch", "Resize", "Sum", "Average", "GlobalAverage", "DFT", "STFT", "Hann", "Hamming",
    "Blackman", "GridSample", "DeformConv",
)  # fmt: skip


def model(node: Drawn, wide: bool = False) -> Any:
    """Return a model of one node; ``wide`` has float64 for all floats."""
    helper, given = onnx.helper, node.inputs
    arrays = {k: widened(v) if wide else v for k, v in given.items() if v is not None}
    names = [k if v is not None else "" for k, v in given.items()]
    made = helper.make_node(node.op, names, ["y"], **node.attributes)
    inputs, fixed = [], []
    for name, array in arrays.items():
        if name in node.fixed:
            fixed.append(onnx.numpy_helper.from_array(np.asarray(array), name))
            continue
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        inputs.append(helper.make_tensor_value_info(name, kind, array.shape))
    out = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([made], "drawn", inputs, [out], fixed)
    opsets = [helper.make_opsetid("", node.opset)]
    whole = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    # The output's type and rank alone: its lengths are what is looked at.
    found = onnx.shape_inference.infer_shapes(whole).graph.output[0].type.tensor_type
    lengths = [f"d{i}" for i in range(len(found.shape.dim))]
    graph.output[0].CopyFrom(helper.make_tensor_value_info("y", found.elem_type, lengths))
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def widened(array: Any) -> Any:
    """Return floats in float64."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def feeds(node: Drawn, wide: bool = False) -> dict[str, Array]:
    """Return what a session is given."""
    some = {k: v for k, v in node.inputs.items() if v is not None and k not in node.fixed}
    return {k: widened(v) if wide else v for k, v in some.items()}


def answers(node: Drawn) -> Iterator[Any]:
    """Yield right answers, one after the other: float64's first, and others where it is open."""
    from onnx.reference import ReferenceEvaluator

    narrow = any(v is not None and v.dtype == np.float16 for v in node.inputs.values())
    fixed_types = node.op in ("Resize", "QuantizeLinear", "DequantizeLinear")
    if not fixed_types:
        yield ReferenceEvaluator(model(node, wide=True)).run(None, feeds(node, wide=True))[0]
    # In float16 the reference overflows on the way.
    if fixed_types or not narrow:
        yield ReferenceEvaluator(model(node)).run(None, feeds(node))[0]
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(model(node).SerializeToString(), providers=providers)
        yield session.run(None, feeds(node))[0]


def compared(node: Drawn, got: Array, want: Array) -> str | None:
    """Compare an answer with a right one; None where it agrees."""
    if got.shape != want.shape:
        return f"shape {got.shape}, not {want.shape}"
    if got.dtype.kind != "f":
        step = 1 if node.op in ("Resize", "QuantizeLinear") else 0
        far = np.abs(got.astype(object) - want.astype(object)) > step
        return f"{far.sum()} of {far.size} integers are others" if far.any() else None
    info = np.finfo(got.dtype)
    wide, target = got.astype(np.float64), want.astype(np.float64)
    with np.errstate(all="ignore"):
        # What rounds to infinity may be the largest number.
        edge = np.abs(target) >= float(info.max) * (1 - 8 * float(info.eps))
        special = ~np.isfinite(target)
        same = (np.isnan(wide) == np.isnan(target)) & ((wide == target) | np.isnan(target))
        near = edge & ~special & (np.sign(wide) == np.sign(target))
        near &= np.abs(wide) >= float(info.max) * (1 - 16 * float(info.eps))
        largest = np.abs(target[~special & ~edge]).max(initial=0)
        sums = node.op.startswith(SUMS)
        scale = largest if sums else np.abs(target)
        units = 2 if got.dtype == np.float16 and not sums else UNITS
        # Attributes are float32, and so is some of the reference's arithmetic of float64.
        eps = max(float(info.eps), 1e-9)
        allowed = units * eps * np.maximum(scale, 1 if sums else 0) + 2 * float(info.tiny)
        close = np.abs(wide - target) <= allowed
    good = np.where(special, same, np.where(edge, near, close))
    if good.all():
        return None
    at = np.unravel_index(int(np.argmin(good)), good.shape)
    return f"{(~good).sum()} of {good.size} differ, first {got[at]!r}, not {want[at]!r}"


def check(op: str, seed: int) -> str | None:
    """Run one drawn node; say what is wrong."""
    from fastconv.onnx import InferenceSession

    node = drawn(op, seed)
    if node.kind == "special" and op in OPEN_NAN:
        return None
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            session = InferenceSession(model(node).SerializeToString())
            got = session.run(None, feeds(node))[0]
        except (ValueError, TypeError) as error:
            got = error
        found, wrong = answers(node), []
        while True:
            try:
                want = next(found)
            except StopIteration:
                break
            except Exception:  # an oracle that does not serve this node
                if found.gi_frame is None:
                    break
                continue
            if isinstance(got, Exception):
                wrong.append(f"{type(got).__name__}: {str(got)[:150]}")
                continue
            difference = compared(node, got, want)
            if difference is None:
                return None
            wrong.append(difference)
    return f"seed {seed}: {node}\n  {' | '.join(wrong)}" if wrong else None


@pytest.mark.parametrize("op", MAKERS)
def test_drawn_nodes_agree_with_the_specification(
    op: str, scale: Callable[[int, int], int], told: Callable[..., None]
) -> None:
    if op in BY_ONNXRUNTIME:
        pytest.importorskip("onnxruntime")
    count = scale(SHORT, FULL)
    wrong = [found for seed in range(count) if (found := check(op, seed))]
    assert not wrong, "\n".join(wrong)
    told("onnx's meaning", f"{op} of drawn values", f"{count} agree with a right answer")


if __name__ == "__main__":
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    for name in MAKERS:
        if only in ("", "all", name):
            every = [check(name, s) for s in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1000)]
            failed = [line for line in every if line]
            print(name, len(failed), *failed[:3], sep="\n", flush=True)
