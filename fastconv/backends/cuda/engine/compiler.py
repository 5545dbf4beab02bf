"""From a kernel to machine code, with neither a GPU nor a driver.

Numba writes LTO-IR by libNVVM, nvJitLink makes a cubin of it and tells what it takes of the GPU.
"""

from __future__ import annotations

import dataclasses
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from numba import cuda

from fastconv.backends.cuda.engine.kernel import Kernel

# What made a cubin: another version may make another.
TOOLS = ("numba", "numba-cuda", "cuda-core", "nvidia-nvvm", "nvidia-nvjitlink")


@dataclasses.dataclass(frozen=True)
class Cubin:
    """Machine code for one architecture, and what the assembler told of it."""

    code: bytes
    entry: str
    arch: str
    registers: int
    spilled_bytes: int
    stack_bytes: int
    shared_bytes: int
    # Lines in which it says that it could not do as was meant; empty: it could.
    losses: str = ""


def compile_kernel(kernel: Kernel, arch: str) -> Cubin:
    """Compile for an architecture such as "sm_80" or "sm_90a".

    Raises
    ------
    RuntimeError
        Where the compiler's wheels are missing, or it refuses the kernel.
    """
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options: dict[str, Any] = {"device": False, "abi": "numba", "output": "ltoir"}
    code, _ = cuda.compile(kernel.function, kernel.signature, cc=_capability(arch), **options)
    linker = Linker(
        ObjectCode.from_ltoir(bytes(code)),
        options=LinkerOptions(
            arch=arch,
            link_time_optimization=True,
            ptxas_options=["-v"],
            max_register_count=kernel.most_registers,
        ),
    )
    linked = linker.link("cubin")
    return _told(bytes(linked.code), arch, linker.get_info_log())


def toolchain() -> str:
    """Name the versions of all that has a part in a cubin."""
    return " ".join(f"{name}={_version(name)}" for name in TOOLS)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _capability(arch: str) -> tuple[Any, ...]:
    found = re.fullmatch(r"sm_(\d+)(\d)([af]?)", arch)
    if found is None:
        raise ValueError(f"an architecture is written such as sm_80 or sm_90a, not {arch!r}")
    major, minor, suffix = found.groups()
    return (int(major), int(minor), suffix) if suffix else (int(major), int(minor))


def _told(code: bytes, arch: str, log: str) -> Cubin:
    """Read the assembler's report."""

    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found.group(1)) if found else 0

    entry = re.search(r"Compiling entry function '([^']+)'", log)
    if entry is None:
        raise RuntimeError(f"the assembler named no kernel: {log}")
    return Cubin(
        code, entry.group(1), arch,
        registers=number(r"Used (\d+) registers"),
        spilled_bytes=number(r"(\d+) bytes spill stores"),
        stack_bytes=number(r"(\d+) bytes stack frame"),
        shared_bytes=number(r"(\d+) bytes smem"),
        losses="\n".join(line for line in log.splitlines() if "Potential Performance Loss" in line),
    )  # fmt: skip
