"""fastconv under onnxruntime's name: its tree of modules, and putting that into a program.

Programs and packages that say ``import onnxruntime`` then run on fastconv, unchanged.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from fastconv.forks import lock
from fastconv.formats.onnx import backend, errors, session
from fastconv.formats.onnx.runtime import binding, options, providers, values

NAME = "onnxruntime"
_CAPI = f"{NAME}.capi"
# Modules that hold others.
_PACKAGES = frozenset((NAME, _CAPI, f"{NAME}.backend", f"{NAME}.datasets"))

# What the module `onnxruntime` itself has.
PUBLIC: dict[str, Any] = {
    "ExecutionMode": options.ExecutionMode,
    "ExecutionOrder": options.ExecutionOrder,
    "GraphOptimizationLevel": options.GraphOptimizationLevel,
    "IOBinding": binding.IOBinding,
    "InferenceSession": session.InferenceSession,
    "ModelMetadata": session.ModelMetadata,
    "NodeArg": session.NodeArg,
    "OrtDevice": values.OrtDevice,
    "OrtValue": values.OrtValue,
    "RunOptions": options.RunOptions,
    "SessionIOBinding": binding.IOBinding,
    "SessionOptions": options.SessionOptions,
    "copy_tensors": values.copy_tensors,
    "disable_telemetry_events": providers.disable_telemetry_events,
    "enable_telemetry_events": providers.enable_telemetry_events,
    "get_all_providers": providers.get_all_providers,
    "get_available_providers": providers.get_available_providers,
    "get_build_info": providers.get_build_info,
    "get_device": providers.get_device,
    "get_version_string": providers.get_version_string,
    "has_collective_ops": providers.has_collective_ops,
    "preload_dlls": providers.preload_dlls,
    "print_debug_info": providers.print_debug_info,
    "set_default_logger_callback": providers.set_default_logger_callback,
    "set_default_logger_severity": providers.set_default_logger_severity,
    "set_default_logger_verbosity": providers.set_default_logger_verbosity,
    "set_global_thread_pool_sizes": providers.set_global_thread_pool_sizes,
    "set_seed": providers.set_seed,
}
_FACTS = {
    "__version__": providers.FOLLOWED,
    "__author__": "fastconv",
    "version": providers.FOLLOWED,
    "package_name": NAME,
    "cuda_version": "",
    "import_capi_exception": None,
}
_IN_EXTENSION = {**PUBLIC, **errors.EXCEPTIONS, "OrtValueVector": values.OrtValueVector}


def _check_distro_info() -> None:
    """Do nothing: every system will do."""


def _get_package_name_and_version_info() -> tuple[str, str, str]:
    return NAME, providers.FOLLOWED, ""


def _check_training_module() -> tuple[bool, str, str, str]:
    return (False, *_get_package_name_and_version_info())


def _get_example(name: str) -> str:
    raise ValueError(f"fastconv has no example model {name!r}: onnxruntime's are not part of it")


def _contents() -> dict[str, dict[str, Any]]:
    """Return what each module holds, by its whole name."""
    names = ("is_compatible", "prepare", "run_model", "run_node", "supports_device")
    as_backend = {name: getattr(backend, name) for name in names}
    return {
        NAME: {**PUBLIC, **_FACTS},
        _CAPI: {},
        f"{_CAPI}._pybind_state": _IN_EXTENSION,
        f"{_CAPI}.onnxruntime_pybind11_state": _IN_EXTENSION,
        f"{_CAPI}.onnxruntime_inference_collection": {
            "IOBinding": binding.IOBinding,
            "InferenceSession": session.InferenceSession,
            "OrtDevice": values.OrtDevice,
            "OrtValue": values.OrtValue,
            "Session": session.InferenceSession,
            "check_and_normalize_provider_args": providers.check_and_normalize_provider_args,
            "copy_tensors": values.copy_tensors,
        },
        f"{_CAPI}.onnxruntime_validation": {
            "check_distro_info": _check_distro_info,
            "check_training_module": _check_training_module,
            "get_package_name_and_version_info": _get_package_name_and_version_info,
        },
        f"{_CAPI}.build_and_package_info": {
            "__version__": providers.FOLLOWED,
            "package_name": NAME,
        },
        f"{NAME}.backend": as_backend,
        f"{NAME}.backend.backend": as_backend,
        f"{NAME}.datasets": {"get_example": _get_example},
    }


_kept: dict[str, ModuleType] = {}
_kept_lock = lock()


def modules() -> dict[str, ModuleType]:
    """Return the modules by their whole names, each an attribute of the one that holds it."""
    with _kept_lock:
        if not _kept:
            for name, content in _contents().items():
                module = ModuleType(name, f"fastconv in place of {name}.")
                vars(module).update(content)
                _kept[name] = module
                holder, _, last = name.rpartition(".")
                if holder:
                    setattr(_kept[holder], last, module)
        return dict(_kept)


class _Distribution(importlib.metadata.Distribution):
    """What `importlib.metadata` finds as the distribution onnxruntime."""

    def read_text(self, filename: str) -> str | None:
        return {
            "METADATA": (
                f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {providers.FOLLOWED}\n"
                f"Summary: fastconv in place of onnxruntime\n"
            ),
            "top_level.txt": f"{NAME}\n",
            "INSTALLER": "fastconv\n",
        }.get(filename)

    def locate_file(self, path: Any) -> Any:
        from pathlib import Path

        return Path(__file__).parent / os.fspath(path)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules and the distribution, before any that is installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in modules():
            return None
        is_package = fullname in _PACKAGES
        spec = importlib.machinery.ModuleSpec(
            fullname, self, origin=__file__, is_package=is_package
        )
        spec.has_location = True
        return spec

    def create_module(self, spec: Any) -> ModuleType:
        return modules()[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: it holds everything already."""

    def find_distributions(self, context: Any = None) -> Iterable[Any]:
        name = getattr(context, "name", None)
        return [_Distribution()] if name is None or name.lower() == NAME else []


_finder = _Finder()


def install(force: bool = False) -> None:
    """Put fastconv in place of onnxruntime in this process.

    From here on ``import onnxruntime`` gives fastconv, to every package of the program: sessions,
    options, values, bindings, exceptions, and the modules ``onnxruntime.capi`` and
    ``onnxruntime.backend``. ``importlib.metadata.version("onnxruntime")`` is the version of
    onnxruntime that these follow. onnxruntime need not be installed. Call it before anything
    imports onnxruntime; a second call changes nothing. Child processes that are not forked call it
    themselves.

    Parameters
    ----------
    force : bool
        Take the place of an onnxruntime that is imported already. What was taken from it before
        (``from onnxruntime import InferenceSession``) stays what it is.

    Raises
    ------
    RuntimeError
        Where onnxruntime is imported already, and not ``force``.
    """
    own = modules()
    present = sys.modules.get(NAME)
    if present is not None and present is not own[NAME]:
        if not force:
            place = getattr(present, "__file__", None) or "an unknown place"
            raise RuntimeError(
                f"onnxruntime is imported already, from {place}: call fastconv.onnx.install() "
                f"before the first import of it, or with force=True"
            )
        for name in _under(sys.modules):
            del sys.modules[name]
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
        importlib.invalidate_caches()
    for name in own:
        importlib.import_module(name)


def _under(names: Iterable[str]) -> Sequence[str]:
    return [name for name in names if name == NAME or name.startswith(f"{NAME}.")]
