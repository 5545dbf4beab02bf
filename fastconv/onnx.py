"""ONNX's and onnxruntime's ways of calling: an onnx backend, and sessions.

``import fastconv.onnx as backend`` gives `prepare`, `run_model`, `run_node` and `supports_device`,
as every onnx backend does; ``import fastconv.onnx as onnxruntime`` gives `InferenceSession` and
what goes with it, and `install` puts fastconv in place of onnxruntime for packages that import it
themselves. Needs the extra ``fastconv[onnx]``.
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
from fastconv.formats.onnx.runtime.binding import IOBinding
from fastconv.formats.onnx.runtime.binding import IOBinding as SessionIOBinding
from fastconv.formats.onnx.runtime.modules import install, modules
from fastconv.formats.onnx.runtime.options import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    RunOptions,
    SessionOptions,
)
from fastconv.formats.onnx.runtime.providers import (
    FOLLOWED,
    disable_telemetry_events,
    enable_telemetry_events,
    get_all_providers,
    get_available_providers,
    get_build_info,
    get_device,
    get_version_string,
    has_collective_ops,
    preload_dlls,
    print_debug_info,
    set_default_logger_callback,
    set_default_logger_severity,
    set_default_logger_verbosity,
    set_global_thread_pool_sizes,
    set_seed,
)
from fastconv.formats.onnx.runtime.values import OrtDevice, OrtValue, copy_tensors
from fastconv.formats.onnx.session import InferenceSession, ModelMetadata, NodeArg

# The version of onnxruntime whose names and meanings these are: what programs compare with.
__version__ = version = FOLLOWED
package_name = "onnxruntime"
cuda_version = ""
import_capi_exception = None
capi = modules()["onnxruntime.capi"]

__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "FastconvBackend",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtDevice",
    "OrtValue",
    "PreparedModel",
    "RunOptions",
    "SessionIOBinding",
    "SessionOptions",
    "copy_tensors",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_device",
    "get_version_string",
    "has_collective_ops",
    "install",
    "is_compatible",
    "preload_dlls",
    "prepare",
    "print_debug_info",
    "run_model",
    "run_node",
    "set_default_logger_callback",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_global_thread_pool_sizes",
    "set_seed",
    "supports_device",
]
