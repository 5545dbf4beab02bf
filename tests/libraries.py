"""The libraries of kernels that are here, the extension's at every instruction set."""

from __future__ import annotations

from typing import Any

from fastconv.dispatch.registry import backend_available
from fastconv.machine import available_isas

LIBRARIES = [
    *(["numba"] if backend_available("numba") else []),
    *([f"c {isa}" for isa in available_isas()] if backend_available("c") else []),
]


def use(library: str, monkeypatch: Any) -> str:
    """Set the instruction set of one of ``LIBRARIES``, and give its backend."""
    backend, *isa = library.split()
    if isa:
        monkeypatch.setenv("FASTCONV_ISA", *isa)
    return backend
