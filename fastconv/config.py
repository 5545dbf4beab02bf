"""What fastconv found on this machine, and what it will use."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import platform
from typing import Any

from fastconv import machine, settings
from fastconv import peak as peaks
from fastconv._version import __version__
from fastconv.dispatch import tuning
from fastconv.dispatch.plans import MOST_BYTES, plans
from fastconv.dispatch.registry import why_not_installed
from fastconv.network.kept import totals


@dataclasses.dataclass(frozen=True)
class Config:
    """The facts, by name; printing it gives one a line."""

    facts: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]

    def __str__(self) -> str:
        width = max(map(len, self.facts))
        return "\n".join(f"{name.ljust(width)}  {value}" for name, value in self.facts.items())


def show_config() -> Config:
    """Report versions, CPU, instruction set, caches, limits, threads, backends, folder and tuning.

    Nothing heavy is imported to find out, and nothing is measured.
    """
    here, limits = machine.get_machine(), peaks.known()
    caches = ", ".join(
        f"L{level} {size >> 10} KB"
        for level, size in enumerate((here.l1_bytes, here.l2_bytes, here.l3_bytes), 1)
    )
    detected = machine.detected_isa()
    forced = "" if here.isa == detected else f" (FASTCONV_ISA; the CPU has {detected})"
    programs, nbytes = totals()
    facts: dict[str, Any] = {
        "fastconv": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in ("numpy", "numba", "llvmlite", "onnx")},
        "cpu": machine.cpu_model(),
        "instruction set": f"{here.isa}{forced}",
        "processor family": machine.family() or "other",
        "caches": caches,
        "limits": "not measured yet (profile does)" if limits is None else str(limits),
        "cores allowed": settings.cores_allowed(),
        "threads": settings.get_num_threads(),
        "backends": ", ".join(_backend(name) for name in settings.BACKENDS),
        "cache folder": settings.cache_dir(),
        "tuning": str(tuning.current()),
        "plans kept": f"{len(plans)}, {plans.nbytes / 2**20:.1f} of {MOST_BYTES >> 20} MB",
        "network programs kept": f"{programs}, {nbytes / 2**20:.1f} MB with their weights",
    }
    return Config(facts)


def _backend(name: str) -> str:
    why = why_not_installed(name)
    if why is not None:
        return f"{name} (no: {why})"
    return f"{name} (forced by FASTCONV_BACKEND)" if settings.backend() == name else name


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
