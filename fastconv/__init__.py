"""Convolutional networks forward, from Python, at the speed of the hardware."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastconv import functional
from fastconv._version import __version__
from fastconv.dispatch import set_tuning
from fastconv.functional import *  # noqa: F403
from fastconv.settings import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from fastconv.config import show_config
    from fastconv.formats import load
    from fastconv.network import Network, explain
    from fastconv.network import compile_module as compile
    from fastconv.network.warmup import warmup
    from fastconv.tuning import tune

# Public names that are imported when they are first asked for.
_LATE = {
    "Network": ("fastconv.network", "Network"),
    "compile": ("fastconv.network", "compile_module"),
    "explain": ("fastconv.network", "explain"),
    "load": ("fastconv.formats", "load"),
    "show_config": ("fastconv.config", "show_config"),
    "tune": ("fastconv.tuning", "tune"),
    "warmup": ("fastconv.network.warmup", "warmup"),
}
_LATE_MODULES = ("models", "nn", "network", "formats", "tuning")

__all__ = [
    "Network",
    "__version__",
    "compile",
    "explain",
    "get_num_threads",
    "load",
    "set_num_threads",
    "set_tuning",
    "show_config",
    "tune",
    "warmup",
    *functional.__all__,
]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        module, attribute = _LATE[name]
        return getattr(importlib.import_module(module), attribute)
    if name in _LATE_MODULES:
        return importlib.import_module(f"fastconv.{name}")
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_LATE_MODULES})
