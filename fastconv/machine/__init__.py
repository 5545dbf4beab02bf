"""WHERE: the instruction set, the processor's family, the caches, and tables of kernel figures."""

from __future__ import annotations

import dataclasses
import functools
import platform
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.machine.cpu import (
    AMD_ZEN4,
    AMD_ZEN5,
    INTEL_CLIENT,
    INTEL_SERVER,
    cache_sizes,
    cpu_features,
    cpu_id,
    cpu_model,
    family,
)
from fastconv.machine.figures import (
    FAMILY_FIGURES,
    FIGURES,
    KernelFigures,
    PackingFigures,
    TileFigures,
    figures_of,
)
from fastconv.machine.instruction_sets import (
    INSTRUCTION_SETS,
    InstructionSet,
    needed_features,
    with_extended,
)
from fastconv.problem.record import record

__all__ = [
    "AMD_ZEN4", "AMD_ZEN5", "FAMILY_FIGURES", "FIGURES", "INSTRUCTION_SETS", "INTEL_CLIENT",
    "INTEL_SERVER", "ISAS", "InstructionSet", "KernelFigures", "Machine", "PackingFigures",
    "TileFigures", "available_isas", "cache_sizes", "cpu_features", "cpu_id", "cpu_model",
    "detected_isa", "family", "figures_of", "forced_isa", "get_machine", "with_extended",
]  # fmt: skip

# Best first.
ISAS = tuple(INSTRUCTION_SETS)


@record(frozen=True)
class Machine:
    """The machine as kernels and costs see it; the same object for the whole process."""

    isa: str
    figures: KernelFigures
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int

    @property
    def near_bytes(self) -> int:
        """What one core reads faster than memory."""
        near = self.figures.near_bytes
        return self.l3_bytes if near is None else min(near, self.l3_bytes)

    def lanes(self, dtype: np.dtype[Any]) -> int:
        """Elements of ``dtype`` in one vector register."""
        return self.figures.vector_bytes // dtype.itemsize

    def peak_flops(self, dtype: np.dtype[Any]) -> float:
        """Return the fixed figure for one core's multiply-add rate in ``dtype``."""
        return self.figures.flops_per_second * 4 / max(4, dtype.itemsize)

    @property
    def memory_bandwidth(self) -> float:
        """Fixed figure for what one core streams from memory, bytes a second."""
        return self.figures.bytes_per_second


def get_machine() -> Machine:
    """Describe this machine, at the instruction set that FASTCONV_ISA allows."""
    return _describe(forced_isa())


def forced_isa() -> str:
    """Return the instruction set in force: the best here, or a lower one that is forced."""
    best = detected_isa()
    wanted = settings.isa()
    if wanted is None:
        return best
    if wanted not in ISAS:
        raise ValueError(f"FASTCONV_ISA must be one of {', '.join(ISAS)}, but got {wanted!r}")
    return max(wanted, best, key=ISAS.index)


def available_isas() -> tuple[str, ...]:
    """Instruction sets that this machine can run, best first."""
    return ISAS[ISAS.index(detected_isa()) :]


@functools.cache
def detected_isa() -> str:
    """Return the best instruction set that the CPU and the operating system support."""
    features = cpu_features()
    return next(isa for isa in ISAS if all(features.get(f) for f in needed_features(isa)))


@functools.cache
def _describe(isa: str) -> Machine:
    figures = figures_of(isa, family())
    if isa == "generic" and platform.machine().lower() in ("arm64", "aarch64"):
        figures = dataclasses.replace(figures, has_fma=True)
    l1, l2, l3 = cache_sizes()
    return Machine(isa, figures, l1, l2, l3)
