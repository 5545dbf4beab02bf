"""ONNX's and onnxruntime's ways of calling: an onnx backend, and sessions.

``import fastconv.onnx as backend`` gives `prepare`, `run_model`, `run_node` and `supports_device`,
as every onnx backend does; ``import fastconv.onnx as onnxruntime`` gives `InferenceSession` and
what goes with it. Needs the extra ``fastconv[onnx]``.
"""

from fastconv.formats.onnx.backend import (
    FastconvBackend,
    PreparedModel,
    is_compatible,
    prepare,
    run_model,
    run_node,
    supports_device,
)
from fastconv.formats.onnx.session import (
    ExecutionMode,
    GraphOptimizationLevel,
    InferenceSession,
    RunOptions,
    SessionOptions,
    get_available_providers,
    get_device,
)

__all__ = [
    "ExecutionMode",
    "FastconvBackend",
    "GraphOptimizationLevel",
    "InferenceSession",
    "PreparedModel",
    "RunOptions",
    "SessionOptions",
    "get_available_providers",
    "get_device",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
