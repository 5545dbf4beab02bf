"""The backends that are here, and the libraries of kernels: the extension's at every level."""

from __future__ import annotations

from typing import Any

from fastconv.dispatch.registry import backend_available
from fastconv.machine import INSTRUCTION_SETS, available_isas

# The compiled backends, in the order that equals are taken in, and all.
COMPILED = tuple(name for name in ("c", "numba") if backend_available(name))
BACKENDS = (*COMPILED, "reference")
FIRST = COMPILED[0]

# The instruction sets here that have all kernels. One that extends another has few of its own, and
# these have their own tests; where it is the best here, tests that force none run on it.
ISAS = tuple(isa for isa in available_isas() if INSTRUCTION_SETS[isa].extends is None)

LIBRARIES = [
    *(["numba"] if backend_available("numba") else []),
    *([f"c {isa}" for isa in ISAS] if backend_available("c") else []),
]


def use(library: str, monkeypatch: Any) -> str:
    """Set the instruction set of one of ``LIBRARIES``, and give its backend."""
    backend, *isa = library.split()
    if isa:
        monkeypatch.setenv("FASTCONV_ISA", *isa)
    return backend
