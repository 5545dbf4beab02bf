"""Providers and what a program asks of onnxruntime as a whole: there is the CPU, and no telemetry.

A provider that does not exist here is warned about and left out, as onnxruntime does it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from fastconv._version import __version__ as _own_version
from fastconv.formats.onnx.errors import CallError

CPU = "CPUExecutionProvider"
# The version of onnxruntime whose Python names and meanings these are.
FOLLOWED = "1.32.0"
_ALL = (
    "TensorrtExecutionProvider", "CUDAExecutionProvider", "MIGraphXExecutionProvider",
    "OpenVINOExecutionProvider", "DnnlExecutionProvider", "VitisAIExecutionProvider",
    "QNNExecutionProvider", "NnapiExecutionProvider", "VSINPUExecutionProvider",
    "JsExecutionProvider", "CoreMLExecutionProvider", "DmlExecutionProvider",
    "RknpuExecutionProvider", "WebNNExecutionProvider", "WebGpuExecutionProvider",
    "XnnpackExecutionProvider", "CANNExecutionProvider", "AzureExecutionProvider", CPU,
)  # fmt: skip


def get_available_providers() -> list[str]:
    """Return what models can run on."""
    return [CPU]


def get_all_providers() -> list[str]:
    """Return the names of all providers that onnxruntime knows, available here or not."""
    return list(_ALL)


def get_device() -> str:
    """Return the kind of device that models run on."""
    return "CPU"


def get_version_string() -> str:
    """Return the version of onnxruntime whose names and meanings these are."""
    return FOLLOWED


def get_build_info() -> str:
    """Return that this is fastconv, and which."""
    return f"fastconv {_own_version} in place of onnxruntime {FOLLOWED}"


def has_collective_ops() -> bool:
    """Return whether operators between processes can run: they cannot."""
    return False


def set_default_logger_severity(severity: int) -> None:
    """Take a level of logging, from 0 to 4: nothing is logged here."""
    if isinstance(severity, bool) or not isinstance(severity, int):
        raise TypeError(f"severity takes an integer, but got {severity!r}")
    if not 0 <= severity <= 4:
        raise CallError(f"severity must be from 0 (verbose) to 4 (fatal), but got {severity}")


def set_default_logger_verbosity(verbosity: int) -> None:
    """Take a verbosity of logging: nothing is logged here."""
    if isinstance(verbosity, bool) or not isinstance(verbosity, int):
        raise TypeError(f"verbosity takes an integer, but got {verbosity!r}")


def set_default_logger_callback(callback: Any) -> None:
    """Take a function for log messages: there are none here."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, but got {callback!r}")


def set_seed(seed: int) -> None:
    """Take a seed: here random operators without a seed of their own draw other numbers each time.

    So they do in onnx's reference, which runs them.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed takes an integer, but got {seed!r}")


def set_global_thread_pool_sizes(intra_op: int, inter_op: int) -> None:
    """Set the threads of all sessions whose own options do not: as `fastconv.set_num_threads`."""
    from fastconv import settings

    if intra_op > 0:
        settings.set_num_threads(intra_op)


def disable_telemetry_events() -> None:
    """Do nothing: there is no telemetry."""


def enable_telemetry_events() -> None:
    """Do nothing: there is no telemetry."""


def preload_dlls(*_args: Any, **_kwargs: Any) -> None:
    """Do nothing: no library of a GPU is needed beforehand."""


def print_debug_info() -> None:
    """Print what `get_build_info` returns, and fastconv's configuration."""
    from fastconv.config import show_config

    print(get_build_info(), show_config(), sep="\n")


def check_and_normalize_provider_args(
    providers: Sequence[Any] | None,
    provider_options: Sequence[Any] | None,
    available_provider_names: Sequence[str],
) -> tuple[list[str], list[dict[str, str]]]:
    """Return the names and options of the providers asked for that are available.

    Parameters
    ----------
    providers : sequence of str or (str, dict), optional
    provider_options : sequence of dict, optional
        One for each provider, where these are all names.
    available_provider_names : sequence of str

    Raises
    ------
    ValueError
        For anything else.
    """
    if providers is None:
        return [], []
    if isinstance(providers, str) or not isinstance(providers, Sequence):
        raise ValueError(f"providers must be a sequence of names, but got {providers!r}")
    pairs = [_pair(each) for each in providers]
    if provider_options is not None:
        if isinstance(provider_options, dict) or not isinstance(provider_options, Sequence):
            raise ValueError(f"provider_options must be a sequence, but got {provider_options!r}")
        if len(provider_options) != len(pairs):
            raise ValueError(
                f"{len(pairs)} providers go with {len(provider_options)} provider_options"
            )
        if not all(isinstance(each, str) for each in providers):
            raise ValueError("providers must be names alone where provider_options is given")
        pairs = [_pair((n, o)) for n, o in zip(providers, provider_options, strict=True)]
    found: dict[str, dict[str, str]] = {}
    for name, options in pairs:
        if name not in available_provider_names:
            available = ", ".join(available_provider_names)
            warnings.warn(
                f"provider {name!r} is not available here; available are: {available}",
                UserWarning, stacklevel=4,
            )  # fmt: skip
        elif name in found:
            warnings.warn(f"provider {name!r} is named twice", UserWarning, stacklevel=4)
        else:
            found[name] = options
    return list(found), list(found.values())


def _pair(given: Any) -> tuple[str, dict[str, str]]:
    if isinstance(given, str):
        return given, {}
    named = isinstance(given, (tuple, list)) and len(given) == 2 and isinstance(given[0], str)
    if not named or not isinstance(given[1], dict):
        raise ValueError(f"a provider is a name or (name, dict of options), but got {given!r}")
    return given[0], {str(key): str(value) for key, value in given[1].items()}
