"""The processor: its model, features, family and caches."""

from __future__ import annotations

import functools
import importlib
import platform
import re
import sys
from pathlib import Path

import numpy as np

# Families of processors that fixed figures differ for.
AMD_ZEN4, AMD_ZEN5 = "amd zen 4", "amd zen 5"
INTEL_CLIENT, INTEL_SERVER = "intel client", "intel server"

# CPUID's family and models. Strix Point and Krackan Point have 256-bit multiply-add units, as Zen 4
# has; their family has no figures of its own.
_AMD_MODELS = (
    (AMD_ZEN4, 0x19, (*range(0x10, 0x20), *range(0x60, 0xB0))),
    ("amd zen 5 (256-bit)", 0x1A, (*range(0x20, 0x30), *range(0x60, 0x70))),
    (AMD_ZEN5, 0x1A, (*range(0x00, 0x20), *range(0x40, 0x50), *range(0x70, 0x80))),
)
# Intel's servers from Haswell on, and its clients with AVX-512, some of which are sold as Xeon.
_INTEL_SERVERS = (0x3F, 0x4F, 0x56, 0x55, 0x6A, 0x6C, 0x8F, 0xCF, 0xAD, 0xAE, 0xAF)
_INTEL_CLIENTS = (0x66, 0x7D, 0x7E, 0x8C, 0x8D, 0xA7)

# Features that some versions of NumPy do not know, or none does, by Linux's names.
_LINUX_FLAGS = {
    "AVX512VNNI": "avx512_vnni", "AVX512BF16": "avx512_bf16", "AVXVNNI": "avx_vnni",
    "AMX_TILE": "amx_tile", "AMX_BF16": "amx_bf16", "AMX_INT8": "amx_int8",
}  # fmt: skip


@functools.cache
def cpu_features() -> dict[str, bool]:
    """CPU features as NumPy found them at run time, by its names: FMA3, AVX512F, NEON, ...

    It asks the operating system too. AVX512VNNI, AVX512BF16, AVXVNNI, AMX_TILE, AMX_BF16 and
    AMX_INT8 are added where Linux reports them; that a process may use tiles is not asked.
    """
    core = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    found = dict(importlib.import_module(f"{core}._multiarray_umath").__cpu_features__)
    flags = _processor().get("flags", "").split()
    return {**{name: flag in flags for name, flag in _LINUX_FLAGS.items()}, **found}


def cpu_model() -> str:
    """Name of the CPU, for reports."""
    return _processor().get("model name") or platform.processor() or platform.machine()


def cpu_id() -> tuple[str, int, int]:
    """Return CPUID's vendor, family and model: such as ("GenuineIntel", 6, 143), or ("", 0, 0).

    They are known on Linux and Windows. A virtual machine may make them up.
    """
    found = _processor()
    if "vendor_id" in found:
        numbers = (found.get(name, "") for name in ("cpu family", "model"))
        family, model = (int(number) if number.isdigit() else 0 for number in numbers)
        return found["vendor_id"], family, model
    # Windows: "Intel64 Family 6 Model 143 Stepping 8, GenuineIntel".
    told = re.search(r"Family (\d+) Model (\d+) .*?(\w+)$", platform.processor())
    return (told[3], int(told[1]), int(told[2])) if told else ("", 0, 0)


@functools.cache
def family() -> str:
    """Return the processor's family; an empty string: none that has a name here."""
    vendor, number, model = cpu_id()
    if vendor == "AuthenticAMD":
        known = (name for name, n, models in _AMD_MODELS if n == number and model in models)
        return next(known, "")
    if vendor != "GenuineIntel":
        return ""
    # Features before numbers, which a virtual machine may make up: no client has tiles.
    if cpu_features()["AMX_TILE"] or (number == 6 and model in _INTEL_SERVERS):
        return INTEL_SERVER
    known_client = number == 6 and model in _INTEL_CLIENTS
    return INTEL_SERVER if "Xeon" in cpu_model() and not known_client else INTEL_CLIENT


@functools.cache
def cache_sizes() -> tuple[int, int, int]:
    """Bytes of the data caches of the first core: L1, L2, L3; common sizes where none is told."""
    sizes = {1: 32 << 10, 2: 1 << 20, 3: 16 << 20}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level = int((index / "level").read_text())
            kind = (index / "type").read_text().strip()
            text = (index / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if kind != "Instruction" and text.endswith("K"):
            sizes[level] = int(text[:-1]) << 10
    return sizes[1], sizes[2], sizes[3]


@functools.cache
def _processor() -> dict[str, str]:
    """Return what Linux tells of the first processor, by its names; empty elsewhere."""
    found: dict[str, str] = {}
    if sys.platform == "linux":
        try:
            with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    name, colon, value = line.partition(":")
                    # The others follow an empty line.
                    if not colon:
                        break
                    found[name.strip()] = value.strip()
        except OSError:
            pass
    return found
