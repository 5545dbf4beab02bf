"""WHERE: the instruction set, the processor's family, the caches, and tables of kernel figures."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.problem.record import record

ISAS = ("avx512", "avx2", "generic")


@record(frozen=True)
class PackingFigures:
    """What packing weights takes, as bytes streamed from memory for each byte named.

    ``copy``: of weights that are copied into panels. Weights that are transformed take ``read``
    for each of their own bytes, and ``scatter`` for each that they are transformed into, or
    ``far_scatter`` where those take more than some part of the last cache.
    """

    copy: float
    read: float
    scatter: float
    far_scatter: float


@record(frozen=True)
class KernelFigures:
    """What the kernels are shaped by, and what costs are counted from, for one instruction set.

    ``tile_rows`` x ``tile_vectors`` vectors is the GEMM's register tile; ``row_tiles`` are its
    shapes to choose from, ``vector_rows`` the rows of those of one vector, ``block_tiles`` those
    for operands in blocks (others were measured to run at two thirds of the peak or less, as
    compiled). ``flops_per_second`` is float32 on one core at its nominal clock,
    ``bytes_per_second`` what one core streams from memory: fixed figures of a common machine, so
    that choices never follow a stopwatch. ``near_bytes`` is what of the last cache one core reads
    faster than memory; None: all of it. ``packing`` is what packing weights takes.
    Planar convolutions of single pixels copy a block's inputs where they have ``panel_tiles`` tiles
    of output channels or more: of images that the second cache holds, and of larger ones.
    """

    vector_bytes: int
    tile_rows: int
    tile_vectors: int
    row_tiles: tuple[tuple[int, int], ...]
    vector_rows: tuple[int, ...]
    block_tiles: tuple[tuple[int, int], ...]
    has_fma: bool
    flops_per_second: float
    bytes_per_second: float
    near_bytes: int | None = None
    packing: PackingFigures = PackingFigures(2.0, 2.0, 3.5, 8.0)
    panel_tiles: tuple[int, int] = (1 << 30, 1 << 30)


_WIDE = ((14, 2), (8, 3), (9, 3), (6, 4), (16, 1))
_NARROW = ((6, 2), (5, 2), (4, 3), (3, 4), (12, 1))
FIGURES = {
    "avx512": KernelFigures(
        64, 12, 2, ((12, 2), (10, 2), *_WIDE), (12, 10), (*_WIDE, (7, 3)), True, 117e9, 28e9
    ),
    "avx2": KernelFigures(32, 6, 2, _NARROW, (6,), _NARROW, True, 110e9, 28e9),
    "generic": KernelFigures(16, 6, 2, _NARROW, (6,), _NARROW, False, 28e9, 20e9),
}
# By instruction set and family, where a family's processors differ from those of FIGURES, which
# were fitted to AMD's Zen 4. Intel's servers have two 512-bit multiply-add units, and a last cache
# in slices, one per core, of which all but the nearest are as slow as memory.
INTEL_SERVER = "intel server"
FAMILY_FIGURES = {
    ("avx512", INTEL_SERVER): dataclasses.replace(
        FIGURES["avx512"],
        flops_per_second=230e9,
        near_bytes=4 << 20,
        packing=PackingFigures(3.5, 0.0, 2.2, 3.0),
        panel_tiles=(5, 3),
    ),
}


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
        """Give the fixed figure for one core's multiply-add rate in ``dtype``."""
        return self.figures.flops_per_second * 4 / max(4, dtype.itemsize)

    @property
    def memory_bandwidth(self) -> float:
        """Fixed figure for what one core streams from memory, bytes a second."""
        return self.figures.bytes_per_second


def get_machine() -> Machine:
    """Describe this machine, at the instruction set that FASTCONV_ISA allows."""
    return _describe(forced_isa())


def forced_isa() -> str:
    """Give the instruction set in force: the best there is, or the lower one that is forced."""
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
    """Give the best instruction set that the CPU and the operating system support."""
    features = cpu_features()
    if all(features.get(f) for f in ("AVX512F", "AVX512BW", "AVX512DQ", "AVX512VL")):
        return "avx512"
    if features.get("AVX2") and features.get("FMA3"):
        return "avx2"
    return "generic"


def cpu_features() -> dict[str, bool]:
    """CPU features as NumPy found them at run time (it asks the operating system too)."""
    core = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    return dict(importlib.import_module(f"{core}._multiarray_umath").__cpu_features__)


@functools.cache
def _describe(isa: str) -> Machine:
    figures = FAMILY_FIGURES.get((isa, family()), FIGURES[isa])
    if isa == "generic" and platform.machine().lower() in ("arm64", "aarch64"):
        figures = dataclasses.replace(figures, has_fma=True)
    l1, l2, l3 = cache_sizes()
    return Machine(isa, figures, l1, l2, l3)


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
def family() -> str:
    """Return the processor's family where it has figures of its own, else an empty string."""
    model = cpu_model()
    return INTEL_SERVER if "Intel" in model and "Xeon" in model else ""


def cpu_model() -> str:
    """Name of the CPU, for reports."""
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text().splitlines():
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()
