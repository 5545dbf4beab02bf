"""An onnx backend: ``import fastconv.onnx as backend``, then ``backend.prepare(model)``.

Needs the extra ``fastconv[onnx]``.
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

__all__ = [
    "FastconvBackend",
    "PreparedModel",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
