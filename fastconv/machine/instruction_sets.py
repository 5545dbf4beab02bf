"""One row per instruction set: what a CPU needs for it, and what its kernels are compiled for.

The build of the C extension reads this file by itself: it imports nothing of ours.
"""

from __future__ import annotations

from typing import NamedTuple


class InstructionSet(NamedTuple):
    """An instruction set.

    Parameters
    ----------
    name
        As ``FASTCONV_ISA`` and the names of C kernels have it.
    vector_bytes, vector_registers
        The size of a vector register, and how many there are. Two instruction sets may have the
        same: neither number stands for the set.
    features
        What the CPU needs (see `fastconv.machine.cpu.cpu_features`), in addition to what
        ``extends`` needs.
    target
        Target features that C kernels are compiled for; empty: the compiler's own.
    macros
        Features that C sources ask for, as ``HAS_AVX2``: 1 in the kernels of this set, else 0.
    extends
        The instruction set that this one adds to. It has few kernels of its own: where it has
        none, those of the other run, and its figures are the other's.
    """

    name: str
    vector_bytes: int
    vector_registers: int
    features: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    macros: tuple[str, ...] = ()
    extends: str | None = None


_AVX2 = ("avx2", "fma")
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", *_AVX2)
_ROWS = (
    InstructionSet(
        "amx", 64, 32, ("AMX_TILE", "AMX_BF16", "AMX_INT8"),
        (*_AVX512, "amx-tile", "amx-bf16", "amx-int8"), ("AVX2", "AVX512", "AMX"), "avx512",
    ),
    InstructionSet(
        "avx512", 64, 32, ("AVX512F", "AVX512BW", "AVX512DQ", "AVX512VL"), _AVX512,
        ("AVX2", "AVX512"),
    ),
    InstructionSet("avx2", 32, 16, ("AVX2", "FMA3"), _AVX2, ("AVX2",)),
    InstructionSet("generic", 16, 16),
)  # fmt: skip
# Best first.
INSTRUCTION_SETS = {row.name: row for row in _ROWS}
MACROS = tuple(dict.fromkeys(macro for row in _ROWS for macro in reversed(row.macros)))


def with_extended(name: str) -> tuple[str, ...]:
    """Return the instruction set and those that it extends: where its kernels are found."""
    below = INSTRUCTION_SETS[name].extends
    return (name,) if below is None else (name, *with_extended(below))


def needed_features(name: str) -> tuple[str, ...]:
    """Return all that a CPU needs for an instruction set."""
    return tuple(f for each in with_extended(name) for f in INSTRUCTION_SETS[each].features)
