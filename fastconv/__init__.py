"""Convolutional networks forward, from Python, at the speed of the hardware."""

from __future__ import annotations

import importlib
from typing import Any

from fastconv._version import __version__ as __version__

# Public names that are imported when they are first asked for.
_LATE = {
    "InferenceSession": ("fastconv.formats.onnx.session", "InferenceSession"),
    "Network": ("fastconv.network", "Network"),
    "Parameter": ("fastconv.dispatch", "Parameter"),
    "SessionOptions": ("fastconv.formats.onnx.session", "SessionOptions"),
    "compile": ("fastconv.network", "compile_module"),
    "explain": ("fastconv.network", "explain"),
    "get_num_threads": ("fastconv.settings", "get_num_threads"),
    "keras_weights": ("fastconv.formats.weights", "keras_weights"),
    "load": ("fastconv.formats", "load"),
    "load_weights": ("fastconv.formats.weights", "load_weights"),
    "set_num_threads": ("fastconv.settings", "set_num_threads"),
    "set_tuning": ("fastconv.dispatch", "set_tuning"),
    "show_config": ("fastconv.config", "show_config"),
    "tune": ("fastconv.tuning", "tune"),
    "warmup": ("fastconv.network.warmup", "warmup"),
}
_LATE_MODULES = ("models", "nn", "network", "formats", "functional", "onnx", "plot", "torch",
    "tuning",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LATE_MODULES:
        return importlib.import_module(f"fastconv.{name}")
    if name in _LATE:
        module, attribute = _LATE[name]
        value = getattr(importlib.import_module(module), attribute)
    elif name == "__all__":
        value = ["__version__", *_LATE, *importlib.import_module("fastconv.functional").__all__]
    elif name.startswith("__") or not hasattr(__getattr__("functional"), name):
        raise AttributeError(f"module 'fastconv' has no attribute {name!r}")
    else:
        value = getattr(__getattr__("functional"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__"), *_LATE_MODULES})
