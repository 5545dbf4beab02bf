"""What the kernels are shaped by and costs are counted from, by instruction set and family."""

from __future__ import annotations

import dataclasses

from fastconv.machine.cpu import AMD_ZEN5, INTEL_CLIENT, INTEL_SERVER
from fastconv.machine.instruction_sets import INSTRUCTION_SETS, InstructionSet, with_extended
from fastconv.problem.record import record


@record(frozen=True)
class PackingFigures:
    """What packing weights takes, as bytes streamed from memory for each byte named.

    ``copy``: of weights that are copied into panels. Weights that are transformed take ``read``
    for each of their own bytes, and ``scatter`` for each that they are transformed into, or
    ``far_scatter`` where those take more than some part of the last cache. Weights that a register
    tile reads as they are take ``as_given`` more than reading them once; where that has not been
    measured, as much as packing them.
    """

    copy: float
    read: float
    scatter: float
    far_scatter: float
    as_given: float


@record(frozen=True)
class TileFigures:
    """Seconds that convolution on matrix tiles takes on one core.

    ``dot``: of a product of two tiles; ``copy``: of a number that is split into pieces;
    ``weights``: of a byte of weights that a block reads; ``moved``: of a byte of the problem's
    arrays; ``packing``: of a byte of weights that is packed.
    """

    dot: float
    copy: float
    weights: float
    moved: float
    packing: float


@record(frozen=True)
class KernelFigures:
    """What the kernels are shaped by, and what costs are counted from, for one instruction set.

    ``instruction_set`` has the sizes of registers. ``tile_rows`` x ``tile_vectors`` vectors is
    the GEMM's register tile, the same for all families (others are in
    `fastconv.backends.manifest.tiles`). ``flops_per_second`` is float32 on one core at its
    nominal clock, ``bytes_per_second`` what one core streams from memory: fixed figures of a
    common machine, so that choices never follow a stopwatch. ``near_bytes`` is what of the last
    cache one core reads faster than memory; None: all of it. ``packing`` is what packing
    weights takes. Butterflies of Fourier transforms reach ``butterfly_share`` of the peak, and
    a tap of a plane's large filter takes as long as ``tap_steps`` multiply-adds at the peak.
    ``filter_steps`` is the time of minimal filters' operations, as counted, that of others being
    1; ``tiles`` what matrix tiles take, None where there are none. Planar convolutions of single
    pixels copy a block's inputs where they have ``panel_tiles`` tiles of output channels or more:
    of images that the second cache holds, and of larger ones.
    """

    instruction_set: InstructionSet
    tile_rows: int
    tile_vectors: int
    has_fma: bool
    flops_per_second: float
    bytes_per_second: float
    near_bytes: int | None = None
    packing: PackingFigures = PackingFigures(2.0, 2.0, 3.5, 8.0, 2.0)
    butterfly_share: float = 0.78
    tap_steps: float = 1.1
    filter_steps: float = 1.0
    panel_tiles: tuple[int, int] = (1 << 30, 1 << 30)
    tiles: TileFigures | None = None

    @property
    def vector_bytes(self) -> int:
        """Bytes of a vector register."""
        return self.instruction_set.vector_bytes

    @property
    def vector_registers(self) -> int:
        """Vector registers that kernels are written for."""
        return self.instruction_set.vector_registers


_AVX512, _AVX2, _GENERIC = (INSTRUCTION_SETS[name] for name in ("avx512", "avx2", "generic"))
# By instruction set, for processors of no family below: fitted to AMD's Zen 4, which has no rows of
# its own. An instruction set that is missing has the row of the one that it extends.
FIGURES = {
    "avx512": KernelFigures(_AVX512, 12, 2, True, 117e9, 28e9),
    "avx2": KernelFigures(_AVX2, 6, 2, True, 110e9, 28e9),
    "generic": KernelFigures(_GENERIC, 6, 2, False, 28e9, 20e9),
}
# By instruction set and family, where a family's processors differ from those of FIGURES.
FAMILY_FIGURES = {
    # Two 512-bit multiply-add units, and a last cache in slices, one per core, of which all but
    # the nearest are as slow as memory. Measured on a Xeon with AMX.
    ("avx512", INTEL_SERVER): dataclasses.replace(
        FIGURES["avx512"],
        flops_per_second=230e9,
        near_bytes=4 << 20,
        packing=PackingFigures(3.5, 0.0, 2.2, 3.0, 0.0),
        butterfly_share=0.43,
        tap_steps=1.5,
        filter_steps=1.4,
        panel_tiles=(5, 3),
    ),
    # Not measured. Two 256-bit multiply-add units at clocks of 4 to 5 GHz: 32 operations a cycle.
    ("avx2", INTEL_CLIENT): dataclasses.replace(FIGURES["avx2"], flops_per_second=140e9),
    # Two 512-bit multiply-add units, where Zen 4 has as many of 256 bits. The limits of an EPYC are
    # measured (docs/performance.md), choices by them are not.
    ("avx512", AMD_ZEN5): dataclasses.replace(
        FIGURES["avx512"], flops_per_second=265e9, bytes_per_second=42e9
    ),
}
FAMILY_FIGURES["amx", INTEL_SERVER] = dataclasses.replace(
    FAMILY_FIGURES["avx512", INTEL_SERVER],
    tiles=TileFigures(6.6e-9, 0.045e-9, 0.022e-9, 0.065e-9, 0.1e-9),
)


def figures_of(isa: str, family: str) -> KernelFigures:
    """Return the row for an instruction set and a family of processors."""
    names = with_extended(isa)
    rows = [FAMILY_FIGURES.get((name, family)) for name in names]
    return next(row for row in (*rows, *map(FIGURES.get, names)) if row is not None)
